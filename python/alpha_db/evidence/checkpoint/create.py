"""Making checkpoints: seal, read all logs in one snapshot, wait until their rows are durable, compare, sign, write.

Source: docs/checkpoints.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row, tuple_row

from alpha_db.errors import AlphaDbError, ChainMismatch, ReadOnlyServer
from alpha_db.evidence.checkpoint.durable import make_durable, wait_for_standbys
from alpha_db.evidence.checkpoint.history import (
    Latest,
    NoCheckpoint,
    Run,
    Signed,
    UnreadableNote,
    read_latest,
)
from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.checkpoint.note import Facts, Position, compose, run_name
from alpha_db.evidence.checkpoint.store import Store, StoreError
from alpha_db.evidence.offline_check import Key, Refused, verify_consistency
from alpha_db.installation import Place
from alpha_db.queries import query

#: How many rows are sealed at a time, so that a bar can be shown and a transaction stays short.
BATCH = 200_000

#: Told how many rows of how many are sealed.
Progress = Callable[[int, int], None]

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Created:
    """A run that was made; path is None if it was not written to a directory. Logs of `broken` tables have no root.

    `unreadable` is what of the directory could not be read, so that an older checkpoint was compared with instead.
    `out_of_order`: the last run names a later time than this one, though this one was made after it.
    """

    name: str
    path: Path | None
    facts: list[Facts]
    notes: dict[str, str]
    previous: str | None
    guards_changed: bool
    standbys: list[str]
    broken: list[str]
    unreadable: list[UnreadableNote]
    out_of_order: bool


def seal(conn: Connection, progress: Progress, only: str | None = None) -> None:
    """Extend the stored nodes of every log, or of one, to its tail as it is now. Raises psycopg.Error."""
    cursor = conn.cursor(row_factory=dict_row)
    goals = {
        row["table_name"]: row["last_id"] or 0
        for row in cursor.execute(query("chain_status")).fetchall()
        if only in (None, row["table_name"])
    }
    total, done = sum(goals.values()), 0
    for table, goal in goals.items():
        reached = 0
        while reached < goal:
            sealed = cursor.execute(query("seal_log"), {"table_name": table, "max_rows": BATCH}).fetchone()
            if sealed is None or sealed["sealed_to"] <= reached:
                break
            reached = sealed["sealed_to"]
            progress(done + min(reached, goal), total)
        done += goal
        progress(done, total)


def create(
    conn: Connection,
    place: Place,
    key: SigningKey,
    store: Store | None,
    *,
    trusted: Sequence[Key] = (),
    write: bool = True,
    standby_timeout: float | None = None,
    lock_timeout: float = 30,
    progress: Progress,
) -> Created:
    """Make a checkpoint of every log and write it to the directory, unless it contradicts the last one there.

    Takes a connection in autocommit, the directory (None: nothing to compare with), other keys whose earlier
    checkpoints are believed, whether to write, for how many seconds to wait for standbys (None: not at all), and
    for how many for another process that writes to the directory (0: for ever). Raises ChainMismatch (AUD-009) if
    the log is not the continuation of the last checkpoint, StoreError, ReadOnlyServer, StandbyError and
    psycopg.Error.
    """
    if place.in_recovery or place.read_only:
        raise ReadOnlyServer(
            "a checkpoint cannot be made here: this session cannot write, so it cannot make sure that rows are durable",
            hint="connect to the primary" if place.in_recovery else "default_transaction_read_only is on",
        )
    seal(conn, progress)
    if store is None or not write:
        return _make(conn, key, store, trusted, None, standby_timeout)
    with store.locked(lock_timeout):
        return _make(conn, key, store, trusted, store, standby_timeout)


def _make(
    conn: Connection,
    key: SigningKey,
    source: Store | None,
    trusted: Sequence[Key],
    target: Store | None,
    standby_timeout: float | None,
) -> Created:
    latest = _latest(source, [key.trusted, *trusted]) if source else None
    last = latest.run if latest else None
    with conn.transaction():
        conn.execute(query("one_snapshot"))
        facts, broken = read_facts(conn)
        if last:
            _compare(conn, last, facts, broken)
        written = _one(conn, "wal_insert_position")
    make_durable(conn, written)
    standbys = [] if standby_timeout is None else wait_for_standbys(conn, written, standby_timeout)
    name = run_name(facts[0].time)
    is_behind = last is not None and name <= last.name
    if last and is_behind and not last.any.server.is_before(facts[0].server):
        raise StoreError(
            f"the last checkpoint is of {last.name}, and the clock of this other server says {name}",
            hint="set the server's clock right, or begin a new directory if the clock was wrong then",
        )
    notes = compose(facts, key)
    path = target.write(name, notes) if target else None
    changed = last is not None and last.any.guards != facts[0].guards
    previous, unreadable = (last.name, latest.unreadable) if last and latest else (None, [])
    return Created(name, path, facts, notes, previous, changed, standbys, broken, unreadable, is_behind)


def read_facts(conn: Connection) -> tuple[list[Facts], list[str]]:
    """Return what the database says of every log, and the tables whose log has no root because a row is missing.

    Raises psycopg.Error, and ChainMismatch (AUD-009) if no log has a root.
    """
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query("checkpoint_facts")).fetchall()
    if not rows:
        raise AlphaDbError("there is no chained table to make a checkpoint of")
    broken = [row["table_name"] for row in rows if row["root"] is None]
    if len(broken) == len(rows):
        raise _contradiction(
            "missing_rows: rows are missing in every log", "alpha-db verify-chain tells more."
        )
    facts = [
        Facts(
            origin=row["origin"],
            table=row["table_name"],
            size=row["size"],
            root=bytes(row["root"]),
            installation=str(UUID(str(row["installation_id"]))),
            guards=row["guards_hash"],
            server=Position(row["system_identifier"], row["timeline"], row["wal_lsn"]),
            time=row["taken_at"],
        )
        for row in rows
        if row["root"] is not None
    ]
    return facts, broken


def _latest(store: Store, keys: Sequence[Key]) -> Latest | None:
    try:
        return read_latest(store, keys)
    except NoCheckpoint:
        return None
    except Refused as problem:
        raise _contradiction(
            f"checkpoint_refused: {problem}",
            "It was changed, or another key made it: --trust names the public keys of others that are believed.",
        ) from None


def _compare(conn: Connection, last: Run, run: Sequence[Facts], broken: Sequence[str]) -> None:
    """Raise ChainMismatch unless every log is the continuation of the last checkpoint of it."""
    now = {facts.table: facts for facts in run}
    hint = "Nothing was written. alpha-db verify-chain --checkpoints tells more."
    then, here = last.any.installation, run[0].installation
    if then != here:
        raise _contradiction(
            f"checkpoint_refused: {last.name} is of installation {then}, this is {here}",
            "Each installation has a directory of its own; what was installed anew is another installation.",
        )
    for table, before in last.logs.items():
        facts = now.get(table)
        signed = f"{before.size} were signed in {run_name(before.time)}"
        if table in broken:
            raise _contradiction(f"missing_rows: rows of {table} are missing, and {signed}", hint)
        if facts is None:
            raise _contradiction(f"tail_missing: {table} is no chain any more, and {signed}", hint)
        if facts.size < before.size:
            missing = before.size - facts.size
            said = f"tail_missing: {table} has {facts.size} rows, and {signed}: {missing} missing"
            raise _contradiction(said, hint)
        if not is_continuation(conn, before, facts.size, facts.root):
            said = (
                f"checkpoint_mismatch: rows 1 to {before.size} of {table} are not those signed in"
                f" {run_name(before.time)}"
            )
            raise _contradiction(said, hint)


def is_continuation(conn: Connection, before: Signed, size: int, root: bytes) -> bool:
    """Return whether the log of that size and root begins with what was signed before. Raises psycopg.Error."""
    values = {"table_name": before.table, "size1": before.size, "size2": size}
    proof = [] if before.size in (0, size) else _one(conn, "consistency_proof", values)
    return verify_consistency(before.size, size, before.root, root, [bytes(node) for node in proof])


def _contradiction(message: str, hint: str) -> ChainMismatch:
    return ChainMismatch(f"AUD-009: {message}", hint=hint, sqlstate="AUD09")


def _one(conn: Connection, name: str, values: dict[str, Any] | None = None) -> Any:
    row = conn.cursor(row_factory=tuple_row).execute(query(name), values).fetchone()
    return row[0] if row else None
