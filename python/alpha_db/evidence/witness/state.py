"""What a witness remembers: for each log, the note that it cosigned last. One file, replaced as a whole.

    {"format": "alpha-db/witness/v1", "logs": {ORIGIN: NOTE}, "forks": {ORIGIN: NOTE}}

A note is there before its cosignature is given out, so a witness that is killed at any moment has given out nothing
that it does not remember. Without its memory a witness would cosign a fork. So a file that is missing, damaged, or
changed by somebody else stops it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from alpha_db.errors import AlphaDbError, NotThere
from alpha_db.evidence.offline_check import NotThere as NoFile
from alpha_db.evidence.offline_check import Policy, Refused, Unreadable, Witness, read_text, witnessed
from alpha_db.evidence.witness.keys import WitnessKey
from alpha_db.evidence.witness.request import Head, parse_head
from alpha_db.security.ed25519 import verify
from alpha_db.security.files import lock, sync, whole_file

_FORMAT = "alpha-db/witness/v1"
_MEMBERS = ("format", "logs", "forks")
#: Of the file, in bytes: some thousand logs.
_MAX_STATE = 1 << 26


class StateError(AlphaDbError):
    """A witness's state file cannot be read, written or trusted, or another process has it."""


class State:
    """The memory of a witness. Only the process that holds the file's lock changes it; not safe for threads."""

    def __init__(self, path: Path, notes: dict[str, str], forks: dict[str, str]) -> None:
        self._path, self._notes, self._forks = path, notes, forks
        self._heads = {origin: parse_head(text_of(note)) for origin, note in notes.items()}
        self._seen = _identity(path)

    def latest(self, origin: str) -> Head | None:
        """Return what was cosigned last of a log; None if nothing was."""
        return self._heads.get(origin)

    def has_fork(self, origin: str) -> bool:
        """Return whether a note that contradicts a cosigned one was kept of a log."""
        return origin in self._forks

    def remember(self, head: Head, note: str) -> None:
        """Keep a cosigned note; it is on disk at the end. Raises StateError, and then the old one is remembered."""
        notes = {**self._notes, head.origin: note}
        self._write(notes, self._forks)
        self._notes, self._heads[head.origin] = notes, head

    def keep_fork(self, origin: str, note: str) -> None:
        """Keep the first note of a log that contradicts what was cosigned: both together prove it. StateError."""
        forks = {origin: note, **self._forks}
        self._write(self._notes, forks)
        self._forks = forks

    def _write(self, notes: Mapping[str, str], forks: Mapping[str, str]) -> None:
        try:
            if _identity(self._path) != self._seen:
                raise StateError(
                    f"{self._path} was changed by somebody else, or a write of it failed",
                    hint="find out which, then start the witness again",
                )
            _write(self._path, notes, forks)
            self._seen = _identity(self._path)
        except OSError as problem:
            raise StateError(f"cannot write {self._path}: {problem.strerror}") from None


def create(path: Path) -> None:
    """Write the state file of a witness that has cosigned nothing. Never overwrites. Raises StateError."""
    try:
        _write(path, {}, {}, overwrite=False)
    except OSError as problem:
        raise StateError(f"cannot write {path}: {problem.strerror}") from None


@contextmanager
def opened(path: Path, key: WitnessKey) -> Iterator[State]:
    """Give the memory of the witness with that key, and hold its lock.

    Raises NotThere, and StateError if another process has it, it cannot be read, or is not what this key cosigned.
    """
    path = Path(os.path.realpath(path))  # one lock, whatever links lead there
    if not path.exists():
        raise NotThere(
            f"there is no state file {path}",
            hint=f"alpha-db witness init --state {path}, for a new witness only: one that lost its memory would"
            " cosign a fork",
        )
    try:
        descriptor = os.open(
            path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    except OSError as problem:
        raise StateError(f"cannot lock {path}: {problem.strerror}") from None
    try:
        if not lock(descriptor, 0):
            raise StateError(
                f"another witness is running on {path}", hint=f"fuser {path}.lock names the process"
            )
        with suppress(OSError):
            for left in path.parent.glob(f".{path.name}.*.part"):
                left.unlink()  # of a witness that was killed: we hold the lock, so it is nobody's
        yield _load(path, key)
    finally:
        os.close(descriptor)


def text_of(note: str) -> str:
    """Return the text of a note, which is all before its signatures."""
    return note[: note.rindex("\n\n") + 1]


def _write(path: Path, notes: Mapping[str, str], forks: Mapping[str, str], *, overwrite: bool = True) -> None:
    values = (_FORMAT, notes, forks)
    document = dict(zip(_MEMBERS, values, strict=True))
    with whole_file(path, overwrite=overwrite) as stream:
        stream.write(f"{json.dumps(document, indent=1, ensure_ascii=False)}\n".encode())


def _load(path: Path, key: WitnessKey) -> State:
    try:
        document = json.loads(read_text(path, _MAX_STATE))
        sync(path)  # what a crash of the machine could still take away was not remembered
        sync(path.parent)
        if not isinstance(document, dict) or tuple(document) != _MEMBERS or document["format"] != _FORMAT:
            raise Unreadable(f"it is not of the format {_FORMAT}")
        for notes in (document["logs"], document["forks"]):
            if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
                raise Unreadable("its notes are not texts, by origin")
        policy = Policy((), (Witness("own", key.trusted, None),), (), "own")
        for origin, note in document["logs"].items():
            text, separator, signatures = note.removesuffix("\n").rpartition("\n\n")
            seen = witnessed(f"{text}\n", signatures.split("\n"), policy, verify)
            if not separator or not seen.is_met or parse_head(f"{text}\n").origin != origin:
                raise Unreadable(f"the note of {origin} is not one that {key.name} cosigned")
        return State(path, document["logs"], document["forks"])
    except NoFile:
        raise NotThere(f"there is no state file {path}") from None
    except OSError as problem:
        raise StateError(f"cannot read {path}: {problem.strerror}") from None
    except (Unreadable, Refused, ValueError, RecursionError) as problem:
        said = problem if isinstance(problem, Unreadable | Refused) else "it is not JSON"
        raise StateError(
            f"{path} is not the state of this witness: {said}",
            hint="Bring the file back as it was last. An older copy does not know what was cosigned since.",
        ) from None


def _identity(path: Path) -> tuple[int, int, int]:
    """What tells whether somebody else replaced or changed a file."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
