"""Arrays: record_signals, its sisters, and the CALLs of them: all or nothing, in the order given, keys as alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.chain.by_force import shared
from tests.chain.test_append import HOSTILE
from tests.cluster import Server
from tests.concurrency.background import Background
from tests.fix_database import Connect, LoginRole, Prepared
from tests.support import (
    AUDIT_TABLES,
    Connection,
    Row,
    assert_healthy,
    make_delivery,
    make_signal,
    one,
    query,
)

CORRELATION = "6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f"
#: array: its table, and one element with every member
ELEMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "signals": (
        "signals",
        {
            "signal_id": "k", "symbol": "X", "side": "BUY", "price": 1.5, "quantity": 2, "raw_payload": {"a": [1]},
            "source_ip": "10.0.0.1", "hmac_verified": True, "correlation_id": "11111111-1111-4111-8111-111111111111",
            "delivery_id": 1,
        },
    ),
    "ai_debates": (
        "ai_debates",
        {
            "correlation_id": CORRELATION, "model_name": "phi-4", "reasoning_json": {"a": [1]}, "confidence_score": 0,
            "elapsed_ms": 900, "is_timeout": True, "model_version": "q4",
        },
    ),
    "orders": (
        "order_execution",
        {
            "correlation_id": CORRELATION, "order_type": "STOP_LIMIT", "symbol": "X", "side": "BUY", "quantity": 2,
            "price": 1.25, "exchange_order_id": "x-1", "status": "SUBMITTED", "client_order_id": "k",
            "stop_price": 1.5, "decision_maker": "algo 7", "exchange_status": "NEW",
        },
    ),
    "order_events": (
        "order_events",
        {
            "order_execution_id": 1, "event_type": "FILL", "fill_quantity": 2, "fill_price": 1.25, "zar_equity": 7.5,
            "positions_closed": [1], "rejection_reason": "why", "exchange_error_code": "E42",
            "exchange_event_id": "k", "exchange_status": "FILLED",
        },
    ),
}  # fmt: skip
PLAIN = {"symbol": "X", "side": "BUY", "price": 1, "quantity": 1, "raw_payload": {}}
KEYS = {"signals": "signal_id", "orders": "client_order_id", "order_events": "exchange_event_id"}
WAYS = ("record", "append")

every_array = pytest.mark.parametrize("what", ELEMENTS)
either_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
def book(db: Connection) -> Connection:
    """A delivery, a signal and an order."""
    make_delivery(db)
    make_signal(db, correlation_id=CORRELATION)
    query(db, f"select record_order('{CORRELATION}', 'MARKET', 'X', 'BUY', 1)")
    return db


def send(connection: Connection, way: str, what: str, elements: list[Any]) -> list[Row]:
    """The rows that come back, whichever way they come."""
    text = json.dumps(elements)
    if way == "record":
        return query(connection, f"select * from record_{what}(%s)", [text])
    (row,) = query(connection, f"call append_{what}(%s)", [text])
    results: list[Row] = row["results"]
    return results


def elements(what: str, keys: list[str]) -> list[Row]:
    """One element for each key; of debates, which have none, as many."""
    made = []
    for key in keys:
        element = ELEMENTS[what][1] | ({KEYS[what]: key} if what in KEYS else {})
        made.append({**element, "correlation_id": None} if what == "signals" else element)
    return made


def counts(connection: Connection) -> dict[str, int]:
    return {table: one(connection, f"select count(*) from {table}") for table in AUDIT_TABLES}


@every_array
def test_the_members_are_the_parameters_of_the_function(db: Connection, what: str) -> None:
    names = one(db, "select proargnames from pg_proc where oid = to_regproc(%s)", [f"record_{what[:-1]}"])
    assert set(ELEMENTS[what][1]) == set(names) - {"money_type"}


@either_way
@every_array
def test_every_member_is_stored(book: Connection, way: str, what: str) -> None:
    table, element = ELEMENTS[what]
    (row,) = send(book, way, what, [element])
    columns = ", ".join(element)
    stored = one(
        book, f"select to_jsonb(t) from (select {columns} from {table} where id = %s) as t", [row["id"]]
    )
    assert stored == element
    # And it is the row of the function for one, with the columns of the table; of an append, where it stands.
    known = one(book, f"select to_jsonb(t) from {table} as t where id = %s", [row["id"]])
    parent = "order_execution_id" if what == "order_events" else "correlation_id"
    appended = {"id", parent, "row_hash"} | ({KEYS[what]} if what in KEYS else set())
    assert set(row) == {*(known if way == "record" else appended), "is_new"}
    assert row["is_new"] is True
    assert_healthy(book)


@either_way
@every_array
def test_the_results_come_in_the_order_given(book: Connection, way: str, what: str) -> None:
    """With rows of before, and one that stands twice in the array."""
    if what not in KEYS:
        rows = send(book, way, what, elements(what, ["", "", ""]))
        assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
        assert {row["is_new"] for row in rows} == {True}
        return
    send(book, "record", what, elements(what, ["c", "a"]))
    rows = send(book, way, what, elements(what, ["z", "a", "b", "z", "c"]))
    assert [row[KEYS[what]] for row in rows] == ["z", "a", "b", "z", "c"]
    assert [row["is_new"] for row in rows] == [True, False, True, False, False]
    assert rows[0]["row_hash"] == rows[3]["row_hash"]
    assert_healthy(book)


@either_way
@every_array
def test_all_or_nothing(book: Connection, way: str, what: str) -> None:
    before = counts(book)
    wrong = {"signals": "side", "ai_debates": "elapsed_ms", "orders": "side", "order_events": "event_type"}[
        what
    ]
    for place in (1, 3, 5):
        array = elements(what, list("abcde"))
        array[place - 1] = {**array[place - 1], wrong: -1}
        with pytest.raises(psycopg.errors.CheckViolation) as caught:
            send(book, way, what, array)
        assert str(caught.value.diag.message_detail).startswith(f"Element {place}. ")
        assert caught.value.diag.constraint_name
        assert caught.value.diag.table_name == ELEMENTS[what][0]
        assert counts(book) == before
    send(book, way, what, elements(what, list("abcde")))
    assert_healthy(book)


@either_way
@pytest.mark.parametrize("what", KEYS)
def test_a_key_with_other_content_refuses_the_whole_array(book: Connection, way: str, what: str) -> None:
    send(book, "record", what, elements(what, ["b"]))
    before = counts(book)
    array = elements(what, ["a", "b", "c"])
    other = {"signals": ("side", "SELL"), "orders": ("side", "SELL"), "order_events": ("fill_price", 9)}[what]
    array[1][other[0]] = other[1]
    with pytest.raises(psycopg.DatabaseError) as caught:
        send(book, way, what, array)
    assert (caught.value.sqlstate, caught.value.diag.table_name) == ("AUD10", ELEMENTS[what][0])
    detail = str(caught.value.diag.message_detail)
    assert detail.startswith("Element 2. ")
    assert detail.endswith(f"the difference is in {other[0]}.")
    assert counts(book) == before


@pytest.fixture(scope="module")
def still(server: Server, prepared: Prepared, template: str) -> Iterator[Connection]:
    """An empty log, in which everything is refused."""
    with shared(server, prepared, template, "many_still") as connection:
        yield connection


@every_array
@pytest.mark.parametrize(
    ("array", "place"),
    [
        ([{}, {"no_such": 1}], 2),
        ([{"id": 1}], 1),
        ([{"money_type": 1}], 1),
        ([{}, 1], 2),
        ([[]], 1),
        ([None], 1),
        ({}, None),
        ("x", None),
    ],
)
def test_what_is_no_array_of_known_members_is_refused(
    still: Connection, what: str, array: Any, place: int | None
) -> None:
    for way in WAYS:
        with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
            send(still, way, what, array)
        assert caught.value.diag.message_hint
        assert (f"Element {place}." in str(caught.value.diag.message_detail)) is (place is not None)


# The two ways differ in what comes back, which the tests of a few elements compare.
@pytest.mark.parametrize("way", [pytest.param("record", marks=pytest.mark.long), "append"])
@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=pytest.mark.long if what == "orders" else ()) for what in ELEMENTS]
)
def test_a_thousand_at_once(book: Connection, way: str, what: str) -> None:
    keys = [f"k{n}" for n in range(1000)]
    rows = send(book, way, what, elements(what, keys))
    assert len({row["id"] for row in rows}) == 1000
    if what in KEYS:
        assert [row[KEYS[what]] for row in rows] == keys
        assert {row["is_new"] for row in send(book, way, what, elements(what, keys))} == {False}
    assert_healthy(book)


def test_numbers_are_exact(book: Connection) -> None:
    """A JSON number is a decimal here; one with too many digits is refused, as alone."""
    text = (
        '[{"signal_id": "exact", "symbol": "X", "side": "BUY", "price": 123456789012345678.0123456789,'
        ' "quantity": 1e-10, "raw_payload": {"n": 1.50}}]'
    )
    (row,) = query(book, "select price::text, quantity::text from record_signals(%s)", [text])
    assert row == {"price": "123456789012345678.0123456789", "quantity": "0.0000000001"}
    with pytest.raises(psycopg.DatabaseError, match="AUD-001"):
        query(
            book,
            "select * from record_signals(%s)",
            [text.replace("exact", "more").replace("1e-10", "1e-11")],
        )


@every_array
def test_a_call_inside_a_transaction_says_what_to_use(book: Connection, what: str) -> None:
    before = counts(book)
    with pytest.raises(psycopg.errors.InvalidTransactionTermination) as caught, book.transaction():
        send(book, "append", what, elements(what, ["a"]))
    assert f"record_{what}" in str(caught.value.diag.context)
    assert counts(book) == before


@every_array
def test_a_call_that_waits_reads_committed(book: Connection, connect: Connect, what: str) -> None:
    holder = connect(autocommit=False)
    send(holder, "record", what, elements(what, ["a"]))
    strict = connect(default_transaction_isolation="serializable")
    waiting = Background(strict, f"call append_{what}(%s)", [json.dumps(elements(what, ["a", "b"]))])
    waiting.blocked(book)
    holder.commit()
    (row,) = waiting.result()
    assert [item["is_new"] for item in row["results"]] == [what not in KEYS, True]
    assert_healthy(book)


def test_nothing_of_a_hostile_search_path_is_run(
    book: Connection, connect: Connect, login_role: LoginRole
) -> None:
    attacker, victim = login_role(), connect(login_role("app_trading"))
    query(book, f"create schema evil authorization {attacker}")
    query(book, "grant usage on schema evil to public")
    other = connect(attacker)
    for statement in HOSTILE:
        query(other, statement)
    query(victim, "set search_path = evil, pg_catalog, public")
    with pytest.raises(psycopg.errors.RaiseException, match="the attacker ran"):
        query(victim, "select jsonb_agg('1'::pg_catalog.jsonb)")
    for what in ELEMENTS:
        for way in WAYS:
            array = json.dumps(elements(what, [way]))
            statement = f"select public.record_{what}" if way == "record" else f"call public.append_{what}"
            query(victim, f"{statement}($${array}$$)")
    query(victim, "reset search_path")
    assert counts(book)["signals"] == 3
    assert_healthy(book)


@pytest.mark.usefixtures("book")
def test_who_may_call(connect: Connect, login_role: LoginRole) -> None:
    for role in ("app_auditor", "app_risk"):
        session = connect(login_role(role))
        for what in ELEMENTS:
            for way in WAYS:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    send(session, way, what, elements(what, ["a"]))
    trader = connect(login_role("app_trading"))
    for what in ELEMENTS:
        for way in WAYS:
            assert send(trader, way, what, elements(what, [way]))[0]["is_new"] is True


def test_the_rows_that_were_sent_are_returned_beside_those_of_a_trigger(db: Connection) -> None:
    query(
        db,
        """create function derive() returns trigger language plpgsql as $$ begin
             if new.signal_id not like 'derived%' then
               insert into signals (signal_id, symbol, side, price, quantity, raw_payload)
               values ('derived-' || new.signal_id, 'D', 'SELL', 1, 1, '{}');
             end if;
             return null;
           end $$;
           create trigger zz_derive after insert on signals for each row execute function derive()""",
    )
    sent = [{**PLAIN, "signal_id": "u1"}, {**PLAIN, "signal_id": "u2"}]
    found = query(db, "select signal_id, is_new from record_signals(%s::jsonb)", [json.dumps(sent)])
    assert found == [{"signal_id": "u1", "is_new": True}, {"signal_id": "u2", "is_new": True}]


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("AUD-001", {"price": 1.123456789012}),
        ("AUD-001", {"price": "1e30"}),
        ("AUD-001", {"price": 1.00000001, "raw_payload": {"price": 1}}),
        ("AUD-008", {"delivery_id": 999}),
        ("AUD-012", {"raw_payload": {"n": [float("1e300")] * 10}}),
    ],
)
def test_what_an_element_is_refused_for_names_it(db: Connection, code: str, wrong: dict[str, Any]) -> None:
    sent = json.dumps([{**PLAIN, "signal_id": "e1"}, {**PLAIN, "signal_id": "e2", **wrong}])
    if code == "AUD-012":  # a short number with a long text
        sent = sent.replace("1e+300", "1e100000").replace("[1e100000", "[" + "1e100000, " * 290 + "1e100000")
    with pytest.raises(psycopg.Error, match=code) as caught:
        query(db, "select record_signals(%s::jsonb)", [sent])
    assert "Element 2." in str(caught.value.diag.message_detail)
    assert one(db, "select count(*) from signals") == 0
