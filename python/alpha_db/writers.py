"""Thin calls of the writing functions (design section 5), which refuse floats before they reach the wire.

Each joins the transaction that the connection is in; the caller commits. Each returns the stored row as a
dict, with the fractions in its JSON as Decimal. Money is a Decimal, an int, or a string of decimal digits; a
float has lost digits already, so it raises DecimalError (AUD-001). JSON is a dict or list, or JSON text as it
arrived. To keep a payload's digits, read it with ``json.loads(text, parse_float=decimal.Decimal)``, or hand
over the text.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb, set_json_loads

from alpha_db.errors import DecimalError, translate
from alpha_db.exact_json import dumps, loads
from alpha_db.queries import query

#: What the functions take for an amount.
Money = Decimal | int | str
#: What they take for JSON: a value, or the JSON text itself.
Json = Mapping[str, Any] | Sequence[Any] | str

Row = dict[str, Any]

_DIGITS = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")


def record_signal(
    conn: psycopg.Connection[Any],
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
) -> Row:
    """Record a signal, or return the row that is there already for this signal_id with the same content.

    Raises DecimalError (AUD-001), SignalConflict (AUD-010: signal_id used with other content) and
    ChainMismatch (AUD-009: lockdown). Source: design section 5.
    """
    return _call(
        conn,
        "record_signal",
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


def record_ai_debate(
    conn: psycopg.Connection[Any],
    *,
    correlation_id: UUID | str,
    model_name: str,
    reasoning_json: Json,
    confidence_score: Money,
    elapsed_ms: int,
    is_timeout: bool = False,
) -> Row:
    """Record what a model said about a signal.

    Raises DecimalError (AUD-001), UnknownReference (AUD-008: no such signal) and ChainMismatch (AUD-009:
    lockdown). Source: design section 5.
    """
    return _call(
        conn,
        "record_ai_debate",
        correlation_id=correlation_id,
        model_name=model_name,
        reasoning_json=_json(reasoning_json),
        confidence_score=_money("confidence_score", confidence_score),
        elapsed_ms=operator.index(elapsed_ms),
        is_timeout=is_timeout,
    )


def record_order(
    conn: psycopg.Connection[Any],
    *,
    correlation_id: UUID | str,
    order_type: str,
    symbol: str,
    side: str,
    quantity: Money,
    price: Money | None = None,
    exchange_order_id: str | None = None,
    status: str = "PENDING",
) -> Row:
    """Record an order: PENDING before it is sent, and again with its exchange_order_id. No price for MARKET.

    Raises DecimalError (AUD-001), UnknownReference (AUD-008: no such signal) and ChainMismatch (AUD-009:
    lockdown). Source: design section 5.
    """
    return _call(
        conn,
        "record_order",
        correlation_id=correlation_id,
        order_type=order_type,
        symbol=symbol,
        side=side,
        quantity=_money("quantity", quantity),
        price=_optional_money("price", price),
        exchange_order_id=exchange_order_id,
        status=status,
    )


def record_order_event(
    conn: psycopg.Connection[Any],
    *,
    order_execution_id: int,
    event_type: str,
    fill_quantity: Money | None = None,
    fill_price: Money | None = None,
    zar_equity: Money | None = None,
    positions_closed: Sequence[Any] | str | None = None,
    rejection_reason: str | None = None,
    exchange_error_code: str | None = None,
) -> Row:
    """Record what happened to an order; this table stays open in a lockdown.

    Raises DecimalError (AUD-001) and UnknownReference (AUD-008: no such order). Source: design section 5.
    """
    return _call(
        conn,
        "record_order_event",
        order_execution_id=operator.index(order_execution_id),
        event_type=event_type,
        fill_quantity=_optional_money("fill_quantity", fill_quantity),
        fill_price=_optional_money("fill_price", fill_price),
        zar_equity=_optional_money("zar_equity", zar_equity),
        positions_closed=None if positions_closed is None else _json(positions_closed),
        rejection_reason=rejection_reason,
        exchange_error_code=exchange_error_code,
    )


def _call(conn: psycopg.Connection[Any], name: str, **arguments: object) -> Row:
    with translate(), conn.cursor(row_factory=dict_row) as cursor:
        set_json_loads(loads, cursor)
        row = cursor.execute(query(name), arguments).fetchone()
    assert row is not None  # the functions return exactly one row
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
