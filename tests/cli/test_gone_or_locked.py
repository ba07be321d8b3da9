"""What is gone or locked takes no verdict from the others: verify-chain and every other command name it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.desk import Desk, Result
from tests.fix_database import Connect, LoginRole, Prepared
from tests.support import Connection, fill, make_signal, one, query, tamper

pytest_plugins = ["tests.cli.fix_desk"]

SOON = ("--engage-for", "0", "--lock-timeout", "0.2")


@pytest.fixture
def origin(prepared: Prepared) -> str:
    return prepared("gone_book", fill)


def by_name(ended: Result) -> dict[str, Any]:
    return {row["table_name"]: row for row in ended.json["tables"]}


def verdicts(ended: Result) -> dict[str, str]:
    return {name: row["verdict"] for name, row in by_name(ended).items()}


# --------------------------------------------------------------------------------------------------
# verify-chain


@pytest.mark.parametrize(("options", "code"), [((), 4), (("--no-lockdown",), 1)])
def test_without_lockdown_events_all_chains_have_their_verdict(
    desk: Desk, db: Connection, options: tuple[str, ...], code: int
) -> None:
    tamper(db, "update signals set symbol = 'X' where id = 3")
    query(db, "drop table lockdown_events cascade")
    found = verdicts(desk.run("verify-chain", *SOON, *options, "--json", expect=code))
    assert (found["signals"], found["lockdown_events"]) == ("content_mismatch", "table_missing")
    assert len(found) == 19
    said = desk.run("verify-chain", *SOON, *options, expect=code)
    assert "DAMAGE in 2 of 19 chains" in said.out
    assert "does not exist" not in said.err


def test_without_lockdown_events_nothing_is_tried_again(desk: Desk, db: Connection) -> None:
    query(db, "drop table lockdown_events cascade")
    assert desk.run("verify-chain", "--engage-for", "1000", expect=4).err == ""


def test_without_lockdown_events_a_cut_tail_is_still_found(desk: Desk, db: Connection) -> None:
    desk.run("verify-chain", "--since-last")
    tamper(db, "delete from order_events where id = (select max(id) from order_events)")
    query(db, "drop table lockdown_events cascade")
    found = verdicts(desk.run("verify-chain", "--no-lockdown", "--json", expect=1))
    assert found["order_events"] == "tail_missing"


@pytest.mark.parametrize("option", ["--no-lockdown", "--since-last"])
def test_without_verification_runs_all_other_chains_are_verified(
    desk: Desk, db: Connection, option: str
) -> None:
    query(db, "drop table verification_runs cascade")
    found = verdicts(desk.run("verify-chain", option, "--json", expect=1))
    assert found.pop("verification_runs") == "table_missing"
    assert len(found) == 18
    found.pop("guard_states")  # other guards went with it
    assert set(found.values()) == {"intact"}


@pytest.mark.parametrize(
    "name",
    [
        "_judge_range",
        pytest.param("verify_range", marks=pytest.mark.long),
        pytest.param("verify_chain", marks=pytest.mark.long),
        "verification_plan",
        "verify_guards",
        pytest.param("_chain_or_error", marks=pytest.mark.long),
    ],
)
def test_a_function_that_was_dropped_is_a_changed_guard(desk: Desk, db: Connection, name: str) -> None:
    for row in query(db, "select oid::regprocedure::text as f from pg_proc where proname = %s", [name]):
        query(db, f"drop function {row['f']} cascade")
    found = by_name(desk.run("verify-chain", "--no-lockdown", "--json", expect=1))
    assert (found["guard_states"]["verdict"], found["guard_states"]["error_code"]) == (
        "guard_changed",
        "AUD-011",
    )
    assert len(found) == 19


def test_without_the_register_of_chains_the_lockdown_is_engaged(
    desk: Desk, db: Connection, connect: Connect, login_role: LoginRole
) -> None:
    trader = connect(user=login_role("app_trading"))
    query(db, "drop table chains cascade")
    ended = desk.run("verify-chain", "--json", expect=1)
    assert verdicts(ended) == {"chains": "table_missing", "guard_states": "guard_changed"}
    assert ended.json["lockdown_recorded"] is True
    assert "LOCKED DOWN" in desk.run("lockdown", "status", expect=1).out
    with pytest.raises(Exception, match="AUD-009"):
        make_signal(trader, 9)


# --------------------------------------------------------------------------------------------------
# Locks


def lock(connect: Connect, table: str) -> Connection:
    holder = connect(autocommit=False, application_name="holder")
    holder.execute(f"lock table {table} in access exclusive mode")
    return holder


def test_a_locked_table_hides_no_damage(desk: Desk, db: Connection, connect: Connect) -> None:
    tamper(db, "update ai_debates set model_name = 'X' where id = 3")
    lock(connect, "votes")
    ended = desk.run("verify-chain", *SOON, "--json", expect=1)
    found = verdicts(ended)
    assert (found["ai_debates"], found["votes"], found["signals"]) == (
        "content_mismatch",
        "not_run",
        "intact",
    )
    assert "votes is held by session" in ended.err
    assert ended.json["lockdown_recorded"] is True


@pytest.mark.parametrize("rounds", [1, pytest.param(2, marks=pytest.mark.long)])  # each waits for 5 s
def test_a_locked_lockdown_log_keeps_the_lockdown_off_for_nobody(
    desk: Desk, db: Connection, connect: Connect, rounds: int
) -> None:
    tamper(db, "update ai_debates set model_name = 'X' where id = 3")
    holder = lock(connect, "lockdown_events")
    for _ in range(rounds):
        found = verdicts(desk.run("verify-chain", *SOON, "--json", expect=4))
        assert (found["ai_debates"], found["lockdown_events"]) == ("content_mismatch", "not_run")
    holder.rollback()
    assert one(db, "select is_locked from lockdown_status()")


def test_other_tables_are_exported_while_one_is_locked(desk: Desk, connect: Connect) -> None:
    lock(connect, "votes")
    desk.run("export", "--table", "signals", "--output", str(desk.folder / "out"), "--lock-timeout", "0.2")


# --------------------------------------------------------------------------------------------------
# Every command


@pytest.mark.parametrize(
    ("table", "command"),
    [
        ("risk_configurations", "risk verify"),
        pytest.param("risk_configurations", "risk get-config", marks=pytest.mark.long),
        pytest.param("agents", "risk verify", marks=pytest.mark.long),
        ("agents", "agents list"),
        pytest.param("risk_change_log", "risk verify", marks=pytest.mark.long),
        ("risk_change_log", "risk get-config"),
        pytest.param("lockdown_events", "risk verify", marks=pytest.mark.long),
        pytest.param("lockdown_events", "risk get-config", marks=pytest.mark.long),
        ("lockdown_events", "lockdown status"),
        pytest.param("installation", "risk verify", marks=pytest.mark.long),
        ("chains", "guards"),
        ("installation", "guards"),
    ],
)
def test_what_was_dropped_by_force_is_exit_1(desk: Desk, db: Connection, table: str, command: str) -> None:
    query(db, f"drop table {table} cascade")
    ended = desk.run(*command.split(), expect=1)
    assert "alpha-db migrate" not in ended.err + ended.out
    assert table in ended.err + ended.out


@pytest.mark.parametrize("table", ["risk_configurations", "signals", "installed_migrations"])
@pytest.mark.parametrize("option", [(), ("--check",), pytest.param(("--dry-run",), marks=pytest.mark.long)])
def test_migrate_does_not_call_a_log_with_a_hole_up_to_date(
    desk: Desk, db: Connection, table: str, option: tuple[str, ...]
) -> None:
    query(db, f"drop table {table} cascade")
    ended = desk.run("migrate", *option, expect=1)
    assert table in ended.err
    assert "restore schema and data from a dump" in ended.err


def test_guards_name_the_table_of_their_states(desk: Desk, db: Connection) -> None:
    query(db, "drop table guard_states cascade")
    (fact,) = desk.run("guards", "--json", expect=1).json
    assert (fact["object_name"], fact["problem"]) == ("guard_states", "missing")


def test_an_export_says_which_table_is_gone(desk: Desk, db: Connection) -> None:
    query(db, "drop table installation cascade")
    assert "installation is gone" in desk.run("export", "--output", str(desk.folder / "out"), expect=1).err


def test_a_schema_that_is_not_there_is_looked_for_elsewhere(desk: Desk) -> None:
    said = desk.run("verify-chain", "--schema", "typo", expect=3).err
    assert 'schema "typo" does not exist in database ' in said
    assert "alpha-db is installed in " in said
    assert "CREATE SCHEMA" not in said
    assert "CREATE SCHEMA" in desk.run("migrate", "--schema", "typo", expect=3).err
