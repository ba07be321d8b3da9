"""What a directory of checkpoints says, as far as it can be relied on: no database is asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from alpha_db.errors import NotThere
from alpha_db.errors import Refused as RefusedByUs
from alpha_db.evidence.checkpoint.note import Position, run_name, server_of
from alpha_db.evidence.checkpoint.store import Store, StoredRun, StoreError
from alpha_db.evidence.offline_check import (
    Checkpoint,
    Key,
    Refused,
    Unreadable,
    digest_of_run,
    open_checkpoint,
    parse_time,
)
from alpha_db.security import ed25519


class NoCheckpoint(NotThere):
    """A directory of checkpoints has none in it."""


class CheckpointRefused(RefusedByUs):
    """A checkpoint was changed, is of an unknown key, or does not belong with the others of its run."""


@dataclass(frozen=True)
class Signed:
    """A checkpoint whose signature was verified, with what else it pins."""

    checkpoint: Checkpoint
    note: str  #: all of it, with every signature
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
    """A run that holds: its checkpoints by table. One is not whole if some of its notes could not be read."""

    name: str
    logs: dict[str, Signed]
    is_whole: bool = True

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
class UnreadableNote:
    """A note that could not be read, or a whole run (then `note` is empty), and why."""

    run: str
    note: str
    reason: str

    @property
    def name(self) -> str:
        """What it is, from the directory of the runs."""
        return f"{self.run}/{self.note}" if self.note else self.run


@dataclass(frozen=True)
class History:
    """The runs of a directory, oldest first, and what of it must not be relied on or cannot be read."""

    runs: list[Run] = field(default_factory=list)
    refused: list[RefusedRun] = field(default_factory=list)
    unreadable: list[UnreadableNote] = field(default_factory=list)

    @property
    def latest(self) -> Run | None:
        """The last run that holds."""
        return self.runs[-1] if self.runs else None

    @property
    def out_of_order(self) -> list[str]:
        """The runs whose time is later than that of a run made after them: a clock was wrong, then or since."""
        found, earliest = [], ""
        for run in reversed(self.runs):
            if earliest and run.name > earliest:
                found.append(run.name)
            earliest = min(run.name, earliest or run.name)
        return found[::-1]


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
            note,
            lines["installation"],
            lines["guards"],
            Position.parse(lines["server"]),
            parse_time(lines["time"]),
            lines["logs"],
        )
    except Unreadable:
        raise
    except ValueError as problem:
        raise Unreadable(f"the checkpoint is malformed: {problem}") from None


def open_run(stored: StoredRun, keys: Sequence[Key]) -> tuple[Run, list[UnreadableNote]]:
    """Return a run whose checkpoints all hold, and what of it could not be read: then it is not whole, or has no log.

    Raises RunRefused.
    """
    logs: dict[str, Signed] = {}
    unreadable, refused = dict(stored.unreadable), ""
    for table, text in stored.notes.items():
        try:
            signed = open_signed(text, keys)
        except Refused as problem:
            refused = refused or f"{table}.note: {problem}"
        except Unreadable as problem:
            unreadable[f"{table}.note"] = str(problem)
        else:
            logs[table] = signed
            if signed.table != table:
                refused = refused or f"{table}.note is a checkpoint of {signed.table}"
    notes = [UnreadableNote(stored.name, note, reason) for note, reason in unreadable.items()]
    try:
        if refused:
            raise Refused(refused)
        is_whole = bool(logs) and check_together(logs.values(), len(unreadable))
        run = Run(stored.name, logs, is_whole)
        if logs and run_name(run.any.time) != stored.name:
            raise Refused(f"it was signed as {run_name(run.any.time)}, and stands under another name")
    except Refused as problem:
        raise RunRefused(str(problem), notes) from None
    return run, notes


class RunRefused(Refused):
    """A run does not hold; `unreadable` is what of it could not be read besides."""

    def __init__(self, reason: str, unreadable: list[UnreadableNote]) -> None:
        super().__init__(reason)
        self.unreadable = unreadable


def check_together(logs: Iterable[Signed], unreadable: int = 0) -> bool:
    """Return whether these are all checkpoints of one run.

    False if some are missing, and so many notes could not be read that these may be they. Raises Refused if they are
    not of one run, or one is missing.
    """
    every = list(logs)
    if len({signed.common for signed in every}) != 1:
        raise Refused("its checkpoints were not made together")
    if digest_of_run((s.checkpoint.origin, s.size, s.root) for s in every) == every[0].logs:
        return True
    signed_count = every[0].logs.partition(" ")[0]
    if (
        unreadable
        and signed_count.isdecimal()
        and len(every) < int(signed_count[:9]) <= len(every) + unreadable
    ):
        return False
    raise Refused(f"it has {len(every)} checkpoints, and {signed_count} were signed together")


def in_order(runs: Iterable[Run]) -> list[Run]:
    """Return the runs in the order in which they were made.

    That is the order of their names, because these are times. A run whose clock was wrong stands where the position
    of the server's write-ahead log says, if it does not fit where its name says.
    """
    ordered: list[Run] = []
    for run in sorted(runs, key=lambda run: run.name):
        place = len(ordered)
        while place and _goes_before(run, ordered[place - 1]):
            place -= 1
        ordered.insert(place, run)
    return ordered


def _goes_before(run: Run, named_earlier: Run) -> bool:
    here, there = run.any.server, named_earlier.any.server
    if not here.is_before(there):
        return False
    sizes = [(named_earlier.logs[t].size, run.logs[t].size) for t in run.logs if t in named_earlier.logs]
    has_grown = all(before <= after for before, after in sizes) and any(b < a for b, a in sizes)
    return not has_grown


def _check_order(known: dict[str, tuple[str, Signed]], last: Run | None, run: Run) -> None:
    """Raise Refused unless the run can follow what is known of each table: sizes never decrease."""
    if last and last.any.installation != run.any.installation:
        raise Refused(
            f"it is of installation {run.any.installation}, the runs before of {last.any.installation}"
        )
    for table, (name, before) in known.items():
        after = run.logs.get(table)
        if after is None and run.is_whole:
            raise Refused(f"{table} is not in it, and was in {name}")
        if after is not None and after.size < before.size:
            raise Refused(f"{table} has {after.size} rows in it, and had {before.size} in {name}")
        if after is not None and after.size == before.size and after.root != before.root:
            raise Refused(f"{table} has another root than in {name}, and as many rows")


def read_history(store: Store, keys: Sequence[Key]) -> History:
    """Read all runs of a directory, and tell those that hold from those that do not, and from what cannot be read.

    Raises NotThere if there is no such directory, NoCheckpoint if no run is in it, StoreError if it cannot be read.
    """
    history, found = History(), []
    for stored in store.runs():
        try:
            run, unreadable = open_run(stored, keys)
        except RunRefused as problem:
            history.refused.append(RefusedRun(stored.name, str(problem)))
            unreadable = problem.unreadable
        else:
            if run.logs:
                found.append(run)
        history.unreadable.extend(unreadable)
    known: dict[str, tuple[str, Signed]] = {}
    for run in in_order(found):
        try:
            _check_order(known, history.latest, run)
        except Refused as problem:
            history.refused.append(RefusedRun(run.name, str(problem)))
        else:
            history.runs.append(run)
            known |= {table: (run.name, signed) for table, signed in run.logs.items()}
    history.refused.sort(key=lambda run: run.name)
    if not (history.runs or history.refused or history.unreadable):
        raise _no_checkpoint(store)
    return history


@dataclass(frozen=True)
class Latest:
    """The latest checkpoint of each table, as one run; what could not be read, so that an older one stands in."""

    run: Run
    unreadable: list[UnreadableNote]


def read_latest(store: Store, keys: Sequence[Key]) -> Latest:
    """Return the latest run of a directory that can be read, without reading the others.

    A table whose note in it cannot be read has its checkpoint from a run before. Raises Refused for a run that must
    not be relied on, NotThere, NoCheckpoint, and StoreError if nothing can be read.
    """
    names = store.names()
    if not names:
        raise _no_checkpoint(store)
    if _is_out_of_order(store, names):
        return _latest_of(store, read_history(store, keys))
    logs: dict[str, Signed] = {}
    passed: list[UnreadableNote] = []
    latest = ""
    for name in reversed(names):
        try:
            run, unreadable = open_run(store.read(name), keys)
        except Refused as problem:
            raise Refused(f"{name}: {problem}") from None
        passed += unreadable
        logs |= {table: signed for table, signed in run.logs.items() if table not in logs}
        latest = latest or (name if run.logs else "")
        if run.logs and run.is_whole:
            break
    return Latest(_run_of(store, latest, logs, passed), passed)


def _latest_of(store: Store, history: History) -> Latest:
    logs: dict[str, Signed] = {}
    for run in reversed(history.runs):
        logs |= {table: signed for table, signed in run.logs.items() if table not in logs}
    run = _run_of(store, history.latest.name if history.latest else "", logs, history.unreadable)
    for refused in history.refused:
        if refused.name > run.name:
            raise Refused(f"{refused.name}: {refused.reason}")
    return Latest(run, history.unreadable)


def _run_of(store: Store, name: str, logs: dict[str, Signed], passed: Sequence[UnreadableNote]) -> Run:
    if not logs:
        told = "; ".join(f"{one.name}: {one.reason}" for one in passed[:3])
        raise StoreError(f"no checkpoint in {store.path} can be read: {told}")
    return Run(name, logs)


def _is_out_of_order(store: Store, names: Sequence[str]) -> bool:
    """Whether the last name is not the last position, as far as one note of each run says, which is not verified."""
    found = [server_of(text) for text in map(store.glance, names)]
    positions = [position for position in found if position]
    return bool(positions) and any(positions[-1].is_before(position) for position in positions[:-1])


def _no_checkpoint(store: Store) -> NoCheckpoint:
    return NoCheckpoint(
        f"there is no checkpoint in {store.path}, so nothing can be compared",
        hint="alpha-db checkpoint create makes the first one",
    )
