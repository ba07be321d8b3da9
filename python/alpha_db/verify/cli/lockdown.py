"""alpha-db lockdown."""

from __future__ import annotations

import json

import click

from alpha_db.cli.common import Settings, database_options, finish
from alpha_db.cli.optional import LazyGroup, load
from alpha_db.cli.output import BAD, DIM, GOOD, clean, emit_json, line
from alpha_db.errors import EXIT_DAMAGE, EXIT_NOT_RUN, AlphaDbError
from alpha_db.queries import ask
from alpha_db.verify.cli.verify_report import since


@click.group(cls=LazyGroup, lazy={"release": "alpha_db.risk.cli.release:release"})
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
    with settings.installed() as (conn, _):
        row = next(iter(ask(conn, "lockdown_status")), None)
        if row is None:
            raise AlphaDbError("lockdown_status() gave no row")
        # that a lockdown was lifted is believed only if the agents' signatures say so
        if row["is_locked"] is False and ask(conn, "was_locked"):
            load("alpha_db.risk.cli.release:require_lifted")(conn)
    if as_json:
        emit_json(row)
    elif row["is_locked"]:
        line(("LOCKED DOWN", BAD), f"{since(row['since'])}, event {clean(row['event_id'])}")
        line(("  reason  ", DIM), clean(row["reason"]))
        damage = row["damage"] or []
        for place in [damage] if isinstance(damage, str) else damage:  # text if Python cannot read it
            line(("  damage  ", DIM), clean(json.dumps(place)))
    else:
        line(("No lockdown.", GOOD))
    finish(EXIT_NOT_RUN if row["is_locked"] is None else EXIT_DAMAGE if row["is_locked"] else 0)
