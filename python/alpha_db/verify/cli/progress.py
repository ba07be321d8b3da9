"""What a terminal's stderr shows of work that takes long; nothing anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from alpha_db.cli.output import clean, is_terminal

_ERASE = "\r\x1b[2K"


@contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Give the function that is told how far it is, in the units of the total, and the total if it is another.

    A total of None is not known.
    """
    if not is_terminal(sys.stderr):
        yield lambda *_told: None
    elif total is None:
        with spinner(what):
            yield lambda *_told: None
    else:
        with click.progressbar(length=total, label=clean(what), file=sys.stderr) as bar:

            def tell(done: int, total: int | None = None) -> None:
                bar.length = total or bar.length
                bar.update(done - bar.pos)

            yield tell
        click.echo(f"\x1b[1A{_ERASE}", err=True, nl=False)


@contextmanager
def spinner(what: str) -> Iterator[None]:
    """Show that something is going on whose end nobody can tell."""
    if not is_terminal(sys.stderr):
        yield
        return
    click.echo(f"{clean(what)} ...", err=True, nl=False)
    try:
        yield
    finally:
        click.echo(_ERASE, err=True, nl=False)
