"""The calls of the writing functions and procedures (docs/sql/application.md).

``record_*`` join the transaction that the connection is in, and the caller commits; each returns the stored row.
``append_*`` return where a row stands that is on disk: on a connection in autocommit they CALL the procedure, which
holds no other writer up while it waits; inside a transaction, where no procedure can commit, they do what ``record_*``
do. In every result ``is_new`` is false if a retry found the row there already.

Money is a Decimal, an int, or a string of decimal digits; a float has lost digits already, so it raises
DecimalError (AUD-001). JSON is a dict or list, or JSON text as it arrived. To keep a payload's digits, read it with
``json.loads(text, parse_float=decimal.Decimal)``, or hand over the text.

What was stored is returned, whatever it holds: in a returned row's JSON every number is exact (fractions and integers
of more than 4,300 digits are Decimal), JSON of more than 100 levels is a JsonText, a str.
"""

# Each record_* below is a declaration: @_writer sends the call of its name.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, Unpack

import psycopg
from psycopg.rows import dict_row

from alpha_db import takes
from alpha_db.calls import Call, declared, prepare
from alpha_db.loaders import read_as_stored

if TYPE_CHECKING:
    from alpha_db.service.results import (
        Appended,
        AppendedOrderEvent,
        AppendedWebhook,
        RecordedAiDebate,
        RecordedOrder,
        RecordedOrderEvent,
        RecordedSignal,
        RecordedWebhook,
    )

Connection = psycopg.Connection[Any]
P = ParamSpec("P")
T = TypeVar("T")


def run(conn: Connection, call: Call) -> Any:
    """Send a call, and return what the writer gives."""
    with call.problems(), conn.cursor(row_factory=dict_row) as cursor:
        read_as_stored(cursor)
        return call.result(cursor.execute(call.statement, call.values).fetchall())


def _writer(writer: Callable[Concatenate[Connection, P], T]) -> Callable[Concatenate[Connection, P], T]:
    gives = writer.__annotations__["return"]
    return declared(writer, writer.__name__, writer.__doc__, gives, _call)  # type: ignore[no-any-return]


def _append(
    writer: Callable[Concatenate[Connection, P], Any],
) -> Callable[Concatenate[Connection, P], Appended]:
    name = writer.__name__.replace("record_", "append_")
    doc = f"As {writer.__name__}, and the row is on disk when this returns, unless the connection is in a transaction."
    return declared(writer, name, doc, "Appended", _call)  # type: ignore[no-any-return]


def _call(name: str, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
    call = prepare(name, args, given)
    return run(args[0], call)


@_writer
def record_webhook(conn: Connection, /, **given: Unpack[takes.WebhookArguments]) -> RecordedWebhook:
    """Record a delivery byte for byte, before anything is parsed; return its body as JSON, or why it is none.

    Every call is a row. Open in a lockdown. Source: docs/sql/application.md.
    """


@_writer
def append_webhook(conn: Connection, /, **given: Unpack[takes.WebhookArguments]) -> AppendedWebhook:
    """As record_webhook, and the row is on disk when this returns, unless the connection is in a transaction."""


@_writer
def record_signal(conn: Connection, /, **given: Unpack[takes.SignalArguments]) -> RecordedSignal:
    """Record a signal, or take the row that is there already for this signal_id with the same content.

    Raises DecimalError (AUD-001), UnknownReference (AUD-008: no such delivery), KeyConflict (AUD-010: signal_id used
    with other content) and ChainMismatch (AUD-009: lockdown). Source: docs/sql/application.md.
    """


@_writer
def record_ai_debate(conn: Connection, /, **given: Unpack[takes.AiDebateArguments]) -> RecordedAiDebate:
    """Record what a model said about a signal.

    Raises DecimalError (AUD-001), UnknownReference (AUD-008: no such signal) and ChainMismatch (AUD-009:
    lockdown). Source: docs/sql/application.md.
    """


@_writer
def record_order(conn: Connection, /, **given: Unpack[takes.OrderArguments]) -> RecordedOrder:
    """Record an order: PENDING before it is sent, and again with its exchange_order_id. No price for MARKET.

    The same client_order_id and status with the same content gives the row that is there already. Raises DecimalError
    (AUD-001), UnknownReference (AUD-008: no such signal), KeyConflict (AUD-010: client_order_id used with other
    content) and ChainMismatch (AUD-009: lockdown). Source: docs/sql/application.md.
    """


@_writer
def record_order_event(conn: Connection, /, **given: Unpack[takes.OrderEventArguments]) -> RecordedOrderEvent:
    """Record what happened to an order; this table stays open in a lockdown.

    The same exchange_event_id of the same order with the same content gives the row that is there already. Raises
    DecimalError (AUD-001), UnknownReference (AUD-008: no such order) and KeyConflict (AUD-010: exchange_event_id used
    with other content). Source: docs/sql/application.md.
    """


append_signal = _append(record_signal)
append_ai_debate = _append(record_ai_debate)
append_order = _append(record_order)


@_writer
def append_order_event(conn: Connection, /, **given: Unpack[takes.OrderEventArguments]) -> AppendedOrderEvent:
    """As record_order_event, and the row is on disk when this returns, unless the connection is in a transaction."""
