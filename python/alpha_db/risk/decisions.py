"""What the guardrail answered, on record: record_decision and append_decision, and what they are given of an order.

Source: docs/risk.md, "The decision is recorded".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, Unpack
from uuid import UUID

from alpha_db import arguments, writers
from alpha_db.calls import Call, Connection, connection_of, gives, statement_of
from alpha_db.errors import AlphaDbError, WrongCall, WrongType, shorten
from alpha_db.risk.orders import Decision, Order, Side, reduces
from alpha_db.takes import Money

if TYPE_CHECKING:
    from alpha_db.service.results import Appended

#: How much of a reason is kept; a symbol cannot be longer than its column.
_LONGEST_REASON, _LONGEST_SYMBOL = 2000, 500


class DecisionArguments(TypedDict):
    """A decision about an order. What of the order could not be read is None."""

    correlation_id: UUID | str | None
    symbol: str | None
    side: str | None
    quantity: Money | None
    price: Money | None
    position: Money | None
    allowed: bool
    reason: str
    mode: str
    risk_version: NotRequired[int | None]
    state_hash: NotRequired[str | None]
    decision_maker: NotRequired[str | None]
    decided_at: NotRequired[datetime | None]


class RecordedDecision(TypedDict):
    """A row of risk_decisions. `limits` is what the database found for that version and hash."""

    id: int
    correlation_id: UUID | None
    symbol: str | None
    side: str | None
    quantity: Decimal | None
    price: Decimal | None
    position: Decimal | None
    allowed: bool
    reason: str
    mode: str
    risk_version: int | None
    state_hash: str | None
    limits: dict[str, Any] | None
    decision_maker: str | None
    decided_at: datetime
    row_hash: str
    created_at: datetime
    recorded_by: str
    is_new: bool


def record_decision(conn: writers.Connection, /, **given: Unpack[DecisionArguments]) -> RecordedDecision:
    """Record a decision in the transaction that the connection is in, and return its row.

    Open in a lockdown; every call is a row. Raises DecimalError (AUD-001), UnknownReference (AUD-008: no such signal)
    and what the database refuses: a permission that is not complete.
    """
    row: RecordedDecision = writers.run(conn, prepare("record_decision", conn, given))
    return row


def append_decision(conn: writers.Connection, /, **given: Unpack[DecisionArguments]) -> Appended:
    """As record_decision, and the row is on disk when this returns, unless the connection is in a transaction."""
    where: Appended = writers.run(conn, prepare("append_decision", conn, given))
    return where


def prepare(name: str, conn: Connection, given: DecisionArguments, *, is_async: bool = False) -> Call:
    """Return the call of record_decision or append_decision, to be sent by a connection of either kind.

    Raises what it refuses, before anything is sent.
    """
    connection_of(name, (conn,), is_async=is_async)
    values: dict[str, object] = {}
    for column in given:
        if column not in _READERS:
            raise WrongCall(
                f"{name} takes no argument {shorten(str(column), 60)}", hint=_HINT, sqlstate="42883"
            )
    for column, reader in _READERS.items():
        if column not in given and column not in _MAY_BE_LEFT_OUT:
            raise WrongType(f"{column} is missing", hint=f"Pass {column}.", sqlstate="23502", column=column)
        value = given.get(column)
        values[column] = None if value is None and column not in _NEEDED else reader(column, value)
    return Call(statement_of(conn, name), values, gives(*name.split("_")))


def to_record(
    order: Order,
    decision: Decision,
    *,
    correlation_id: UUID | str | None = None,
    decision_maker: str | None = None,
) -> tuple[Decision, DecisionArguments]:
    """Return what is recorded of a decision, and the decision that it says.

    An order that is allowed but cannot be recorded exactly is refused: a twelfth decimal, a symbol that is no text.
    What of a refused order cannot be recorded is left out. Raises nothing, whatever the order is.
    """
    read, problems = _columns(order)
    if decision and problems.keys() - ({"price"} if reduces(order) else set()):
        why = "; ".join(problems.values())
        decision = replace(
            decision, allowed=False, reason=f"it cannot be recorded as it would be sent: {why}"
        )
    recorded: DecisionArguments = {
        "correlation_id": correlation_id,
        **read,  # type: ignore[typeddict-item]
        "allowed": decision.allowed,
        "reason": _storable(decision.reason),
        "mode": decision.mode,
        "risk_version": decision.version,
        "state_hash": decision.state_hash,
        "decision_maker": decision_maker,
        "decided_at": decision.decided_at,
    }
    return decision, recorded


def _columns(order: Order) -> tuple[dict[str, Any], dict[str, str]]:
    """What of an order can be recorded, and what cannot, and why. A price that was not given is neither."""
    read: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for column, reader in _OF_ORDER.items():
        try:
            value = getattr(order, column)
            read[column] = None if column == "price" and value is None else reader(value)
        except Exception as problem:  # whatever the order is
            read[column] = None
            problems[column] = f"{column} {_storable(str(problem))}"
    return read, problems


def _symbol(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"is no text: it came as {type(value).__name__}")
    said = str.__str__(value)
    if not said.strip():
        raise ValueError("is blank")
    if len(said) > _LONGEST_SYMBOL:
        raise ValueError(f"has more than {_LONGEST_SYMBOL} characters")
    try:
        return arguments.sendable("symbol", said)
    except AlphaDbError:
        raise ValueError("cannot be stored as a text") from None


def _amount(value: Any) -> Decimal:
    if not isinstance(value, Decimal) or not Decimal(value).is_finite():
        raise TypeError("is no finite Decimal")
    amount = Decimal(value)
    if not arguments.fits(amount, 28, 10):
        raise ValueError(f"{shorten(str(amount), 60)} has more than 10 decimals, or 18 digits before them")
    return amount


def _storable(said: str) -> str:
    text = said.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return shorten(text, _LONGEST_REASON) if text.strip() else "no reason was given"


def _moment(column: str, value: Any) -> datetime:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        said = f"{column} is not a moment: it came as {type(value).__name__}"
        hint = "Pass a datetime with its time zone: datetime.now(UTC)."
        raise WrongType(said, hint=hint, sqlstate="42804", column=column)
    return value


_OF_ORDER: dict[str, Callable[[Any], object]] = {
    "symbol": _symbol,
    "side": lambda value: Side(value).value,
    "quantity": _amount,
    "price": _amount,
    "position": _amount,
}
_NEEDED = ("allowed", "reason", "mode")
_MAY_BE_LEFT_OUT = ("risk_version", "state_hash", "decision_maker", "decided_at")
_READERS: dict[str, Callable[[str, Any], object]] = {
    "correlation_id": arguments.uuid,
    "symbol": arguments.text,
    "side": arguments.text,
    "quantity": arguments.money,
    "price": arguments.money,
    "position": arguments.money,
    "allowed": arguments.flag,
    "reason": arguments.text,
    "mode": arguments.text,
    "risk_version": lambda column, value: arguments.whole(column, value, bits=64),
    "state_hash": arguments.text,
    "decision_maker": arguments.text,
    "decided_at": _moment,
}
_HINT = f"Pass by name: {', '.join(_READERS)}."
