"""A lock between processes that the kernel lets go of when its holder dies."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alpha_db.embedded.errors import EmbeddedError

_NOT_POSSIBLE = (errno.ENOLCK, errno.EBADF, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def locked(directory: Path, timeout: float = 180) -> Iterator[None]:
    """Hold the lock of a directory. Raises EmbeddedError if another process keeps it longer than the timeout.

    The directory itself is locked, so no file has to be made in it or is left there. A file system without
    locks (some network mounts) goes without.
    """
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        raise EmbeddedError(f"cannot open {directory}: {exc.strerror}") from exc
    try:
        _acquire(handle, directory, time.monotonic() + timeout)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int, directory: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"another process is starting or stopping the server in {directory}"
                ) from None
            time.sleep(0.05)
        except OSError as exc:
            if exc.errno in _NOT_POSSIBLE:
                return
            raise EmbeddedError(f"cannot lock {directory}: {exc.strerror}") from exc
        else:
            return
