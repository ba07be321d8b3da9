"""alpha-db risk proposals, approve and reject."""

from __future__ import annotations

import json

import click

from alpha_db.cli.common import NamedOption, Settings, database_options
from alpha_db.cli.output import BAD, DIM, GOOD, HEAD, WARN, clean, emit_json, line
from alpha_db.risk.cli.retained import described
from alpha_db.risk.cli.signing import Signing, ask, key_options, show_ballot, show_damage
from alpha_db.risk.config_manager import ConfigManager, Row

_STYLES = {"PENDING": WARN, "APPLIED": GOOD, "REJECTED": BAD}


@click.command(short_help="List proposals and where they stand.")
@click.option("--all", "every", is_flag=True, cls=NamedOption, help="Also those that are closed.")
@database_options
def proposals(settings: Settings, as_json: bool, every: bool) -> None:
    """List the pending proposals: what, by whom, why, and how many approvals they have and need.

    \b
    Examples:
      alpha-db risk proposals
      alpha-db risk proposals --all --json
    """
    with settings.installed() as (conn, _):
        manager = ConfigManager(conn)
        found = [row | {"damage": manager.damage_of(row)} for row in manager.proposals(every=every)]
    if as_json:
        emit_json(found)
        return
    for row in found:
        _one(row)
    if not found:
        line("No proposals." if every else "No proposal is pending.")


def _one(row: Row) -> None:
    status = row["status"]
    stands = f" {row['approvals']} of {row['needed'] or '?'} approvals" if status == "PENDING" else ""
    line(
        (str(row["proposal_id"]), HEAD),
        f"  {clean(row['kind'])}  ",
        (status, _STYLES.get(status, DIM)),
        stands,
    )
    line(
        ("  by      ", DIM),
        f"{clean(row['proposer_name'])}, {clean(row['created_at'])}: {clean(row['reason'])}",
    )
    payload = row["payload"]  # text if Python cannot read it
    if row["damage"]:
        line(("  what    ", DIM), f"acknowledges {len(row['damage'])} damaged places:")
        show_damage(row["damage"])
    elif effects := described(row["kind"], payload):
        for effect in effects:
            line(("  what    ", DIM), clean(effect))
    else:
        said = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
        line(("  what    ", DIM), clean(said))
    line(("  expires ", DIM), clean(row["expires_at"]))


@click.command(short_help="Approve a proposal.")
@click.argument("proposal_id", metavar="ID")
@key_options
@database_options
def approve(settings: Settings, as_json: bool, signing: Signing, proposal_id: str) -> None:
    """Show the exact text of a proposal and of the approval, ask, sign and send.

    The approval that completes the quorum applies the change. ID may be the beginning of one.

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

    \b
    Example:
      alpha-db risk reject 0f5c --agent cyd --key cyd.key
    """
    _vote(settings, as_json, signing, proposal_id, "REJECT")


def _vote(settings: Settings, as_json: bool, signing: Signing, proposal_id: str, decision: str) -> None:
    with settings.installed() as (conn, _):
        manager = ConfigManager(conn)
        agent, signer = signing.open(manager)
        ballot = manager.ballot(proposal_id, agent.agent_id, decision)
        if not as_json or not signing.yes:
            show_ballot(ballot, agent, err=as_json)
        ask(f"Sign and send {'this approval' if decision == 'APPROVE' else 'this rejection'}?", signing)
        status = manager.vote(ballot, signer)
        after = manager.proposal(ballot.proposal["proposal_id"])
        version = manager.active()["version"]
    if as_json:
        emit_json(
            {
                "proposal_id": after["proposal_id"],
                "decision": decision,
                "agent": {"agent_id": agent.agent_id, "name": agent.name},
                "status": status,
                "approvals": after["approvals"],
                "needed": after["needed"],
                "version": version,
                "signed_text": ballot.text,
            }
        )
    elif status == "APPLIED":
        line(("Applied", GOOD), f": the risk state is at version {version}.")
    elif status == "PENDING":
        line(("Approved", GOOD), f": {after['approvals']} of {after['needed']} approvals.")
    else:
        line("Withdrawn." if ballot.proposal["proposer"] == agent.agent_id else "Rejected.")
