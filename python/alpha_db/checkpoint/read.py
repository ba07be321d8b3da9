"""Checking what somebody names on the command line: a directory of runs, one run, or notes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alpha_db.checkpoint.history import (
    CheckpointRefused,
    Run,
    Signed,
    check_together,
    open_run,
    open_signed,
    read_history,
)
from alpha_db.checkpoint.note import run_name
from alpha_db.checkpoint.store import Store, StoreError, is_run_name, read_note, read_run
from alpha_db.offline_check import Key, Refused, Unreadable

# Between two notes that were written one after the other: an empty line that no signature follows.
_BETWEEN = re.compile(r"(?<=\n)\n(?!— )")


@dataclass(frozen=True)
class Checked:
    """A run or a note: what it says, or why it must not be relied on."""

    what: str
    run: Run | None
    reason: str | None = None
    is_whole: bool = True


def check_path(path: str, keys: Sequence[Key]) -> Iterator[Checked]:
    """Yield what came of each run or note that a path names; - is stdin.

    Raises StoreError for what cannot be read, or is no checkpoint.
    """
    place = Path(path)
    if path == "-":
        yield from _notes("stdin", sys.stdin.buffer.read().decode("utf-8", "replace"), keys)
    elif not place.is_dir():
        yield from _notes(path, read_note(place), keys)
    elif is_run_name(place.resolve().name) or any(place.glob("*.note")):
        try:
            yield Checked(path, open_run(read_run(place), keys))
        except Refused as problem:
            yield Checked(path, None, str(problem))
    else:
        history = read_history(Store(place), keys)
        every = [Checked(run.name, run) for run in history.runs]
        every += [Checked(run.name, None, run.reason) for run in history.refused]
        yield from sorted(every, key=lambda checked: checked.what)


def open_latest(path: Path, keys: Sequence[Key]) -> Run:
    """Return the run that a path names: a run's directory, a note of it, or the latest run of a directory.

    A note stands for itself, without the others of its run. Raises CheckpointRefused, and StoreError.
    """
    try:
        return _latest(path, keys)
    except Refused as problem:
        raise CheckpointRefused(f"checkpoint_refused: {path}: {problem}") from None


def _latest(path: Path, keys: Sequence[Key]) -> Run:
    if not path.is_dir():
        try:
            signed = open_signed(read_note(path), keys)
        except Unreadable as problem:
            raise StoreError(f"{path}: {problem}") from None
        return Run(path.name, {signed.table: signed})
    if is_run_name(path.resolve().name):
        return open_run(read_run(path), keys)
    names = Store(path).names()
    if not names:
        raise StoreError(f"there is no checkpoint in {path}")
    return open_run(Store(path).read(names[-1]), keys)


def _notes(what: str, text: str, keys: Sequence[Key]) -> Iterator[Checked]:
    notes = _BETWEEN.split(text)
    found: list[Checked] = []
    for number, one in enumerate(notes, 1):
        name = what if len(notes) == 1 else f"{what}, note {number}"
        try:
            signed = open_signed(one, keys)
        except Unreadable as problem:
            raise StoreError(f"{name}: {problem}") from None
        except Refused as problem:
            found.append(Checked(name, None, str(problem)))
        else:
            run = Run(name, {signed.table: signed})
            found.append(Checked(f"{name} ({signed.table})", run, is_whole=False))
    logs = {signed.table: signed for one in found if one.run for signed in one.run.logs.values()}
    if len(logs) == len(notes) and _are_one_run(logs):
        found = [Checked(what, Run(run_name(next(iter(logs.values())).time), logs))]
    yield from found


def _are_one_run(logs: dict[str, Signed]) -> bool:
    try:
        check_together(logs.values())
    except Refused:
        return False
    return True
