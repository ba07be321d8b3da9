"""Writing a result into a file that is there whole, or not at all."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import click

from alpha_db.errors import AlphaDbError
from alpha_db.security.files import whole_file

force_option = click.option("--force", is_flag=True, help="Overwrite what is there already.")


class NotWritten(AlphaDbError):  # noqa: N818
    """A file could not be written."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise NotWritten for an OSError."""
    try:
        yield
    except OSError as problem:
        raise NotWritten(f"cannot write {path}: {problem.strerror or problem}") from None


def refuse_existing(path: Path, force: bool) -> None:
    """Fail as a usage error if nothing can be written there, before anything is asked of a database."""
    with writing(path):
        _refuse_existing(path, force)


def _refuse_existing(path: Path, force: bool) -> None:
    if path.is_dir():
        raise click.UsageError(f"{path} is a directory")
    if path.exists() and not path.is_file():
        raise click.UsageError(f"{path} is no plain file; - is standard output")
    if path.exists() and not force:
        raise click.UsageError(f"{path} is there already; --force overwrites it")
    if not path.parent.is_dir():
        raise click.UsageError(f"there is no directory {path.parent}")


@contextmanager
def new_file(path: Path, force: bool) -> Iterator[IO[bytes]]:
    """Give a stream whose content gets the name only when all of it is written and on disk.

    Packs with gzip if the name ends with .gz; - is standard output, unpacked. An existing file is overwritten
    with ``force`` only. Raises NotWritten.
    """
    if str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with writing(path), _new_file(path, force) as stream:
        yield stream


@contextmanager
def _new_file(path: Path, force: bool) -> Iterator[IO[bytes]]:
    target = Path(os.path.realpath(path))  # what a link names, not the link
    with whole_file(target, overwrite=force) as stream:
        if target.suffix == ".gz":
            # no name and no time in it: the same rows give the same file
            with gzip.GzipFile("", "wb", 6, stream, 0) as packed:
                yield cast("IO[bytes]", packed)
        else:
            yield stream
