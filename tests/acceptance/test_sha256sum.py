"""An auditor checks a chain with a shell, psql and sha256sum, and with nothing of ours but the exported text."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.cluster import Server, client_environment
from tests.fix_database import Connect
from tests.support import AUDIT_TABLES, Connection, fill, make_signal, one, query, tamper

# Rows come as "id hash text"; printf turns the previous hash's hex into the 32 bytes that are hashed before the text.
CHECK = r"""
set -eu
table=$1 dsn=$2
hash_of() { sha256sum | cut -d' ' -f1; }
previous=$(printf 'alpha-db/chain/v1/%s' "$table" | hash_of)
psql -XqAt -F ' ' -d "$dsn" -c "select id, row_hash, row_data from chain_rows('$table')" > rows
rows=0
while IFS= read -r line; do
  rest=${line#* }
  stored=${rest%% *}
  row_data=${rest#* }
  raw=$(printf '%s' "$previous" | sed 's/../\\x&/g')
  computed=$( { printf '%b' "$raw"; printf '%s' "$row_data"; } | hash_of)
  if [ "$computed" != "$stored" ]; then
    echo "row ${line%% *}: $computed, not $stored"
    exit 1
  fi
  previous=$stored
  rows=$((rows + 1))
done < rows
echo "$table: $rows rows, head $previous"
"""


@pytest.fixture
def check(server: Server, db: Connection, tmp_path: object) -> object:
    bash = shutil.which("bash")
    if not bash or not shutil.which("sha256sum"):
        pytest.skip("no bash with sha256sum here")
    path = f"{server.bin}:{client_environment()['PATH']}"

    def run(table: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [bash, "-c", CHECK, "check", table, server.dsn(db.info.dbname)],
            env=client_environment({"PATH": path, **environment}),
            cwd=str(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_every_table_of_a_book(db: Connection, check: object) -> None:
    assert callable(check)
    fill(db, signals=4)
    make_signal(
        db,
        50,
        raw_payload='{"n": 1.50, "note": "é \\" \\\\ / \\u0001 %s %b \\n $HOME `id`", "s": "  two  "}',
        source_ip="::1",
    )
    for table in AUDIT_TABLES:
        head = one(db, "select head_hash from chain_status() where table_name = %s", [table])
        done = check(table)
        assert (done.stderr, done.returncode) == ("", 0)
        rows = one(db, f"select count(*) from {table}")
        assert done.stdout == f"{table}: {rows} rows, head {head}\n"


def test_an_empty_table_ends_with_its_genesis(db: Connection, check: object) -> None:
    assert callable(check)
    assert (
        check("signals").stdout
        == f"signals: 0 rows, head {one(db, 'select chain_genesis(%s)', ['signals'])}\n"
    )


@pytest.mark.parametrize(
    "options",
    ["-c timezone=Asia/Kathmandu -c datestyle=German", "-c bytea_output=escape -c extra_float_digits=-15"],
)
def test_under_the_auditor_s_own_settings(db: Connection, check: object, options: str) -> None:
    assert callable(check)
    fill(db)
    assert check("signals", PGOPTIONS=options).returncode == 0


def test_the_shell_finds_what_was_changed(db: Connection, check: object) -> None:
    assert callable(check)
    fill(db)
    tamper(db, "update signals set quantity = 0.2500000001 where id = 2")
    done = check("signals")
    assert done.returncode == 1
    expected = query(db, "select expected_hash, actual_hash from find_chain_damage('signals')")[0]
    assert done.stdout == f"row 2: {expected['expected_hash']}, not {expected['actual_hash']}\n"


def test_a_chain_that_begins_in_the_middle_is_checked_from_the_stored_hash(
    db: Connection, connect: Connect
) -> None:
    """A day's book: the rows of the day, and the one hash before them."""
    fill(db, signals=5)
    day = connect()
    (before,) = query(day, "select row_hash from chain_rows('signals', 2, 2)")
    (row,) = query(day, "select row_data, row_hash from chain_rows('signals', 3, 3)")
    text = bytes.fromhex(before["row_hash"]) + row["row_data"].encode()
    done = subprocess.run(["sha256sum"], input=text, capture_output=True, check=True)
    assert done.stdout.decode().split()[0] == row["row_hash"]
