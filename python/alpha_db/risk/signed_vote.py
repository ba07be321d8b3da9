"""A vote that was signed somewhere else, as a file or standard input brings it: the page of a proposal makes one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from alpha_db.errors import FileUnreadable, SignatureRefused
from alpha_db.security.audit_signer import approval_text, verify_text
from alpha_db.security.reading import read_text
from alpha_db.security.signed_text import SIGNATURE_TEXT, UUID_TEXT, json_string, load_json, parse_time

#: A signed vote has about 1,000 bytes.
MOST = 64 * 1024
_HINT = "Save what the page gives, from { to }, or download it there."


@dataclass(frozen=True)
class SignedVote:
    """The members of a signed vote, all of them text: signed_at as signed texts print it, the signature in hex."""

    proposal_id: str
    agent_id: str
    decision: str
    signed_at: str
    signed_text: str
    signature: str


def read_vote(file: Path) -> SignedVote:
    """Return the vote in a file; - is standard input. Raises FileUnreadable, NotThere."""
    shown = "standard input" if str(file) == "-" else str(file)
    text = read_text(file, most=MOST)
    try:
        return _vote_of(load_json(text))
    except (ValueError, TypeError) as problem:
        raise FileUnreadable(f"{shown} is not a signed vote: {problem}", hint=_HINT) from None


def _vote_of(said: Any) -> SignedVote:
    names = [each.name for each in fields(SignedVote)]
    if not isinstance(said, dict) or set(said) != set(names):
        raise ValueError(f"it has not exactly the members {', '.join(names)}")
    if not all(isinstance(value, str) for value in said.values()):
        raise ValueError("a member is not text")
    vote = SignedVote(**said)
    if not UUID_TEXT.fullmatch(vote.proposal_id) or not UUID_TEXT.fullmatch(vote.agent_id):
        raise ValueError("proposal_id or agent_id is not a uuid")
    if vote.decision not in ("APPROVE", "REJECT"):
        raise ValueError("decision is neither APPROVE nor REJECT")
    if not SIGNATURE_TEXT.fullmatch(vote.signature):
        raise ValueError("signature has not 128 hex digits")
    parse_time(vote.signed_at)
    return vote


def check_origin(vote: SignedVote, origin: str) -> None:
    """Raise SignatureRefused (RSK-003) for a vote that was signed for another installation."""
    if f"\norigin: {json_string(origin)}\n" not in vote.signed_text:
        raise _refused("the vote was signed for another installation", f"This one is {origin}.")


def check_vote(vote: SignedVote, origin: str, digest: str, name: str, key: bytes) -> None:
    """Raise SignatureRefused (RSK-003) unless the vote is signed by its agent, for the proposal with this digest.

    Takes the identity of this installation, and the agent's name and public key. The vote's text must be the exact
    text of its members.
    """
    text = approval_text(
        origin=origin, decision=vote.decision, digest=digest, agent_id=vote.agent_id, signed_at=vote.signed_at
    )
    if text != vote.signed_text:
        raise _refused("the vote's text is not that of a vote on this proposal", f"The text must be:\n{text}")
    if not verify_text(key, text, bytes.fromhex(vote.signature)):
        raise _refused(f"the signature is not {name}'s for this text", f"The text was:\n{text}")


def _refused(problem: str, detail: str) -> SignatureRefused:
    hint = "Make the page again, and sign there."
    return SignatureRefused(f"RSK-003: {problem}", detail=detail, hint=hint, sqlstate="RSK03")
