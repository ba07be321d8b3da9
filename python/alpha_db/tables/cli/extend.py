"""alpha-db tables extend."""

from __future__ import annotations

import click

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.output import GOOD, clean, emit_json, line
from alpha_db.queries import ask_one
from alpha_db.tables.cli.refusals import refusals


@click.command(short_help="Cover the columns that you added to your table.")
@click.argument("table")
@database_options
def extend(settings: Settings, as_json: bool, table: str) -> None:
    """Have the chain of your table cover the columns that you added to it.

    Rows from then on are hashed with them, and older rows stay verifiable. While writers are at work, call extend_table
    in the transaction of your ALTER TABLE instead: a row that is written between the two is not hashed whole. It exits
    with 1, and changes nothing, if older rows hold different values there.

    On a standby this is refused: exit 3.

    \b
    Examples:
      alpha-db tables extend trades
      alpha-db tables extend trades --json
    """
    with settings.installed(writes=True) as (conn, _), refusals():
        added = ask_one(conn, "extend_table", table_name=table)
    if as_json:
        emit_json({"table": table, "added": added})
    elif added:
        line((f"{clean(table)} is hashed with {', '.join(map(clean, added))} from now on.", GOOD))
    else:
        line(f"{clean(table)} has no column that its chain does not cover.")
