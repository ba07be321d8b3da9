"""alpha-db tables list."""

from __future__ import annotations

import click

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.output import WARN, emit_json
from alpha_db.queries import ask
from alpha_db.shell.columns import rows


@click.command("list", short_help="List the chained tables.")
@database_options
def show(settings: Settings, as_json: bool) -> None:
    """List the chained tables: whose they are, and where their chains end.

    "not covered" names columns that were added and are not hashed yet: run alpha-db tables extend. "kept" says how long
    rows stay before they may be archived. Without a last row, the table cannot be read: alpha-db status says why.

    \b
    Examples:
      alpha-db tables list
      alpha-db tables list --json
    """
    with settings.installed() as (conn, _):
        found = ask(conn, "chained_tables")
    if as_json:
        emit_json(found)
        return
    rows(
        [
            (
                row["table_name"],
                row["kind"],
                row["last_id"],
                "open" if row["open_in_lockdown"] else "closed",
                ", ".join(row["not_covered"]) or None,
                row["keep"] or "for ever",
            )
            for row in found
        ],
        head=("table", "kind", "last row", "in a lockdown", "not covered", "kept"),
        styles=[WARN if row["not_covered"] or row["last_id"] is None else "" for row in found],
        right=[2],
    )
