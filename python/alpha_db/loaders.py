"""Reading what PostgreSQL holds and Python cannot: as the server's text, so that no row hides the others.

A time before year 1 or after 9999, 'infinity', an interval of a million years, JSON that is nested too deeply: psycopg
raises for each, and the whole result is lost. JSON is read exactly (exact_json): a fraction is a Decimal.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Loader
from psycopg.types import bool as flags
from psycopg.types import datetime as times
from psycopg.types import net, numeric, string, uuid

from alpha_db.exact_json import loads


def read_what_is_there(
    reader: psycopg.BaseConnection[Any] | psycopg.Cursor[Any] | psycopg.AsyncCursor[Any],
) -> None:
    """Make a connection or a cursor give text for a value that Python has not, instead of raising DataError."""
    for name, loader in _LOADERS.items():
        reader.adapters.register_loader(name, loader)


def read_as_stored(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> None:
    """Make a cursor read every type of the audit tables by loaders of this package's choice.

    A row that was committed is returned, even if the connection has a loader of its own that raises or rounds.
    """
    for name, loader in _PLAIN.items():
        cursor.adapters.register_loader(name, loader)
    read_what_is_there(cursor)


def _or_text(base: type[Loader]) -> type[Loader]:
    """A loader that gives text for what `base` refuses."""

    class OrText(base):  # type: ignore[valid-type, misc]
        def load(self, data: Buffer) -> Any:
            try:
                return super().load(data)
            # psycopg's own word for a DateStyle or IntervalStyle that it cannot read is NotImplementedError
            except (psycopg.Error, NotImplementedError, ValueError, ArithmeticError):
                return bytes(data).decode("utf-8", "backslashreplace")

    return OrText


class _ExactJson(Loader):
    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._encoding = "utf-8"
        # psycopg's own word for an encoding that Python has not is NotImplementedError
        with suppress(psycopg.Error, NotImplementedError):
            if self.connection and self.connection.info.encoding != "ascii":
                self._encoding = self.connection.info.encoding

    def load(self, data: Buffer) -> Any:
        return loads(bytes(data).decode(self._encoding, "backslashreplace"))


_LOADERS: dict[str, type[Loader]] = {
    "date": _or_text(times.DateLoader),
    "time": _or_text(times.TimeLoader),
    "timetz": _or_text(times.TimetzLoader),
    "timestamp": _or_text(times.TimestampLoader),
    "timestamptz": _or_text(times.TimestamptzLoader),
    "interval": _or_text(times.IntervalLoader),
    "inet": _or_text(net.InetLoader),
    "cidr": _or_text(net.CidrLoader),
    "json": _ExactJson,
    "jsonb": _ExactJson,
}

_PLAIN: dict[str, type[Loader]] = {
    "bool": flags.BoolLoader,
    "bpchar": string.TextLoader,
    "int4": numeric.IntLoader,
    "int8": numeric.IntLoader,
    "numeric": numeric.NumericLoader,
    "text": string.TextLoader,
    "uuid": uuid.UUIDLoader,
    "varchar": string.TextLoader,
}
