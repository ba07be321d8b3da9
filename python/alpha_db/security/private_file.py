"""A file that holds a private key: only its owner may read it, and nothing overwrites it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from alpha_db.errors import AlphaDbError

_LIMIT = 64 * 1024


class KeyFileError(AlphaDbError):
    """A private key file is missing, unreadable, readable by others, or needs another passphrase."""


def read_private(path: str | os.PathLike[str]) -> bytes:
    """Return what stands in a private key file; KeyFileError if it is missing or others may read it."""
    file = Path(path)
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise KeyFileError(f"{file} is not a file")
            if mode & 0o077:
                raise KeyFileError(
                    f"the private key {file} can be read by others (mode {stat.S_IMODE(mode):04o})",
                    hint=f"chmod 600 {file}",
                )
            return stream.read(_LIMIT)
    except OSError as problem:
        raise KeyFileError(f"cannot read the private key {file}: {problem.strerror}") from None


def write_private(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a new private key file of mode 0600. Never overwrites. Raises KeyFileError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, 0o600)  # whatever the umask took or left
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
    except OSError as problem:
        raise KeyFileError(f"cannot write the private key {os.fspath(path)}: {problem.strerror}") from None
