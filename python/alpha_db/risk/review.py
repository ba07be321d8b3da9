"""Whether what is shown of a proposal is what its proposer and its voters signed; found out without the database.

Raises RiskTampered (RSK-007) for the first thing that is not: then nobody signs. Source: docs/risk.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alpha_db.errors import RiskTampered
from alpha_db.risk.agent import Agent, Row
from alpha_db.risk.changes import changes_of, differing
from alpha_db.security.audit_signer import approval_text, digest_of, signed_time, verify_text
from alpha_db.security.replay import Replay, approvals_needed, direction, eligible
from alpha_db.security.signed_text import SignedProposal, parse_proposal


def tampered(problem: str, detail: str) -> RiskTampered:
    """Return the exception for what is not as it was signed."""
    return RiskTampered(f"RSK-007: {problem}", detail=detail, hint="alpha-db risk verify", sqlstate="RSK07")


def check_signed(
    proposal: Row, stored: Row, *, origin: str, keys: Mapping[str, bytes], must_be_readable: bool
) -> SignedProposal | None:
    """Return what a stored proposal says, or None for a text that cannot be read and need not be.

    Takes its row as it is shown, its `proposer_key` and `signature`, the identity of this installation, and the keys
    of the agents by id. Digest and signature must hold, and the text must say every column that is shown.
    """
    text, said = proposal["signed_text"], None
    try:
        said = parse_proposal(text)
    except (ValueError, TypeError) as problem:
        if must_be_readable:
            raise tampered(f"the proposal's text cannot be read: {problem}", text) from None
    if digest_of(text) != proposal["digest"]:
        raise tampered("the proposal's digest is not that of its text", text)
    key = bytes(stored["proposer_key"])
    if not verify_text(key, text, bytes(stored["signature"])):
        raise tampered("the proposer's signature is not for this text", text)
    if said is None:
        return None
    if keys.get(said.proposer) != key:
        raise tampered("the key that signed the proposal is not its proposer's", text)
    if said.origin != origin:
        raise tampered(f"the proposal was signed for another installation, {said.origin}", text)
    for name, signed, shown in (
        ("id", said.proposal_id, str(proposal["proposal_id"])),
        ("kind", said.kind, proposal["kind"]),
        ("payload", said.payload, proposal["payload"]),
        ("reason", said.reason, proposal["reason"]),
        ("proposer", said.proposer, str(proposal["proposer"])),
        ("state it was made for", said.previous, proposal["previous"]),
        ("expiry", said.expires, _time(proposal["expires_at"])),
    ):
        if signed != shown and (must_be_readable or name != "expiry"):  # a rejection must stay possible
            raise tampered(f"the proposal's text says otherwise than its row: the {name} is another", text)
    return said


def check_votes(
    said: SignedProposal,
    digest: str,
    voters: Sequence[Row],
    signatures: Sequence[Row],
    keys: Mapping[str, bytes],
) -> None:
    """Raise unless each vote that is shown is signed by its agent for this proposal, and none is left out."""
    shown = {str(row["agent_id"]): row["decision"] for row in voters if row["decision"] is not None}
    if shown != {str(row["agent_id"]): row["decision"] for row in signatures}:
        raise tampered("the votes that are shown are not those that are stored", str(sorted(shown)))
    for row in signatures:
        agent, signed_at = str(row["agent_id"]), _time(row["signed_at"])
        text = approval_text(
            origin=said.origin, decision=row["decision"], digest=digest, agent_id=agent, signed_at=signed_at
        )
        key = keys.get(agent)
        if key is None or not verify_text(key, text, bytes(row["signature"])):
            raise tampered("a vote is not signed by its agent for this proposal", text)


def check_shown(
    proposal: Row,
    said: SignedProposal,
    replay: Replay | None,
    agents: Sequence[Agent],
    keys: Mapping[str, bytes],
) -> None:
    """Raise unless the changes, the direction and the quorum that are shown follow from the text and the log.

    Takes the agents as they are enrolled, with agent_id, name, role and public_key. Without a replay, because the log
    does not hold, old values and the quorum are not compared.
    """
    names = {
        agent_id: f"{agent.name} ({agent.role}), key {keys[agent_id].hex()}"
        for agent in agents
        if (agent_id := str(agent.agent_id)) in keys
    }
    try:
        other = differing(proposal["changes"], changes_of(said, replay, names))
        way = direction(said.kind, said.payload, replay.state) if replay else None
        needed = approvals_needed(replay, said) if replay else None
    except (ValueError, TypeError, LookupError, ArithmeticError) as problem:
        raise tampered(
            f"what the proposal changes cannot be derived: {problem}", proposal["signed_text"]
        ) from None
    if other is not None:
        raise tampered("the database shows another change than the signed text", other)
    if replay is None:
        return
    if (proposal["direction"], proposal["needed"]) != (way, needed):
        stands = f"It says {proposal['direction']}, {proposal['needed']} approvals; it is {way}, {needed}."
        raise tampered("the database says otherwise what the proposal needs", stands)
    may = {str(row["agent_id"]) for row in proposal["may_vote"]}
    approved = {str(row["agent_id"]) for row in proposal["votes"] if row["counts"]}
    if may | approved != set(eligible(replay, said)):
        raise tampered("the database says otherwise who may vote", str(sorted(may | approved)))
    if proposal["approvals"] != len(approved):
        raise tampered("the database counts other approvals", f"It says {proposal['approvals']}.")


def _time(moment: Any) -> str:
    """A time as signed texts print it; what is not one, or has years that Python does not know, as it is."""
    return signed_time(moment) if hasattr(moment, "tzinfo") else str(moment)
