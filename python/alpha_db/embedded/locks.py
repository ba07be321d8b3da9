"""A lock between processes that the kernel lets go of when its holder dies."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alpha_db.embedded.errors import EmbeddedError
from alpha_db.security.files import lock

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
        try:
            is_locked = lock(handle, timeout)
        except OSError as exc:
            if exc.errno not in _NOT_POSSIBLE:
                raise EmbeddedError(f"cannot lock {directory}: {exc.strerror}") from exc
            is_locked = True
        if not is_locked:
            raise EmbeddedError(f"another process is starting or stopping the server in {directory}")
        yield
    finally:
        os.close(handle)
