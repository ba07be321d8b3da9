"""client_order_id and exchange_event_id: two sessions that race make one row, at every isolation level.

That of signal_id is in test_record_signal.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.concurrency.background import Background, all_at_once
from tests.fix_database import Connect, Prepared
from tests.support import PATIENCE, Connection, Row, assert_healthy, make_signal, one, query

CORRELATION = "6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f"
TABLES = {"order": "order_execution", "event": "order_events", "event of no order": "order_events"}
KEYS = {"order": "client_order_id", "event": "exchange_event_id", "event of no order": "exchange_event_id"}
CALLS = {
    "order": f"record_order('{CORRELATION}', 'MARKET', 'X', 'BUY', 1, client_order_id => 'key')",
    "event": "record_order_event(1, 'FILL', 1, 1, exchange_event_id => 'key')",
    "event of no order": "record_order_event(null, 'LIQUIDATION', 1, 1, exchange_event_id => 'key')",
}
# Each key at one of the levels; the other with --all.
EVERY_DAY = {
    ("order", "serializable"),
    ("event", "repeatable read"),
    ("event of no order", "serializable"),
}
keys = pytest.mark.parametrize("what", CALLS)
keys_of_strict_sessions = pytest.mark.parametrize(
    ("what", "level"),
    [
        pytest.param(*case, marks=() if case in EVERY_DAY else pytest.mark.long)
        for case in itertools.product(CALLS, ("repeatable read", "serializable"))
    ],
)


@pytest.fixture
def origin(prepared: Prepared) -> str:
    def begin(connection: Connection) -> None:
        make_signal(connection, correlation_id=CORRELATION)
        query(connection, f"select record_order('{CORRELATION}', 'MARKET', 'X', 'BUY', 1)")

    return prepared("concurrency_keys", begin)


@pytest.fixture
def book(db: Connection) -> Connection:
    """A signal, and an order without a key."""
    return db


def call(connection: Connection, what: str) -> list[Row]:
    return query(connection, f"select * from {CALLS[what]}")


def assert_one_row(connection: Connection, what: str) -> None:
    """With the key, and in intact chains."""
    assert one(connection, f"select count(*) from {TABLES[what]} where {KEYS[what]} = 'key'") == 1
    assert_healthy(connection)


@keys
def test_one_that_waits_gets_the_row_of_the_one_before(book: Connection, connect: Connect, what: str) -> None:
    first, second = connect(autocommit=False), connect()
    (row,) = call(first, what)
    waiting = Background(second, f"select * from {CALLS[what]}").blocked(book)
    first.commit()
    assert row["is_new"] is True
    assert waiting.result() == [{**row, "is_new": False}]
    assert_one_row(book, what)


@keys
def test_one_that_waits_writes_if_the_one_before_rolled_back(
    book: Connection, connect: Connect, what: str
) -> None:
    first, second = connect(autocommit=False), connect()
    call(first, what)
    waiting = Background(second, f"select * from {CALLS[what]}").blocked(book)
    first.rollback()
    assert waiting.result()[0]["is_new"] is True
    assert_one_row(book, what)


@keys
def test_one_that_waits_with_other_content_is_refused(book: Connection, connect: Connect, what: str) -> None:
    first, second = connect(autocommit=False), connect()
    call(first, what)
    waiting = Background(second, f"select * from {CALLS[what].replace(')', ', exchange_status => $$new$$)')}")
    waiting.blocked(book)
    first.commit()
    error = waiting.error()
    assert isinstance(error, psycopg.DatabaseError)
    assert error.sqlstate == "AUD10"
    assert_one_row(book, what)


@keys
def test_ten_sessions_at_once_make_one_row(book: Connection, connect: Connect, what: str) -> None:
    """Half of them by CALL."""
    sessions = [connect() for _ in range(10)]
    append = f"call {CALLS[what].replace('record_', 'append_')}"
    statements = [f"select * from {CALLS[what]}", append] * 5
    results = all_at_once(
        [lambda s=s, text=text: query(s, text)[0] for s, text in zip(sessions, statements, strict=True)]  # type: ignore[misc]
    )
    assert [row["is_new"] for row in results].count(True) == 1
    assert len({(row["id"], row["row_hash"]) for row in results}) == 1
    assert_one_row(book, what)


@keys_of_strict_sessions
def test_a_strict_snapshot_gets_the_row_or_40001_but_never_another(
    book: Connection, connect: Connect, what: str, level: str
) -> None:
    session = connect(autocommit=False)

    def begin() -> None:
        session.rollback()
        session.execute(f"set transaction isolation level {level}")
        session.execute("select")

    begin()
    (row,) = call(book, what)
    with pytest.raises(psycopg.errors.SerializationFailure):
        call(session, what)
    begin()
    assert call(session, what) == [{**row, "is_new": False}]
    assert_one_row(book, what)


@keys_of_strict_sessions
def test_a_strict_snapshot_that_waited_gets_40001(
    book: Connection, connect: Connect, what: str, level: str
) -> None:
    first, second = connect(autocommit=False), connect(default_transaction_isolation=level)
    call(first, what)
    waiting = Background(second, f"select * from {CALLS[what]}").blocked(book)
    first.commit()
    assert isinstance(waiting.error(), psycopg.errors.SerializationFailure)
    assert call(second, what)[0]["is_new"] is False
    assert_one_row(book, what)


@keys_of_strict_sessions
def test_ten_strict_sessions_with_retries_make_one_row(
    book: Connection, connect: Connect, what: str, level: str
) -> None:
    sessions = [
        connect(default_transaction_isolation=level, statement_timeout=f"{PATIENCE}s") for _ in range(10)
    ]

    def retried(session: Connection) -> Row:
        for _ in range(50):
            try:
                return call(session, what)[0]
            except psycopg.errors.SerializationFailure:
                continue
        raise AssertionError("never got through")

    tasks: list[Callable[[], Any]] = [lambda s=s: retried(s) for s in sessions]  # type: ignore[misc]
    results = all_at_once(tasks)
    assert [row["is_new"] for row in results].count(True) == 1
    assert len({(row["id"], row["row_hash"]) for row in results}) == 1
    assert_one_row(book, what)
