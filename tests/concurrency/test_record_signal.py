"""record_signal is idempotent: once, from ten sessions at once, and at every isolation level."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.chain.by_force import judge
from tests.concurrency.background import Background, all_at_once
from tests.fix_database import Connect
from tests.support import PATIENCE, Connection, Row, make_signal, one, query

CALL = (
    "select * from record_signal(signal_id => 'same', symbol => 'X', side => 'BUY', price => 1.5, quantity => 1,"
    " raw_payload => '{\"n\": 1}', source_ip => %s, hmac_verified => true)"
)
OTHER = {
    "symbol": "ETHUSD",
    "side": "SELL",
    "price": "60001.5500000001",
    "quantity": "0.2500000001",
    "raw_payload": '{"ticker": "BTCUSD", "n": 2}',
}


def again(row: Row) -> Row:
    """What a retry gives."""
    return {**row, "is_new": False}


def test_the_same_content_gives_the_same_row(db: Connection) -> None:
    first = make_signal(db, 1)
    assert first["is_new"] is True
    there = again(first)
    assert make_signal(db, 1) == there
    assert make_signal(db, 1, price="60001.550", quantity="0.25000000000000") == there
    assert make_signal(db, 1, raw_payload='{"n": 1, "ticker": "BTCUSD"}') == there
    assert make_signal(db, 1, correlation_id="6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f") == there
    assert make_signal(db, 1, hmac_verified=True) == there
    assert one(db, "select count(*) from signals") == 1


def test_a_retry_may_come_from_another_address(db: Connection) -> None:
    first = make_signal(db, 1, source_ip="10.0.0.1")
    assert make_signal(db, 1, source_ip="10.0.0.2") == again(first)
    assert make_signal(db, 1, source_ip=None) == again(first)


@pytest.mark.parametrize("column", OTHER)
def test_other_content_is_refused_and_named(db: Connection, column: str) -> None:
    make_signal(db, 1)
    with pytest.raises(psycopg.DatabaseError) as caught:
        make_signal(db, 1, **{column: OTHER[column]})
    assert caught.value.sqlstate == "AUD10"
    assert str(caught.value.diag.message_primary).startswith("AUD-010: ")
    assert str(caught.value.diag.message_detail).endswith(f"the difference is in {column}.")
    assert one(db, "select count(*) from signals") == 1
    assert one(db, "select sum(attempts) from vw_rejected_attempts where code = 'AUD-010'") == 1


def test_every_difference_is_named(db: Connection) -> None:
    make_signal(db, 1)
    with pytest.raises(psycopg.DatabaseError) as caught:
        make_signal(db, 1, **OTHER)
    assert str(caught.value.diag.message_detail).endswith(
        "the difference is in price, quantity, raw_payload, side, symbol."
    )


def test_a_signal_is_recorded_once_within_a_transaction(db: Connection) -> None:
    with db.transaction():
        assert again(make_signal(db, 1)) == make_signal(db, 1)
    with db.transaction(force_rollback=True):
        make_signal(db, 2)
    assert make_signal(db, 2)["id"] == 2
    assert judge(db, "signals").verdict == "intact"


def test_ten_sessions_at_once_get_one_row(db: Connection, connect: Connect) -> None:
    sessions = [connect() for _ in range(10)]
    for round_number in range(5):
        call = CALL.replace("same", f"same-{round_number}")
        results = all_at_once(
            [lambda s=s, n=n, call=call: query(s, call, [f"10.0.0.{n}"]) for n, s in enumerate(sessions)]  # type: ignore[misc]
        )
        assert all(again(row) == again(results[0][0]) for (row,) in results)
        assert [row["is_new"] for (row,) in results].count(True) == 1
    assert one(db, "select count(*) from signals") == 5
    assert judge(db, "signals").verdict == "intact"


def test_one_that_waits_gets_the_row_of_the_one_before(db: Connection, connect: Connect) -> None:
    first, second = connect(autocommit=False), connect()
    (row,) = query(first, CALL, ["10.0.0.1"])
    waiting = Background(second, CALL, ["10.0.0.2"]).blocked(db)
    first.commit()
    assert waiting.result() == [again(row)]
    assert one(db, "select count(*) from signals") == 1


def test_one_that_waits_writes_if_the_one_before_rolled_back(db: Connection, connect: Connect) -> None:
    first, second = connect(autocommit=False), connect()
    query(first, CALL, ["10.0.0.1"])
    waiting = Background(second, CALL, ["10.0.0.2"]).blocked(db)
    first.rollback()
    assert str(waiting.result()[0]["source_ip"]) == "10.0.0.2"
    assert one(db, "select count(*) from signals") == 1


def test_one_that_waits_with_other_content_is_refused(db: Connection, connect: Connect) -> None:
    first, second = connect(autocommit=False), connect()
    query(first, CALL, ["10.0.0.1"])
    waiting = Background(second, CALL.replace("'BUY'", "'SELL'"), ["10.0.0.2"]).blocked(db)
    first.commit()
    error = waiting.error()
    assert isinstance(error, psycopg.DatabaseError)
    assert error.sqlstate == "AUD10"


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_strict_snapshot_gets_the_row_or_40001_but_never_another(
    db: Connection, connect: Connect, level: str
) -> None:
    session = connect(autocommit=False)

    def begin() -> None:
        session.rollback()
        session.execute(f"set transaction isolation level {level}")
        session.execute("select")

    begin()
    (row,) = query(db, CALL, ["10.0.0.1"])
    with pytest.raises(psycopg.errors.SerializationFailure):
        query(session, CALL, ["10.0.0.2"])
    begin()
    assert query(session, CALL, ["10.0.0.2"]) == [again(row)]
    session.commit()
    begin()
    assert query(session, CALL, ["10.0.0.2"]) == query(session, CALL, ["10.0.0.3"]) == [again(row)]


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_ten_strict_sessions_with_retries_get_one_row(db: Connection, connect: Connect, level: str) -> None:
    sessions = [
        connect(default_transaction_isolation=level, statement_timeout=f"{PATIENCE}s") for _ in range(10)
    ]

    def call(session: Connection) -> Any:
        for _ in range(50):
            try:
                return query(session, CALL, ["10.0.0.1"])
            except psycopg.errors.SerializationFailure:
                continue
        raise AssertionError("never got through")

    results = all_at_once([lambda s=s: call(s) for s in sessions])  # type: ignore[misc]
    assert all(again(row) == again(results[0][0]) for (row,) in results)
    assert [row["is_new"] for (row,) in results].count(True) == 1
    assert one(db, "select count(*) from signals") == 1
