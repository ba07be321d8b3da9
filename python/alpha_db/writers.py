"""Thin calls of the writing functions and procedures (docs/sql-api.md); floats are refused before they reach the wire.

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

import inspect
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Concatenate, ParamSpec
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from alpha_db.arguments import (
    Json,
    Money,
    address,
    fits,
    flag,
    identifier,
    json_text,
    money,
    optional_identifier,
    optional_money,
    optional_text,
    text,
    uuid,
    whole,
)
from alpha_db.errors import AlphaDbError, WrongCall, WrongType, shorten, shown, translate
from alpha_db.loaders import read_as_stored
from alpha_db.pooled import qualified
from alpha_db.queries import query

Row = dict[str, Any]
Arguments = dict[str, object]
P = ParamSpec("P")
_JSON = ("raw_payload", "reasoning_json", "positions_closed")
Writer = Callable[Concatenate[psycopg.Connection[Any], P], Row]


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
        signal_id=identifier("signal_id", signal_id),
        symbol=identifier("symbol", symbol),
        side=text("side", side),
        price=money("price", price),
        quantity=money("quantity", quantity),
        raw_payload=json_text("raw_payload", raw_payload),
        source_ip=address("source_ip", source_ip),
        hmac_verified=flag("hmac_verified", hmac_verified),
        correlation_id=None if correlation_id is None else uuid("correlation_id", correlation_id),
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
        correlation_id=uuid("correlation_id", correlation_id),
        model_name=identifier("model_name", model_name),
        reasoning_json=json_text("reasoning_json", reasoning_json),
        confidence_score=money("confidence_score", confidence_score),
        elapsed_ms=whole("elapsed_ms", elapsed_ms, 32),
        is_timeout=flag("is_timeout", is_timeout),
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
        correlation_id=uuid("correlation_id", correlation_id),
        order_type=text("order_type", order_type),
        symbol=identifier("symbol", symbol),
        side=text("side", side),
        quantity=money("quantity", quantity),
        price=optional_money("price", price),
        exchange_order_id=optional_identifier("exchange_order_id", exchange_order_id),
        status=text("status", status),
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
        order_execution_id=whole("order_execution_id", order_execution_id, 64),
        event_type=text("event_type", event_type),
        fill_quantity=optional_money("fill_quantity", fill_quantity),
        fill_price=optional_money("fill_price", fill_price),
        zar_equity=optional_money("zar_equity", zar_equity),
        positions_closed=None
        if positions_closed is None
        else json_text("positions_closed", positions_closed),
        rejection_reason=optional_text("rejection_reason", rejection_reason),
        exchange_error_code=optional_text("exchange_error_code", exchange_error_code),
    )


def _joining(name: str, arguments: Callable[P, Arguments]) -> Writer[P]:
    """Make the writer that joins the caller's transaction."""
    check = _checker(name, arguments)

    def record(conn: psycopg.Connection[Any], /, *args: P.args, **kwargs: P.kwargs) -> Row:
        _require_connection(conn)
        check(args, kwargs)
        return _call(conn, name, arguments(*args, **kwargs))

    return _named(record, name, arguments)


def _committing(what: str, arguments: Callable[P, Arguments]) -> Writer[P]:
    """Make the writer that returns when the row is on disk, unless the connection is in a transaction."""
    check = _checker(f"append_{what}", arguments)

    def append(conn: psycopg.Connection[Any], /, *args: P.args, **kwargs: P.kwargs) -> Row:
        _require_connection(conn)
        check(args, kwargs)
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


def _checker(name: str, arguments: Callable[..., Arguments]) -> Callable[[object, dict[str, Any]], None]:
    """Make the function that refuses a call with too much or too little, by the name that the caller called."""
    takes = inspect.signature(arguments).parameters
    needed = [one.name for one in takes.values() if one.default is one.empty]

    def check(args: object, kwargs: dict[str, Any]) -> None:
        hint = f"Pass by name: {', '.join(takes)}."
        if args:
            raise WrongCall(f"{name} takes its arguments by name", hint=hint, sqlstate="42883")
        for given in kwargs:
            if given not in takes:
                said = f"{name} takes no argument {shorten(given, 60)}"
                raise WrongCall(said, hint=hint, sqlstate="42883", column=given)
        for column in needed:
            if column not in kwargs:
                raise WrongType(
                    f"{column} is missing", hint=f"Pass {column}.", sqlstate="23502", column=column
                )

    return check


def _require_connection(conn: object) -> None:
    if isinstance(conn, psycopg.AsyncConnection) or not hasattr(conn, "cursor"):
        raise WrongType(
            f"the first argument is not a connection: it came as {type(conn).__name__}",
            hint="Pass what alpha_db.connect() or psycopg.connect() returned.",
            sqlstate="42804",
            column="conn",
        )


def _commits_by_itself(conn: psycopg.Connection[Any]) -> bool:
    """Whether a CALL can commit: in autocommit, in no transaction, and in no pipeline, which is one."""
    return (
        conn.autocommit
        and conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        and conn.pgconn.pipeline_status == psycopg.pq.PipelineStatus.OFF
    )


def _call(conn: psycopg.Connection[Any], name: str, arguments: Arguments) -> Row:
    try:
        with translate(), conn.cursor(row_factory=dict_row) as cursor:
            read_as_stored(cursor)
            statement = qualified(query(name), conn) if name.startswith("append_") else query(name)
            row = cursor.execute(statement, arguments).fetchone()
    except AlphaDbError as problem:
        if problem.column is None:
            problem.column = _column_of(problem, arguments)
        if problem.sqlstate == "23514" and problem.column in arguments:
            problem.detail = f"{problem.column} is {shown(arguments[problem.column])}."
        raise
    assert row is not None  # each gives exactly one row
    return row


def _column_of(problem: AlphaDbError, arguments: Arguments) -> str | None:
    """Return which argument the database refused, where it does not say: the only one that it can be."""
    if (
        found := re.search(r"decimal\(([0-9]+),([0-9]+)\)", problem.message)
        if problem.code == "AUD-001"
        else None
    ):
        digits, scale = int(found[1]), int(found[2])
        amounts = {name: value for name, value in arguments.items() if isinstance(value, Decimal)}
        wrong = [name for name, value in amounts.items() if not fits(value, digits, scale)]
        return wrong[0] if len(wrong) == 1 else None
    if problem.sqlstate in ("22P02", "22P05", "22003", "54001"):
        return next((name for name in arguments if name in _JSON), None)
    if problem.sqlstate in ("AUD12", "54000"):  # the row is too large: what is longest in it
        lengths = {name: len(value) for name, value in arguments.items() if isinstance(value, str)}
        return max(lengths, key=lambda name: lengths[name], default=None)
    found = re.search(r"\(([0-9]+)\)", problem.message) if problem.sqlstate == "22001" else None
    if found:
        length = int(found[1])
        texts = {
            name: value for name, value in arguments.items() if isinstance(value, str) and name not in _JSON
        }
        longer = [name for name, value in texts.items() if len(value.rstrip(" ")) > length]
        return longer[0] if len(longer) == 1 else None
    return None


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
