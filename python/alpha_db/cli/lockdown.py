"""alpha-db lockdown."""

from __future__ import annotations

import json
from datetime import timedelta

import click
from psycopg.rows import dict_row

from alpha_db.cli.common import Settings, database_options, finish
from alpha_db.cli.output import BAD, DIM, GOOD, clean, emit_json, line, note, since
from alpha_db.errors import EXIT_DAMAGE, EXIT_NOT_RUN, AlphaDbError, RiskTampered, StaleProposal
from alpha_db.queries import query
from alpha_db.risk.cli.signing import Signing, proposal_options, send_proposal, show_damage
from alpha_db.risk.config_manager import ConfigManager
from alpha_db.security.payloads import DAMAGE


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
        manager = ConfigManager(conn)
        # that a lockdown was lifted is believed only if the agents' signatures say so
        if row["is_locked"] is False and manager.was_locked() and manager.verified().is_locked:
            raise RiskTampered("RSK-007: the lockdown is said to be lifted, and no approved release did that")
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


@lockdown.command(short_help="Propose that the lockdown be lifted.")
@proposal_options
@database_options
def release(settings: Settings, as_json: bool, signing: Signing, reason: str, lifetime: timedelta) -> None:
    """Propose that the lockdown be lifted, acknowledging the damage that the chains show now.

    It shows each damaged place with the content that stands there, and lists exactly those. Nothing is
    repaired: acknowledged damage is reported for ever after, and further damage locks again. Without damage it
    lifts a false alarm.

    \b
    Examples:
      alpha-db lockdown release --reason "disk fault, ticket 42" --agent ada \\
        --key ada.key
    """
    with settings.installed() as (conn, _):
        manager = ConfigManager(conn)
        found = manager.damage()
        if found is None:
            raise StaleProposal("RSK-005: there is no lockdown to release", sqlstate="RSK05")
        damage = [{name: place[name] for name in DAMAGE} for place in found]
        changes = [
            (f"{place['table']} {place['id']}", str(place["verdict"]), "acknowledged") for place in found
        ]
        if not as_json or not signing.yes:
            show_damage(found, note if as_json else line)
        send_proposal(
            manager,
            signing,
            "lockdown_release",
            {"damage": damage},
            reason=reason,
            lifetime=lifetime,
            as_json=as_json,
            changes=changes,
        )
