"""Checking what somebody names on the command line: a directory of runs, one run, or a file of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from alpha_db.errors import AlphaDbError, NotThere
from alpha_db.evidence import offline_check
from alpha_db.evidence.checkpoint.history import (
    CheckpointRefused,
    Latest,
    Run,
    RunRefused,
    open_proof,
    open_run,
    read_history,
    read_latest,
    run_of_note,
    run_of_proof,
)
from alpha_db.evidence.checkpoint.quorum import cosigners, require_quorum
from alpha_db.evidence.checkpoint.store import Store, StoreError, is_run, read_file, read_run
from alpha_db.evidence.offline_check import Key, Policy, Refused, Unreadable, shown_seconds
from alpha_db.security import ed25519


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
    cosigned: dict[str, str] = field(default_factory=dict)  #: witnesses of the policy, and when


def check_path(
    path: str, keys: Sequence[Key], without: Sequence[str] = (), policy: Policy | None = None
) -> Iterator[Checked]:
    """Yield what came of each run, or file of one, that a path names; - is stdin. Raises nothing: one hides no other.

    Takes the runs of a directory that are left out, and who must have cosigned (of a directory: its latest run).
    """
    place = Path(path)
    try:
        if path == "-" or not place.is_dir():
            yield from _file("stdin" if path == "-" else path, read_file(place), keys, policy)
        elif is_run(place):
            yield from _run(path, place, keys, policy)
        else:
            yield from _runs(Store(place, without), keys, policy)
    except NotThere as problem:
        yield Checked(path, reason=_without(path, problem), verdict=Verdict.NOT_THERE)
    except AlphaDbError as problem:
        yield Checked(path, reason=_without(path, problem), verdict=Verdict.NOT_RUN)
    except OSError as problem:
        yield Checked(path, reason=f"it cannot be read: {problem.strerror}", verdict=Verdict.NOT_RUN)


def _without(path: str, problem: AlphaDbError) -> str:
    return problem.message.removeprefix(f"{path}: ")


def _run(path: str, place: Path, keys: Sequence[Key], policy: Policy | None) -> Iterator[Checked]:
    try:
        run, unreadable = open_run(read_run(place), keys)
    except RunRefused as problem:
        yield Checked(path, reason=str(problem), verdict=Verdict.REFUSED)
        unreadable = problem.unreadable
    else:
        if run:
            yield _witnessed(Checked(path, run), policy)
    for one in unreadable:
        yield Checked(str(place / one.file), reason=one.reason, verdict=Verdict.NOT_RUN)


def _runs(store: Store, keys: Sequence[Key], policy: Policy | None) -> Iterator[Checked]:
    history = read_history(store, keys, policy)
    every = [Checked(run.name, run, cosigned=_cosigned(run, policy)) for run in history.runs]
    every += [Checked(run.name, reason=run.reason, verdict=Verdict.REFUSED) for run in history.refused]
    every += [Checked(run.name, reason=run.reason, verdict=Verdict.NOT_RUN) for run in history.not_cosigned]
    every += [Checked(one.name, reason=one.reason, verdict=Verdict.NOT_RUN) for one in history.unreadable]
    yield from sorted(every, key=lambda checked: checked.what)


def read_checkpoints(path: Path, keys: Sequence[Key]) -> Latest:
    """Return the run that a path names, and what could not be read, so that an older checkpoint of a table stands in.

    The path is that of a run, a file of one, or a directory of runs (the latest counts). Raises CheckpointRefused,
    NotThere, and StoreError.
    """
    try:
        if not path.is_dir():
            return Latest(_open_file(path.name, read_file(path), keys), [])
        if not is_run(path):
            return read_latest(Store(path), keys)
        run, unreadable = open_run(read_run(path), keys)
    except Refused as problem:
        raise CheckpointRefused(f"checkpoint_refused: {path}: {problem}") from None
    except Unreadable as problem:
        raise StoreError(f"{path}: {problem}") from None
    except OSError as problem:
        raise StoreError(f"cannot read {path}: {problem.strerror}") from None
    if not run:
        raise StoreError(f"{path / unreadable[0].file}: {unreadable[0].reason}")
    return Latest(run, unreadable)


def _cosigned(run: Run, policy: Policy | None) -> dict[str, str]:
    return cosigners(run.notes, policy) if policy else {}


def _witnessed(checked: Checked, policy: Policy | None) -> Checked:
    """The same with its witnesses, or refused for want of a quorum."""
    assert checked.run is not None
    try:
        return replace(checked, cosigned=require_quorum(checked.run.notes, policy))
    except Refused as problem:
        return Checked(checked.what, reason=str(problem), verdict=Verdict.REFUSED)


def _alone(checked: Checked, policy: Policy | None) -> Checked:
    """The same of a file by itself, in which no signature of a witness may be wrong."""
    assert checked.run is not None
    if policy is None:
        return checked
    times = offline_check.require_quorum(checked.run.notes[0], policy, ed25519.verify)
    return replace(checked, cosigned={name: shown_seconds(time) for name, time in times.items()})


def _file(what: str, text: str, keys: Sequence[Key], policy: Policy | None) -> Iterator[Checked]:
    try:
        yield _alone(Checked(what, _open_file(what, text, keys)), policy)
    except Refused as problem:
        yield Checked(what, reason=str(problem), verdict=Verdict.REFUSED)
    except Unreadable as problem:
        yield Checked(what, reason=str(problem), verdict=Verdict.NOT_RUN)


def _open_file(name: str, text: str, keys: Sequence[Key]) -> Run:
    if text.startswith("c2sp.org/tlog-proof@"):
        return run_of_proof(name, open_proof(text, keys))
    return run_of_note(name, text, keys)
