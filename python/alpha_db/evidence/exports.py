"""Checking exported rows and archived segments: one file, and which files a path names. Source: docs/retention.md."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase as fnmatch
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from alpha_db.errors import EXIT_DAMAGE, EXIT_NOT_RUN, EXIT_NOT_THERE, EXIT_OK, AlphaDbError
from alpha_db.evidence.checkpoint.quorum import require_quorum
from alpha_db.evidence.cli.notes import Notes, judged, verdict_of
from alpha_db.evidence.offline_check import (
    SEGMENT_LINE,
    EndMissing,
    Key,
    Policy,
    Proof,
    Run,
    Signed,
    open_file,
    read_lines,
    verify_export,
)

#: The exit code of each verdict.
CODES = {"holds": EXIT_OK, "refused": EXIT_DAMAGE, "not_run": EXIT_NOT_RUN, "not_there": EXIT_NOT_THERE}
#: What a directory is searched for.
PATTERNS = ("*.segment", "*.segment.gz", "*.jsonl", "*.jsonl.gz")

Result = dict[str, Any]


class Against(NamedTuple):
    """What the rows are held against; it can be sent to another process."""

    keys: Sequence[Key] = ()  #: that are trusted
    notes: Notes | None = None  #: a checkpoint, for exports; a segment has its own
    policy: Policy | None = None  #: whose quorum must have cosigned


def files_of(paths: Iterable[str]) -> list[str]:
    """Return the files that paths name: of a directory the segments and exports in it, in the order of their names.

    A directory without any, or that cannot be read, stands for itself: checking it says what is wrong.
    """
    found: list[str] = []
    for path in paths:
        inside: list[str] = []
        with contextlib.suppress(OSError, ValueError):
            inside = [] if path == "-" else _inside(path)
        found += inside or [path]
    return found


def passed_over(paths: Iterable[str]) -> list[str]:
    """Return what of directories is not checked: what has another name than a segment or an export, subdirectories too.

    Of a directory of which nothing is checked, or that cannot be read, it names nothing. Raises nothing.
    """
    found: list[str] = []
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            inside = [] if path == "-" else _inside(path)
            every = [str(entry) for entry in Path(path).iterdir()] if inside else []
            found += sorted(set(every) - set(inside))
    return found


def _inside(path: str) -> list[str]:
    """The segments and exports in a directory. Raises OSError, ValueError for what is none."""
    found = [file for file in Path(path).iterdir() if any(fnmatch(file.name, one) for one in PATTERNS)]
    return sorted(str(file) for file in found if not file.name.startswith("."))


def check_export(
    file: str, against: Against, progress: Callable[[int], None] = lambda _bytes: None
) -> Result:
    """Check an export or a segment by itself, and against what is trusted; - is standard input.

    Returns its verdict (holds, refused, not_run, not_there), the reason if it does not hold, what was found in it, and
    the checkpoint that signed it. `progress` is told how many bytes were read. Raises nothing of what a file can hold.
    """
    missing = checkpoint = segment = short = None
    try:
        with judged(file), _opened(file) as stream:
            lines = read_lines(stream)
            # what the header says is believed only as far as choosing the note; the note's own origin must fit
            head = [next(lines, b"")]
            if head[0].startswith(SEGMENT_LINE):
                head.append(next(lines, b""))
            table = _table(head[-1])
            try:
                checkpoint = against.notes.of(table) if against.notes and table else None
            except AlphaDbError as problem:
                missing = problem  # by itself it is checked all the same
            tell = (lambda _rows: progress(stream.tell())) if _has_size(stream) else None
            try:
                found = verify_export(chain(head, lines), checkpoint, tell, keys=against.keys)
            except EndMissing as problem:
                found, short = problem.found, problem
            if found.proof:
                missing, segment = None, _signed_by(found.proof, table, against.policy)
    except AlphaDbError as problem:
        with contextlib.suppress(OSError, ValueError):
            if file != "-" and not _inside(file):
                return not_checked(
                    file, f"no file in this directory is a {' or '.join(PATTERNS)}", "not_there"
                )
        return not_checked(file, problem.message.removeprefix(f"{file}: "), verdict_of(problem))
    is_segment = head[0].startswith(SEGMENT_LINE)
    told: Result = {
        "file": file,
        "verdict": "holds",
        "reason": None,
        "segment": is_segment,
        **found._asdict(),
    }
    del told["proof"]
    if short and checkpoint:
        told |= {"verdict": "refused", "reason": str(short), "ends_before": checkpoint.size}
        return told | {"checkpoint": None}
    if missing:
        reason = f"{missing.message}; by itself it holds"
        told |= {"verdict": verdict_of(missing), "reason": reason}
    return told | {"checkpoint": segment or _described(checkpoint, against.notes)}


def not_checked(file: str, reason: str, verdict: str = "not_run") -> Result:
    """Return the result of a file that does not hold, or of which nothing is known."""
    return {"file": file, "verdict": verdict, "reason": reason, "checkpoint": None}


def _signed_by(proof: Proof, table: str, policy: Policy | None) -> Result:
    """The run in a segment, which must have a policy's quorum. Raises Refused."""
    require_quorum([proof.note], policy)
    return _described_run(proof.run.head(table), proof.run)


@contextlib.contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    stream = open_file(file)
    try:
        yield stream
    finally:
        if file != "-":
            stream.close()


def _has_size(stream: BinaryIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def _table(header: bytes) -> str:
    try:
        return str(json.loads(header)["table"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def _described(signed: Signed | None, notes: Notes | None) -> Result | None:
    if signed is None or notes is None:
        return None
    facts = notes.run.facts
    if facts:
        return _described_run(signed, facts)
    return _described_run(signed, None) | {"run": notes.run.checkpoint.size}


def _described_run(signed: Signed, run: Run | None) -> Result:
    return {
        "size": signed.size,
        "root": signed.root.hex(),
        "signer": signed.signer,
        "run": run.id if run else None,
        "time": run.time if run else None,
    }
