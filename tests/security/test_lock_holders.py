"""lock_holders(): who holds or waits for a lock of this installation, and since when."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.concurrency.background import Background
from tests.fix_database import Connect, LoginRole, fresh_name
from tests.support import Connection, Row, fill, make_signal, one, query

LOCKS = ("lock_signals", "lock_proposals", "lock_verification_runs", "lock_lockdown_events", "log_nodes")
MODE = "share update exclusive"


def holders(connection: Connection, **conditions: object) -> list[Row]:
    """The rows of lock_holders() that have these values."""
    return [
        row
        for row in query(connection, "select * from lock_holders()")
        if all(row[name] == value for name, value in conditions.items())
    ]


@pytest.fixture
def left_over(db: Connection, connect: Connect) -> Iterator[str]:
    """The gid of a prepared transaction that has written a signal."""
    gid = fresh_name("gid")
    other = connect(autocommit=False)
    make_signal(other, 1)
    other.execute(f"prepare transaction '{gid}'")
    yield gid
    db.execute(f"rollback prepared '{gid}'")


def test_an_idle_installation_shows_nobody(db: Connection, connect: Connect) -> None:
    fill(db)
    reader = connect(autocommit=False)
    query(reader, "select * from signals")
    query(reader, "lock table lock_signals in access share mode")  # as pg_dump does
    assert holders(db) == []


@pytest.mark.parametrize("mode", ["share", "share row exclusive", "exclusive", "access exclusive"])
def test_a_lock_of_a_table_that_keeps_writers_out(db: Connection, connect: Connect, mode: str) -> None:
    holder = connect(autocommit=False)
    holder.execute(f"lock table signals in {mode} mode")
    (found,) = holders(db)
    assert (found["lock_name"], found["granted"], found["pid"]) == ("signals", True, holder.info.backend_pid)


def test_a_writer_that_keeps_its_transaction_open(
    db: Connection, connect: Connect, login_role: LoginRole
) -> None:
    trader = login_role("app_trading")
    writer = connect(user=trader, autocommit=False, application_name="desk")
    make_signal(writer, 1)
    found = holders(db)
    assert [(row["lock_name"], row["granted"], row["login"], row["application"]) for row in found] == [
        ("lock_signals", True, trader, "desk")
    ]
    assert (found[0]["pid"], found[0]["gid"]) == (writer.info.backend_pid, None)
    assert (found[0]["state"], found[0]["blocks"]) == ("idle in transaction", [])
    assert found[0]["since"] <= one(db, "select clock_timestamp()")


@pytest.mark.parametrize("lock", LOCKS)
def test_every_lock_of_ours_and_who_waits_for_it(db: Connection, connect: Connect, lock: str) -> None:
    holder = connect(autocommit=False)
    holder.execute(f"lock table {lock} in {MODE} mode")
    waiting = Background(connect(), f"begin; lock table {lock} in {MODE} mode; commit").blocked(db)
    assert [(row["pid"], row["blocks"]) for row in holders(db, lock_name=lock, granted=True)] == [
        (holder.info.backend_pid, [waiting.pid])
    ]
    assert [(row["pid"], row["since"] is not None) for row in holders(db, granted=False)] == [
        (waiting.pid, True)
    ]
    holder.rollback()
    waiting.result()
    assert holders(db) == []


def test_the_migrations_lock(db: Connection, connect: Connect) -> None:
    db.execute("create table if not exists lock_migrations ()")
    holder = connect(autocommit=False)
    holder.execute(f"lock table lock_migrations in {MODE} mode")
    assert [row["lock_name"] for row in holders(db)] == ["lock_migrations"]


def test_a_prepared_transaction_is_named_by_its_gid(db: Connection, connect: Connect, left_over: str) -> None:
    waiting = Background(connect(), "select record_signal('w', 'X', 'BUY', 1, 1, '{}')").blocked(db)
    found = {row["lock_name"]: row for row in holders(db, gid=left_over)}
    assert {"lock_signals", "signals"} <= set(found)
    row = found["lock_signals"]
    assert (row["pid"], row["state"], row["login"], row["blocks"]) == (
        None,
        "prepared",
        "postgres",
        [waiting.pid],
    )
    assert row["since"] == one(db, "select prepared from pg_prepared_xacts where gid = %s", [left_over])
    db.execute(f"select pg_terminate_backend({waiting.pid})")


def test_a_prepared_transaction_that_only_read(db: Connection, connect: Connect) -> None:
    """It keeps tables from being altered and dead rows from going away,."""
    gid = fresh_name("gid")
    other = connect(autocommit=False)
    query(other, "select * from votes")
    other.execute(f"prepare transaction '{gid}'")
    assert [row["lock_name"] for row in holders(db, gid=gid)] == ["votes"]
    db.execute(f"rollback prepared '{gid}'")
    assert holders(db) == []


@pytest.mark.parametrize("role", ["app_trading", "app_auditor", "app_risk"])
def test_who_may_not_see_when_sees_who(connect: Connect, login_role: LoginRole, role: str) -> None:
    holder = connect(user=login_role("app_trading"), autocommit=False)
    make_signal(holder, 1)
    seen = holders(connect(user=login_role(role)))
    assert [(row["lock_name"], row["pid"], row["since"]) for row in seen] == [
        ("lock_signals", holder.info.backend_pid, None)
    ]
    assert seen[0]["login"] == holder.info.user


def test_another_database_and_another_schema_are_not_ours(db: Connection, connect: Connect) -> None:
    db.execute("create schema other; create table other.lock_signals ()")
    holder = connect(autocommit=False)
    holder.execute(f"lock table other.lock_signals in {MODE} mode")
    assert holders(db) == []
