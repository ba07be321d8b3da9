"""Making checkpoints: seal, record a run, compare it, wait until its rows are durable, sign, write.

Source: docs/checkpoints.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row, tuple_row

from alpha_db.errors import ChainMismatch, ReadOnlyServer
from alpha_db.evidence.archived import has_root, is_start_proven, start_of
from alpha_db.evidence.checkpoint.durable import make_durable, wait_for_standbys
from alpha_db.evidence.checkpoint.history import (
    Latest,
    NoCheckpoint,
    Run,
    UnreadableFile,
    read_latest,
    run_of_proof,
    whole,
)
from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.checkpoint.note import (
    NOTE,
    PROOF,
    Position,
    compose_note,
    compose_run_proof,
    run_name,
)
from alpha_db.evidence.checkpoint.store import Store
from alpha_db.evidence.checkpoint.whereabouts import Whereabouts, why_other
from alpha_db.evidence.offline_check import (
    LOG_OF_RUNS,
    Key,
    Refused,
    RunRow,
    Signed,
    verify_consistency,
    verify_proof,
)
from alpha_db.evidence.offline_check import Run as Facts
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
    """

    run: Run
    path: Path | None
    note: str
    proof: str  #: of the run's row
    previous: str | None
    guards_changed: bool
    standbys: list[str]
    unreadable: list[UnreadableFile]
    renamed: str | None = None  #: the name of the log until now, if the key has another one
    archived: Sequence[
        str
    ] = ()  #: the tables of which the last checkpoint is of rows that are archived since

    @property
    def time(self) -> datetime:
        """When the run was recorded, by the server's clock."""
        return whole(self.run).time

    @property
    def broken(self) -> list[str]:
        """The tables whose log has no root, because a row is missing."""
        return whole(self.run).broken


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
            hint="connect to the primary"
            if place.in_recovery
            else "connect to the primary, or let this server write: default_transaction_read_only is on",
            sqlstate="25006",
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
        row, root = _record(conn)
        # Checked as a stranger would, with a key that is thrown away: the real one signs only what is on disk.
        draft = SigningKey.generate(key.name)
        unsigned = compose_run_proof(row, compose_note(row.id, root, draft))
        run = run_of_proof(run_name(row.id), verify_proof(unsigned, [draft.trusted]))
        facts = whole(run)
        if not facts.heads:
            raise _contradiction(
                "missing_rows: rows are missing in every log", "alpha-db verify-chain tells more."
            )
        try:
            archived = _compare(conn, last, run) if last else []
        except ChainMismatch as problem:
            raise _told_of_failover(conn, problem, last, facts) from None
    written = _one(conn, "wal_insert_position")
    make_durable(conn, written)
    standbys = [] if standby_timeout is None else wait_for_standbys(conn, written, standby_timeout)
    note = compose_note(row.id, root, key)
    files = {NOTE: note, PROOF: compose_run_proof(row, note)}
    run = run_of_proof(run.name, verify_proof(files[PROOF], [key.trusted]))
    path = target.write(run.name, files) if target else None
    changed = last is not None and last.facts is not None and last.facts.guards != facts.guards
    previous, unreadable = (last.name, latest.unreadable) if last and latest else (None, [])
    renamed = last.checkpoint.origin if last and last.checkpoint.origin != key.name else None
    return Created(
        run, path, files[NOTE], files[PROOF], previous, changed, standbys, unreadable, renamed, archived
    )


def _record(conn: Connection) -> tuple[RunRow, bytes]:
    """Record a run, and return its row with its proof, and the root of the log of runs that ends with it."""
    run_id = _one(conn, "record_checkpoint_run")
    found = conn.cursor(row_factory=dict_row).execute(query("run_to_sign"), {"id": run_id}).fetchone()
    if found is None or found["previous_hash"] is None:
        raise _contradiction(
            f"missing_rows: rows of {LOG_OF_RUNS} are missing", "alpha-db verify-chain tells more."
        )
    proof = [bytes(node) for node in found["proof"]]
    return RunRow(run_id, found["previous_hash"], found["row_data"], proof), bytes(found["root"])


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


def _compare(conn: Connection, last: Run, run: Run) -> list[str]:
    """Raise ChainMismatch unless every log is the continuation of the last checkpoint of it.

    Returns the tables of which the last checkpoint is of rows that left with an approved archive since: then only the
    log of runs shows that it is the same log.
    """
    facts = whole(run)
    archived = []
    hint = "Nothing was written. alpha-db verify-chain --checkpoints tells more."
    if last.facts and last.facts.installation != facts.installation:
        raise _contradiction(
            f"checkpoint_refused: {last.name} is of installation {last.facts.installation}, this is"
            f" {facts.installation}",
            "Each installation has a directory of its own; what was installed anew is another installation.",
        )
    for table, before in last.logs.items():
        now = run.logs.get(table)
        name = last.name if table == LOG_OF_RUNS or not last.facts else run_name(last.facts.id)
        signed = f"{before.size} were signed by run {name}"
        if table in facts.broken:
            raise _contradiction(f"missing_rows: rows of {table} are missing, and {signed}", hint)
        if now is None:
            raise _contradiction(f"tail_missing: {table} is no chain any more, and {signed}", hint)
        if now.size < before.size:
            missing = before.size - now.size
            said = f"tail_missing: {table} has {now.size} rows, and {signed}: {missing} missing"
            raise _contradiction(said, hint)
        start = start_of(conn, table)
        if not has_root(before.size, start):
            if not is_start_proven(conn, table, start):
                gone = f"rows 1 to {start} of {table} are gone, and no approved archive has them"
                raise _contradiction(f"missing_rows: {gone}", hint)
            archived.append(table)
            continue
        if not is_continuation(conn, before, now.size, now.root):
            said = (
                f"checkpoint_mismatch: rows 1 to {before.size} of {table} are not those signed by run {name}"
            )
            raise _contradiction(said, hint)
    return archived


def _told_of_failover(
    conn: Connection, problem: ChainMismatch, last: Run | None, facts: Facts
) -> ChainMismatch:
    """The same, with what to do if this server may never have had the rows that were signed."""
    if last is None or last.facts is None or last.facts.installation != facts.installation:
        return problem
    found = why_other(conn, Position.of(last.facts), Whereabouts(Position.of(facts), in_recovery=False))
    if found is None:
        return problem
    return ChainMismatch(
        f"{problem.message}; {found[1]}",
        hint="Nothing was written. If this is a failover that lost rows, go on as docs/standbys.md says: save them from"
        " the former primary, keep this directory, and begin a new one with a key of another name.",
        sqlstate=problem.sqlstate,
    )


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
