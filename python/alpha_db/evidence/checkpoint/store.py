"""A directory of checkpoints: one sub-directory for each run, named by its number.

    DIR/000000042/checkpoint.note   what was signed
    DIR/000000042/run.tlog-proof    the run's row, which names every log
    DIR/000000042/cosigned-1.note   the same note with the cosignatures of witnesses, if there are any
    DIR/000000042/stamp-1.tsr       a time-stamp of the note, if there is one
    DIR/.lock

A run is written under another name and renamed, so that it is there whole or not at all. Files are added to it later,
and nothing is ever overwritten. Readers need neither the lock nor the right to write.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

from alpha_db.errors import AlphaDbError, NotThere
from alpha_db.evidence.checkpoint.note import NOTE, PROOF
from alpha_db.evidence.offline_check import MAX_NOTE, Unreadable, read_text
from alpha_db.evidence.offline_check import NotThere as NoFile
from alpha_db.security.files import lock, new_file, sync, whole_file

_RUN = re.compile(r"\d{9,18}", re.ASCII)
_COSIGNED = re.compile(r"cosigned-([1-9]\d{0,8})\.note", re.ASCII)
_MAX_RUN = 1 << 26  #: of a run's proof, in bytes: a head for each of a hundred thousand tables
_MAX_COSIGNED = 100  #: how many notes with cosignatures of a run are read
_NEW = ".new-"


class StoreError(AlphaDbError):
    """A directory of checkpoints cannot be read or written, or holds what is no checkpoint."""


class StoredRun(NamedTuple):
    """A run as it lies in its directory: the text of each of its files by name, unverified.

    `unreadable` says why of each file that could not be read, "" for the directory itself.
    """

    name: str
    path: Path
    files: dict[str, str]
    unreadable: dict[str, str]

    @property
    def cosigned(self) -> list[str]:
        """The names of the notes with cosignatures, in the order of their numbers."""
        return _numbered(self.files)


class Store:
    """A directory of checkpoints; runs that are left out of it are as if they were not there."""

    def __init__(self, path: str | os.PathLike[str], without: Sequence[str] = ()) -> None:
        self.path, self._without = Path(path), set(without)

    def names(self) -> list[str]:
        """Return the names of the runs, in the order of their names, whether they can be read or not.

        Raises NotThere if there is no such directory, StoreError if it cannot be read.
        """
        try:
            with os.scandir(self.path) as entries:
                found = {entry.name for entry in entries if is_run_name(entry.name)}
        except FileNotFoundError:
            raise NotThere(f"there is no directory {self.path}") from None
        except NotADirectoryError:
            raise StoreError(f"{self.path} is not a directory") from None
        except OSError as problem:
            raise StoreError(f"cannot read {self.path}: {problem.strerror}") from None
        for name in sorted(self._without - found):
            raise NotThere(f"there is no run {name} in {self.path} that could be left out")
        return sorted(found - self._without)

    def read(self, name: str) -> StoredRun:
        """Return a run, as far as it can be read."""
        return read_run(self.path / name)

    def runs(self) -> Iterator[StoredRun]:
        """Yield every run in the order of their names. Raises NotThere and StoreError, of the directory only."""
        return map(self.read, self.names())

    @contextmanager
    def locked(self, timeout: float = 30) -> Iterator[None]:
        """Hold the lock of those who write, waiting for it for so many seconds (0: for ever).

        Anyone who may read the file can hold it. Raises StoreError if it is not to be had.
        """
        try:
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as problem:
            hint = f"mkdir {self.path}" if isinstance(problem, FileNotFoundError) else None
            raise StoreError(f"cannot write to {self.path}: {problem.strerror}", hint=hint) from None
        try:
            try:
                is_locked = lock(descriptor, timeout or None)
            except OSError as problem:
                raise StoreError(f"cannot lock {self.path}: {problem.strerror}") from None
            if not is_locked:
                raise StoreError(
                    f"another process has held {self.path / '.lock'} for {timeout:g} s",
                    hint="try again, or --lock-timeout SECONDS; fuser names the process",
                )
            yield
        finally:
            os.close(descriptor)

    def write(self, name: str, files: Mapping[str, str]) -> Path:
        """Write a run, durably and at once; return its directory. The caller holds the lock.

        Raises StoreError if there is a run of that name, or it cannot be written; then nothing of it is left.
        """
        # Of another name each time, in case somebody left a file there that cannot be removed.
        target, new = self.path / name, self.path / f"{_NEW}{name}-{token_hex(4)}"
        try:
            if target.exists():
                raise StoreError(
                    f"{target} is there already, of another log of runs",
                    hint="Begin a new directory, with a key of another name, if this log does not continue that one.",
                )
            for left in self.path.glob(f"{_NEW}*"):
                shutil.rmtree(left, ignore_errors=True)  # of a run that was killed: we hold the lock
            new.mkdir()
            try:
                for file, text in files.items():
                    with new_file(new / file) as stream:
                        stream.write(text.encode())
                sync(new)
                new.rename(target)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
            sync(self.path)
        except OSError as problem:
            raise StoreError(f"cannot write {target}: {problem.strerror}") from None
        return target


def add_cosigned(run: Path, note: str) -> Path:
    """Add a note with cosignatures to a run, durably and whole, under the lowest number that is free; return its file.

    The caller holds the lock. Raises StoreError, also if there are as many as are read.
    """
    try:
        taken = {entry.name for entry in run.iterdir()}
        number = next(number for number in count(1) if f"cosigned-{number}.note" not in taken)
        if number > _MAX_COSIGNED:
            raise StoreError(
                f"{run} has {_MAX_COSIGNED} notes with cosignatures, and no more are read",
                hint="move those away that are not needed",
            )
        file = run / f"cosigned-{number}.note"
        with whole_file(file, overwrite=False) as stream:
            stream.write(note.encode())
    except OSError as problem:
        raise StoreError(f"cannot write to {run}: {problem.strerror}") from None
    return file


def _numbered(names: Iterable[str]) -> list[str]:
    """The names of notes with cosignatures among these, in the order of their numbers."""
    return sorted((name for name in names if _COSIGNED.fullmatch(name)), key=lambda name: int(name[9:-5]))


def is_run_name(name: str) -> bool:
    """Return whether a directory of that name is a run."""
    return _RUN.fullmatch(name) is not None


def read_run(path: Path) -> StoredRun:
    """Return the files of a run's directory, as far as they can be read."""
    files: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    try:
        there = {entry.name for entry in path.iterdir()}
    except FileNotFoundError:
        return StoredRun(path.name, path, {}, {"": "it is a link to a directory that is not there"})
    except NotADirectoryError:
        return StoredRun(path.name, path, {}, {"": "it is not a directory"})
    except OSError as problem:
        return StoredRun(path.name, path, {}, {"": f"it cannot be read: {problem.strerror}"})
    cosigned = _numbered(there)
    if more := cosigned[_MAX_COSIGNED:]:
        told = f"it and {len(more) - 1} more are not read: of a run's notes with cosignatures {_MAX_COSIGNED} are"
        unreadable[more[0]] = told
    for name in (NOTE, PROOF, *cosigned[:_MAX_COSIGNED]):
        try:
            files[name] = read_text(path / name, _MAX_RUN if name == PROOF else MAX_NOTE)
        except (NoFile, Unreadable) as problem:
            unreadable[name] = str(problem)
    if not there & {NOTE, PROOF}:
        unreadable = {"": "there is no checkpoint in it"}
    return StoredRun(path.name, path, files, unreadable)


def is_run(path: Path) -> bool:
    """Return whether a directory is a run, and not one of runs: it is named as one, and has a checkpoint in it."""
    return is_run_name(Path(os.path.realpath(path)).name) and (
        (path / NOTE).exists() or (path / PROOF).exists()
    )


def read_file(file: Path) -> str:
    """Return the text of a note, or of a run's proof, byte for byte; - is stdin.

    Raises NotThere, and StoreError if it cannot be read or is no text.
    """
    try:
        return read_text(file, _MAX_RUN)
    except NoFile as problem:
        raise NotThere(f"{file}: {problem}") from None
    except Unreadable as problem:
        raise StoreError(f"{file}: {problem}") from None
