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
    levels: list[tuple[Iterator[tuple[str, Any]], str, Any]] = []
    is_open: set[int] = set()

    def put(item: Any) -> None:
        if isinstance(item, Mapping):
            begin(item, ((f"{_key(key)}: ", inner) for key, inner in item.items()), "{", "}")
        elif isinstance(item, Sequence) and not isinstance(item, str | bytes | bytearray | memoryview):
            begin(item, (("", inner) for inner in item), "[", "]")
        else:
            printed.append(_scalar(item))

    def begin(item: Any, inner: Iterator[tuple[str, Any]], first: str, last: str) -> None:
        if id(item) in is_open:
            raise WrongType("a value that contains itself is not JSON", hint="Pass a copy without the cycle.")
        is_open.add(id(item))
        printed.append(first)
        levels.append((inner, last, item))

    put(value)
    is_first = True
    while levels:
        inner, last, item = levels[-1]
        before = len(levels)
        for label, found in inner:
            printed.append(label if is_first else f", {label}")
            is_first = False
            put(found)
            if len(levels) > before:
                is_first = True
                break
        else:
            printed.append(last)
            is_open.discard(id(item))
            levels.pop()
            is_first = False
    return "".join(printed)


def loads(text: str | bytes) -> Any:
    """Return the value of JSON text, every number exact; JsonText if Python has no value for it. Raises nothing.

    Takes JSON as PostgreSQL prints it, in UTF-8.
    """
    try:
        value = _parse(text)
    except (ValueError, ArithmeticError, RecursionError):
        return _as_text(text)
    return _as_text(text) if _may_be_deep(text) and _is_deep(value) else value


def _parse(text: str | bytes) -> Any:
    try:
        return json.loads(text, parse_float=Decimal)
    except ValueError:
        # an integer of more digits than sys.get_int_max_str_digits(), or no JSON
        return json.loads(text, parse_float=Decimal, parse_int=_whole)


def _as_text(text: str | bytes) -> JsonText:
    return JsonText(text if isinstance(text, str) else text.decode("utf-8", "backslashreplace"))


def _whole(digits: str) -> int | Decimal:
    try:
        return int(digits)
    except ValueError:
        return Decimal(digits)


def _may_be_deep(text: str | bytes) -> bool:
    if isinstance(text, str):
        return text.count("[") + text.count("{") > DEEPEST
    return text.count(b"[") + text.count(b"{") > DEEPEST


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
