"""Votes that are signed without a browser, as the page of a proposal makes them."""

from __future__ import annotations

from typing import Any

from alpha_db.security.audit_signer import AuditSigner, approval_text
from tests.cli.desk import Desk

Vote = dict[str, Any]


def signed_vote(desk: Desk, proposal_id: str, name: str, **others: str) -> Vote:
    """A vote as the page makes it; `others` are another origin, digest, decision or signed_at than are right."""
    (shown,) = [
        row
        for row in desk.run("risk", "proposals", "--all", "--json").json
        if row["proposal_id"] == proposal_id
    ]
    signer = AuditSigner.load(desk.key(name))
    origin = next(line for line in shown["signed_text"].splitlines() if line.startswith("origin"))[9:-1]
    parts = {
        "decision": "APPROVE",
        "signed_at": "2026-01-25T12:30:00.000000Z",
        "agent_id": str(signer.agent_id),
    }
    text = approval_text(**({"origin": origin, "digest": shown["digest"]} | parts | others))
    kept = {name: others.get(name, value) for name, value in parts.items()}
    return kept | {"proposal_id": proposal_id, "signed_text": text, "signature": signer.sign(text).hex()}
