"""A file that holds a private key: only its owner may read it, and nothing overwrites it."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from shlex import quote

from alpha_db.security.files import whole_file
from alpha_db.security.key_formats import KeyFileError, KeyFileNotThere
from alpha_db.security.reading import reason_of

__all__ = ["KeyFileError", "KeyFileNotThere", "read_private", "write_private"]

_LIMIT = 64 * 1024
# What is plainly public may be read by anyone; whoever reads the key says that it is not the private one.
_PUBLIC = re.compile(
    rb"\s*(?:[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}\s*\Z|[{\[].*\"public_key\""
    rb"|-----BEGIN (?:PUBLIC KEY|CERTIFICATE)-----|(?:ssh|ecdsa|sk)-\S+ )",
    re.DOTALL,
)


def read_private(path: str | os.PathLike[str]) -> bytes:
    """Return what stands in a private key file; KeyFileError if it is missing or others may read it."""
    file = Path(path)
    try:
        # O_NONBLOCK: a named pipe is refused, and not waited for
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            mode = os.fstat(descriptor).st_mode
            _require_file(file, mode)
            content = os.read(descriptor, _LIMIT)
            if mode & 0o077 and not _PUBLIC.match(content):
                raise _not_private(file, mode)
            return content
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise KeyFileNotThere(f"cannot read the private key {file}: {reason_of(problem)}") from None
    except (OSError, ValueError) as problem:
        raise KeyFileError(f"cannot read the private key {file}: {reason_of(problem)}") from None


def _require_file(file: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise KeyFileError(f"{file} is not a file: it is {kind}")


def _not_private(file: Path, mode: int) -> KeyFileError:
    return KeyFileError(
        f"the private key {file} can be read by others (mode {stat.S_IMODE(mode):04o})",
        hint=f"chmod 600 {quote(str(file))}",
    )


def write_private(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a new private key file of mode 0600. Never overwrites. Raises KeyFileError."""
    try:
        with whole_file(Path(os.fsdecode(path)), overwrite=False, mode=0o600) as stream:
            os.fchmod(stream.fileno(), 0o600)  # whatever the umask took
            stream.write(content)
    except (OSError, ValueError) as problem:
        shown = os.fsdecode(path)
        raise KeyFileError(f"cannot write the private key {shown}: {reason_of(problem)}") from None
