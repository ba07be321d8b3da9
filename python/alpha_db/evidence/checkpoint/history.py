"""What a directory of checkpoints says, as far as it can be relied on: no database is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from alpha_db.errors import NotThere
from alpha_db.errors import Refused as RefusedByUs
from alpha_db.evidence.checkpoint.note import NOTE, PROOF, run_name
from alpha_db.evidence.checkpoint.quorum import require_quorum
from alpha_db.evidence.checkpoint.store import Store, StoredRun, StoreError
from alpha_db.evidence.offline_check import (
    LOG_OF_RUNS,
    Checkpoint,
    Key,
    Policy,
    Proof,
    Refused,
    Signed,
    Unreadable,
    open_checkpoint,
    verify_proof,
)
from alpha_db.evidence.offline_check import Run as Facts
from alpha_db.security import ed25519

_T = TypeVar("_T")


class NoCheckpoint(NotThere):
    """A directory of checkpoints has none in it."""


class CheckpointRefused(RefusedByUs):
    """A checkpoint was changed, is of an unknown key, or its files do not belong together."""


@dataclass(frozen=True)
class Run:
    """A run that holds. Without `facts` its row could not be read, and only the log of runs is known.

    `logs` has the signed heads by table. Where the latest run's row cannot be read, that of an older run stands in
    (`Latest`): then `facts` and `proof` are of that run.
    """

    name: str
    checkpoint: Checkpoint
    facts: Facts | None
    proof: Proof | None
    notes: list[str]  #: the note, and those with cosignatures
    logs: dict[str, Signed]

    @property
    def is_whole(self) -> bool:
        """Whether it says where every log stood."""
        return self.facts is not None


def whole(run: Run) -> Facts:
    """Return what a run says. Raises StoreError if its row could not be read."""
    if run.facts is None:
        raise StoreError(f"the row of run {run.name} could not be read")
    return run.facts


@dataclass(frozen=True)
class RefusedRun:
    """A run that must not be relied on, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class UnreadableFile:
    """A file that could not be read, or a whole run (then `file` is empty), and why."""

    run: str
    file: str
    reason: str

    @property
    def name(self) -> str:
        """What it is, from the directory of the runs."""
        return f"{self.run}/{self.file}" if self.file else self.run


@dataclass(frozen=True)
class History:
    """The runs of a directory, oldest first, and what of it must not be relied on or cannot be read."""

    runs: list[Run] = field(default_factory=list)
    refused: list[RefusedRun] = field(default_factory=list)
    unreadable: list[UnreadableFile] = field(default_factory=list)
    not_cosigned: list[RefusedRun] = field(
        default_factory=list
    )  #: later than the last that has a policy's quorum

    @property
    def latest(self) -> Run | None:
        """The last run that holds."""
        return self.runs[-1] if self.runs else None


class RunRefused(Refused):
    """A run does not hold; `unreadable` is what of it could not be read besides."""

    def __init__(self, reason: str, unreadable: list[UnreadableFile]) -> None:
        super().__init__(reason)
        self.unreadable = unreadable


def run_of_proof(name: str, proof: Proof) -> Run:
    """Return the run that a proof is of, by itself."""
    facts = proof.run
    logs = {LOG_OF_RUNS: facts.head(LOG_OF_RUNS), **facts.heads}
    return Run(name, facts.checkpoint, facts, proof, [proof.note], logs)


def run_of_note(name: str, text: str, keys: Sequence[Key]) -> Run:
    """Return the run of a note alone, which says nothing of the other logs. Raises Refused and Unreadable."""
    # OpenSSL's, as strict and fifty times as fast: of hourly runs there are nine thousand a year
    signed = open_checkpoint(text, keys, ed25519.verify)
    head = Signed(signed.origin, LOG_OF_RUNS, signed.size, signed.root, signed.origin)
    return Run(name, signed, None, None, [text], {LOG_OF_RUNS: head})


def open_proof(text: str, keys: Sequence[Key]) -> Proof:
    """Return a proof that holds. Raises Refused and Unreadable."""
    return verify_proof(text, keys, ed25519.verify)


def open_run(stored: StoredRun, keys: Sequence[Key]) -> tuple[Run | None, list[UnreadableFile]]:
    """Return a run whose files all hold, as far as they can be read, and what of it could not be read.

    The note and the proof of the run's row both have the checkpoint, so either stands in for the other; without
    both there is no run. Raises RunRefused.
    """
    unreadable, refused = dict(stored.unreadable), ""
    found: dict[str, Run] = {}

    def attempt(file: str, read: Callable[[str], _T]) -> _T | None:
        nonlocal refused
        try:
            return read(stored.files[file]) if file in stored.files else None
        except Refused as problem:
            refused = refused or f"{file}: {problem}"
        except Unreadable as problem:
            unreadable[file] = str(problem)
        return None

    if proof := attempt(PROOF, lambda text: open_proof(text, keys)):
        found[PROOF] = run_of_proof(stored.name, proof)
        if proof.table != LOG_OF_RUNS or proof.id != proof.run.checkpoint.size:
            refused = refused or f"{PROOF} is the proof of another row than this run's"
    if note := attempt(NOTE, lambda text: run_of_note(stored.name, text, keys)):
        found[NOTE] = note
    for file in stored.cosigned:
        # Anybody may have added it. If it is a note of the log that says something else, the log was forked; any
        # other that does not hold keeps nobody from relying on the run.
        try:
            also = run_of_note(stored.name, stored.files[file], keys)
            if found and also.checkpoint.size != next(iter(found.values())).checkpoint.size:
                raise Unreadable(f"it is of run {also.checkpoint.size}")
            found[file] = also
        except (Refused, Unreadable) as problem:
            unreadable[file] = str(problem)
    problems = [UnreadableFile(stored.name, file, reason) for file, reason in unreadable.items()]
    run = next(iter(found.values()), None)
    if run and not refused:
        if any(other.checkpoint != run.checkpoint for other in found.values()):
            refused = "its files are not of one checkpoint"
        elif run_name(run.checkpoint.size) != stored.name:
            refused = f"it was signed as {run_name(run.checkpoint.size)}, and stands under another name"
    if refused:
        raise RunRefused(refused, problems)
    if run is None:
        return None, problems
    notes = [note for other in found.values() for note in other.notes]
    return Run(run.name, run.checkpoint, run.facts, run.proof, notes, run.logs), problems


def _check_order(known: dict[str, tuple[str, Signed]], run: Run) -> None:
    """Raise Refused unless the run can follow what is known of each table: sizes never decrease."""
    for table, (name, before) in known.items():
        after = run.logs.get(table)
        if after is None:
            if run.facts and table not in run.facts.broken:
                raise Refused(f"{table} is not in it, and was in {name}")
            continue
        if run.facts and table != LOG_OF_RUNS and after.origin != before.origin:
            raise Refused(f"it is of {after.origin}, and the runs before are of {before.origin}")
        if after.size < before.size:
            raise Refused(f"{table} has {after.size} rows in it, and had {before.size} in {name}")
        if after.size == before.size and after.root != before.root:
            raise Refused(f"{table} has another root than in {name}, and as many rows")


def read_history(store: Store, keys: Sequence[Key], policy: Policy | None = None) -> History:
    """Read all runs of a directory, and tell those that hold from those that do not, and from what cannot be read.

    With a policy the latest run must be cosigned by its quorum: the witnesses have seen that it continues the runs
    before. Raises NotThere if there is no such directory, NoCheckpoint if no run is in it, StoreError if it cannot be
    read.
    """
    history = History()
    known: dict[str, tuple[str, Signed]] = {}
    for stored in store.runs():
        try:
            run, unreadable = open_run(stored, keys)
            history.unreadable.extend(unreadable)
            if run:
                _check_order(known, run)
                history.runs.append(run)
                known |= {table: (run.name, signed) for table, signed in run.logs.items()}
        except RunRefused as problem:
            history.refused.append(RefusedRun(stored.name, str(problem)))
            history.unreadable.extend(problem.unreadable)
        except Refused as problem:
            history.refused.append(RefusedRun(stored.name, str(problem)))
    if not (history.runs or history.refused or history.unreadable):
        raise _no_checkpoint(store)
    waiting: list[RefusedRun] = []
    while policy and history.runs and (reason := _without_quorum(history.runs[-1], policy)):
        waiting.insert(0, RefusedRun(history.runs.pop().name, reason))
    # Behind one that is cosigned, they may be so later; without one, nobody has seen any of them.
    (history.not_cosigned if history.runs else history.refused).extend(waiting)
    return history


def _without_quorum(run: Run, policy: Policy) -> str | None:
    try:
        require_quorum(run.notes, policy)
    except Refused as problem:
        return str(problem)
    return None


@dataclass(frozen=True)
class Latest:
    """The latest checkpoint of each table, as one run; what could not be read, so that an older one stands in."""

    run: Run
    unreadable: list[UnreadableFile]


def read_latest(store: Store, keys: Sequence[Key]) -> Latest:
    """Return the latest run of a directory that can be read, without reading the others.

    If its row cannot be read, the heads of the run before stand in. Raises Refused for a run that must not be relied
    on, NotThere, NoCheckpoint, and StoreError if nothing can be read.
    """
    names = store.names()
    if not names:
        raise _no_checkpoint(store)
    latest: Run | None = None
    logs: dict[str, Signed] = {}
    passed: list[UnreadableFile] = []
    for name in reversed(names):
        try:
            run, unreadable = open_run(store.read(name), keys)
        except Refused as problem:
            raise Refused(f"{name}: {problem}") from None
        passed += unreadable
        if run:
            latest = latest or run
            logs = {**run.logs, **logs}
            if run.is_whole:
                return Latest(
                    Run(latest.name, latest.checkpoint, run.facts, run.proof, latest.notes, logs), passed
                )
    if latest is None:
        told = "; ".join(f"{one.name}: {one.reason}" for one in passed[:3])
        raise StoreError(f"no checkpoint in {store.path} can be read: {told}")
    return Latest(latest, passed)


def _no_checkpoint(store: Store) -> NoCheckpoint:
    return NoCheckpoint(
        f"there is no checkpoint in {store.path}, so nothing can be compared",
        hint="alpha-db checkpoint create makes the first one",
    )
