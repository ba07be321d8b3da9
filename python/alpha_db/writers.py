"""Thin calls of the writing functions and procedures (docs/sql/application.md).

Floats are refused before they reach the wire.

``record_*`` join the transaction that the connection is in, and the caller commits; each returns the stored row.
``append_*`` return ``id``, ``correlation_id`` and ``row_hash`` of a row that is on disk: on a connection in
autocommit they CALL the procedure, which holds no other writer up while it waits; inside a transaction, where
no procedure can commit, they do what ``record_*`` do.

Money is a Decimal, an int, or a string of decimal digits; a float has lost digits already, so it raises
DecimalError (AUD-001). JSON is a dict or list, or JSON text as it arrived. To keep a payload's digits, read it with
``json.loads(text, parse_float=decimal.Decimal)``, or hand over the text.

What was stored is returned, whatever it holds: in a returned row's JSON every number is exact (fractions and integers
of more than 4,300 digits are Decimal), JSON of more than 100 levels is a JsonText, a str.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Any, ParamSpec, TypedDict, TypeVar
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from alpha_db import arguments
from alpha_db.arguments import Json, Money
from alpha_db.errors import AlphaDbError, WrongCall, WrongType, shorten, shown, translate
from alpha_db.loaders import read_as_stored
from alpha_db.pooled import qualified
from alpha_db.queries import query

Connection = psycopg.Connection[Any]
Row = dict[str, Any]
P = ParamSpec("P")
T = TypeVar("T")
_JSON = ("raw_payload", "reasoning_json", "positions_closed")
_DECIMAL = re.compile(r"decimal\(([0-9]+),([0-9]+)\)")


class Appended(TypedDict):
    """What an append gives: where the row stands."""

    id: int
    correlation_id: UUID | None
    row_hash: str


def _by_name(writer: Callable[P, T]) -> Callable[P, T]:
    """Refuse a call with too much or too little in our words: WrongCall, or WrongType for what is missing."""
    takes = list(inspect.signature(writer, eval_str=False).parameters.values())[1:]
    hint = f"Pass by name: {', '.join(one.name for one in takes)}."
    needed = [one.name for one in takes if one.default is one.empty]

    @functools.wraps(writer)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        _require_connection(*args[:1])
        if len(args) > 1:
            raise WrongCall(f"{writer.__name__} takes its arguments by name", hint=hint, sqlstate="42883")
        for given in kwargs.keys() - {one.name for one in takes}:
            said = f"{writer.__name__} takes no argument {shorten(given, 60)}"
            raise WrongCall(said, hint=hint, sqlstate="42883", column=given)
        for column in needed:
            if column not in kwargs:
                raise WrongType(
                    f"{column} is missing", hint=f"Pass {column}.", sqlstate="23502", column=column
                )
        return writer(*args, **kwargs)

    return checked


@_by_name
def record_signal(
    conn: Connection,
    /,
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
    """Record a signal, or take the row that is there already for this signal_id with the same content.

    Raises DecimalError (AUD-001), SignalConflict (AUD-010: signal_id used with other content) and
    ChainMismatch (AUD-009: lockdown). Source: docs/sql/application.md.
    """
    return _record("signal", **locals())


@_by_name
def append_signal(
    conn: Connection,
    /,
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
) -> Appended:
    """As record_signal, and the row is on disk when this returns, unless the connection is in a transaction."""
    return _append("signal", **locals())


@_by_name
def record_ai_debate(
    conn: Connection,
    /,
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
    lockdown). Source: docs/sql/application.md.
    """
    return _record("ai_debate", **locals())


@_by_name
def append_ai_debate(
    conn: Connection,
    /,
    *,
    correlation_id: UUID | str,
    model_name: str,
    reasoning_json: Json,
    confidence_score: Money,
    elapsed_ms: int,
    is_timeout: bool = False,
) -> Appended:
    """As record_ai_debate, and the row is on disk when this returns, unless the connection is in a transaction."""
    return _append("ai_debate", **locals())


@_by_name
def record_order(
    conn: Connection,
    /,
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
    lockdown). Source: docs/sql/application.md.
    """
    return _record("order", **locals())


@_by_name
def append_order(
    conn: Connection,
    /,
    *,
    correlation_id: UUID | str,
    order_type: str,
    symbol: str,
    side: str,
    quantity: Money,
    price: Money | None = None,
    exchange_order_id: str | None = None,
    status: str = "PENDING",
) -> Appended:
    """As record_order, and the row is on disk when this returns, unless the connection is in a transaction."""
    return _append("order", **locals())


@_by_name
def record_order_event(
    conn: Connection,
    /,
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

    Raises DecimalError (AUD-001) and UnknownReference (AUD-008: no such order). Source: docs/sql/application.md.
    """
    return _record("order_event", **locals())


@_by_name
def append_order_event(
    conn: Connection,
    /,
    *,
    order_execution_id: int,
    event_type: str,
    fill_quantity: Money | None = None,
    fill_price: Money | None = None,
    zar_equity: Money | None = None,
    positions_closed: Sequence[Any] | str | None = None,
    rejection_reason: str | None = None,
    exchange_error_code: str | None = None,
) -> Appended:
    """As record_order_event, and the row is on disk when this returns, unless the connection is in a transaction."""
    return _append("order_event", **locals())


def _record(what: str, conn: Connection, **given: Any) -> Row:
    return _call(conn, f"record_{what}", arguments.read(what, given))


def _append(what: str, conn: Connection, **given: Any) -> Appended:
    name = f"append_{what}" if _commits_by_itself(conn) else f"record_{what}"
    row = _call(conn, name, arguments.read(what, given))
    return Appended(id=row["id"], correlation_id=row.get("correlation_id"), row_hash=row["row_hash"])


def _require_connection(conn: object = None) -> None:
    if isinstance(conn, psycopg.AsyncConnection) or not hasattr(conn, "cursor"):
        raise WrongType(
            f"the first argument is not a connection: it came as {type(conn).__name__}",
            hint="Pass what alpha_db.connect() or psycopg.connect() returned.",
            sqlstate="42804",
            column="conn",
        )


def _commits_by_itself(conn: Connection) -> bool:
    """Whether a CALL can commit: in autocommit, in no transaction, and in no pipeline, which is one."""
    return (
        conn.autocommit
        and conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        and conn.pgconn.pipeline_status == psycopg.pq.PipelineStatus.OFF
    )


def _call(conn: Connection, name: str, values: dict[str, object]) -> Row:
    try:
        with translate(), conn.cursor(row_factory=dict_row) as cursor:
            read_as_stored(cursor)
            statement = qualified(query(name), conn) if name.startswith("append_") else query(name)
            row = cursor.execute(statement, values).fetchone()
    except AlphaDbError as problem:
        if problem.column is None:
            problem.column = _column_of(problem, values)
        if problem.sqlstate == "23514" and problem.column in values:
            problem.detail = f"{problem.column} is {shown(values[problem.column])}."
        raise
    assert row is not None  # each gives exactly one row
    return row


def _column_of(problem: AlphaDbError, values: dict[str, object]) -> str | None:
    """Return which argument the database refused, where it does not say: the only one that it can be."""
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    wrong: list[str] = []
    if problem.code == "AUD-001" and (found := _DECIMAL.search(problem.message)):
        amounts = {name: value for name, value in values.items() if isinstance(value, Decimal)}
        digits, scale = int(found[1]), int(found[2])
        wrong = [name for name, value in amounts.items() if not arguments.fits(value, digits, scale)]
    elif problem.sqlstate in ("22P02", "22P05", "22003", "54001"):
        wrong = [name for name in values if name in _JSON]
    elif problem.sqlstate in ("AUD12", "54000"):  # the row is too large: what is longest in it
        wrong = [max(texts, key=lambda name: len(texts[name]))] if texts else []
    return wrong[0] if len(wrong) == 1 else None
