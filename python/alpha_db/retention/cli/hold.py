"""alpha-db retention hold and release."""

from __future__ import annotations

from datetime import timedelta

import click

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.options import Integer
from alpha_db.retention.approved import hold_of
from alpha_db.risk.cli.signing import Signing, proposal_options, send_proposal
from alpha_db.risk.config_manager import ConfigManager


@click.command(short_help="Propose a legal hold: rows that may not leave.")
@click.argument("table")
@click.argument("from_id", metavar="ID", type=Integer(min=1))
@proposal_options
@database_options
def hold(
    settings: Settings,
    as_json: bool,
    signing: Signing,
    table: str,
    from_id: int,
    reason: str,
    lifetime: timedelta,
) -> None:
    """Propose that the rows of a table from ID on may not leave, whatever was approved before.

    One approval of another agent is enough.

    On a standby this is refused: exit 3.

    \b
    Example:
      alpha-db retention hold signals 5000 --reason "case 17/2031" \\
        --key ada.key
    """
    with settings.installed(writes=True) as (conn, _):
        send_proposal(
            ConfigManager(conn),
            signing,
            "hold",
            {"table": table, "from_id": from_id},
            reason=reason,
            lifetime=lifetime,
            as_json=as_json,
            changes=[(f"{table} from row {from_id} on", "may leave", "held")],
        )


@click.command(short_help="Propose that a legal hold ends.")
@click.argument("hold_id", metavar="HOLD")
@proposal_options
@database_options
def release(
    settings: Settings, as_json: bool, signing: Signing, hold_id: str, reason: str, lifetime: timedelta
) -> None:
    """Propose that a legal hold ends. HOLD is the id of its proposal, or the beginning of it.

    On a standby this is refused: exit 3.

    \b
    Example:
      alpha-db retention release 0f5c --reason "case 17/2031 is closed" \\
        --key ada.key
    """
    with settings.installed(writes=True) as (conn, _):
        held = hold_of(conn, hold_id)
        send_proposal(
            ConfigManager(conn),
            signing,
            "unhold",
            {"hold": str(held["proposal_id"])},
            reason=reason,
            lifetime=lifetime,
            as_json=as_json,
            changes=[(f"{held['table']} from row {held['from_id']} on", "held", "may leave")],
        )
