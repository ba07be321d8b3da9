"""What the writers take and give is what their types say, and what the database has."""

from __future__ import annotations

import inspect
import pydoc
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import psycopg
import pytest

import alpha_db
from alpha_db import errors
from alpha_db.service import results
from tests.client.given import CORRELATION, GIVEN
from tests.support import Connection, make_signal

pytestmark = pytest.mark.any_server

RESULTS = {
    "webhook": results.RecordedWebhook,
    "signal": results.RecordedSignal,
    "ai_debate": results.RecordedAiDebate,
    "order": results.RecordedOrder,
    "order_event": results.RecordedOrderEvent,
}


@pytest.fixture
def book(db: Connection) -> Connection:
    """A database with a signal and an order."""
    make_signal(db, 1, correlation_id=CORRELATION)
    alpha_db.record_order(db, **GIVEN["order"])
    return db


def fits(value: Any, kind: Any) -> bool:
    return kind is Any or isinstance(value, get_args(kind) or kind)


@pytest.mark.parametrize("what", RESULTS)
@pytest.mark.parametrize("how", ["record", "append"])
def test_a_result_is_what_its_type_says(book: Connection, how: str, what: str) -> None:
    row = getattr(alpha_db, f"{how}_{what}")(book, **GIVEN[what])
    kind: Any = RESULTS[what]
    if how == "append":
        kind = results.AppendedWebhook if what == "webhook" else results.Appended
    hints = get_type_hints(kind)
    assert set(row) == set(hints)
    assert {name: value for name, value in row.items() if not fits(value, hints[name])} == {}
    assert row["is_new"] is True


@pytest.mark.parametrize("what", RESULTS)
def test_what_is_given_is_what_is_stored(book: Connection, what: str) -> None:
    row = getattr(alpha_db, f"record_{what}")(book, **GIVEN[what])
    for name, value in GIVEN[what].items():
        if name in row and value is not None and name not in ("raw_payload", "reasoning_json"):
            assert str(row[name]).rstrip("0").rstrip(".") == str(value).rstrip("0").rstrip("."), name


@pytest.mark.parametrize("name", ["record_signal", "append_signal", "append_order_event"])
def test_help_shows_the_arguments_by_name(name: str) -> None:
    shown = pydoc.plain(pydoc.render_doc(getattr(alpha_db, name)))
    wanted = "fill_price" if name.endswith("event") else "signal_id: str, symbol: str"
    assert wanted in shown
    assert " = None" in shown
    first, *others = inspect.signature(getattr(alpha_db, name)).parameters.values()
    assert (first.kind, {one.kind for one in others}) == (first.POSITIONAL_ONLY, {first.KEYWORD_ONLY})


@pytest.mark.parametrize("body", [b"", b"\xff\x00", b"{} ", "é".encode("latin-1"), b'{"a": 1, "a": 2}'])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_body_is_stored_byte_for_byte(db: Connection, body: bytes, kind: Any) -> None:
    row = alpha_db.append_webhook(db, raw_body=kind(body))
    assert db.execute("select raw_body from webhook_deliveries").fetchone() == (body,)
    assert (row["body"] is None) == (row["body_problem"] is not None)


def test_a_body_over_the_limit_is_told(db: Connection) -> None:
    row = alpha_db.append_webhook(db, raw_body=b" " * (1 << 20) + b"1")
    assert (row["is_whole"], row["body"]) == (False, None)


@pytest.mark.parametrize("body", ["{}", None, 1, {"a": 1}])
def test_a_body_that_is_no_bytes_is_refused(db: Connection, body: Any) -> None:
    with pytest.raises(errors.ValueRefused) as caught:
        alpha_db.record_webhook(db, raw_body=body)
    assert caught.value.column == "raw_body"
    assert body is None or isinstance(caught.value, errors.WrongType)


@pytest.mark.parametrize("what", ["signal", "order", "order_event"])
def test_a_retry_is_not_new(book: Connection, what: str) -> None:
    key = {"signal": {}, "order": {"client_order_id": "c"}, "order_event": {"exchange_event_id": "e"}}[what]
    append = getattr(alpha_db, f"append_{what}")
    first, again = (append(book, **GIVEN[what] | key) for _ in range(2))
    assert (first["is_new"], again["is_new"], first["id"]) == (True, False, again["id"])


def test_a_kill_switch_needs_no_order(db: Connection) -> None:
    row = alpha_db.record_order_event(db, event_type="KILL_SWITCH", zar_equity="1.5", positions_closed=[])
    assert row["order_execution_id"] is None
    with pytest.raises(errors.ValueRefused) as caught:
        alpha_db.record_order_event(db, event_type="FILL", fill_price=1, fill_quantity=1)
    assert caught.value.column == "order_execution_id"


if TYPE_CHECKING:
    # bin/lint judges these: without its error, a "type: ignore" is one itself.
    def wrong(conn: psycopg.Connection[Any], other: psycopg.AsyncConnection[Any]) -> None:
        alpha_db.record_ai_debate(conn, model_name="m")  # type: ignore[call-arg]
        alpha_db.record_webhook(conn, raw_body="text")  # type: ignore[arg-type]
        alpha_db.append_webhook(conn, raw_body=b"", no_such=1)  # type: ignore[call-arg]
        alpha_db.record_order_event(conn, event_type="FILL", fill_price=1.5)  # type: ignore[arg-type]
        alpha_db.record_order_event(other, event_type="FILL")  # type: ignore[arg-type]
        alpha_db.append_order_event(conn, event_type="FILL")["no_such"]  # type: ignore[misc]
        alpha_db.record_many(conn, "orders", [{"no_such": 1}])  # type: ignore[call-overload]
        alpha_db.append_many(conn, "no_such", [])  # type: ignore[call-overload]
