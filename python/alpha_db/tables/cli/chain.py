"""alpha-db tables chain."""

from __future__ import annotations

import click

from alpha_db.cli.common import NamedOption, Settings, database_options
from alpha_db.cli.output import GOOD, clean, emit_json, line
from alpha_db.queries import ask_one
from alpha_db.tables.cli.refusals import refusals


@click.command(short_help="Put a table of your own under the chain.")
@click.argument("table")
@click.option(
    "--open-in-lockdown", is_flag=True, cls=NamedOption, help="Take rows even while a lockdown is engaged."
)
@database_options
def chain(settings: Settings, as_json: bool, table: str, open_in_lockdown: bool) -> None:
    """Put a table of your own under the chain: append-only, and verified like the audit log.

    TABLE is its name as it is stored, in the schema of alpha-db. The table gets the columns id, created_at, recorded_by
    and row_hash where they are missing, and belongs to alpha_owner from then on. Rows that are there are taken in.
    Nobody can take a table back out. Connect as a member of alpha_owner that owns the table. It exits with 1, and
    changes nothing, if the table cannot be chained.

    On a standby this is refused: exit 3.

    \b
    Examples:
      alpha-db tables chain trades
      alpha-db tables chain "Trade Notes" --open-in-lockdown --json
    """
    with settings.installed(writes=True) as (conn, _), refusals():
        taken_in = ask_one(conn, "chain_table", table_name=table, open_in_lockdown=open_in_lockdown)
    if as_json:
        emit_json({"table": table, "open_in_lockdown": open_in_lockdown, "taken_in": taken_in})
        return
    line((f"{clean(table)} is a chained table now.", GOOD))
    if taken_in:
        line(f"Its rows 1 to {taken_in} were there before, and were taken in.")
    line(f"A lockdown {'leaves it open' if open_in_lockdown else 'closes it'}.")
