"""alpha-db tables track, and untrack."""

from __future__ import annotations

import click

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.output import GOOD, clean, emit_json, line
from alpha_db.queries import ask_one
from alpha_db.tables.cli.asked import asked


@click.command(short_help="Keep the history of a table that changes.")
@click.argument("table")
@click.option(
    "--exclude",
    metavar="COLUMN",
    multiple=True,
    help="Record only the SHA-256 of this column; may be given several times.",
)
@database_options
def track(settings: Settings, as_json: bool, table: str, exclude: tuple[str, ...]) -> None:
    """Keep the history of a table from now on: every change of a row, and the rows that are there.

    Connect as a member of alpha_owner who owns the table. Give its name with the schema. Again for a table that is
    tracked, it makes a fresh beginning, with the same excluded columns if you give none. It exits with 1, and changes
    nothing, if the table cannot be tracked.

    On a standby this is refused: exit 3.

    \b
    Examples:
      alpha-db tables track public.positions
      alpha-db tables track app.customers --exclude pin --exclude iban
    """
    with settings.installed(writes=True) as (conn, _), asked():
        count = ask_one(conn, "track_table", table=table, exclude=list(exclude) or None)
    if as_json:
        emit_json({"table": table, "rows": count})
    else:
        line((f"{clean(table)} is tracked; its history begins with {count} rows.", GOOD))


@click.command(short_help="End the history of a table.")
@click.argument("table")
@database_options
def untrack(settings: Settings, as_json: bool, table: str) -> None:
    """End the history of a table, even of one that was dropped. What it holds so far stays.

    Connect as a member of alpha_owner who owns the table.

    On a standby this is refused: exit 3.

    \b
    Examples:
      alpha-db tables untrack public.positions
      alpha-db tables untrack public.positions --json
    """
    with settings.installed(writes=True) as (conn, _), asked():
        ask_one(conn, "untrack_table", table=table)
    if as_json:
        emit_json({"table": table})
    else:
        line(f"{clean(table)} is not tracked any more. Its history stays.")
