"""Writing a new key: the private half into a file, the public one into FILE.vkey beside it."""

from __future__ import annotations

from pathlib import Path

import click

from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.checkpoint.store import StoreError


def save_pair(key: SigningKey, output: Path) -> Path:
    """Write both halves, and return the file of the public one. Never overwrites. Raises KeyFileError, StoreError."""
    if not output.name:
        raise click.UsageError("--output names no file")
    public = output.with_name(f"{output.name}.vkey")
    if public.exists():
        raise StoreError(f"cannot write the public key {public}: File exists")
    key.save(output)
    try:
        with public.open("x", encoding="utf-8") as stream:
            stream.write(f"{key.vkey}\n")
    except OSError as problem:
        raise StoreError(f"cannot write the public key {public}: {problem.strerror}") from None
    return public
