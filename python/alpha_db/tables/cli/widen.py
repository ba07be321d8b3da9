"""alpha-db tables widen."""

from __future__ import annotations

import click

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.options import Integer
from alpha_db.cli.output import GOOD, clean, emit_json, line
from alpha_db.queries import ask_one


@click.command(short_help="Make a text column longer.")
@click.argument("table")
@click.argument("column")
@click.argument("length", type=Integer())
@click.option("--reason", metavar="TEXT", required=True, help="Why; stands in maintenance_events.")
@database_options
def widen(settings: Settings, as_json: bool, table: str, column: str, length: int, reason: str) -> None:
    """Make a text column longer, when AUD-012 says that a value does not fit.

    Connect as a member of alpha_owner. Older rows, views, checks and grants stay as they are, and the new length is
    what the guards are compared with from then on. Writers wait meanwhile, and go on. It exits with 1, and changes
    nothing, if the column cannot become so long, if a guard is not as installed, or if a view of yours uses the column.

    On a standby this is refused: exit 3.

    \b
    Examples:
      alpha-db tables widen signals symbol 40 --reason "options of Deribit"
      alpha-db tables widen signals symbol 64 --reason "ticket 42" --json
    """
    if not reason.strip():
        raise click.BadParameter("it is blank", param_hint="--reason")
    with settings.installed(writes=True) as (conn, _):
        before = ask_one(
            conn, "widen_column", table_name=table, column_name=column, length=length, reason=reason
        )
    if as_json:
        emit_json({"table": table, "column": column, "from": before, "to": length})
    else:
        line((f"{clean(table)}.{clean(column)} takes {length} characters now; it was {before}.", GOOD))
