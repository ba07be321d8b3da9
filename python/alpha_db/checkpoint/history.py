"""What a directory of checkpoints says, as far as it can be relied on: no database is asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from alpha_db.checkpoint.note import Position, parse_time, run_name
from alpha_db.checkpoint.store import Store, StoredRun, StoreError
from alpha_db.errors import Refused as RefusedByUs
from alpha_db.offline_check import Checkpoint, Key, Refused, Unreadable, digest_of_run, open_checkpoint
from alpha_db.security import ed25519


class CheckpointRefused(RefusedByUs):
    """A checkpoint was changed, is of an unknown key, or does not belong with the others of its run."""


@dataclass(frozen=True)
class Signed:
    """A checkpoint whose signature was verified, with what else it pins."""

    checkpoint: Checkpoint
    installation: str
    guards: str
    server: Position
    time: datetime
    logs: str

    @property
    def table(self) -> str:
        """The table that the checkpoint is of."""
        return self.checkpoint.table

    @property
    def size(self) -> int:
        """How many rows it is of."""
        return self.checkpoint.size

    @property
    def root(self) -> bytes:
        """The root of these rows."""
        return self.checkpoint.root

    @property
    def common(self) -> tuple[object, ...]:
        """What all checkpoints of a run have in common."""
        return self.installation, self.guards, self.server, self.time, self.logs


@dataclass(frozen=True)
class Run:
    """A run that holds: its checkpoints by table."""

    name: str
    logs: dict[str, Signed]

    @property
    def any(self) -> Signed:
        """One of the checkpoints, for what all of them have in common."""
        return next(iter(self.logs.values()))


@dataclass(frozen=True)
class RefusedRun:
    """A run that must not be relied on, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class History:
    """The runs of a directory, oldest first."""

    runs: list[Run] = field(default_factory=list)
    refused: list[RefusedRun] = field(default_factory=list)

    @property
    def latest(self) -> Run | None:
        """The last run that holds."""
        return self.runs[-1] if self.runs else None


def open_signed(note: str, keys: Sequence[Key]) -> Signed:
    """Return what a note says, once a trusted key's signature is verified.

    Raises Refused, and Unreadable for what is no checkpoint of alpha-db.
    """
    # OpenSSL's, as strict and fifty times as fast: a year of hourly runs is a hundred thousand signatures
    checkpoint = open_checkpoint(note, keys, ed25519.verify)
    lines = checkpoint.extensions
    try:
        return Signed(
            checkpoint,
            lines["installation"],
            lines["guards"],
            Position.parse(lines["server"]),
            parse_time(lines["time"]),
            lines["logs"],
        )
    except KeyError as problem:
        raise Unreadable(f"the checkpoint has no line {problem}") from None
    except ValueError as problem:
        raise Unreadable(f"the checkpoint is malformed: {problem}") from None


def open_run(stored: StoredRun, keys: Sequence[Key]) -> Run:
    """Return a run whose checkpoints all hold, and are all that were signed together.

    Raises Refused, and StoreError for a note that is none.
    """
    logs = {}
    for table, text in stored.notes.items():
        try:
            signed = logs[table] = open_signed(text, keys)
        except Refused as problem:
            raise Refused(f"{table}.note: {problem}") from None
        except Unreadable as problem:
            raise StoreError(f"{stored.path / table}.note: {problem}") from None
        if signed.table != table:
            raise Refused(f"{table}.note is a checkpoint of {signed.table}")
    run = Run(stored.name, logs)
    check_together(logs.values())
    if run_name(run.any.time) != stored.name:
        raise Refused(f"it was signed as {run_name(run.any.time)}, and stands under another name")
    return run


def check_together(logs: Iterable[Signed]) -> None:
    """Raise Refused unless these are the checkpoints of one run, all of them."""
    every = list(logs)
    if len({signed.common for signed in every}) != 1:
        raise Refused("its checkpoints were not made together")
    found = digest_of_run((s.checkpoint.origin, s.size, s.root) for s in every)
    if found != every[0].logs:
        signed_count = every[0].logs.partition(" ")[0]
        raise Refused(f"it has {len(every)} checkpoints, and {signed_count} were signed together")


def check_order(earlier: Run, later: Run) -> None:
    """Raise Refused unless the later run can follow the earlier one: sizes never decrease."""
    if earlier.any.installation != later.any.installation:
        raise Refused(
            f"it is of installation {later.any.installation}, the runs before of {earlier.any.installation}"
        )
    for table, before in earlier.logs.items():
        after = later.logs.get(table)
        if after is None:
            raise Refused(f"{table} is not in it, and was in {earlier.name}")
        if after.size < before.size:
            raise Refused(f"{table} has {after.size} rows in it, and had {before.size} in {earlier.name}")
        if after.size == before.size and after.root != before.root:
            raise Refused(f"{table} has another root than in {earlier.name}, and as many rows")


def read_history(store: Store, keys: Sequence[Key]) -> History:
    """Read all runs of a directory, and tell those that hold from those that do not.

    Raises StoreError if the directory or a note cannot be read, or there is no run.
    """
    history = History()
    for stored in store.runs():
        try:
            run = open_run(stored, keys)
            if history.latest:
                check_order(history.latest, run)
        except Refused as problem:
            history.refused.append(RefusedRun(stored.name, str(problem)))
        else:
            history.runs.append(run)
    if not history.runs and not history.refused:
        raise StoreError(
            f"there is no checkpoint in {store.path}, so nothing can be compared",
            hint="alpha-db checkpoint create makes the first one",
        )
    return history
