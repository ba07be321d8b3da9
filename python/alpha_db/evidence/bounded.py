"""Reading files whose content is not ours: no more than is expected, and nothing that one could wait for."""

from __future__ import annotations

from pathlib import Path

from alpha_db.evidence.offline_check import Unreadable, open_file


def read_bytes(path: Path, limit: int) -> bytes:
    """Return a file's bytes, and one more than the limit if there are more. Raises NotThere, Unreadable."""
    data = b""
    try:
        with open_file(path) as stream:
            while len(data) <= limit and (more := stream.read(limit + 1 - len(data))):
                data += more
    except OSError as problem:
        raise Unreadable(f"it cannot be read: {problem.strerror or problem}") from None
    return data
