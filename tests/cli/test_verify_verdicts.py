"""What verify-chain and status say of what is gone, is not there, cannot be read, or is ahead of the clock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.desk import Desk
from tests.fix_database import LoginRole, Prepared
from tests.support import Connection, fill, query, tamper

pytest_plugins = ["tests.cli.fix_desk"]


@pytest.fixture
def origin(prepared: Prepared) -> str:
    return prepared("verdicts_book", fill)


def by_name(document: dict[str, Any]) -> dict[str, Any]:
    return {row["table_name"]: row for row in document["tables"]}


def test_a_table_that_is_gone_is_damage_beside_the_others(desk: Desk, db: Connection) -> None:
    tamper(db, "update signals set symbol = 'X' where id = 2")
    query(db, "drop table ai_debates cascade")
    ended = desk.run("verify-chain", "--json", expect=1)
    found = by_name(ended.json)
    assert (found["ai_debates"]["verdict"], found["signals"]["verdict"]) == (
        "table_missing",
        "content_mismatch",
    )
    assert found["order_events"]["verdict"] == "intact"
    assert ended.json["lockdown"]["is_locked"]
    said = desk.run("verify-chain", expect=1).out
    assert "DAMAGE in 2 of 19 chains: signals at id 2, ai_debates (table_missing)." in said
    shown = desk.run("status", expect=1).out
    assert "problem       ai_debates: the table ai_debates is not there" in shown


def test_no_release_of_a_table_that_is_gone(desk: Desk, db: Connection) -> None:
    desk.bootstrap("ada", "ben", "cyd")
    query(db, "drop table ai_debates cascade")
    desk.run("verify-chain", expect=1)
    ended = desk.run("lockdown", "release", "--reason", "why not", *desk.sign("ada"), expect=1)
    assert "RSK-005" in ended.err
    assert "a table that is gone" in ended.err
    assert "Restore it from a dump" in ended.err


def test_status_and_verification_without_the_register(desk: Desk, db: Connection) -> None:
    query(db, "drop table chains cascade")
    assert "the register of the chains is gone" in desk.run("verify-chain", expect=1).out
    assert "the register of the chains is gone" in desk.run("status", expect=1).out


@pytest.mark.parametrize("command", ["verify-chain", "status", "guards"])
def test_without_the_register_of_migrations_it_is_not_just_not_installed(
    desk: Desk, db: Connection, command: str
) -> None:
    query(db, "drop table installed_migrations cascade")
    said = desk.run(command, expect=1).err
    assert "AUD-009" in said
    assert "installed_migrations is gone" in said


@pytest.mark.parametrize(
    ("arguments", "rows", "said"),
    [
        (["--from-id", "1000", "--to-id", "2000"], 0, "rows 1000 to 2000 are not there"),
        (["--from-id", "2", "--to-id", "2000"], 2, "rows 4 to 2000 are not there"),
        (["--from-id", "4"], 0, "rows from 4 on are not there"),
        (["--to-id", "9223372036854775807"], 3, "rows 4 to 9223372036854775807 are not there"),
    ],
)
def test_rows_that_are_not_there(desk: Desk, arguments: list[str], rows: int, said: str) -> None:
    ended = desk.run("verify-chain", "--table", "signals", *arguments, "--json", expect=5)
    row = by_name(ended.json)["signals"]
    assert (row["verdict"], row["is_valid"], row["rows_checked"]) == ("not_there", None, rows)
    assert said in row["detail"]
    assert (
        "Not there: rows of signals."
        in desk.run("verify-chain", "--table", "signals", *arguments, expect=5).out
    )


def test_all_rows_of_an_empty_chain_are_there(desk: Desk) -> None:
    desk.run("verify-chain", "--table", "maintenance_events", "--from-id", "1")


def test_damage_comes_before_rows_that_are_not_there(desk: Desk, db: Connection) -> None:
    tamper(db, "update signals set symbol = 'X' where id = 2")
    desk.run("verify-chain", "--from-id", "2", "--to-id", "50", "--no-lockdown", expect=1)


@pytest.mark.any_server
@pytest.mark.parametrize("form", ["text", pytest.param("json", marks=pytest.mark.long), "prometheus"])
def test_a_full_disk_hides_no_damage(desk: Desk, db: Connection, form: str) -> None:
    command = [
        sys.executable,
        "-m",
        "alpha_db",
        "--dsn",
        desk.dsn,
        "verify-chain",
        "--no-lockdown",
        "--format",
        form,
    ]
    for expected in (3, 1):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, "signals" in done.stderr) == (expected, True), done.stderr
        tamper(db, "update signals set symbol = 'X' where id = 2")


@pytest.mark.any_server
@pytest.mark.parametrize("number", ["0", "-1", "9223372036854775808", "1.5", "x"])
@pytest.mark.parametrize("option", ["--from-id", "--to-id"])
def test_what_is_no_id_is_usage(desk: Desk, option: str, number: str) -> None:
    assert option in desk.run("verify-chain", option, number, expect=2).err


def test_what_cannot_be_read_is_told_and_hides_nothing(desk: Desk, db: Connection) -> None:
    hide = "alter table {0} enable row level security; alter table {0} force row level security"
    query(db, hide.format("ai_debates"))
    tamper(db, "update signals set symbol = 'X' where id = 2")
    arguments = ["verify-chain", "--from-id", "1", "--no-lockdown", "--json"]
    found = by_name(desk.run(*arguments, expect=1).json)
    assert (found["ai_debates"]["verdict"], found["signals"]["verdict"]) == ("not_run", "content_mismatch")
    found = by_name(desk.run(*arguments, "--table", "ai_debates", expect=3).json)
    assert "row-level security" in found["ai_debates"]["detail"]
    found = by_name(desk.run("verify-chain", "--table", "ai_debates", "--json", expect=1).json)
    assert found["ai_debates"]["verdict"] == "guard_changed"
    assert "not verified: " in found["ai_debates"]["detail"]


def test_a_run_with_something_unread_is_not_remembered(desk: Desk, db: Connection) -> None:
    query(
        db,
        "alter table ai_debates enable row level security; alter table ai_debates force row level security",
    )
    assert desk.run("verify-chain", "--since-last", "--json", expect=1).json["run"]["id"] is None


def test_a_last_row_ahead_of_the_clock(desk: Desk, db: Connection) -> None:
    query(
        db,
        "create function later() returns timestamptz language sql as $$ select now() + interval '9 years' $$",
    )
    source = query(db, "select pg_get_functiondef('_chain_signals'::regproc) as text")[0]["text"]
    query(db, source.replace("clock_timestamp()", "public.later()"))
    fill(db, signals=1, first=50)
    query(db, source)
    query(db, "drop function later()")
    verified = desk.run("verify-chain")
    assert "signals" in verified.out
    assert "ahead of the server's clock" in verified.out
    assert "Intact" in verified.out
    shown = desk.run("status")
    assert "warning       signals: the last row is 3" in shown.out


def test_a_connection_limit_is_told(desk: Desk, db: Connection, login_role: LoginRole) -> None:
    login = login_role("app_auditor", attributes="connection limit 1")
    query(db, "select record_guards('a login')")
    desk.dsn = desk.dsn.replace("user=postgres", f"user={login}")
    ended = desk.run("verify-chain", "--jobs", "2")
    assert "verifying over the one that is open, because another could not be opened" in ended.err
