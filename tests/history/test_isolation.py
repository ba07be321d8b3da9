"""What writers, verification and isolation levels do to each other."""

from __future__ import annotations

import psycopg
import pytest

from tests.concurrency.background import Background
from tests.fix_database import Connect, Prepared
from tests.history.tracked import differences, entries, history_verdict, positions
from tests.support import Connection


@pytest.fixture(scope="session")
def origin(prepared: Prepared) -> str:
    """Positions of three rows, tracked."""
    return prepared("history_positions", positions)


def test_a_writer_waits_before_it_holds_a_row(db: Connection, connect: Connect) -> None:
    """So two transactions that change the same rows in another order do not deadlock."""
    first, second = connect(), connect()
    first.execute("begin")
    first.execute("update positions set quantity = 2 where account = 1")
    waiting = Background(second, "update positions set quantity = 3 where account = 2").blocked(db)
    first.execute("update positions set quantity = 4 where account = 2")
    first.execute("commit")
    waiting.result()
    assert [row["new_row"]["quantity"] for row in entries(db)] == ["2", "2", "4", "3"]
    assert differences(db) == []


def test_an_open_transaction_is_not_reported(db: Connection, connect: Connect) -> None:
    writer = connect()
    writer.execute("begin")
    writer.execute("delete from positions where account = 1")
    assert differences(db) == []
    assert differences(writer) == []
    writer.execute("commit")
    assert differences(db) == []


def test_an_open_truncate_is_waited_for(db: Connection, connect: Connect) -> None:
    """TRUNCATE does not respect older snapshots, so the comparison begins after it."""
    writer = connect()
    writer.execute("begin")
    writer.execute("truncate positions")
    waiting = Background(connect(), "select problem from verify_tracked()").blocked(db)
    writer.execute("commit")
    assert waiting.result() == []


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_an_older_snapshot_does_not_compare(db: Connection, connect: Connect, level: str) -> None:
    reader = connect(default_transaction_isolation=level)
    assert differences(reader) == []
    reader.execute("begin")
    reader.execute("select 1 from chains")
    db.execute("truncate positions")
    with pytest.raises(psycopg.errors.SerializationFailure):
        differences(reader)
    reader.execute("rollback")
    assert differences(reader) == []
    assert history_verdict(reader)[0] == "intact"


def test_a_writer_with_an_older_snapshot_tries_again(db: Connection, connect: Connect) -> None:
    writer = connect(default_transaction_isolation="repeatable read")
    writer.execute("begin")
    writer.execute("select 1 from positions")
    db.execute("update positions set quantity = 2 where account = 1")
    with pytest.raises(psycopg.errors.SerializationFailure):
        writer.execute("update positions set quantity = 3 where account = 2")
    writer.execute("rollback")
    assert differences(db) == []


def test_a_prepared_transaction(db: Connection, connect: Connect) -> None:
    if not int(db.execute("show max_prepared_transactions").fetchone()[0]):  # type: ignore[index]
        pytest.skip("this server prepares no transactions")
    writer = connect()
    writer.execute("begin")
    writer.execute("delete from positions where account = 1")
    writer.execute("prepare transaction 'history'")
    assert differences(db) == []
    db.execute("commit prepared 'history'")
    assert differences(db) == []
    assert len(entries(db)) == 2


def test_tracking_waits_for_writers(db: Connection, connect: Connect) -> None:
    """What it takes in is what is there once they have ended."""
    db.execute("create table t (id integer primary key)")
    writer = connect()
    writer.execute("begin")
    writer.execute("insert into t values (1)")
    waiting = Background(connect(), "select track_table('t') as rows").blocked(db)
    writer.execute("commit")
    assert waiting.result() == [{"rows": 1}]
    assert differences(db) == []


def test_tracking_needs_a_fresh_snapshot(connect: Connect) -> None:
    session = connect(default_transaction_isolation="repeatable read")
    with pytest.raises(psycopg.Error, match="READ COMMITTED only"):
        session.execute("select track_table('positions')")
