"""alpha-db tables verify."""

from __future__ import annotations

import json

import click

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.output import BAD, GOOD, emit_json, line, note
from alpha_db.errors import EXIT_DAMAGE, EXIT_OK
from alpha_db.queries import ask
from alpha_db.shell.columns import rows
from alpha_db.tables.cli.asked import asked

#: How many differences the text shows; --json has all of them.
SHOWN = 20


@click.command(short_help="Compare tracked tables with their history.")
@click.argument("table", required=False)
@database_options
def verify(settings: Settings, as_json: bool, table: str | None) -> int:
    """Compare the tracked tables, or one of them, with their history.

    It exits with 1 if a table does not hold what its history says: rows were changed without its triggers, or a
    trigger, the key or a column is not as it was. Writers do not wait. alpha-db verify-chain does this, too.

    \b
    Examples:
      alpha-db tables verify
      alpha-db tables verify public.positions --json
    """
    with settings.installed() as (conn, _), asked():
        found = ask(conn, "verify_tracked", table=table)
    if as_json:
        emit_json(found)
    elif found:
        rows(
            [
                (row["table_name"], row["problem"], row["key"] and json.dumps(row["key"]), row["detail"])
                for row in found[:SHOWN]
            ],
            head=("table", "problem", "key", "detail"),
            styles=[BAD] * len(found[:SHOWN]),
        )
        if len(found) > SHOWN:
            note(f"… and {len(found) - SHOWN} more: --json shows all")
    else:
        line(("Every tracked table holds what its history says.", GOOD))
    return EXIT_DAMAGE if found else EXIT_OK
