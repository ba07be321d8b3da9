"""Writing files durably, whole or not at all; and the lock between processes that ends with its holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_POLL = 0.05


@contextmanager
def whole_file(path: Path, *, overwrite: bool = True, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Give a stream whose content gets the name only when all of it is on disk; otherwise nothing of it is left.

    Takes the permissions, of which the umask takes some away. Raises OSError, FileExistsError among them if the
    name is taken and may not be overwritten.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with new_file(part, mode) as stream:
            yield stream
        if overwrite:
            part.replace(path)
        else:
            _take_name(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    sync(path.parent)


@contextmanager
def new_file(path: Path, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Give a stream into a new file, which is on disk at the end. Raises OSError, FileExistsError among them."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def sync(path: Path) -> None:
    """Have what a directory or a file holds on disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(descriptor: int, timeout: float | None) -> bool:
    """Lock an open file or directory; False if another process has it for longer than so many seconds (None: wait).

    The kernel lets go of it when the last that has the descriptor open ends. Raises OSError.
    """
    end = None if timeout is None else time.monotonic() + timeout
    while end is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL)
        else:
            return True
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return True


def _take_name(part: Path, path: Path) -> None:
    try:
        os.link(part, path)  # unlike a rename it fails if somebody else made the file meanwhile
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError(17, "File exists", str(path)) from None
        part.replace(path)
    else:
        part.unlink()
