"""Rollbacks: in reverse order, on empty tables only, and to exactly what was there before."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from tests.fix_database import LoginRole
from tests.migration.desk import (
    LAST,
    MIGRATION,
    ROLLBACK,
    Desk,
    contents,
    facts,
    few,
    hint,
    last_writes,
    registered,
)
from tests.support import (
    AUDIT_TABLES,
    MIGRATIONS,
    Connection,
    assert_healthy,
    changed_guards,
    fill,
    make_signal,
    one,
    query,
    quote,
    wait_until,
)

# Rollbacks are the same statements on every server; test_three_ways.py rolls back on each.
pytestmark = pytest.mark.any_server

Root = Callable[[Desk], Connection]
Before = Callable[[str], Desk]

# One row in one table alone, as only a superuser can make it: no foreign keys, no chain.
ONE_ROW = {
    "webhook_deliveries": "insert into webhook_deliveries (id, raw_body, body_size, body_sha256, row_hash, created_at,"
    " recorded_by) values (1, 'x', 1, repeat('0', 64), repeat('0', 64), now(), 'x')",
    "signals": "insert into signals (id, signal_id, symbol, side, price, quantity, raw_payload, row_hash,"
    " created_at, recorded_by)"
    " values (1, 's', 'X', 'BUY', 1, 1, '{}', repeat('0', 64), now(), 'x')",
    "ai_debates": "insert into ai_debates (id, correlation_id, model_name, reasoning_json, confidence_score,"
    " elapsed_ms, row_hash, created_at, recorded_by)"
    " values (1, gen_random_uuid(), 'm', '{}', 0, 0, repeat('0', 64), now(), 'x')",
    "order_execution": "insert into order_execution (id, correlation_id, order_type, symbol, side, quantity,"
    " row_hash, created_at, recorded_by)"
    " values (1, gen_random_uuid(), 'MARKET', 'X', 'BUY', 1, repeat('0', 64), now(), 'x')",
    "order_events": "insert into order_events (id, order_execution_id, event_type, row_hash, created_at, recorded_by)"
    " values (1, 1, 'CANCELLED', repeat('0', 64), now(), 'x')",
}
AFTER_THE_TABLES = [number for number in ROLLBACK if number >= "002"]


# test_two_desks.py rolls back a desk whose name needs quotes.
@pytest.mark.parametrize("schema", ["public", pytest.param("Desk A", marks=pytest.mark.long)])
def test_all_rollbacks_leave_nothing_behind(schema: str, request: pytest.FixtureRequest, root: Root) -> None:
    desk: Desk = request.getfixturevalue("installed" if schema == "public" else "empty")
    if schema != "public":
        root(desk).execute(f"create schema {quote(schema)}")
        desk = replace(desk, schema=schema)
        desk.migrate()
    desk.roll_back()
    watch = root(replace(desk, schema="public"))
    assert contents(watch, schema) == []
    leftovers = query(
        watch,
        "select pg_describe_object(classid, objid, objsubid) as object from pg_shdepend as d"
        " join pg_database as b on b.oid = d.dbid and b.datname = current_database()"
        " where refobjid = 'alpha_owner'::regrole and classid <> 'pg_namespace'::regclass",
    )
    assert leftovers == []


def test_a_migrator_who_is_no_superuser_rolls_back(
    empty: Desk, root: Root, prefix: str, login_role: LoginRole
) -> None:
    login = login_role(attributes="createrole")
    root(empty).execute(f"create schema desk_a authorization {login}")
    desk = replace(empty, schema="desk_a", prefix=prefix, user=login)
    desk.migrate()
    desk.roll_back()
    assert contents(root(empty), "desk_a") == []


@pytest.mark.parametrize(
    ("name", "dependent"),
    [
        ("who", "create view desk_b.who as select installation_id from installation"),
        ("leaf", "create table desk_b.leaf () inherits (guard_states)"),
        (
            "runs",
            "create function desk_b.runs() returns setof verification_runs language plpgsql as 'begin end'",
        ),
        ("kept", "create table desk_b.kept (run verification_runs[])"),
        ("note", "create table desk_b.note (run bigint references verification_runs (id))"),
    ],
)
def test_a_rollback_drops_nothing_that_users_built(
    name: str, dependent: str, installed_before: Before, root: Root
) -> None:
    desk = installed_before("002")
    connection = root(desk)
    connection.execute(f"create schema desk_b; {dependent}")
    said = desk.refused(ROLLBACK["001"])
    assert f"desk_b.{name}" in said
    assert hint(said)
    connection.execute("drop schema desk_b cascade")
    desk.run(ROLLBACK["001"])


@pytest.mark.parametrize("number", list(ROLLBACK)[1:])
def test_each_rollback_restores_what_was_before(
    number: str, installed_before: Before, stages: Callable[[str], str], installed: Desk, root: Root
) -> None:
    """What the stage before the migration holds, from which the stage after it was made."""

    def state(connection: Connection) -> tuple[object, ...]:
        return (
            facts(connection),
            contents(connection, "public"),
            [row["name"] for row in registered(connection)],
        )

    with closing(Desk(installed.server, stages(number)).connect()) as stage:
        before = state(stage)
    later = [after for after in MIGRATION if int(after) > int(number)]
    desk = installed_before(later[0]) if later else installed
    connection = root(desk)
    assert facts(connection) != before[0]
    desk.roll_back([number])
    assert state(connection) == before
    assert changed_guards(connection) == []


# yoyo rolls back all and applies it again in test_three_ways.py.
@pytest.mark.parametrize(
    "back_to",
    [pytest.param(number, marks=() if number in ("23", LAST) else pytest.mark.long) for number in ROLLBACK],
)
def test_migrates_again_after_a_rollback(
    back_to: str, installed: Desk, root: Root, connect: Callable[..., Connection], template: str
) -> None:
    installed.roll_back(number for number in ROLLBACK if int(number) >= int(back_to))
    installed.migrate()
    connection = root(installed)
    assert facts(connection) == facts(connect(dbname=template))
    fill(connection)
    assert_healthy(connection)


@pytest.mark.parametrize("number", few(AFTER_THE_TABLES))
def test_refuses_while_a_table_holds_a_row(number: str, installed: Desk, root: Root) -> None:
    """Each of them, and also when the rollbacks after it ran on empty tables before the row came."""
    installed.roll_back(later for later in ROLLBACK if later > number)
    connection = root(installed)
    connection.execute("set session_replication_role = replica")
    for table in AUDIT_TABLES:
        connection.execute(ONE_ROW[table])
        before = last_writes(connection, "public")
        run = installed.run(ROLLBACK[number], check=False)
        assert run.returncode == 3, f"{number} was rolled back over a row in {table}"
        assert f"{table} holds rows" in run.stderr
        assert "not thrown away" in hint(run.stderr)
        assert last_writes(connection, "public") == before
        with connection.transaction():  # the guards that hold in replica mode too
            connection.execute(f"alter table {table} disable trigger user")
            connection.execute(f"delete from {table}")
            connection.execute(f"alter table {table} enable trigger user")


@pytest.mark.parametrize("number", few(list(ROLLBACK)[:-1]))
def test_refuses_out_of_order(number: str, installed: Desk, root: Root) -> None:
    connection = root(installed)
    before = last_writes(connection, "public")
    assert f"{MIGRATIONS[-1].stem} must be rolled back before" in installed.refused(ROLLBACK[number])
    assert last_writes(connection, "public") == before


@pytest.mark.parametrize("number", few(list(ROLLBACK)[1:]))
def test_refuses_what_is_not_installed(number: str, installed_before: Before, root: Root) -> None:
    desk = installed_before(number)
    before = last_writes(root(desk), "public")
    assert "is not installed here" in desk.refused(ROLLBACK[number])
    assert last_writes(root(desk), "public") == before


def test_refuses_where_nothing_is_installed(empty: Desk) -> None:
    for file in ROLLBACK.values():
        assert "ERROR:" in empty.refused(file)


def test_refuses_in_a_schema_that_stands_before_an_installation(installed: Desk, root: Root) -> None:
    """On a path "desk_b", public the functions of public are found: public must not lose anything."""
    connection = root(installed)
    connection.execute("create schema desk_b")
    before = last_writes(connection, "public")
    run = installed.server.psql(
        installed.dbname,
        "-1",
        "-f",
        ROLLBACK["004"],
        check=False,
        environment={"PGOPTIONS": "-c search_path=desk_b,public"},
    )
    assert run.returncode == 3
    assert last_writes(connection, "public") == before
    assert_healthy(connection)


def test_waits_for_a_writer_and_then_refuses(installed: Desk, root: Root, admin: Connection) -> None:
    """A row that is not committed yet when the rollback looks is a row nevertheless."""
    writer = root(installed)
    with ThreadPoolExecutor(1) as pool:
        with writer.transaction():
            make_signal(writer)
            running = pool.submit(installed.refused, ROLLBACK[LAST])
            blocked = "select exists (select from pg_stat_activity where %s = any (pg_blocking_pids(pid)))"
            wait_until(admin, blocked, [writer.info.backend_pid])
        assert "signals holds rows" in running.result()
    assert one(writer, "select count(*) from signals") == 1
    assert_healthy(writer)


def test_rejects_changes_until_it_is_rolled_back(installed: Desk, root: Root) -> None:
    """Rolling back to 003 leaves the log itself protected."""
    installed.roll_back(list(MIGRATION)[3:])
    connection = root(installed)
    make_signal(connection)
    run = installed.server.psql(installed.dbname, "delete from signals", check=False)
    assert "AUD-003" in run.stderr
    assert_healthy(connection)
