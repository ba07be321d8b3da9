"""Checking the time-stamps that lie beside checkpoints."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from alpha_db.errors import AlphaDbError
from alpha_db.evidence.bounded import read_bytes
from alpha_db.evidence.checkpoint.note import NOTE
from alpha_db.evidence.checkpoint.read import Verdict
from alpha_db.evidence.checkpoint.store import Store, is_run
from alpha_db.evidence.offline_check import MAX_NOTE, NotThere, Refused, Unreadable, read_text
from alpha_db.evidence.stamps.stamp import MAX_STAMP, verify_stamp

STAMP = re.compile(r"stamp-([1-9]\d{0,8})\.tsr", re.ASCII)


class CheckedStamp(NamedTuple):
    """A time-stamp: the time that it states, or why it must not be relied on, or why nothing can be said."""

    what: str
    time: datetime | None
    reason: str | None
    verdict: Verdict


def check_stamps(path: str, ca_file: Path, without: Sequence[str] = ()) -> Iterator[CheckedStamp]:
    """Yield what came of each time-stamp in a run, or in the runs of a directory. Raises nothing: one hides no other.

    What is no directory, or cannot be read as one, has none: check_path tells of it.
    """
    place = Path(path)
    try:
        names = [] if is_run(place) else Store(place, without).names()
    except (AlphaDbError, OSError):
        return
    for name, run in [(name, place / name) for name in names] or [(path, place)]:
        for file in _stamps(run):
            yield _check(f"{name}/{file}", run, file, ca_file)


def _stamps(run: Path) -> list[str]:
    try:
        found = {
            file.name: int(number[1]) for file in run.iterdir() if (number := STAMP.fullmatch(file.name))
        }
    except OSError:
        return []
    return sorted(found, key=found.__getitem__)


def _check(what: str, run: Path, file: str, ca_file: Path) -> CheckedStamp:
    try:
        note = read_text(run / NOTE, MAX_NOTE).encode()
    except (NotThere, Unreadable) as problem:
        return CheckedStamp(what, None, f"{NOTE}: {problem}", Verdict.NOT_RUN)
    try:
        time = verify_stamp(note, read_bytes(run / file, MAX_STAMP), ca_file)
    except Refused as problem:
        return CheckedStamp(what, None, str(problem), Verdict.REFUSED)
    except (NotThere, Unreadable) as problem:
        return CheckedStamp(what, None, str(problem), Verdict.NOT_RUN)
    except AlphaDbError as problem:
        return CheckedStamp(what, None, problem.message, Verdict.NOT_RUN)
    return CheckedStamp(what, time, None, Verdict.HOLDS)
