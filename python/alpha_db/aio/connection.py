"""Connecting as alpha_db.connect() does, awaited."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import tuple_row

from alpha_db.aio.pooled import PinningAsyncConnection, PinningAsyncCursor
from alpha_db.connection import begin, failures, is_read_only, pinning, split, without_options


async def connect(
    dsn: str | None = None, *, schema: str | None = None, **kwargs: Any
) -> psycopg.AsyncConnection[Any]:
    """Open a connection as ``alpha_db.connect()`` does, with the same arguments. Raises ConnectionFailed."""
    params, ours = split(dsn, schema, kwargs)
    with failures(dsn):
        return await open_pinned(params, **ours)


async def open_pinned(
    params: dict[str, Any], *, autocommit: bool = False, **ours: Any
) -> PinningAsyncConnection:
    """Open a connection with libpq's parameters and pin its names. Raises psycopg.Error."""
    factories = {"cursor_factory": PinningAsyncCursor, **ours}
    try:
        conn = await PinningAsyncConnection.connect(make_conninfo(**params), autocommit=True, **factories)
    except (UnicodeError, psycopg.OperationalError) as problem:
        without = without_options(params, problem)
        conn = await PinningAsyncConnection.connect(make_conninfo(**without), autocommit=True, **factories)
    begin(conn, params)
    try:
        await pin_names(conn)
        if "prepare_threshold" in ours:
            conn.prepare_threshold = ours["prepare_threshold"]
        await conn.set_autocommit(autocommit)
    except BaseException:
        await conn.close()
        raise
    return conn


async def pin_names(conn: PinningAsyncConnection) -> None:
    """Pin what every name and every string in SQL means, as its twin does."""
    cursor, steps = conn.cursor(row_factory=tuple_row), pinning(conn)
    found: Any = None
    with suppress(StopIteration):
        while True:
            statement, values = steps.send(found)
            await cursor.execute(statement, values, prepare=False)
            found = None if values is None else await cursor.fetchone()
    if is_read_only(conn):
        await conn.set_read_only(True)
