"""Thin calls of the writing functions and procedures (docs/sql-api.md); floats are refused before they reach the wire.

``record_*`` join the transaction that the connection is in, and the caller commits; each returns the stored row.
``append_*`` return ``id``, ``correlation_id`` and ``row_hash`` of a row that is on disk: on a connection in
autocommit they CALL the procedure, which holds no other writer up while it waits; inside a transaction, where
no procedure can commit, they do what ``record_*`` do.

Money is a Decimal, an int, or a string of decimal digits; a float has lost digits already, so it raises
DecimalError (AUD-001). JSON is a dict or list, or JSON text as it arrived; the fractions in a returned row's
JSON are Decimal. To keep a payload's digits, read it with ``json.loads(text, parse_float=decimal.Decimal)``,
or hand over the text.
"""

from __future__ import annotations

import inspect
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Concatenate, ParamSpec
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb, set_json_loads

from alpha_db.errors import DecimalError, translate
from alpha_db.exact_json import dumps, loads
from alpha_db.loaders import text_if_unreadable
from alpha_db.pooled import qualified
from alpha_db.queries import query

#: What the functions take for an amount.
Money = Decimal | int | str
#: What they take for JSON: a value, or the JSON text itself.
Json = Mapping[str, Any] | Sequence[Any] | str

Row = dict[str, Any]
Arguments = dict[str, object]
P = ParamSpec("P")
Writer = Callable[Concatenate[psycopg.Connection[Any], P], Row]

_DIGITS = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")


def _signal(
    *,
    signal_id: str,
    symbol: str,
    side: str,
    price: Money,
    quantity: Money,
    raw_payload: Json,
    source_ip: str | IPv4Address | IPv6Address | None = None,
    hmac_verified: bool = False,
    correlation_id: UUID | str | None = None,
) -> Arguments:
    """Record a signal, or take the row that is there already for this signal_id with the same content.

    Raises DecimalError (AUD-001), SignalConflict (AUD-010: signal_id used with other content) and
    ChainMismatch (AUD-009: lockdown). Source: docs/sql-api.md.
    """
    return Arguments(
        signal_id=signal_id,
        symbol=symbol,
        side=side,
        price=_money("price", price),
        quantity=_money("quantity", quantity),
        raw_payload=_json(raw_payload),
        source_ip=None if source_ip is None else str(source_ip),
        hmac_verified=hmac_verified,
        correlation_id=correlation_id,
    )


def _ai_debate(
    *,
    correlation_id: UUID | str,
    model_name: str,
    reasoning_json: Json,
    confidence_score: Money,
    elapsed_ms: int,
    is_timeout: bool = False,
) -> Arguments:
    """Record what a model said about a signal.

    Raises DecimalError (AUD-001), UnknownReference (AUD-008: no such signal) and ChainMismatch (AUD-009:
    lockdown). Source: docs/sql-api.md.
    """
    return Arguments(
        correlation_id=correlation_id,
        model_name=model_name,
        reasoning_json=_json(reasoning_json),
        confidence_score=_money("confidence_score", confidence_score),
        elapsed_ms=operator.index(elapsed_ms),
        is_timeout=is_timeout,
    )


def _order(
    *,
    correlation_id: UUID | str,
    order_type: str,
    symbol: str,
    side: str,
    quantity: Money,
    price: Money | None = None,
    exchange_order_id: str | None = None,
    status: str = "PENDING",
) -> Arguments:
    """Record an order: PENDING before it is sent, and again with its exchange_order_id. No price for MARKET.

    Raises DecimalError (AUD-001), UnknownReference (AUD-008: no such signal) and ChainMismatch (AUD-009:
    lockdown). Source: docs/sql-api.md.
    """
    return Arguments(
        correlation_id=correlation_id,
        order_type=order_type,
        symbol=symbol,
        side=side,
        quantity=_money("quantity", quantity),
        price=_optional_money("price", price),
        exchange_order_id=exchange_order_id,
        status=status,
    )


def _order_event(
    *,
    order_execution_id: int,
    event_type: str,
    fill_quantity: Money | None = None,
    fill_price: Money | None = None,
    zar_equity: Money | None = None,
    positions_closed: Sequence[Any] | str | None = None,
    rejection_reason: str | None = None,
    exchange_error_code: str | None = None,
) -> Arguments:
    """Record what happened to an order; this table stays open in a lockdown.

    Raises DecimalError (AUD-001) and UnknownReference (AUD-008: no such order). Source: docs/sql-api.md.
    """
    return Arguments(
        order_execution_id=operator.index(order_execution_id),
        event_type=event_type,
        fill_quantity=_optional_money("fill_quantity", fill_quantity),
        fill_price=_optional_money("fill_price", fill_price),
        zar_equity=_optional_money("zar_equity", zar_equity),
        positions_closed=None if positions_closed is None else _json(positions_closed),
        rejection_reason=rejection_reason,
        exchange_error_code=exchange_error_code,
    )


def _joining(name: str, arguments: Callable[P, Arguments]) -> Writer[P]:
    """Make the writer that joins the caller's transaction."""

    def record(conn: psycopg.Connection[Any], /, *args: P.args, **kwargs: P.kwargs) -> Row:
        return _call(conn, name, arguments(*args, **kwargs))

    return _named(record, name, arguments)


def _committing(what: str, arguments: Callable[P, Arguments]) -> Writer[P]:
    """Make the writer that returns when the row is on disk, unless the connection is in a transaction."""

    def append(conn: psycopg.Connection[Any], /, *args: P.args, **kwargs: P.kwargs) -> Row:
        name = f"append_{what}" if _commits_by_itself(conn) else f"record_{what}"
        row = _call(conn, name, arguments(*args, **kwargs))
        return {column: row.get(column) for column in ("id", "correlation_id", "row_hash")}

    return _named(append, f"append_{what}", arguments)


def _named(writer: Writer[P], name: str, arguments: Callable[P, Arguments]) -> Writer[P]:
    writer.__name__ = writer.__qualname__ = name
    writer.__doc__ = arguments.__doc__
    signature = inspect.signature(arguments)
    conn = inspect.Parameter("conn", inspect.Parameter.POSITIONAL_ONLY, annotation="psycopg.Connection[Any]")
    writer.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[conn, *signature.parameters.values()], return_annotation="Row"
    )
    return writer


def _commits_by_itself(conn: psycopg.Connection[Any]) -> bool:
    """Whether a CALL can commit: in autocommit, in no transaction, and in no pipeline, which is one."""
    return (
        conn.autocommit
        and conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        and conn.pgconn.pipeline_status == psycopg.pq.PipelineStatus.OFF
    )


def _loads(text: str | bytes) -> Any:
    # no closure: psycopg makes a class of each, and warns of it
    return text_if_unreadable(loads, text)


def _call(conn: psycopg.Connection[Any], name: str, arguments: Arguments) -> Row:
    with translate(), conn.cursor(row_factory=dict_row) as cursor:
        set_json_loads(_loads, cursor)
        statement = qualified(query(name), conn) if name.startswith("append_") else query(name)
        row = cursor.execute(statement, arguments).fetchone()
    assert row is not None  # each gives exactly one row
    return row


def _money(name: str, value: Any) -> Decimal:
    # by what is allowed, not by what is not: numpy's floats are of many types, and bool is an int
    is_text = isinstance(value, str) and _DIGITS.fullmatch(value)
    if isinstance(value, Decimal):
        amount = value
    elif (isinstance(value, int) and not isinstance(value, bool)) or is_text:
        amount = Decimal(value)
    else:
        raise DecimalError(
            f"AUD-001: {name} cannot be taken from {type(value).__name__} {value!r:.60}",
            detail="A binary float has lost digits before it gets here.",
            hint="Pass a decimal.Decimal, an int, or a string of decimal digits.",
            sqlstate="AUD01",
        )
    if not amount.is_finite():
        message = f"AUD-001: {name} is {amount}"
        raise DecimalError(message, detail=f"{amount} is not an amount.", sqlstate="AUD01")
    return amount


def _optional_money(name: str, value: Any) -> Decimal | None:
    return None if value is None else _money(name, value)


def _json(value: Json) -> Jsonb | str:
    return value if isinstance(value, str) else Jsonb(value, dumps=dumps)


record_signal, append_signal = _joining("record_signal", _signal), _committing("signal", _signal)
record_ai_debate, append_ai_debate = (
    _joining("record_ai_debate", _ai_debate),
    _committing("ai_debate", _ai_debate),
)
record_order, append_order = _joining("record_order", _order), _committing("order", _order)
record_order_event, append_order_event = (
    _joining("record_order_event", _order_event),
    _committing("order_event", _order_event),
)
