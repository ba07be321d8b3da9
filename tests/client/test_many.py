"""Many rows in one call: all or none, in the order given, and a refusal names the element."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg
import pytest

import alpha_db
from alpha_db import errors
from alpha_db.service.many import TABLES
from tests.client.given import DEBATE, EVENT, GIVEN, ORDER, SIGNAL
from tests.support import Connection, make_signal, one, query

pytestmark = pytest.mark.any_server


@pytest.fixture
def book(db: Connection) -> Connection:
    """A database with the signal and the order that debates, orders and events belong to."""
    make_signal(db, 1, correlation_id=DEBATE["correlation_id"])
    alpha_db.record_order(db, **ORDER)
    return db


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("write", [alpha_db.record_many, alpha_db.append_many])
def test_each_is_what_its_own_writer_records(book: Connection, write: Any, table: str) -> None:
    what = table.removesuffix("s")
    alone = getattr(alpha_db, f"record_{what}")(book, **GIVEN[what] | DIFFERENT[what](0))
    rows = write(book, table, [GIVEN[what] | DIFFERENT[what](n) for n in (1, 2, 3)])
    assert [row["id"] for row in rows] == [alone["id"] + n for n in (1, 2, 3)]
    assert {row["is_new"] for row in rows} == {True}
    if write is alpha_db.record_many:
        own = ("id", "row_hash", "created_at", *DIFFERENT[what](0))
        assert [{k: v for k, v in rows[0].items() if k not in own}] == [
            {k: v for k, v in alone.items() if k not in own}
        ]


#: What makes one element differ from another, where there is a key.
DIFFERENT: dict[str, Any] = {
    "signal": lambda n: {"signal_id": f"many-{n}", "correlation_id": None},
    "ai_debate": lambda n: {"elapsed_ms": n},
    "order": lambda n: {"client_order_id": f"c-{n}"},
    "order_event": lambda n: {"exchange_event_id": f"e-{n}"},
}


def test_results_come_in_the_order_given_and_a_retry_is_not_new(db: Connection) -> None:
    given: list[Any] = [SIGNAL | {"signal_id": f"s{n}"} for n in (3, 1, 2)]
    assert [row["signal_id"] for row in alpha_db.record_many(db, "signals", given)] == ["s3", "s1", "s2"]
    more: list[Any] = [given[2], SIGNAL | {"signal_id": "s9"}, given[0]]
    again = alpha_db.append_many(db, "signals", more)
    assert [(row["id"], row["is_new"]) for row in again] == [(3, False), (4, True), (1, False)]
    assert again[0]["correlation_id"] == one(db, "select correlation_id from signals where id = 3")


def test_nothing_is_nothing(db: Connection) -> None:
    assert alpha_db.record_many(db, "signals", []) == []
    assert alpha_db.append_many(db, "orders", []) == []


@pytest.mark.parametrize("price", ["123456789012345678.0123456789", Decimal("0.1"), 7, "1e-10"])
def test_numbers_are_exact(db: Connection, price: Any) -> None:
    text = '{"n": 0.10, "long": 12345678901234567890.12345678901234567890, "twice": 1, "twice": 2}'
    given: list[Any] = [SIGNAL | {"price": price, "raw_payload": text}]
    (row,) = alpha_db.record_many(db, "signals", given)
    assert row["price"] == Decimal(price)
    assert one(db, "select raw_payload = %s::jsonb from signals", [text])
    assert row["raw_payload"]["long"] == Decimal("12345678901234567890.12345678901234567890")


@pytest.mark.parametrize("write", [alpha_db.record_many, alpha_db.append_many])
@pytest.mark.parametrize(
    ("changes", "code", "column"),
    [
        ({"price": 1.5}, "AUD-001", "price"),
        ({"price": "1e-11"}, "AUD-001", "price"),
        ({"price": None}, "AUD-001", "price"),
        ({"quantity": 0}, "23514", "quantity"),
        ({"symbol": "x" * 30}, "AUD-012", "symbol"),
        ({"side": "hold"}, "23514", "side"),
        ({"source_ip": "x"}, "22P02", "source_ip"),
        ({"delivery_id": 4711}, "AUD-008", "delivery_id"),
        ({"signal_id": "s1", "side": "SELL"}, "AUD-010", None),
        ({"colour": 1}, "42883", "colour"),
        ({"raw_payload": "{"}, "22P02", "raw_payload"),
        ({"raw_payload": '{}}, {"signal_id": "x"'}, "22P02", "raw_payload"),
        ({"raw_payload": '{"n": NaN}'}, "22P02", "raw_payload"),
        ({"raw_payload": '{"n": 1e999999}'}, "22P02", "raw_payload"),
        ({"raw_payload": '{"t": "\\u0000"}'}, "22021", "raw_payload"),
        ({"raw_payload": '{"\\ud83d": 1}'}, "22021", "raw_payload"),
        ({"raw_payload": "[" * 96 + "]" * 96}, "22P02", "raw_payload"),
        ({"raw_payload": "[" * 100_000}, "22P02", "raw_payload"),
        ({"raw_payload": {"n": float("inf")}}, "AUD-001", "raw_payload"),
    ],
    ids=str,
)
def test_a_refusal_names_the_element_and_nothing_is_recorded(
    db: Connection, write: Any, changes: dict[str, Any], code: str, column: str | None
) -> None:
    make = [SIGNAL | {"signal_id": f"s{n}"} for n in (1, 2)]
    with pytest.raises(errors.AlphaDbError) as caught:
        write(db, "signals", [*make, SIGNAL | {"signal_id": "s3"} | changes])
    found = caught.value
    assert (found.code, found.column, bool(found.hint)) == (code, column, True)
    assert str(found.detail).startswith("Element 3.")
    assert one(db, "select count(*) from signals") == 0


def test_a_float_is_refused_before_anything_is_sent() -> None:
    class NoConnection:
        autocommit = False

        def cursor(self, **_: object) -> Any:
            raise AssertionError("something was sent")

    conn: Any = NoConnection()
    given: list[Any] = [SIGNAL, SIGNAL | {"price": 0.1}]
    with pytest.raises(errors.DecimalError, match="price") as caught:
        alpha_db.record_many(conn, "signals", given)
    assert str(caught.value.detail).startswith("Element 2. A binary float")


def test_a_missing_column_and_what_is_no_row_are_named(db: Connection) -> None:
    few: list[Any] = [SIGNAL, {key: value for key, value in SIGNAL.items() if key != "symbol"}]
    with pytest.raises(errors.WrongType, match="symbol is missing") as caught:
        alpha_db.record_many(db, "signals", few)
    assert (caught.value.column, caught.value.detail) == ("symbol", "Element 2.")
    given: Any
    for given in ([1], "text", SIGNAL, None):
        with pytest.raises(errors.WrongType):
            alpha_db.record_many(db, "signals", given)
    with pytest.raises(errors.ValueRefused, match="records no webhooks") as unknown:
        alpha_db.record_many(db, "webhooks", [])  # type: ignore[call-overload]
    assert "order_events" in str(unknown.value.hint)


def test_the_deepest_payload_comes_back(db: Connection) -> None:
    given: Any = [SIGNAL | {"raw_payload": "[" * 95 + "]" * 95}]
    assert alpha_db.append_many(db, "signals", given)[0]["id"] == 1
    assert alpha_db.append_many(db, "signals", given)[0]["is_new"] is False


def test_an_append_in_a_transaction_is_the_callers(book: Connection) -> None:
    events: Any = [EVENT | {"exchange_event_id": f"e{n}"} for n in range(3)]
    with book.transaction(force_rollback=True):
        assert len(alpha_db.append_many(book, "order_events", events)) == 3
    assert query(book, "select * from order_events") == []


def test_a_plain_connection_of_psycopgs_will_do(server: Any, database: str) -> None:
    given: list[Any] = [SIGNAL]
    with psycopg.connect(server.dsn(database)) as conn:
        assert alpha_db.record_many(conn, "signals", given)[0]["id"] == 1
