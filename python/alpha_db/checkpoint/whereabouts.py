"""Rows that a checkpoint covers are missing: were they cut off, or is this an older copy that never had them?

The write-ahead log tells. A server whose log goes beyond the checkpoint's position has had the rows.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import tuple_row

from alpha_db.checkpoint.note import Position, offset_of
from alpha_db.queries import query

_LEFT = re.compile(r"^\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)", re.MULTILINE)


class Whereabouts(NamedTuple):
    """Where the server is now, and whether it is a standby."""

    position: Position
    in_recovery: bool


def why_missing(conn: psycopg.Connection[Any], signed: Position, here: Whereabouts) -> tuple[str, str]:
    """Return the cause in a word and in a sentence: cut, older_copy, another_server, standby_behind or unknown.

    Takes the position that the checkpoint pins. Raises nothing of its own: what may not be read leaves it unknown.
    """
    now = here.position
    if now.system_identifier != signed.system_identifier:
        return "another_server", (
            f"this is another server than the one that was signed (system {now.system_identifier},"
            f" then {signed.system_identifier}): an older copy, or one that was cut"
        )
    if here.in_recovery and (now.timeline, now.offset) < (signed.timeline, signed.offset):
        return "standby_behind", (
            f"this standby has replayed up to {now.lsn} on timeline {now.timeline},"
            f" the checkpoint was made at {signed.lsn} on timeline {signed.timeline}"
        )
    if now.timeline < signed.timeline:
        return "older_copy", (
            f"an older copy was restored: this server is on timeline {now.timeline},"
            f" the checkpoint was made on {signed.timeline}"
        )
    if now.timeline == signed.timeline:
        return _past(signed, now.offset, f"its WAL ends at {now.lsn}", f"its WAL goes on to {now.lsn}")
    switches = _LEFT.findall(read_history(conn, now.timeline))
    left = next((lsn for timeline, lsn in switches if int(timeline) == signed.timeline), None)
    if left is None:
        return "unknown", (
            f"this server went from timeline {signed.timeline} to {now.timeline} since: it was restored to a"
            " point in time, a standby was promoted, or rows were cut (a superuser can see which)"
        )
    said = f"it left timeline {signed.timeline} at {left}"
    return _past(signed, offset_of(left), said, said)


def _past(signed: Position, reached: int, behind: str, past: str) -> tuple[str, str]:
    if reached < signed.offset:
        return "older_copy", f"an older copy was restored: {behind}, the checkpoint was made at {signed.lsn}"
    return "cut", (
        f"the rows were cut off, or an older dump was loaded: {past}, the checkpoint was made at {signed.lsn},"
        " so the server itself was not put back to an older state"
    )


def read_history(conn: psycopg.Connection[Any], timeline: int) -> str:
    """Return the file that says where a server's earlier timelines ended; empty if the role may not read it."""
    try:
        with conn.transaction(), conn.cursor(row_factory=tuple_row) as cursor:
            row = cursor.execute(query("timeline_history"), {"timeline": timeline}).fetchone()
    except psycopg.Error:
        return ""
    return row[0] or "" if row else ""
