"""What came of a vote, for every command that sends one."""

from __future__ import annotations

from alpha_db.cli.output import GOOD, emit_json, line
from alpha_db.risk.config_manager import Ballot, ConfigManager


def tell_vote(manager: ConfigManager, ballot: Ballot, status: str, *, as_json: bool) -> None:
    """Say what a vote led to: the status that vote() returned, and how the proposal stands now."""
    before, after = ballot.proposal, manager.proposal(ballot.proposal["proposal_id"])
    version = manager.active()["version"]
    if as_json:
        name = next(agent.name for agent in manager.agents() if agent.agent_id == ballot.agent_id)
        emit_json(
            {
                "proposal_id": after["proposal_id"],
                "kind": after["kind"],
                "direction": before["direction"],
                "changes": before["changes"],
                "decision": ballot.decision,
                "agent": {"agent_id": ballot.agent_id, "name": name},
                "status": status,
                "approvals": after["approvals"],
                "needed": after["needed"],
                "may_vote": after["may_vote"],
                "version": version,
                "signed_text": ballot.text,
            }
        )
    elif status == "APPLIED":
        line(("Applied", GOOD), f": the risk state is at version {version}.")
    elif status == "PENDING":
        line(("Approved", GOOD), f": {after['approvals']} of {after['needed']} approvals.")
    else:
        line("Withdrawn." if before["proposer"] == ballot.agent_id else "Rejected.")
