"""alpha-db guards."""

from __future__ import annotations

import click
from psycopg.rows import dict_row

from alpha_db.cli.common import Settings, database_options, finish
from alpha_db.cli.output import BAD, DIM, GOOD, clean, emit_json, line
from alpha_db.errors import EXIT_DAMAGE
from alpha_db.queries import query


@click.command(short_help="List every guard that is not as installed.")
@database_options
def guards(settings: Settings, as_json: bool) -> None:
    """List every guard that is not as installed: triggers, functions, grants, owners, columns.

    Exits 0 if all are as installed, 1 if any is not.

    \b
    Examples:
      alpha-db guards
      alpha-db guards --json
    """
    with settings.installed() as (conn, _), conn.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(query("guards")).fetchall()
    if as_json:
        emit_json(found)
    else:
        for row in found:
            line(
                (clean(row["problem"]), BAD),
                f"  {clean(row['object_kind'])} {clean(row['object_name'])}: {clean(row['fact'])}",
            )
            line(("    expected  ", DIM), clean(row["expected"]))
            line(("    found     ", DIM), clean(row["found"]))
        if found:
            line((f"{len(found)} facts about the guards are not as installed.", BAD))
        else:
            line(("All guards are as installed.", GOOD))
    finish(EXIT_DAMAGE if found else 0)
