"""What the commands share that deal with evidence: its errors, and the checkpoint that a path names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from alpha_db.checkpoint.history import Run, open_run, open_signed
from alpha_db.checkpoint.store import Store, StoredRun, StoreError, is_run_name, read_note, read_run
from alpha_db.errors import EXIT_DAMAGE, AlphaDbError
from alpha_db.offline_check import Checkpoint, Key, Refused, Unreadable


class EvidenceRefused(AlphaDbError):  # noqa: N818
    """Evidence does not hold, or the database does not hold against it."""

    exit_code = EXIT_DAMAGE


class EvidenceUnreadable(AlphaDbError):  # noqa: N818
    """What was given is not complete, well-formed evidence: nothing was concluded."""


@contextmanager
def judged(what: object) -> Iterator[None]:
    """Raise EvidenceRefused and EvidenceUnreadable, naming what was checked, for offline_check's own errors."""
    try:
        yield
    except Refused as problem:
        raise EvidenceRefused(f"{what}: {problem}") from None
    except Unreadable as problem:
        raise EvidenceUnreadable(f"{what}: {problem}") from None


class Notes(NamedTuple):
    """The checkpoints that a path names, verified, and their texts; both by table."""

    checkpoints: dict[str, Checkpoint]
    texts: dict[str, str]
    is_run: bool

    def of(self, table: str) -> Checkpoint:
        """Return the checkpoint of a table. Raises EvidenceUnreadable if there is none."""
        if table not in self.checkpoints:
            raise EvidenceUnreadable(f"there is no checkpoint of {table} among those given")
        return self.checkpoints[table]


def open_notes(path: Path, keys: Sequence[Key]) -> Notes:
    """Return the checkpoints that a path names: a note, the notes of a run, or the latest run of a directory.

    Raises EvidenceRefused for what no trusted key signed, and StoreError.
    """
    with judged(path):
        if not path.is_dir():
            text = read_note(path)
            signed = open_signed(text, keys)
            return Notes({signed.table: signed.checkpoint}, {signed.table: text}, is_run=False)
        stored = _stored(path)
        run: Run = open_run(stored, keys)
    return Notes({table: signed.checkpoint for table, signed in run.logs.items()}, stored.notes, is_run=True)


def _stored(path: Path) -> StoredRun:
    if is_run_name(path.resolve().name):
        return read_run(path)
    names = Store(path).names()
    if not names:
        hint = "alpha-db checkpoint create makes the first one"
        raise StoreError(f"there is no checkpoint in {path}", hint=hint)
    return Store(path).read(names[-1])
