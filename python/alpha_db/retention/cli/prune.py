"""alpha-db retention prune."""

from __future__ import annotations

from pathlib import Path

import click

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.options import Integer
from alpha_db.cli.output import GOOD, clean, emit_json, line
from alpha_db.errors import NotThere, ReadOnlyServer
from alpha_db.queries import ask
from alpha_db.retention.approved import Pruned, require_files, waiting
from alpha_db.retention.approved import prune as delete
from alpha_db.retention.cli.plan import segments_option
from alpha_db.verify.cli.progress import progress_bar


@click.command(short_help="Delete the rows whose archiving was approved.")
@click.argument("table", required=False)
@segments_option(required=False)
@click.option(
    "--batch",
    metavar="ROWS",
    type=Integer(min=256),
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

    \b
    Examples:
      alpha-db retention prune --segments /mnt/segments
      alpha-db retention prune signals --batch 4096 --json
    """
    with settings.installed() as (conn, place):
        if place.is_read_only:
            raise ReadOnlyServer(
                "nothing can be deleted here: this session cannot write",
                hint="connect to the primary" if place.in_recovery else "default_transaction_read_only is on",
            )
        tables = [row["table_name"] for row in ask(conn, "every_chain")]
        if table not in (None, *tables):
            raise NotThere(f"{clean(table)} is not a chained table; these are: {', '.join(tables)}")
        approved = waiting(conn, table)
        if segments:
            require_files(approved, segments)
        there = {row["table"] for row in approved}
        done: list[Pruned] = []
        with progress_bar("deleting", sum(row["still_here"] for row in approved)) as progress:

            def tell(pruned: Pruned) -> None:
                done.append(pruned)
                progress(sum(each.deleted for each in done))

            delete(conn, [name for name in reversed(tables) if name in there], batch, tell)
    if as_json:
        emit_json({"pruned": [each._asdict() for each in done]})
        return
    for each in done:
        line(
            ("deleted", GOOD),
            f"  {clean(each.table)}: {each.deleted:,} rows, now up to row {each.start_id:,}",
        )
    if not done:
        line("No row is here whose archiving was approved.")
