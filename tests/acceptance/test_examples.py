"""The examples do what they say: the shell loop checks a chain, logins have limits, units and crontab run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from alpha_db.cli.main import main
from tests.cluster import Server
from tests.support import Connection, fill, make_signal, tamper

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def environment(server: Server, dbname: str) -> dict[str, str]:
    """What libpq needs to find a database, and the server's own psql first on PATH."""
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    given = conninfo_to_dict(server.dsn(dbname))
    return {
        "PATH": f"{server.bin}{os.pathsep}{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
    } | {variable: str(given[key]) for key, variable in names.items() if key in given}


def chain_text(db: Connection, table: str, from_id: int | None = None) -> str:
    rows = db.execute("select id, row_hash, row_data from chain_rows(%s, %s)", [table, from_id]).fetchall()
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


def check_chain(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [EXAMPLES / "check-chain.sh", *arguments], input=text, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum")
class TestCheckChain:
    @pytest.mark.parametrize(
        "table",
        [
            "signals",
            pytest.param("ai_debates", marks=pytest.mark.long),
            pytest.param("order_execution", marks=pytest.mark.long),
            pytest.param("order_events", marks=pytest.mark.long),
            "guard_states",  # has the longest rows
            pytest.param("chain_columns", marks=pytest.mark.long),
        ],
    )
    def test_intact(self, db: Connection, table: str) -> None:
        fill(db)
        text = chain_text(db, table)
        row = db.execute("select head_hash from chain_status() where table_name = %s", [table]).fetchone()
        assert row is not None
        result = check_chain(text, table)
        assert result.returncode == 0, result.stdout + result.stderr
        assert row[0] in result.stdout

    def test_odd_text(self, db: Connection) -> None:
        db.execute(
            "select record_signal('odd', E'a\\tb\\\\n', 'BUY', 1, 2, %s::jsonb)",
            ['{"x": "tab\\t newline\\n \\\\ %s \\u0001 é 😀", "a": " "}'],
        )
        assert check_chain(chain_text(db, "signals"), "signals").returncode == 0

    def test_part_of_a_chain(self, db: Connection) -> None:
        fill(db, signals=5)
        row = db.execute("select row_hash from signals where id = 2").fetchone()
        assert row is not None
        assert check_chain(chain_text(db, "signals", 3), "signals", "2", row[0]).returncode == 0
        assert check_chain(chain_text(db, "signals", 3), "signals", "2", "0" * 64).returncode == 1

    def test_edited_row(self, db: Connection) -> None:
        fill(db)
        tamper(db, "update signals set side = case side when 'BUY' then 'SELL' else 'BUY' end where id = 2")
        result = check_chain(chain_text(db, "signals"), "signals")
        assert result.returncode == 1
        assert "row 2 of signals" in result.stdout

    def test_missing_row(self, db: Connection) -> None:
        fill(db)
        lines = chain_text(db, "signals").splitlines(True)
        result = check_chain("".join(lines[:1] + lines[2:]), "signals")
        assert result.returncode == 1
        assert "row 2 of signals is missing" in result.stdout

    @pytest.mark.parametrize(
        "arguments", [[], [""], ["signals", "2"], ["signals", "x", "0" * 64], ["signals", "2", "x"]]
    )
    def test_wrong_arguments_are_usage(self, arguments: list[str]) -> None:
        result = check_chain("", *arguments)
        assert (result.returncode, result.stderr.split(":")[0]) == (2, "usage")

    def test_nothing_is_not_fine(self) -> None:
        assert check_chain("", "signals").returncode == 3


@pytest.mark.any_server
def test_an_approval_without_arguments_is_usage() -> None:
    result = subprocess.run([EXAMPLES / "approve_with_psql.sh"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr.split(":")[0]) == (2, "usage")


@pytest.mark.any_server
@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl")
def test_an_approval_without_a_server_is_not_run() -> None:
    result = subprocess.run(
        [EXAMPLES / "approve_with_psql.sh", "p", "a", "k"],
        env={"PATH": os.environ["PATH"], "PGHOST": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, "another text" in result.stderr) == (3, False)


def test_logins_have_limits(server: Server, database: str, db: Connection) -> None:
    prefix = f"examples_{database}"
    command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", f"login={prefix}"]
    try:
        subprocess.run(
            [*command, "-f", str(EXAMPLES / "logins.sql")], env=environment(server, database), check=True
        )
        lacking = db.execute(
            "select r.rolname, count(s.setconfig) from pg_roles as r"
            " left join pg_db_role_setting as s on s.setrole = r.oid"
            " and s.setconfig::text ~ 'lock_timeout=5s'"
            " and s.setconfig::text ~ 'idle_in_transaction_session_timeout=60s'"
            " where r.rolname like %s and r.rolcanlogin group by 1 order by 1",
            [prefix + r"\_%"],
        ).fetchall()
        assert lacking == [(f"{prefix}_auditor", 1), (f"{prefix}_trader", 1)]
        assert db.execute("select count(*) from verify_guards()").fetchone() == (0,)
    finally:
        db.execute(f'drop role if exists "{prefix}_trader", "{prefix}_auditor"')


UNITS = sorted((EXAMPLES / "systemd").glob("*.service"))


@pytest.mark.any_server
def test_units_run_commands_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    program = "^ExecStart=/opt/alpha-db/bin/alpha-db (.+)$"
    texts = [unit.read_text().replace("\\\n", "") for unit in UNITS]
    commands = [
        found.partition(" --")[0].strip() for text in texts for found in re.findall(program, text, re.M)
    ]
    assert sorted(commands) == ["risk heartbeat", "verify-chain", "watch", "witness serve"]
    assert [main([*command.split(), "--help"]) for command in commands] == [0] * 4
    said = capsys.readouterr().out
    assert "Usage: alpha-db verify-chain" in said
    assert "Usage: alpha-db witness serve" in said


CRON = re.findall(r"^\d+ +\* +\* +\* +\* +alphadb +(.+)$", (EXAMPLES / "cron" / "alpha-db").read_text(), re.M)


def crontab(server: Server, dbname: str, folder: Path, commands: list[str]) -> str:
    """Run lines of the crontab; gives what was logged. Files of /var/lib are the folder's."""
    logger = folder / "logger"
    logger.write_text(f'#!/bin/sh\n{{ echo "$*"; [ $# -gt 2 ] || cat; }} >> "{folder}/log"\n')
    logger.chmod(0o755)
    given = environment(server, dbname) | {"ALPHA_DB_DSN": server.dsn(dbname)}
    given["PATH"] = f"{folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{given['PATH']}"
    given["PYTHONPATH"] = str(EXAMPLES.parent / "python")
    for command in commands:
        here = command.replace("/var/lib/node_exporter", str(folder))
        subprocess.run(["sh", "-c", here], env=given, check=True, stdout=subprocess.DEVNULL)
    return (folder / "log").read_text()


@pytest.mark.any_server
def test_crontab(server: Server, database: str, db: Connection, tmp_path: Path) -> None:
    assert len(CRON) == 4
    assert not [command for command in CRON if "%" in command], "cron makes a line break of it"
    fill(db)
    log = crontab(server, database, tmp_path, CRON)
    assert "exit" not in log
    assert re.search(r"^signals\|3\|[0-9a-f]{64}\|", log, re.M)
    assert "alpha_db_" in (tmp_path / "alpha_db.prom").read_text()
    make_signal(db, 9)
    tamper(db, "update signals set price = 1 where id = 4")
    assert "-p user.alert -t alpha-db verify-chain: exit 1\n" in crontab(server, database, tmp_path, CRON[:1])
