"""alpha-db retention prune."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import click
import psycopg

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.options import Integer
from alpha_db.cli.output import GOOD, clean, emit_json, is_terminal, line
from alpha_db.errors import AlphaDbError, NotThere
from alpha_db.queries import ask
from alpha_db.retention.approved import Pruned, require_files, waiting
from alpha_db.retention.approved import prune as delete
from alpha_db.retention.cli.plan import segments_option
from alpha_db.verify.cli.progress import progress_bar

#: How often a bar moves, in seconds.
_EVERY = 0.5


@click.command(short_help="Delete the rows whose archiving was approved.")
@click.argument("table", required=False)
@segments_option(required=False)
@click.option(
    "--batch",
    metavar="ROWS",
    type=Integer(min=256, max=65536),
    default=1024,
    show_default=True,
    help="How many rows each transaction deletes, in blocks of 256.",
)
@database_options
def prune(settings: Settings, as_json: bool, table: str | None, segments: Path | None, batch: int) -> None:
    """Delete the rows that an approved archive covers, of one table or of all.

    Each batch is a transaction of its own that holds no lock for long, so writers go on. A run that was killed leaves
    whole blocks; the next one goes on. Tables that refer to others come first. With --segments nothing is deleted
    unless each approved segment is in that directory, byte for byte.

    On a standby this is refused: exit 3.

    \b
    Examples:
      alpha-db retention prune --segments /mnt/segments
      alpha-db retention prune signals --batch 4096 --json
    """
    with settings.installed(writes=True) as (conn, _):
        tables = [row["table_name"] for row in ask(conn, "every_chain")]
        if table not in (None, *tables):
            raise NotThere(f"{clean(table)} is not a chained table; these are: {', '.join(tables)}")
        approved = waiting(conn, table)
        if segments:
            require_files(approved, segments)
        there = {row["table"] for row in approved}
        done: list[Pruned] = []
        try:
            with _watched(settings, table, sum(row["still_here"] for row in approved)):
                delete(conn, [name for name in reversed(tables) if name in there], batch, done.append)
        finally:
            _report(done, as_json)
    if not (done or as_json):
        line("No row is here whose archiving was approved.")


def _report(done: Sequence[Pruned], as_json: bool) -> None:
    """Say what is deleted, whatever stopped the rest."""
    if as_json:
        emit_json({"pruned": [each._asdict() for each in done]})
        return
    for each in done:
        line(
            ("deleted", GOOD),
            f"  {clean(each.table)}: {each.deleted:,} rows, now up to row {each.start_id:,}",
        )


@contextmanager
def _watched(settings: Settings, table: str | None, total: int) -> Iterator[None]:
    """Show on a terminal how many rows have gone: one call deletes all of a table, so another connection counts."""
    if not is_terminal(sys.stderr):
        yield
        return
    is_done = Event()
    with progress_bar("deleting", total) as progress:

        def watch() -> None:
            with suppress(AlphaDbError, psycopg.Error), closing(settings.connect()) as conn:
                while not is_done.wait(_EVERY):
                    progress(total - sum(row["still_here"] for row in waiting(conn, table)))

        watcher = Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            is_done.set()
            watcher.join(_EVERY)
