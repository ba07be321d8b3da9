"""Making a new key: the private half into a file, the public one into FILE.vkey beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import click

from alpha_db.evidence.checkpoint.keys import BadKey, SigningKey
from alpha_db.evidence.checkpoint.store import StoreError

_Key = TypeVar("_Key", bound=SigningKey)

output_option = click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path, readable=False),
    help="New file for the private key; the public one goes into FILE.vkey.",
    metavar="FILE",
)


def make_pair(kind: type[_Key], name: str, output: Path) -> tuple[_Key, Path]:
    """Make a key, write both halves, and return it with the file of the public one. Never overwrites.

    Raises BadParameter for a name that cannot be one, KeyFileError, StoreError.
    """
    try:
        key = kind.generate(name)
    except BadKey as problem:
        raise click.BadParameter(f"{problem.message}. {problem.hint}", param_hint="--name") from None
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
    return key, public
