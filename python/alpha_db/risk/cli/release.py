"""alpha-db lockdown release, and whether a lockdown that is said to be lifted was released by the agents."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click
import psycopg

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.output import line, note
from alpha_db.errors import RiskTampered, StaleProposal
from alpha_db.risk.cli.shown import show_damage
from alpha_db.risk.cli.signing import Signing, proposal_options, send_proposal
from alpha_db.risk.config_manager import ConfigManager
from alpha_db.security.payloads import DAMAGE


def require_lifted(conn: psycopg.Connection[Any]) -> None:
    """Raise RiskTampered (RSK-007) if a lockdown was engaged, and the agents' signatures do not lift it."""
    if ConfigManager(conn).verified().is_locked:
        raise RiskTampered("RSK-007: the lockdown is said to be lifted, and no approved release did that")


@click.command(short_help="Propose that the lockdown be lifted.")
@proposal_options
@database_options
def release(settings: Settings, as_json: bool, signing: Signing, reason: str, lifetime: timedelta) -> None:
    """Propose that the lockdown be lifted, acknowledging the damage that the chains show now.

    It shows each damaged place with the content that stands there, and lists exactly those. Nothing is
    repaired: acknowledged damage is reported for ever after, and further damage locks again. Without damage it
    lifts a false alarm.

    On a standby this is refused: exit 3.

    \b
    Examples:
      alpha-db lockdown release --reason "disk fault, ticket 42" --agent ada \\
        --key ada.key
    """
    with settings.installed(writes=True) as (conn, _):
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
