"""Two installations in two schemas of one database do not touch each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest

from tests.cluster import Server
from tests.fix_database import LoginRole, fresh_name
from tests.migration.desk import MIGRATION, Desk, contents, last_writes
from tests.support import (
    Connection,
    assert_healthy,
    changed_guards,
    fill,
    make_signal,
    one,
    quote,
    tamper,
    verdicts,
)

Root = Callable[[Desk], Connection]
Desks = tuple[Desk, Desk]


@pytest.fixture(scope="module", params=[pytest.param("same roles", marks=pytest.mark.long), "own roles"])
def two_desks(request: pytest.FixtureRequest, server: Server, admin: Connection, template: str) -> Desks:
    """Desk A, whose name needs quotes, and the desk in public, in a template; with shared roles, or each its own."""
    own = request.param == "own roles"
    name = fresh_name("two_desks")
    admin.execute(f"create database {name} template {template}")
    server.psql(name, 'create schema "Desk A"')
    a = Desk(server, name, "Desk A", prefix=fresh_name("p") + "_" if own else None)
    a.migrate()
    return a, Desk(server, name)


@pytest.fixture
def desks(two_desks: Desks, make_database: Callable[..., str]) -> Desks:
    """A clone of both."""
    name = make_database(two_desks[0].dbname)
    return replace(two_desks[0], dbname=name), replace(two_desks[1], dbname=name)


def test_each_has_chains_of_its_own(desks: Desks, root: Root) -> None:
    a, b = (root(desk) for desk in desks)
    fill(a, signals=5)
    fill(b, signals=2)
    assert (one(a, "select max(id) from signals"), one(b, "select max(id) from signals")) == (5, 2)
    assert one(a, "select installation_id from installation") != one(
        b, "select installation_id from installation"
    )
    for connection in (a, b):
        assert_healthy(connection)


def test_a_writer_of_one_does_not_hold_up_the_other(desks: Desks, root: Root) -> None:
    """Every chain's lock of desk A is held by an open transaction."""
    a, b = (root(desk) for desk in desks)
    b.execute("set lock_timeout = '1s'")
    with a.transaction():
        fill(a)
        fill(b)
    assert_healthy(a)
    assert_healthy(b)


def test_a_writer_is_held_up_by_its_own_desk(desks: Desks, root: Root) -> None:
    """That the test above could fail."""
    one_writer, another = root(desks[0]), root(desks[0])
    another.execute("set lock_timeout = '100ms'")
    with one_writer.transaction():
        make_signal(one_writer, 1)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            make_signal(another, 2)


def test_damage_in_one_locks_only_that_one(desks: Desks, root: Root) -> None:
    a, b = (root(desk) for desk in desks)
    fill(a)
    fill(b)
    tamper(a, "update signals set price = 1 where id = 2")
    assert verdicts(a)["signals"].verdict == "content_mismatch"
    assert one(a, "select is_locked from lockdown_status()") is True
    assert one(b, "select is_locked from lockdown_status()") is False
    with pytest.raises(psycopg.Error, match="AUD-009"):
        make_signal(a, 77)
    make_signal(b, 77)
    assert_healthy(b)


def test_refusals_are_counted_for_each(desks: Desks, root: Root) -> None:
    a, b = (root(desk) for desk in desks)
    fill(a)
    fill(b)
    with pytest.raises(psycopg.Error, match="AUD-003"):
        a.execute("delete from signals")
    count = "select sum(attempts)::int from vw_rejected_attempts"
    assert (one(a, count), one(b, count)) == (1, 0)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("alter table signals disable trigger _100_reject_change", id="trigger"),
        pytest.param(
            "create or replace function chain_genesis(table_name text) returns text language sql immutable strict"
            " set search_path from current as $$ select repeat('0', 64) $$",
            id="function",
        ),
        pytest.param("alter table order_events add column note text", id="column", marks=pytest.mark.long),
        pytest.param("grant update on signals to public", id="grant", marks=pytest.mark.long),
    ],
)
def test_a_change_of_one_is_reported_by_that_one(change: str, desks: Desks, root: Root) -> None:
    a, b = (root(desk) for desk in desks)
    fill(b)
    a.execute(change)
    assert changed_guards(a)
    assert_healthy(b)


def test_rolling_back_one_leaves_the_other(desks: Desks, root: Root) -> None:
    b = root(desks[1])
    fill(b)
    before = last_writes(b, desks[1].schema)
    desks[0].roll_back()
    assert contents(b, desks[0].schema) == []
    after = last_writes(b, desks[1].schema)
    del before["pg_description"], after["pg_description"]  # of the whole database
    assert after == before
    fill(b, first=10)
    assert_healthy(b)


def test_applying_files_again_in_one_leaves_both(desks: Desks, root: Root) -> None:
    before = [last_writes(root(desk), desk.schema) for desk in desks]
    desks[0].migrate()
    assert [last_writes(root(desk), desk.schema) for desk in desks] == before


@pytest.mark.any_server
def test_one_migrates_while_the_other_writes(installed: Desk, root: Root) -> None:
    """Installing a second desk does not wait for writers of the first."""
    a, b = installed, replace(installed, schema="desk_b")
    writer = root(a)
    writer.execute("create schema desk_b")
    with writer.transaction():
        fill(writer)
        installed.server.psql(
            installed.dbname,
            *(argument for file in MIGRATION.values() for argument in ("-f", file)),
            environment={"PGOPTIONS": "-c search_path=desk_b -c lock_timeout=2s"},
        )
    assert_healthy(root(a))
    assert_healthy(root(b))
    b.roll_back()
    assert_healthy(root(a))


def test_a_login_of_one_has_nothing_in_the_other(
    desks: Desks, login_role: LoginRole, connect: Callable[..., Connection]
) -> None:
    """With a prefix each desk has its own people."""
    prefix = desks[0].prefix
    if prefix is None:
        pytest.skip("the roles are shared")
    login = login_role(f"{prefix}app_trading", f"{prefix}app_auditor")
    other = quote(desks[1].schema)
    writer = connect(login, dbname=desks[0].dbname, search_path=quote(desks[0].schema))
    fill(writer)
    stranger = connect(login, dbname=desks[1].dbname, search_path=other)
    with pytest.raises(psycopg.Error):
        make_signal(stranger)
    for table in ("signals", "guard_states", "vw_trade_audit_full"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            stranger.execute(f"select from {other}.{table}")
