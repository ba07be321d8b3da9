"""JSON that loses no digit and fails for no size: what PostgreSQL holds is read, what Python holds is printed.

Reading: a number with a point or an exponent is a Decimal, and so is an integer with more digits than Python reads as
an int (4,300). JSON that Python cannot hold (more than 100 levels) is a JsonText: the text itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any

from alpha_db.errors import DecimalError, WrongType

#: Levels of JSON that are read: what Python reads with less than its recursion limit, it may not be able to print.
DEEPEST = 100
_SCALARS = (str, bytes, bytearray, memoryview)


class JsonText(str):
    """JSON that Python has no value for, as its text."""

    __slots__ = ()


def dumps(value: Any) -> str:
    """Return the value as JSON text, however deep it is.

    Takes what json.dumps takes, and Decimal at any depth. A float is printed with repr(), as json does.
    Raises DecimalError (AUD-001) for NaN and infinities, which JSON has not, and WrongType (a TypeError) for other
    types and for a value that contains itself.
    """
    printed: list[str] = []
    is_open: set[int] = set()
    root: Iterator[tuple[str | None, Any]] = iter([("", value)])
    levels: list[tuple[Iterator[tuple[str | None, Any]], str, Any]] = [(root, "", None)]
    is_first = True
    while levels:
        inner, last, outer = levels[-1]
        entry: tuple[str | None, Any] = next(inner, (None, None))
        label, item = entry
        if label is None:  # the level ends
            printed.append(last)
            is_open.discard(id(outer))
            levels.pop()
            is_first = False
            continue
        printed.append(label if is_first else f", {label}")
        is_first = isinstance(item, Mapping | Sequence) and not isinstance(item, _SCALARS)
        if not is_first:
            printed.append(_scalar(item))
            continue
        if id(item) in is_open:
            raise WrongType("a value that contains itself is not JSON", hint="Pass a copy without the cycle.")
        is_open.add(id(item))
        if isinstance(item, Mapping):
            printed.append("{")
            levels.append((((f"{_key(key)}: ", each) for key, each in item.items()), "}", item))
        else:
            printed.append("[")
            levels.append((((("", each) for each in item)), "]", item))
    return "".join(printed)


def loads(text: str) -> Any:
    """Return the value of JSON as PostgreSQL prints it, every number exact; JsonText if Python has no value for it.

    Raises nothing.
    """
    try:
        try:
            value = json.loads(text, parse_float=Decimal)
        except ValueError:  # an integer of more digits than sys.get_int_max_str_digits(), or no JSON
            value = json.loads(text, parse_float=Decimal, parse_int=_whole)
    except (ValueError, ArithmeticError, RecursionError):
        return JsonText(text)
    may_be_deep = text.count("[") + text.count("{") > DEEPEST
    return JsonText(text) if may_be_deep and _is_deep(value) else value


def _whole(digits: str) -> int | Decimal:
    try:
        return int(digits)
    except ValueError:
        return Decimal(digits)


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            item
            for outer in level
            if isinstance(outer, dict | list)
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(item, dict | list) for item in level)


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise WrongType(f"a JSON key is a string, not {type(key).__name__}", hint="Make the key a string.")
    return json.dumps(key)


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, bool | str):
        return json.dumps(value)
    if isinstance(value, int):
        try:
            return int.__repr__(value)
        except ValueError:  # more digits than Python prints
            return str(Decimal(value))
    if isinstance(value, float | Decimal):
        return _number(value)
    hint = "Pass what JSON has: objects, arrays, strings, numbers, true, false and null."
    raise WrongType(f"{type(value).__name__} is not JSON", hint=hint)


def _number(value: float | Decimal) -> str:
    if not (value.is_finite() if isinstance(value, Decimal) else isfinite(value)):
        raise DecimalError(
            f"AUD-001: {value} in a JSON payload",
            detail="JSON has no such number.",
            hint="Leave the member out, or pass null.",
            sqlstate="AUD01",
        )
    return str(value) if isinstance(value, Decimal) else float.__repr__(value)
