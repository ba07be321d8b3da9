"""What the writers' arguments must be, looked at before anything is sent: each refusal names its column.

What only the database can judge (lengths, keys, rules between columns) is left to it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_interface
from math import isfinite
from typing import Any
from uuid import UUID

from alpha_db.errors import AlphaDbError, DecimalError, ValueRefused, WrongType, shorten
from alpha_db.exact_json import dumps
from alpha_db.sqlstates import HINTS

#: The columns of JSON.
JSON = frozenset(("raw_payload", "reasoning_json", "positions_closed", "headers"))
_DIGITS = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_MONEY = "Pass a decimal.Decimal, an int, or a string of decimal digits."
# PostgreSQL's numeric has so many digits before the point and behind it; it would round, or overflow
_MOST_BEFORE, _MOST_BEHIND = 131072, 16383
_PLACEHOLDER = re.compile(r"\{\{[^{}]*\}\}")
#: What is wrong with a text that is no amount, by what it looks like without the blanks around it.
_LOOKS_LIKE = (
    (_DIGITS.pattern, "leave out the blanks around it."),
    (r"[+-]?0[xXoObB]\w+", "only decimal digits are taken."),
    (r"[+-]?[0-9_.eE+-]*_[0-9_.eE+-]*", "leave out the underscores."),
    (r"[+-]?[0-9][0-9.,' ]*", "the decimal separator is a point, and digits are not grouped."),
    (r"[+-]?[0-9.]+[eE][+-]?[0-9]{5,}", "no column holds so many digits."),
)


def read(given: Mapping[str, Any], may_be_none: Collection[str]) -> dict[str, object]:
    """Return the arguments of a writer as they are sent.

    Raises DecimalError (AUD-001), ValueRefused and WrongType, also for a value whose own code raises while it is read.
    """
    values: dict[str, object] = {}
    for column, value in given.items():
        try:
            is_left_out = value is None and column in may_be_none
            values[column] = None if is_left_out else _READERS[column](column, value)
        except (AlphaDbError, MemoryError):
            raise
        except Exception as problem:
            said = f"{column} cannot be read: its {type(value).__name__} raised {type(problem).__name__}"
            hint = "Pass a value of a plain type: str, int, Decimal, dict, list."
            raise WrongType(said, hint=hint, sqlstate="42804", column=column) from problem
    return values


def money(column: str, value: Any) -> Decimal:
    """Return an amount exactly. Raises DecimalError (AUD-001), whose DETAIL says what is wrong with this value."""
    # by what is allowed, not by what is not: numpy's floats are of many types, and bool is an int
    is_text = isinstance(value, str) and _DIGITS.fullmatch(value)
    # of a subclass a plain Decimal is made: its own methods are not asked what is sent
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not (isinstance(value, Decimal) or is_whole or is_text):
        raise _no_amount(column, *_wrong_with(value))
    amount = Decimal(value)
    if not amount.is_finite():
        raise _no_amount(column, f"is {amount}", f"{amount} is not an amount.")
    exponent = amount.as_tuple().exponent
    if amount.adjusted() >= _MOST_BEFORE or (isinstance(exponent, int) and -exponent > _MOST_BEHIND):
        raise _no_amount(column, "has too many digits", "No column holds so many digits.")
    return amount


def fits(amount: Decimal, digits: int, scale: int) -> bool:
    """Return whether a column decimal(digits, scale) holds an amount exactly."""
    if not amount:
        return True
    _, numbers, exponent = amount.as_tuple()
    zeros = next((place for place, number in enumerate(reversed(numbers)) if number), 0)
    return isinstance(exponent, int) and -(exponent + zeros) <= scale and amount.adjusted() < digits - scale


def text(column: str, value: Any) -> str:
    """Return a text that must be given. Raises ValueRefused, WrongType."""
    _require(column, value, str, "a text", "Pass a str.")
    return sendable(column, str.__str__(value))  # of an Enum its value, where psycopg would send its name


def identifier(column: str, value: Any) -> str:
    """As text(), for keys and names, which no placeholder may stand in. Raises ValueRefused, WrongType."""
    given = text(column, value)
    if _PLACEHOLDER.search(given):
        raise ValueRefused(
            f"{column} holds a placeholder that the sender did not fill in",
            detail=f'It is "{shorten(given, 60)}".',
            hint="Have the sender fill it in: a name between {{ and }} is none of its placeholders.",
            sqlstate="23514",
            column=column,
        )
    return given


def whole(column: str, value: Any, bits: int) -> int:
    """Return a whole number that fits a column of so many bits. Raises ValueRefused, WrongType."""
    if value is None:
        raise WrongType(
            f"{column} is missing", hint=f"Pass {column}, an int.", sqlstate="23502", column=column
        )
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise _wrong_type(column, value, "a whole number", "Pass an int.")
    number = int(operator.index(value))
    most = 2 ** (bits - 1) - 1
    if not -most <= number <= most:
        detail, hint = f"It has {number.bit_length()} bits.", f"From {-most} to {most}."
        raise ValueRefused(
            f"{column} is out of range", detail=detail, hint=hint, sqlstate="22003", column=column
        )
    return number


def flag(column: str, value: Any) -> bool:
    """Return true or false. Raises WrongType."""
    if not isinstance(value, bool):
        raise _wrong_type(column, value, "true or false", "Pass True or False.")
    return value


def uuid(column: str, value: Any) -> UUID:
    """Return a uuid. Raises ValueRefused, WrongType."""
    _require(column, value, str | UUID, "a uuid", "Pass a uuid.UUID or its text.")
    if isinstance(value, UUID):
        return UUID(int=value.int)
    try:
        return UUID(str.__str__(value))
    except ValueError:
        hint = "Pass the correlation_id that record_signal returned."
        raise _malformed(column, value, "a uuid", hint) from None


def address(column: str, value: Any) -> str:
    """Return an address of the network. Raises ValueRefused, WrongType."""
    hint = "Pass the address as text, or an ipaddress.IPv4Address."
    _require(column, value, str | IPv4Address | IPv6Address, "an address", hint)
    try:
        ip_interface(str(value))
    except ValueError:
        hint = "Pass an IPv4 or IPv6 address without port and name: 203.0.113.7."
        raise _malformed(column, str(value), "an address", hint) from None
    if "%" in str(value):
        hint = "Leave out the zone, which stands behind the percent sign."
        raise _malformed(column, str(value), "an address that can be stored", hint)
    return str(value)


def json_text(column: str, value: Any) -> str:
    """Return JSON as the text that is sent. Raises DecimalError (AUD-001), ValueRefused, WrongType."""
    if isinstance(value, str):
        return text(column, value)
    if isinstance(value, bytes | bytearray | memoryview):
        hint = "Pass a dict, a list, or JSON text: body.decode() of a webhook's body."
        raise _wrong_type(column, value, "JSON", hint)
    _require(column, value, object, "JSON", "")
    try:
        return dumps(value)
    except DecimalError as problem:
        problem.column = column
        raise
    except WrongType as problem:
        said = f"{column}: {problem.message}"
        raise WrongType(said, hint=problem.hint, sqlstate="42804", column=column) from None


def body(column: str, value: Any) -> bytes:
    """Return the bytes of a webhook. Raises WrongType for a text, whose bytes may be others than those that arrived."""
    _require(
        column, value, bytes | bytearray | memoryview, "bytes", "Pass the bytes that arrived, undecoded."
    )
    return bytes(value)


def sendable(column: str, value: str) -> str:
    """Return a text that the database can hold. Raises ValueRefused."""
    if "\0" in value:
        problem = "holds a NUL character"
    elif not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        problem = "holds half of a character (a lone surrogate)"
    else:
        return value
    raise ValueRefused(f"{column} {problem}", hint=HINTS["22021"], sqlstate="22021", column=column)


def _no_amount(column: str, problem: str, detail: str) -> DecimalError:
    said = f"AUD-001: {column} {problem}"
    return DecimalError(said, detail=detail, hint=_MONEY, sqlstate="AUD01", column=column)


def _wrong_with(value: Any) -> tuple[str, str]:
    """What is wrong with a value that is no amount: for the message, and in a sentence."""
    kind = type(value).__name__
    if value is None:
        return "is missing", "It is missing, and the column must be given."
    if isinstance(value, str):
        return "is not a decimal number", _wrong_with_text(value)
    if isinstance(value, bool):
        return "is not a decimal number", f"It is {str(value).lower()}, a truth value."
    if isinstance(value, bytes | bytearray | memoryview):
        return f"cannot be taken from {kind}", "It came as bytes: decode them first."
    if isinstance(value, float) and not isfinite(value):
        return f"is {value}", f"{value} is not an amount."
    if isinstance(value, float) or "float" in kind.lower():
        return f"cannot be taken from {kind}", "A binary float has lost digits before it gets here."
    return f"cannot be taken from {kind}", f"{kind} is not a decimal number."


def _wrong_with_text(value: str) -> str:
    shown, bare = f'It is "{shorten(value, 60)}"', value.strip()
    if not bare:
        return "It is empty." if not value else "It is blank."
    if "{{" in value or "}}" in value or re.match(r"\$\{|<\w+>|%\w", value):
        return f"{shown}: a placeholder that the sender did not fill in."
    if re.fullmatch(r"[+-]?(nan|snan|inf|infinity)", bare, re.IGNORECASE):
        return f"{bare} is not an amount."
    for look, what in _LOOKS_LIKE:
        if re.fullmatch(look, bare):
            return f"{shown}: {what}"
    if any(character.isdigit() and not character.isascii() for character in bare):
        return f"{shown}: only the digits 0 to 9 are taken."
    return f"{shown}, which is not a decimal number."


def _require(column: str, value: Any, kinds: Any, wanted: str, hint: str) -> None:
    if value is None:
        raise ValueRefused(f"{column} is missing", hint=f"Pass {column}.", sqlstate="23502", column=column)
    if not isinstance(value, kinds):
        raise _wrong_type(column, value, wanted, hint)


def _wrong_type(column: str, value: Any, wanted: str, hint: str) -> WrongType:
    said = f"{column} is not {wanted}: it came as {type(value).__name__}"
    return WrongType(said, hint=hint, sqlstate="42804", column=column)


def _malformed(column: str, value: str, wanted: str, hint: str) -> ValueRefused:
    detail = f'It is "{shorten(value)}".' if value else "It is empty."
    said = f"{column} is not {wanted}"
    return ValueRefused(said, detail=detail, hint=hint, sqlstate="22P02", column=column)


_TAKES: tuple[tuple[str, Callable[[str, Any], object]], ...] = (
    ("price stop_price quantity confidence_score fill_quantity fill_price zar_equity", money),
    ("signal_id symbol model_name exchange_order_id client_order_id exchange_event_id", identifier),
    ("side order_type status event_type rejection_reason exchange_error_code exchange_status", text),
    ("model_version decision_maker content_type signature", text),
    (" ".join(JSON), json_text),
    ("raw_body", body),
    ("hmac_verified is_timeout", flag),
    ("correlation_id", uuid),
    ("source_ip", address),
    ("elapsed_ms", partial(whole, bits=32)),
    ("order_execution_id delivery_id", partial(whole, bits=64)),
)
_READERS = {column: reader for columns, reader in _TAKES for column in columns.split()}
