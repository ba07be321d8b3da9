"""Checking what somebody names on the command line: a directory of runs, one run, or notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from alpha_db.errors import AlphaDbError, NotThere
from alpha_db.evidence.checkpoint.history import (
    CheckpointRefused,
    Latest,
    Run,
    RunRefused,
    Signed,
    check_together,
    open_run,
    open_signed,
    read_history,
    read_latest,
)
from alpha_db.evidence.checkpoint.note import run_name
from alpha_db.evidence.checkpoint.store import Store, StoreError, is_run_name, read_note, read_run
from alpha_db.evidence.offline_check import MAX_NOTE, MAX_NOTES, Key, Refused, Unreadable, split_notes


class Verdict(StrEnum):
    """What can be said of a run or a note."""

    HOLDS = "holds"
    REFUSED = "refused"
    NOT_RUN = "not_run"
    NOT_THERE = "not_there"


@dataclass(frozen=True)
class Checked:
    """A run or a note: what it says, or why it must not be relied on, or why nothing can be said."""

    what: str
    run: Run | None = None
    reason: str | None = None
    verdict: Verdict = Verdict.HOLDS
    is_whole: bool = True
    out_of_order: bool = False


def check_path(path: str, keys: Sequence[Key], without: Sequence[str] = ()) -> Iterator[Checked]:
    """Yield what came of each run or note that a path names; - is stdin. Raises nothing: one hides no other.

    Takes the runs of a directory that are left out.
    """
    place = Path(path)
    try:
        if path == "-" or not place.is_dir():
            yield from _notes("stdin" if path == "-" else path, read_note(place, MAX_NOTES), keys)
        elif is_run_name(place.resolve().name) or any(place.glob("*.note")):
            yield from _run(path, place, keys)
        else:
            yield from _runs(Store(place, without), keys)
    except NotThere as problem:
        yield Checked(path, reason=_without(path, problem), verdict=Verdict.NOT_THERE)
    except AlphaDbError as problem:
        yield Checked(path, reason=_without(path, problem), verdict=Verdict.NOT_RUN)
    except OSError as problem:
        yield Checked(path, reason=f"it cannot be read: {problem.strerror}", verdict=Verdict.NOT_RUN)


def _without(path: str, problem: AlphaDbError) -> str:
    return problem.message.removeprefix(f"{path}: ")


def _run(path: str, place: Path, keys: Sequence[Key]) -> Iterator[Checked]:
    try:
        run, unreadable = open_run(read_run(place), keys)
    except RunRefused as problem:
        yield Checked(path, reason=str(problem), verdict=Verdict.REFUSED)
        unreadable = problem.unreadable
    else:
        if run.logs:
            yield Checked(path, run, is_whole=run.is_whole)
    for note in unreadable:
        yield Checked(str(place / note.note), reason=note.reason, verdict=Verdict.NOT_RUN)


def _runs(store: Store, keys: Sequence[Key]) -> Iterator[Checked]:
    history = read_history(store, keys)
    every = [
        Checked(run.name, run, is_whole=run.is_whole, out_of_order=run.name in history.out_of_order)
        for run in history.runs
    ]
    every += [Checked(run.name, reason=run.reason, verdict=Verdict.REFUSED) for run in history.refused]
    every += [Checked(one.name, reason=one.reason, verdict=Verdict.NOT_RUN) for one in history.unreadable]
    yield from sorted(every, key=lambda checked: checked.what)


def read_checkpoints(path: Path, keys: Sequence[Key]) -> Latest:
    """Return the run that a path names, and what could not be read, so that an older checkpoint of a table stands in.

    The path is that of a run, a note of it (which stands for itself), or a directory of runs (the latest counts).
    Raises CheckpointRefused, NotThere, and StoreError.
    """
    try:
        if not path.is_dir():
            signed = _note(path, keys)
            return Latest(Run(path.name, {signed.table: signed}), [])
        if not is_run_name(path.resolve().name):
            return read_latest(Store(path), keys)
        run, unreadable = open_run(read_run(path), keys)
    except Refused as problem:
        raise CheckpointRefused(f"checkpoint_refused: {path}: {problem}") from None
    except OSError as problem:
        raise StoreError(f"cannot read {path}: {problem.strerror}") from None
    if not run.logs:
        raise StoreError(f"{path / unreadable[0].note}: {unreadable[0].reason}")
    return Latest(run, unreadable)


def _note(path: Path, keys: Sequence[Key]) -> Signed:
    try:
        return open_signed(read_note(path, MAX_NOTE), keys)
    except Unreadable as problem:
        raise StoreError(f"{path}: {problem}") from None


def _notes(what: str, text: str, keys: Sequence[Key]) -> Iterator[Checked]:
    notes = split_notes(text)
    found: list[Checked] = []
    for number, one in enumerate(notes, 1):
        name = what if len(notes) == 1 else f"{what}, note {number}"
        try:
            signed = open_signed(one, keys)
        except Unreadable as problem:
            found.append(Checked(name, reason=str(problem), verdict=Verdict.NOT_RUN))
        except Refused as problem:
            found.append(Checked(name, reason=str(problem), verdict=Verdict.REFUSED))
        else:
            run = Run(name, {signed.table: signed})
            found.append(Checked(f"{name} ({signed.table})", run, is_whole=False))
    logs = {signed.table: signed for one in found if one.run for signed in one.run.logs.values()}
    if len(logs) == len(notes) and _are_one_run(logs):
        found = [Checked(what, Run(run_name(next(iter(logs.values())).time), logs))]
    yield from found


def _are_one_run(logs: dict[str, Signed]) -> bool:
    try:
        return check_together(logs.values())
    except Refused:
        return False
