"""Examining a database: the rows of doctor.sql and protection.sql, and what only trying tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import psycopg
from psycopg.rows import class_row, scalar_row

from alpha_db.doctor.questions import question
from alpha_db.errors import from_database, translate
from alpha_db.pooled import is_pooled

#: By how much a clock may be wrong before it is said.
_TOLERANCE = timedelta(seconds=2)


class State(StrEnum):
    """What was found out: it works; it works with less protection; something must be set first; it cannot work."""

    OK = "ok"
    LOST = "lost"
    SET = "set"
    STOP = "stop"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: what was found, what follows from it, and what to do; None if nothing is."""

    name: str
    state: str
    found: str
    effect: str | None = None
    remedy: str | None = None


def examine(
    conn: psycopg.Connection[Any], schema: str | None = None, role_prefix: str | None = None
) -> list[Check]:
    """Return what can be said of a database: can alpha-db be installed, and what protects it there?

    Takes a connection of alpha_db.connect in autocommit, the schema that was asked for and the prefix of the roles that
    an installation would have. Changes nothing. Raises AlphaDbError if the database cannot be asked.
    Source: docs/managed.md.
    """
    with translate():
        checks = _catalogues(conn, schema, role_prefix)
        found = {check.name: check.found for check in checks}
        is_standby, is_new = found["primary"] == "a standby", found["installed"] == "not yet"
        return [*checks, *_tried(conn, is_standby=is_standby), _clock(conn), _pooler(conn, is_new=is_new)]


def _catalogues(conn: psycopg.Connection[Any], schema: str | None, role_prefix: str | None) -> list[Check]:
    with conn.transaction(), conn.cursor(row_factory=class_row(Check)) as cursor:
        cursor.execute(question("pin"))
        cursor.execute(question("say"), {"wanted": schema or "", "role_prefix": role_prefix or ""})
        found = [*cursor.execute(question("place")), *cursor.execute(question("synchronous"))]
        found += cursor.execute(question("protection"))
        for part in conn.cursor(row_factory=scalar_row).execute(question("citus_parts")):
            found += cursor.execute(question(part))
        return found


def _refusal(conn: psycopg.Connection[Any], name: str) -> str | None:
    """Return what PostgreSQL says against a statement; None if nothing."""
    try:
        with conn.transaction():
            conn.execute(question(name))
    except psycopg.Error as problem:
        if conn.closed:
            raise
        return str(from_database(problem))
    return None


def _tried(conn: psycopg.Connection[Any], *, is_standby: bool) -> Iterator[Check]:
    name = "replication role"
    if _refusal(conn, "try_replication_role") is None:
        effect = (
            "A row that is inserted in such a session passes the chain's trigger, so its time and its writer can be "
            "made up. No row can be changed or deleted so."
        )
        remedy = "Give this login to no application."
        yield Check(name, State.LOST, "this login may set session_replication_role", effect, remedy)
    else:
        effect = "Rows alone cannot be restored into tables that are there already."
        remedy = "Restore tables and rows together: docs/managed.md"
        yield Check(name, State.OK, "this login may not set session_replication_role", effect, remedy)
    if is_standby:
        return
    name, refusal = "checkpoints", _refusal(conn, "try_positions")
    if refusal is None:
        yield Check(name, State.OK, "the position in the write-ahead log can be read")
    else:
        effect = f"alpha-db checkpoint create will not work: {refusal}"
        remedy = "As an administrator: grant pg_monitor to this login, or ask the provider."
        yield Check(name, State.LOST, "the position in the write-ahead log cannot be read", effect, remedy)


def _clock(conn: psycopg.Connection[Any]) -> Check:
    before = datetime.now(UTC)
    row = conn.execute(question("server_time")).fetchone()
    after = datetime.now(UTC)
    server: datetime = row[0] if isinstance(row, tuple) else next(iter((row or {}).values()))
    gap = max(before - server, server - after, timedelta(0))
    if gap <= _TOLERANCE:
        return Check("clock", State.OK, "server and this machine agree")
    side = "behind" if server < before else "ahead of"
    found = f"the server is {gap.total_seconds():.0f} s {side} this machine"
    effect = "Each row carries the server's time, and votes are refused if they are signed in its future."
    remedy = "Find out which clock is wrong: chronyc tracking on this machine."
    return Check("clock", State.LOST, found, effect, remedy)


def _pooler(conn: psycopg.Connection[Any], *, is_new: bool) -> Check:
    if not is_pooled(conn):
        return Check("pooler", State.OK, "none in transaction mode")
    effect = "Every command works but alpha-db migrate, which needs a session of its own."
    remedy = "Migrate over the provider's direct connection: another port, or a host name without -pooler."
    state = State.SET if is_new else State.OK
    return Check("pooler", state, "each transaction meets another session", effect, remedy)
