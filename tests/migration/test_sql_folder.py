"""sql/ and migrations/ say the same: built from it, and loaded from it."""

from __future__ import annotations

import hashlib
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from tests.cluster import Server
from tests.migration.desk import Desk
from tests.support import ROOT, Row, query

pytest.importorskip("pglast")
# beside it is what it imports
sys.path.append(str(ROOT / "bin" / "lib"))
build = SimpleNamespace(**runpy.run_path(str(ROOT / "bin" / "lib" / "build.py")))

SQL = ROOT / "sql"
MANIFEST = build.read_manifest(SQL)


def load(server: Server, dbname: str) -> None:
    """Install from the files of sql/ as they are, statement by statement, without the DO blocks."""
    with psycopg.connect(server.dsn(dbname), options="-c search_path=public") as connection:
        for migration in MANIFEST:
            if migration is MANIFEST[0]:
                begin = (
                    (SQL / "wrapper" / "first_migration.sql").read_text(encoding="utf-8").split("{body}")[0]
                )
                connection.execute(f"{begin} end $migration$;".encode())
            else:
                connection.execute("select _begin_migration(%s)", [migration.name])
            for file in migration.files:
                connection.execute((SQL / file).read_bytes())
            connection.execute("select _finish_migration(%s)", [migration.name])


def facts(server: Server, dbname: str) -> list[Row]:
    """The guard facts, without what differs between any two installations: identity and checksums."""
    with psycopg.connect(server.dsn(dbname)) as connection:
        return query(
            connection,
            "select * from guard_facts()"
            " where fact <> 'installation_id' and object_name is distinct from 'installed_migrations'"
            " order by 1, 2, 3, 4, 5",
        )


def test_the_plain_files_install_what_the_migrations_install(
    server: Server, installed: Desk, empty_database: str
) -> None:
    load(server, empty_database)
    assert facts(server, empty_database) == facts(server, installed.dbname)


# ---------------------------------------------------------------------------------------------------------------
# bin/build


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what bin/build reads and writes."""
    for folder in ("sql", "migrations"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "python" / "alpha_db").mkdir(parents=True)
    shutil.copy(ROOT / "python" / "alpha_db" / "objects.csv", tmp_path / "python" / "alpha_db")
    return tmp_path


def findings(checkout: Path, *, write: bool = False) -> list[str]:
    return list(build.findings(checkout, write=write))


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


@pytest.mark.any_server
def test_the_migrations_are_what_the_files_build(checkout: Path) -> None:
    assert findings(checkout) == []


@pytest.mark.any_server
def test_a_changed_file_is_told_until_it_is_built(checkout: Path) -> None:
    append(checkout / "sql" / MANIFEST[1].files[0], "\ncomment on schema public is null;\n")
    assert findings(checkout) == ["migrations/002_audit_tables.sql: is not what sql/ builds; run bin/build"]
    assert findings(checkout, write=True) == []
    assert findings(checkout) == []


def freeze(checkout: Path) -> None:
    """Release 002_audit_tables: the manifest names the SHA-256 of both of its files."""
    sums = [
        hashlib.sha256((checkout / "migrations" / f"002_audit_tables{suffix}").read_bytes()).hexdigest()
        for suffix in (".sql", ".rollback.sql")
    ]
    manifest = checkout / "sql" / "manifest.toml"
    entry = 'name = "002_audit_tables"\n'
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace(entry, f"{entry}released = {sums}\n"), encoding="utf-8")


@pytest.mark.any_server
def test_a_released_migration_is_left_alone(checkout: Path) -> None:
    freeze(checkout)
    released = (checkout / "migrations" / "002_audit_tables.sql").read_text(encoding="utf-8")
    append(checkout / "sql" / MANIFEST[1].files[0], "\ncomment on schema public is null;\n")
    assert findings(checkout, write=True) == []
    assert (checkout / "migrations" / "002_audit_tables.sql").read_text(encoding="utf-8") == released


@pytest.mark.any_server
@pytest.mark.parametrize("name", ["002_audit_tables.sql", "002_audit_tables.rollback.sql"])
def test_a_released_migration_that_changed_is_told(checkout: Path, name: str) -> None:
    freeze(checkout)
    append(checkout / "migrations" / name, "-- late\n")
    assert findings(checkout, write=True) == [
        f"migrations/{name}: is released and has changed; put it back, and make a new migration"
    ]


@pytest.mark.any_server
@pytest.mark.parametrize("name", ["sql/01_install/forgotten.sql", "migrations/900_by_hand.sql"])
def test_a_file_that_the_manifest_does_not_name_is_told(checkout: Path, name: str) -> None:
    (checkout / name).write_text("select 1;\n", encoding="utf-8")
    assert findings(checkout) == [f"{name}: stands in no entry of sql/manifest.toml"]


WRONG = {
    "no SQL": ("create tabel x ();\n", "syntax error"),
    "no semicolon": ("select 1", "ends without a semicolon"),
    "a WITH for its effect": ("with x as (select 1) select * from x;\n", "only a plain SELECT"),
    "replaces nothing": (
        "create or replace function nobody() returns int language sql as 'select 1';\n",
        "nobody is replaced, but no earlier migration makes it",
    ),
    "drops": ("drop function ed25519_verify;\n", "give 002_audit_tables a rollback"),
    "adds a column": (
        "alter table signals add column strategy text null;\n",
        "a rollback .* that takes this back",
    ),
    "replaces without a word": (
        "create or replace function chain_genesis(table_name text) returns text language sql as 'select 1';\n",
        "say above chain_genesis: -- Replaces the one in 04_chain/condition.sql",
    ),
    "replaces a view": ("create or replace view v as select 1 as n;\n", "a rollback .* that takes this back"),
    "indexes an older table": (
        "create index on installed_migrations (name);\n",
        "a rollback .* that takes this back",
    ),
    "grants on what is older": (
        "select _grant('select on', '{signals, chains}', '{app_risk}');\n",
        "a rollback .* that takes this back",
    ),
    "does": ("do $$ begin end $$;\n", "a rollback in the manifest"),
}


@pytest.mark.any_server
@pytest.mark.parametrize(("text", "problem"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_built_is_told(checkout: Path, text: str, problem: str) -> None:
    append(checkout / "sql" / MANIFEST[1].files[0], "\n" + text)
    with pytest.raises(build.BuildError, match=problem):
        findings(checkout)


@pytest.mark.any_server
def test_a_line_over_120_columns_is_told(checkout: Path) -> None:
    append(checkout / "sql" / MANIFEST[1].files[0], f"\nselect '{'x' * 111}';\n")
    assert any(f.startswith(f"sql/{MANIFEST[1].files[0]}") and "121 columns" in f for f in findings(checkout))
