"""What is sent twice is recorded once: one rule for signal_id, client_order_id and exchange_event_id (AUD-010).

Every parameter of a writing function is listed with what it means in a retry; a test compares the lists with the
catalogue.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.security.refusals import Connection, attempts, denied, head, refused
from tests.support import Row, assert_healthy, make_delivery, make_signal, one, query

FIRST, SECOND, THIRD = (f"{n}0000000-0000-4000-8000-000000000000" for n in (1, 2, 3))
TABLES = {"signal": "signals", "order": "order_execution", "order_event": "order_events"}

#: function: {parameter: (value that is sent first, another one)}; all are given, so that each can also be left out
SENT: dict[str, dict[str, tuple[Any, Any]]] = {
    "signal": {
        "signal_id": ("k", "other"),
        "symbol": ("BTCUSD", "btcusd"),
        "side": ("BUY", "SELL"),
        "price": ("1.5", "1.5000000001"),
        "quantity": ("2", "3"),
        "raw_payload": ('{"a": [1.50]}', '{"a": [1.50], "b": null}'),
        "source_ip": ("10.0.0.1", "10.0.0.2"),
        "hmac_verified": (True, False),
        "correlation_id": (THIRD, FIRST),
        "delivery_id": (1, 2),
    },
    "order": {
        "correlation_id": (FIRST, SECOND),
        "order_type": ("STOP_LIMIT", "TAKE_PROFIT_LIMIT"),
        "symbol": ("BTCUSD", "ETHUSD"),
        "side": ("BUY", "SELL"),
        "quantity": ("2", "2.0000000001"),
        "price": ("1.5", "1.6"),
        "exchange_order_id": ("x-1", "x-2"),
        "status": ("SUBMITTED", "FILLED"),
        "client_order_id": ("k", "other"),
        "stop_price": ("1.5", "1.6"),
        "decision_maker": ("algo 7", "Ada"),
        "exchange_status": ("NEW", "new"),
    },
    "order_event": {
        "order_execution_id": (1, 2),
        "event_type": ("FILL", "PARTIAL_FILL"),
        "fill_quantity": ("2", "2.0000000001"),
        "fill_price": ("1.5", "1.6"),
        "zar_equity": ("100", "100.01"),
        "positions_closed": ("[1]", "[]"),
        "rejection_reason": ("why", "why not"),
        "exchange_error_code": ("E1", "E2"),
        "exchange_event_id": ("k", "other"),
        "exchange_status": ("FILLED", "filled"),
    },
}
KEYS = {
    "signal": {"signal_id"},
    "order": {"client_order_id", "status"},
    "order_event": {"order_execution_id", "exchange_event_id"},
}
#: where the first word stands
FIRST_WORD_STANDS = {"signal": {"source_ip", "hmac_verified", "correlation_id", "delivery_id"}}
CONTENT = [
    (what, column)
    for what, sent in SENT.items()
    for column in sent
    if column not in KEYS[what] | FIRST_WORD_STANDS.get(what, set())
]
MAY_BE_NULL = [
    ("order", "exchange_order_id"),
    ("order", "decision_maker"),
    ("order", "exchange_status"),
    ("order_event", "zar_equity"),
    ("order_event", "positions_closed"),
    ("order_event", "rejection_reason"),
    ("order_event", "exchange_error_code"),
    ("order_event", "exchange_status"),
]
MONEY = {"price", "quantity", "stop_price", "fill_quantity", "fill_price", "zar_equity"}


def send(connection: Connection, what: str, **changes: Any) -> Row:
    """Call record_…, with all that SENT has first but for `changes`."""
    arguments = {name: first for name, (first, _) in SENT[what].items()} | changes
    call = ", ".join(f"{n} => %({n})s{'::numeric' if n in MONEY else ''}" for n in arguments)
    return query(connection, f"select * from record_{what}({call})", arguments)[0]


@pytest.fixture
def book(db: Connection) -> Connection:
    """Two deliveries, two signals and an order of each."""
    for n, correlation in ((1, FIRST), (2, SECOND)):
        make_delivery(db, n)
        make_signal(db, n, correlation_id=correlation)
        query(db, "select record_order(%s, 'MARKET', 'X', 'BUY', 1)", [correlation])
    return db


@pytest.mark.parametrize("what", SENT)
def test_these_are_the_parameters(db: Connection, what: str) -> None:
    names = one(
        db,
        "select proargnames from pg_proc where oid = to_regproc(%s)",
        [f"record_{what}"],
    )
    assert set(SENT[what]) == set(names) - {"money_type"}


@pytest.mark.parametrize("what", SENT)
def test_the_same_again_is_the_row_that_is_there(book: Connection, what: str) -> None:
    first = send(book, what)
    before = head(book)
    assert first["is_new"] is True
    assert send(book, what) == {**first, "is_new": False}
    assert (head(book), attempts(book)) == (before, {})
    assert_healthy(book)


@pytest.mark.parametrize(("what", "column"), CONTENT)
def test_other_content_is_refused_and_named(book: Connection, what: str, column: str) -> None:
    row = send(book, what)
    before = head(book)
    for other in (SENT[what][column][1], None):
        with refused("AUD-010", TABLES[what]) as caught:
            send(book, what, **{column: other})
        detail = f"It is row {row['id']} of {TABLES[what]}; the difference is in {column}."
        assert caught.value.diag.message_detail == detail
    assert head(book) == before
    assert attempts(book) == {("AUD-010", TABLES[what], "INSERT"): 2}


@pytest.mark.parametrize(("what", "column"), MAY_BE_NULL)
def test_a_value_where_there_was_none_is_other_content(book: Connection, what: str, column: str) -> None:
    assert send(book, what, **{column: None})["is_new"] is True
    assert send(book, what, **{column: None})["is_new"] is False
    with refused("AUD-010", TABLES[what]):
        send(book, what)


@pytest.mark.parametrize(("what", "column"), [(w, c) for w, columns in KEYS.items() for c in sorted(columns)])
def test_another_key_is_another_row(book: Connection, what: str, column: str) -> None:
    first = send(book, what)
    changes = {column: SENT[what][column][1]} | ({"correlation_id": None} if what == "signal" else {})
    other = send(book, what, **changes)
    assert (other["id"], other["is_new"]) == (first["id"] + 1, True)


@pytest.mark.parametrize("column", sorted(FIRST_WORD_STANDS["signal"]))
def test_the_first_word_stands(book: Connection, column: str) -> None:
    first = send(book, "signal")
    for other in (SENT["signal"][column][1], None):
        assert send(book, "signal", **{column: other}) == {**first, "is_new": False}


@pytest.mark.parametrize("what", ["order", "order_event"])
def test_without_a_key_every_call_is_a_row(book: Connection, what: str) -> None:
    key = {"order": "client_order_id", "order_event": "exchange_event_id"}[what]
    ids = [send(book, what, **{key: None})["id"] for _ in range(3)]
    assert ids == list(range(ids[0], ids[0] + 3))


def test_events_without_an_order_have_keys_among_themselves(book: Connection) -> None:
    first = send(book, "order_event", order_execution_id=None, event_type="LIQUIDATION")
    assert first["is_new"] is True
    again = send(book, "order_event", order_execution_id=None, event_type="LIQUIDATION")
    assert again == {**first, "is_new": False}
    assert send(book, "order_event", event_type="LIQUIDATION")["is_new"] is True
    with refused("AUD-010", "order_events"):  # no order has the id 0
        send(book, "order_event", order_execution_id=0, event_type="LIQUIDATION")


def test_the_same_number_in_other_digits_is_the_same_content(book: Connection) -> None:
    for what, changes in (
        ("signal", {"price": "1.50000000000000", "raw_payload": '{"a":[1.5]}'}),
        ("order", {"quantity": "2.0", "stop_price": "1.500"}),
        ("order_event", {"fill_quantity": "2.000", "zar_equity": "100.00"}),
    ):
        first = send(book, what)
        assert send(book, what, **changes) == {**first, "is_new": False}


@pytest.mark.parametrize("what", SENT)
def test_a_plain_insert_of_a_used_key_is_a_unique_violation(book: Connection, what: str) -> None:
    row = send(book, what)
    columns = ", ".join(c for c in SENT[what] if (what, c) != ("signal", "correlation_id"))
    with denied("23505"):
        book.execute(
            f"insert into {TABLES[what]} ({columns}) select {columns} from {TABLES[what]} where id = %s",
            [row["id"]],
        )
    assert_healthy(book)


def test_a_debate_has_no_key(book: Connection) -> None:
    call = "select * from record_ai_debate(%s, 'phi-4', '{}', 0.5, 1, model_version => '4.0')"
    assert [query(book, call, [FIRST])[0]["is_new"] for _ in range(2)] == [True, True]


@pytest.mark.parametrize("what", ["signal", "ai_debate", "order", "order_event"])
def test_a_result_has_the_columns_of_its_table_and_is_new_last(db: Connection, what: str) -> None:
    table = {**TABLES, "ai_debate": "ai_debates"}[what]
    columns = (
        "select array_agg(attname::text order by attnum) from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped"
    )
    result = one(db, columns, [f"recorded_{what}"])
    assert result == [*one(db, columns, [table]), "is_new"]


@pytest.mark.parametrize(
    ("column", "value"), [("symbol", "ETHUSD"), ("side", "SELL"), ("correlation_id", None)]
)
def test_rows_under_one_client_order_id_are_one_order(db: Connection, column: str, value: str | None) -> None:
    """Whatever their status: an exchange has one order under that id."""
    first, second = (make_signal(db, n)["correlation_id"] for n in (1, 2))
    order = {"correlation_id": first, "symbol": "BTCUSD", "side": "BUY", "status": "PENDING"}
    call = (
        "select is_new from record_order(%(correlation_id)s, 'MARKET', %(symbol)s, %(side)s, 1, status => %(status)s,"
        " client_order_id => 'c-1')"
    )
    assert one(db, call, order) is True
    other = order | {"status": "SUBMITTED", column: value or second}
    with refused("AUD-010", "order_execution"):
        one(db, call, other)
    assert one(db, call, order | {"status": "SUBMITTED"}) is True


def test_an_event_is_found_from_each_row_of_its_order(db: Connection) -> None:
    signal = make_signal(db)["correlation_id"]
    call = "select id from record_order(%s, 'MARKET', 'BTCUSD', 'BUY', 1, status => %s, client_order_id => 'c-1')"
    pending, submitted = (one(db, call, [signal, status]) for status in ("PENDING", "SUBMITTED"))
    event = "select * from record_order_event(%s, 'FILL', %s, 2, exchange_event_id => 't-1')"
    (first,) = query(db, event, [pending, 1])
    (again,) = query(db, event, [submitted, 1])
    assert (again["is_new"], again["id"], again["order_execution_id"]) == (False, first["id"], pending)
    with refused("AUD-010", "order_events"):
        query(db, event, [submitted, 3])
