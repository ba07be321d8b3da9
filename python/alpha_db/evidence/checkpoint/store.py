"""A directory of checkpoints: one sub-directory for each run, named by its time, one note in it for each log.

    DIR/20261121T132823.123456Z/signals.note
    DIR/20261121T132823.123456Z/order_execution.note
    DIR/.lock

A run is written under another name and renamed, so that it is there whole or not at all, and nothing is ever
overwritten. Readers need neither the lock nor the right to write.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from alpha_db.errors import AlphaDbError, NotThere
from alpha_db.evidence.offline_check import MAX_NOTE, Unreadable, read_text
from alpha_db.evidence.offline_check import NotThere as NoFile
from alpha_db.security.files import lock, new_file, sync

_RUN = re.compile(r"\d{8}T\d{6}\.\d{6}Z", re.ASCII)
_SUFFIX = ".note"
_NEW = ".new-"


class StoreError(AlphaDbError):
    """A directory of checkpoints cannot be read or written, or holds what is no checkpoint."""


class StoredRun(NamedTuple):
    """A run as it lies in its directory: the text of each note by the name of its table, unverified.

    `unreadable` says why of each file that could not be read, "" for the directory itself.
    """

    name: str
    path: Path
    notes: dict[str, str]
    unreadable: dict[str, str]


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

    def glance(self, name: str) -> str:
        """Return the text of one note of a run, empty if there is none that can be read."""
        with suppress(OSError, NoFile, Unreadable), os.scandir(self.path / name) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX) and entry.name[0] != ".":
                    return read_text(entry.path, MAX_NOTE)
        return ""

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

    def write(self, name: str, notes: Mapping[str, str]) -> Path:
        """Write a run, durably and at once; return its directory. The caller holds the lock.

        Raises StoreError if there is a run of that name, or it cannot be written; then nothing of it is left.
        """
        target, new = self.path / name, self.path / f"{_NEW}{name}"
        try:
            if target.exists():
                raise StoreError(f"{target} is there already")
            for left in self.path.glob(f"{_NEW}*"):
                shutil.rmtree(left)  # of a run that was killed: we hold the lock, so it is nobody's
            new.mkdir()
            try:
                for table, text in notes.items():
                    with new_file(new / f"{table}{_SUFFIX}") as stream:
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


def is_run_name(name: str) -> bool:
    """Return whether a directory of that name is a run."""
    return _RUN.fullmatch(name) is not None


def read_run(path: Path) -> StoredRun:
    """Return the notes of a run's directory, as far as they can be read."""
    notes: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    try:
        files = sorted(file for file in path.iterdir() if file.suffix == _SUFFIX and file.name[0] != ".")
    except FileNotFoundError:
        return StoredRun(path.name, path, {}, {"": "it is a link to a directory that is not there"})
    except NotADirectoryError:
        return StoredRun(path.name, path, {}, {"": "it is not a directory"})
    except OSError as problem:
        return StoredRun(path.name, path, {}, {"": f"it cannot be read: {problem.strerror}"})
    for file in files:
        try:
            notes[file.name.removesuffix(_SUFFIX)] = read_text(file, MAX_NOTE)
        except (NoFile, Unreadable) as problem:
            unreadable[file.name] = str(problem)
    return StoredRun(path.name, path, notes, unreadable if files else {"": "there is no note in it"})


def read_note(file: Path, limit: int = MAX_NOTE) -> str:
    """Return the text of a note, byte for byte; - is stdin.

    Raises NotThere, and StoreError if it cannot be read or is no text.
    """
    try:
        return read_text(file, limit)
    except NoFile as problem:
        raise NotThere(f"{file}: {problem}") from None
    except Unreadable as problem:
        raise StoreError(f"{file}: {problem}") from None
