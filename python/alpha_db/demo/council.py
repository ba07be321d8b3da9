"""The demo's agents, who propose and vote. Their keys exist in memory only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from alpha_db.risk.config_manager import Ballot, ConfigManager
from alpha_db.security.audit_signer import AuditSigner

AGENTS = ("ada", "ben", "cyd")

Keys = Mapping[str, AuditSigner]


def make_keys() -> Keys:
    """Return a new key for each agent."""
    return {name: AuditSigner.generate() for name in AGENTS}


class Council:
    """The agents of a database, proposing and voting with the keys that they hold."""

    def __init__(self, config: ConfigManager, keys: Keys) -> None:
        self.config, self._keys = config, keys
        self._ids = {agent.name: agent.agent_id for agent in config.agents()}

    def propose(self, name: str, kind: str, payload: Mapping[str, Any], reason: str) -> UUID:
        """Sign and send a proposal; return its id. Raises AlphaDbError."""
        draft = self.config.draft(kind, payload, reason=reason, proposer=self._ids[name])
        self.config.propose(draft, self._keys[name])
        return draft.proposal_id

    def ballot(self, proposal_id: UUID, name: str) -> Ballot:
        """Make an agent's approval, not yet signed. Raises AlphaDbError."""
        return self.config.ballot(proposal_id, self._ids[name], "APPROVE")

    def approve(self, proposal_id: UUID, name: str) -> str:
        """Sign and send an agent's approval; return what became of the proposal. Raises AlphaDbError."""
        return self.config.vote(self.ballot(proposal_id, name), self._keys[name])
