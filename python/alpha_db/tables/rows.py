"""Writing a row of a table of your own (docs/own-tables.md).

Both functions take the table's name and a mapping with a value for each column, and return ``{"id", "row_hash",
"is_new"}``; ``is_new`` is false if a retry found the row there already. A column that is left out, or None, gets its
default.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, TypedDict, cast
from uuid import UUID

import psycopg
from psycopg import pq
from psycopg.rows import dict_row

from alpha_db.errors import DecimalError, WrongType, shorten, translate
from alpha_db.exact_json import dumps
from alpha_db.loaders import read_as_stored
from alpha_db.pooled import qualified
from alpha_db.queries import query

#: Printed as their columns read them.
_AS_TEXT = (UUID, IPv4Address, IPv6Address, IPv4Network, IPv6Network)


class WrittenRow(TypedDict):
    """Where a row of an own table stands."""

    id: int
    row_hash: str
    is_new: bool


def record_row(conn: psycopg.Connection[Any], table: str, row: Mapping[str, Any], /) -> WrittenRow:
    """Write a row in the transaction that the connection is in; the caller commits.

    Raises DecimalError for a number that the column would round, or a float; KeyConflict if its key is there with
    other content; ChainMismatch in a lockdown; WrongType and what else the database refuses.
    Source: docs/own-tables.md.
    """
    return _write(conn, query("record_row"), table, row)


def append_row(conn: psycopg.Connection[Any], table: str, row: Mapping[str, Any], /) -> WrittenRow:
    """As record_row, and the row is on disk when this returns, unless the connection is in a transaction.

    Raises what record_row raises. Source: docs/own-tables.md.
    """
    commits = (
        conn.autocommit
        and conn.info.transaction_status == pq.TransactionStatus.IDLE
        and conn.pgconn.pipeline_status == pq.PipelineStatus.OFF
    )
    statement = qualified(query("append_row"), conn) if commits else query("record_row")
    return _write(conn, statement, table, row)


def _write(conn: psycopg.Connection[Any], statement: Any, table: str, row: Mapping[str, Any]) -> WrittenRow:
    if not isinstance(table, str) or not isinstance(row, Mapping):
        raise WrongType(
            "a row is a table's name and a mapping",
            hint='Pass "trades", {"symbol": "BTCZAR"}.',
            sqlstate="42804",
        )
    content = dumps({name: _printed(name, value) for name, value in row.items()})
    with translate(), conn.cursor(row_factory=dict_row) as cursor:
        read_as_stored(cursor)
        (found,) = cursor.execute(statement, {"table_name": table, "content": content}).fetchall()
    return cast(WrittenRow, found["result"])


def _printed(name: object, value: Any) -> Any:
    if isinstance(value, float):
        raise DecimalError(
            f"AUD-001: {shorten(str(name), 60)} is a binary float",
            detail="Binary floats cannot hold most decimal fractions.",
            hint="Pass a decimal.Decimal, an int, or a string of decimal digits.",
            sqlstate="AUD01",
            column=str(name),
        )
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return rf"\x{bytes(value).hex()}"
    return str(value) if isinstance(value, _AS_TEXT) else value
