"""alpha-db lockdown."""

from __future__ import annotations

import json

import click
from psycopg.rows import dict_row

from alpha_db.cli.common import Settings, database_options, finish
from alpha_db.cli.output import BAD, DIM, GOOD, clean, emit_json, line
from alpha_db.errors import EXIT_DAMAGE, EXIT_NOT_RUN, AlphaDbError
from alpha_db.queries import query


@click.group()
def lockdown() -> None:
    """The lockdown that proven damage engages."""


@lockdown.command()
@database_options
def status(settings: Settings, as_json: bool) -> None:
    """Tell whether the lockdown is engaged: exit 0 if not, 1 if it is.

    \b
    Examples:
      alpha-db lockdown status
      alpha-db lockdown status --json
    """
    with settings.installed() as (conn, _), conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(query("lockdown_status")).fetchone()
    if row is None:
        raise AlphaDbError("lockdown_status() gave no row")
    if as_json:
        emit_json(row)
    elif row["is_locked"]:
        line(("LOCKED DOWN", BAD), f" since {clean(row['since'])}, event {clean(row['event_id'])}")
        line(("  reason  ", DIM), clean(row["reason"]))
        for place in row["damage"] or []:
            line(("  damage  ", DIM), clean(json.dumps(place)))
    else:
        line(("No lockdown.", GOOD))
    finish(EXIT_NOT_RUN if row["is_locked"] is None else EXIT_DAMAGE if row["is_locked"] else 0)
