"""Migrations a second time, after changes by others, and after an interruption: no harm done."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.cluster import client_environment
from tests.migration.desk import (
    LAST,
    MIGRATION,
    Desk,
    contents,
    facts,
    few,
    guard_log,
    hint,
    last_writes,
    registered,
)
from tests.support import (
    MIGRATIONS,
    PATIENCE,
    Connection,
    assert_healthy,
    changed_guards,
    fill,
    install_options,
    one,
    query,
    wait_blocked,
    wait_until,
)

# About our files and their registry; what servers do differently stands in the files beside this one.
pytestmark = pytest.mark.any_server

Root = Callable[[Desk], Connection]
Before = Callable[[str], Desk]


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
@pytest.mark.parametrize("number", few(MIGRATION))
def test_each_file_again_writes_nothing(number: str, filled: bool, installed: Desk, root: Root) -> None:
    connection = root(installed)
    if filled:
        fill(connection)
    before = last_writes(connection, "public")
    installed.migrate([number])
    assert last_writes(connection, "public") == before


@pytest.mark.parametrize("number", few(MIGRATION))
def test_each_file_twice_in_one_transaction_writes_once(
    number: str, installed_before: Before, root: Root
) -> None:
    empty = installed_before(number)
    file = MIGRATION[number]
    empty.server.psql(empty.dbname, "-1", "-f", file, "-f", file)
    connection = root(empty)
    assert [row["name"] for row in registered(connection)][-1] == file.stem
    position = list(MIGRATION).index(number) + 1
    assert len(guard_log(connection)) == len(registered(connection)) == position
    assert changed_guards(connection) == []


def test_an_older_file_never_overwrites_a_newer_function(installed: Desk, root: Root) -> None:
    """A later migration replaced chain_status; the files before it are applied again."""
    connection = root(installed)
    body = "select 'newer'::text, 1::bigint, null::text, null::timestamptz, null::text, null::text"
    connection.execute(
        "create or replace function chain_status() returns table (table_name text, last_id bigint, head_hash text,"
        " last_created_at timestamptz, error_code text, problem text)"
        f" language sql stable set search_path from current as $$ {body} $$"
    )
    connection.execute("set role alpha_owner")
    connection.execute("select record_guards('a later migration')")
    connection.execute("reset role")
    before = last_writes(connection, "public")
    installed.migrate()
    assert one(connection, "select table_name from chain_status()") == "newer"
    assert last_writes(connection, "public") == before


CHANGES = {
    "trigger disabled": "alter table chain_columns disable trigger zzz_chain",
    "trigger not always": "alter table guard_states enable trigger _100_reject_change",
    "function body": "create or replace function _snapshot_sees(mark bigint) returns boolean language sql"
    " set search_path from current as 'select true'",
    "function owner": "alter function _hashed_columns(text) owner to postgres",
    "setting dropped": "alter function chain_genesis(text) reset search_path",
    "grant": "grant insert on chain_columns to public",
    "column": "alter table signals add column note text",
    "constraint dropped": "alter table signals drop constraint signals_price_is_positive",
    "rule": "create rule swallow as on insert to signals do instead nothing",
    "child table": "create table more_signals () inherits (signals)",
    "schema": "grant create on schema public to public",
}


# verify_guards() finds each of them, as tests/security/ shows: one of an object, and the one that is the schema's.
REFUSED = [
    pytest.param(change, id=name, marks=() if name in ("function body", "schema") else pytest.mark.long)
    for name, change in CHANGES.items()
]


@pytest.mark.parametrize("change", REFUSED)
def test_a_migration_does_not_launder_a_change_made_before_it(
    change: str, installed_before: Before, root: Root
) -> None:
    """Each migration records the guards as it leaves them: a change must be undone or accepted first."""
    desk = installed_before("004")
    connection = root(desk)
    before_the_change = facts(connection)
    connection.execute(change)
    changed = facts(connection)
    assert changed != before_the_change
    guards = guard_log(connection)

    said = desk.refused(MIGRATION["004"])
    assert "AUD-011" in said
    assert "verify_guards()" in hint(said)
    assert "record_guards('reason')" in hint(said)
    assert facts(connection) == changed
    assert guard_log(connection) == guards

    connection.execute("select record_guards('looked at it, and it is right')")
    assert changed_guards(connection) == []
    desk.migrate(["004"])
    assert guard_log(connection)[-2:] == ["looked at it, and it is right", "migration 004_security_hardening"]
    assert changed_guards(connection) == []
    recorder = query(connection, "select recorded_by from guard_states order by id desc limit 2")
    assert {row["recorded_by"] for row in recorder} == {"postgres"}


def test_applied_files_stay_harmless_after_a_change(installed: Desk, root: Root) -> None:
    """What is installed already is not refused because of a change, nor does it accept it."""
    connection = root(installed)
    connection.execute(CHANGES["trigger not always"])
    found = changed_guards(connection)
    assert found
    installed.migrate()
    assert changed_guards(connection) == found


# Where a migration waits in its midst, and what holds it up.
HELD_UP = {
    "001 at the lock": ("001", "create table lock_migrations ()"),
    "002 at the lock": ("002", "lock table lock_migrations in share update exclusive mode"),
    "001 amid the roles": ("001", "create role {prefix}app_risk nologin"),
    "002 at its record": ("002", "lock table installed_migrations in share mode"),
    "003 at a trigger": ("003", "lock table order_events in row exclusive mode"),
    "003 at its record": ("003", "lock table installed_migrations in share mode"),
    "004 at a view": ("004", "lock table signals in access exclusive mode"),
    "004 at its guards": ("004", "lock table only lock_guard_states in exclusive mode"),
    "the last at its guards": (LAST, "lock table only lock_guard_states in exclusive mode"),
}
# The first one makes roles, which are the cluster's; the last one leaves least to do when it is resumed.
KILLED = [
    pytest.param(
        *case,
        id=name,
        marks=() if name in ("001 amid the roles", "the last at its guards") else pytest.mark.long,
    )
    for name, case in HELD_UP.items()
]


@pytest.mark.parametrize(("number", "holds_up"), KILLED)
def test_a_killed_migration_leaves_nothing_and_can_be_resumed(
    number: str, holds_up: str, installed_before: Before, root: Root, prefix: str, admin: Connection
) -> None:
    desk = replace(installed_before(number), prefix=prefix if number == "001" else None)
    connection = root(desk)
    before = (contents(connection, "public"), last_writes(connection, "public"))

    blocker = root(desk)
    with blocker.transaction(force_rollback=True):
        query(blocker, holds_up.format(prefix=prefix))
        with start_psql(desk, number) as process:
            try:
                pid = backend_of(connection, "migration to be killed")
                wait_blocked(connection, pid)
                connection.execute("select pg_terminate_backend(%s)", [pid])
                _, said = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
        assert process.returncode != 0
        assert "terminating connection due to administrator command" in said
    assert (contents(connection, "public"), last_writes(connection, "public")) == before
    assert one(admin, "select count(*) from pg_roles where starts_with(rolname, %s)", [prefix]) == 0

    desk.migrate()
    fill(connection)
    assert_healthy(connection)


def start_psql(desk: Desk, number: str) -> subprocess.Popen[str]:
    """psql that applies one file, in the background."""
    return subprocess.Popen(
        [desk.server.bin / "psql", "-Xq1", "-v", "ON_ERROR_STOP=1", "-f", MIGRATION[number], "-d",
         desk.server.dsn(desk.dbname, application_name="migration to be killed")],
        env=client_environment({"PGOPTIONS": install_options(desk.schema, desk.prefix)}),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def backend_of(connection: Connection, application: str) -> int:
    """The pid of the backend with this application_name, once it is there."""
    find = "select pid from pg_stat_activity where application_name = %s and datname = current_database()"
    wait_until(connection, f"select exists ({find})", [application])
    return int(one(connection, find, [application]))


def test_an_error_amid_a_file_leaves_nothing(installed_before: Before, root: Root) -> None:
    """An object of the same name is in the way of 23, which has made tables and functions by then."""
    desk = installed_before("23")
    connection = root(desk)
    connection.execute("create table risk_decisions ()")
    before = last_writes(connection, "public")
    assert 'relation "risk_decisions" already exists' in desk.refused(MIGRATION["23"])
    assert last_writes(connection, "public") == before
    connection.execute("drop table risk_decisions")
    desk.migrate()
    fill(connection)
    assert_healthy(connection)


def test_each_file_depends_on_the_one_before() -> None:
    """The names sort in the order in which the files depend on each other: that is psql's users' order."""
    for earlier, later in pairwise(MIGRATIONS):
        assert f"-- depends: {earlier.stem}\n" in later.read_text(encoding="utf-8")
