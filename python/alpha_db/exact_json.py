"""JSON that loses no digit: a Decimal is printed as the number it is, which json.dumps cannot do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any

from alpha_db.errors import DecimalError


def dumps(value: Any) -> str:
    """Return the value as JSON text.

    Takes what json.dumps takes, and Decimal at any depth. A float is printed with repr(), as json does.
    Raises DecimalError (AUD-001) for NaN and infinities, which JSON has not, and TypeError for other types.
    """
    if value is None or isinstance(value, bool | str):
        return json.dumps(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float | Decimal):
        return _number(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)}: {dumps(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return "[" + ", ".join(dumps(item) for item in value) + "]"
    raise TypeError(f"{type(value).__name__} is not JSON: {value!r:.60}")


def loads(text: str | bytes) -> Any:
    """Return the value of JSON text, numbers with a point or an exponent as Decimal."""
    return json.loads(text, parse_float=Decimal)


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a JSON key is a string, not {type(key).__name__}: {key!r:.60}")
    return json.dumps(key)


def _number(value: float | Decimal) -> str:
    if not (value.is_finite() if isinstance(value, Decimal) else isfinite(value)):
        message = f"AUD-001: {value} in a JSON payload"
        raise DecimalError(message, detail="JSON has no such number.", sqlstate="AUD01")
    return str(value) if isinstance(value, Decimal) else float.__repr__(value)
