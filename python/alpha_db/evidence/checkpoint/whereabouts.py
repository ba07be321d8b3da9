"""Rows that a checkpoint covers are missing: were they cut off, or is this an older copy that never had them?

The write-ahead log tells, as far as it goes. A server whose log ends before the checkpoint's position is an older
state of it. One whose log goes beyond may have had the rows and lost them; or an older copy of its files was put back
and written to since, because a copy that is put back as it is goes on with the timeline that it had.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import tuple_row

from alpha_db.evidence.checkpoint.note import Position, offset_of
from alpha_db.queries import query

_LEFT = re.compile(r"^\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)", re.MULTILINE)


class Whereabouts(NamedTuple):
    """Where the server is now, and whether it is a standby."""

    position: Position
    in_recovery: bool


def why_missing(conn: psycopg.Connection[Any], signed: Position, here: Whereabouts) -> tuple[str, str]:
    """Return the cause in a word and in a sentence: older_copy, another_server, standby_behind or unknown.

    The sentence says what was found, and what that leaves possible. Nothing here can prove that rows were deleted.

    Takes the position that the checkpoint pins. Raises nothing of its own: what may not be read leaves it unknown.
    """
    now = here.position
    made = f"the checkpoint was made at {signed.lsn} on timeline {signed.timeline}"
    if now.system_identifier != signed.system_identifier:
        return "another_server", (
            f"this is another server than the one that was signed (system {now.system_identifier},"
            f" then {signed.system_identifier}): whether this copy ever had the rows cannot be told"
        )
    if here.in_recovery and (now.timeline, now.offset) < (signed.timeline, signed.offset):
        return (
            "standby_behind",
            f"this standby has replayed up to {now.lsn} on timeline {now.timeline}, {made}",
        )
    if now.timeline < signed.timeline:
        return "older_copy", (
            f"this server is on timeline {now.timeline}, {made}: it is an older copy, or a former primary that a"
            " standby took over from"
        )
    if now.timeline == signed.timeline:
        return _past(now.offset, signed, f"this server's write-ahead log ends at {now.lsn}, {made}")
    switches = _LEFT.findall(read_history(conn, now.timeline))
    left = next((lsn for timeline, lsn in switches if int(timeline) == signed.timeline), None)
    if left is None:
        return "unknown", (
            f"this server went from timeline {signed.timeline} to {now.timeline} since: it was restored to a point in"
            " time, a standby was promoted, or rows were deleted. Which, cannot be told without the timeline's history"
            " (a superuser may read it)"
        )
    return _past(offset_of(left), signed, f"this server left timeline {signed.timeline} at {left}, {made}")


def why_other(conn: psycopg.Connection[Any], signed: Position, here: Whereabouts) -> tuple[str, str] | None:
    """Return why a server may never have had the rows that a checkpoint covers, as why_missing does; None if it had.

    A standby that was promoted before it had them gives their ids to others. Takes the position that the
    checkpoint pins. Raises nothing of its own.
    """
    now = here.position
    if here.in_recovery or now.system_identifier != signed.system_identifier:
        return None
    cause, said = why_missing(conn, signed, here)
    if cause == "older_copy":
        return cause, said
    if now.timeline > signed.timeline and not read_history(conn, now.timeline):
        return "unknown", (
            f"this server went from timeline {signed.timeline} to {now.timeline} since: it was restored to a point in"
            " time, a standby was promoted before it had the rows, or they were deleted or written again. Which, cannot"
            " be told without the timeline's history (a superuser may read it)"
        )
    return None


def _past(reached: int, signed: Position, found: str) -> tuple[str, str]:
    if reached < signed.offset:
        return "older_copy", (
            f"{found}: it is an older copy, was restored to a point in time, or is a standby that was promoted before"
            " it had the rows"
        )
    return "unknown", (
        f"{found}: the rows were deleted, an older dump was loaded, or an older copy of the server's files was put back"
        " and written to since. Which, the write-ahead log does not tell"
    )


def read_history(conn: psycopg.Connection[Any], timeline: int) -> str:
    """Return the file that says where a server's earlier timelines ended; empty if the role may not read it."""
    try:
        with conn.transaction(), conn.cursor(row_factory=tuple_row) as cursor:
            row = cursor.execute(query("timeline_history"), {"timeline": timeline}).fetchone()
    except psycopg.Error:
        return ""
    return row[0] or "" if row else ""
