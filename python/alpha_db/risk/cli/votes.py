"""alpha-db risk proposals, approve and reject."""

from __future__ import annotations

import contextlib

import click

from alpha_db.cli.common import NamedOption, Settings, database_options
from alpha_db.cli.options import Number
from alpha_db.cli.output import emit_json, line
from alpha_db.risk.cli.following import follow
from alpha_db.risk.cli.shown import lines_of, show_ballot
from alpha_db.risk.cli.signing import Signing, ask, key_options
from alpha_db.risk.cli.voted import tell_vote
from alpha_db.risk.config_manager import ConfigManager


@click.command(short_help="List proposals and where they stand.")
@click.option("--all", "every", is_flag=True, cls=NamedOption, help="Also those that are closed.")
@click.option("--watch", is_flag=True, help="Go on, and say what changes; Ctrl-C ends.")
@click.option(
    "--interval",
    metavar="SECONDS",
    type=Number(min=0.1, max=86400),
    default=2,
    show_default=True,
    help="How often --watch looks.",
)
@database_options
def proposals(settings: Settings, as_json: bool, every: bool, watch: bool, interval: float) -> None:
    """List the pending proposals: what each changes, why, who voted, what it still needs, until when.

    --watch keeps a terminal current. Into a pipe or a file it prints each change, and with --json one line of
    JSON for each: event (pending, proposed, voted, changed, closed), said, and proposal.

    \b
    Examples:
      alpha-db risk proposals
      alpha-db risk proposals --all --json
      alpha-db risk proposals --watch --interval 10
    """
    if watch and every:
        raise click.UsageError("--watch shows what is pending: leave --all out")
    with settings.installed() as (conn, _):
        manager = ConfigManager(conn)
        if watch:
            with contextlib.suppress(KeyboardInterrupt):
                follow(manager, interval, as_json=as_json)
            return
        found = manager.checked(manager.explained(manager.proposals(every=every)))
    if as_json:
        emit_json(found)
        return
    for row in found:
        for parts in lines_of(row):
            line(*parts)
    if not found:
        line("No proposals." if every else "No proposal is pending.")


@click.command(short_help="Approve a proposal.")
@click.argument("proposal_id", metavar="ID")
@key_options
@database_options
def approve(settings: Settings, as_json: bool, signing: Signing, proposal_id: str) -> None:
    """Show the exact text of a proposal and of the approval, ask, sign and send.

    The approval that completes the quorum applies the change. ID may be the beginning of one.

    On a standby this is refused: exit 3.

    \b
    Example:
      alpha-db risk approve 0f5c --agent ben --key ben.key
    """
    _vote(settings, as_json, signing, proposal_id, "APPROVE")


@click.command(short_help="Reject a proposal, or withdraw one's own.")
@click.argument("proposal_id", metavar="ID")
@key_options
@database_options
def reject(settings: Settings, as_json: bool, signing: Signing, proposal_id: str) -> None:
    """Show the exact text of a proposal and of the rejection, ask, sign and send.

    One rejection ends a proposal; the proposer's own withdraws it.

    On a standby this is refused: exit 3.

    \b
    Example:
      alpha-db risk reject 0f5c --agent cyd --key cyd.key
    """
    _vote(settings, as_json, signing, proposal_id, "REJECT")


def _vote(settings: Settings, as_json: bool, signing: Signing, proposal_id: str, decision: str) -> None:
    with settings.installed(writes=True) as (conn, _):
        manager = ConfigManager(conn)
        agent, signer = signing.open(manager)
        ballot = manager.ballot(proposal_id, agent.agent_id, decision)
        if not as_json or not signing.yes:
            show_ballot(ballot, agent, err=as_json)
        ask(f"Sign and send {'this approval' if decision == 'APPROVE' else 'this rejection'}?", signing)
        status = manager.vote(ballot, signer)
        tell_vote(manager, ballot, status, as_json=as_json)
