"""Reading what PostgreSQL holds and Python cannot: as the server's text, so that no row hides the others.

A time before year 1 or after 9999, 'infinity', an interval of a million years, JSON that is nested too deeply or has
a number that no float or int can be made of: psycopg raises for each, and the whole result is lost.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isinf
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types import datetime as times
from psycopg.types import net

#: Levels of JSON that are read: what Python reads with less than its recursion limit, it may not be able to print.
DEEPEST = 100


def text_if_unreadable(loads: Callable[[str | bytes], Any], text: str | bytes) -> Any:
    """Return what `loads` makes of JSON text, and the text itself if it cannot read it."""
    try:
        return loads(text)
    except (ValueError, ArithmeticError, RecursionError):
        return text if isinstance(text, str) else text.decode("utf-8", "backslashreplace")


def read_what_is_there(conn: psycopg.Connection[Any]) -> None:
    """Make a connection give text for a value that Python has no value for, instead of raising DataError."""
    for name, loader in _LOADERS.items():
        conn.adapters.register_loader(name, loader)


def _read_json(text: str | bytes) -> Any:
    value = json.loads(text, parse_float=_finite)
    brackets = (
        text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")
    )
    if brackets > DEEPEST and _is_deep(value):
        raise ValueError(f"more than {DEEPEST} levels")
    return value


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


def _finite(digits: str) -> float:
    number = float(digits)
    if isinf(number):
        raise ValueError(f"no float is {digits:.40}")
    return number


def _or_text(base: type[Loader]) -> type[Loader]:
    """A loader that gives text for what `base` refuses."""

    class OrText(base):  # type: ignore[valid-type, misc]
        def load(self, data: Buffer) -> Any:
            try:
                return super().load(data)
            except (psycopg.Error, NotImplementedError, ValueError, ArithmeticError):
                return bytes(data).decode("utf-8", "backslashreplace")

    OrText.__name__ = OrText.__qualname__ = f"{base.__name__}OrText"
    return OrText


class _JsonOrText(Loader):
    def load(self, data: Buffer) -> Any:
        return text_if_unreadable(_read_json, bytes(data))


_LOADERS: dict[str, type[Loader]] = {
    "date": _or_text(times.DateLoader),
    "time": _or_text(times.TimeLoader),
    "timetz": _or_text(times.TimetzLoader),
    "timestamp": _or_text(times.TimestampLoader),
    "timestamptz": _or_text(times.TimestamptzLoader),
    "interval": _or_text(times.IntervalLoader),
    "inet": _or_text(net.InetLoader),
    "cidr": _or_text(net.CidrLoader),
    "json": _JsonOrText,
    "jsonb": _JsonOrText,
}
