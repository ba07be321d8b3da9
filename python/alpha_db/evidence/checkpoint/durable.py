"""Waiting until what was read is on disk, here and on the standbys."""

from __future__ import annotations

import time
from typing import Any

import psycopg
from psycopg.rows import dict_row, tuple_row

from alpha_db.errors import AlphaDbError
from alpha_db.queries import query

_POLL = 0.1


class StandbyError(AlphaDbError):
    """The rows are not known to be on a standby."""


def make_durable(conn: psycopg.Connection[Any], position: str) -> None:
    """Return when the server's own disk has the WAL up to a position.

    Rows that a checkpoint is of may have been committed with synchronous_commit = off, so a commit that is
    synchronous is made behind them. Raises AlphaDbError, and psycopg.Error.
    """
    with conn.transaction():
        conn.execute(query("commit_synchronously"))
        conn.execute(query("write_wal"))
    row = conn.cursor(row_factory=tuple_row).execute(query("is_flushed"), {"lsn": position}).fetchone()
    if not row or row[0] is not True:
        raise AlphaDbError(f"the WAL up to {position} is not on disk, though a commit behind it returned")


def wait_for_standbys(conn: psycopg.Connection[Any], position: str, timeout: float) -> list[str]:
    """Return the names of the standbys that are connected, when all of them have replayed up to a position.

    Raises StandbyError if there is none, the role may not see them, or the time is over.
    """
    deadline = time.monotonic() + timeout
    while True:
        with conn.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(query("standbys"), {"lsn": position}).fetchall()
        behind = [row["name"] for row in rows if not row["has_replayed"]]
        if any(not row["is_visible"] for row in rows):
            raise StandbyError(
                "the role may not see how far the standbys are",
                hint="GRANT pg_monitor TO the role, or pg_read_all_stats",
            )
        if rows and not behind:
            return [row["name"] for row in rows]
        if time.monotonic() >= deadline:
            if not rows:
                raise StandbyError(
                    "no standby is connected", hint="leave out --wait-for-standby to do without"
                )
            raise StandbyError(
                f"not replayed up to {position} within {timeout:g} s: {', '.join(behind)}", hint="--timeout"
            )
        time.sleep(_POLL)
