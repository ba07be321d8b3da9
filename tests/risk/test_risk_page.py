"""The test vectors of docs/risk.md hold, in the database and in Python."""

from __future__ import annotations

import hashlib
import re

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg.types.json import Jsonb

from alpha_db.security.audit_signer import approval_text, bootstrap_text, proposal_text, verify_text
from alpha_db.security.signed_text import parse_proposal
from alpha_db.security.state import RiskState
from tests.support import ROOT, Connection, one

PAGE = (ROOT / "docs" / "risk.md").read_text(encoding="utf-8")
VECTORS = PAGE[PAGE.index("### Test vectors") : PAGE.index("## What the database checks")]
PROPOSAL, APPROVAL, STATE, BOOTSTRAP = re.findall(
    r"^```text\n((?:alpha-db/|\{).*?)^```$", VECTORS, re.DOTALL | re.M
)
HASHES = re.findall(r"^sha256 +(\w+)$", VECTORS, re.M)
SIGNATURES = [bytes.fromhex(text) for text in re.findall(r"^signature +(\w+)$", VECTORS, re.M)]
KEYS = {
    name: (agent_id, bytes.fromhex(private), bytes.fromhex(public))
    for name, agent_id, private, public in re.findall(
        r"^\| (\w+) \| ([\w-]{36}) \| (\w{64}) \| (\w{64}) \|$", VECTORS, re.M
    )
}
#: who signed which text, with the place of its hash and of its signature
SIGNED = [("ada", PROPOSAL, 0, 0), ("ben", APPROVAL, 1, 1), ("cyd", BOOTSTRAP, 3, 2)]


def field(text: str, name: str) -> str:
    found = re.search(rf'^{name}: "(.*)"$', text, re.M)
    assert found
    return found[1]


@pytest.mark.parametrize(("name", "text", "hash_at", "number"), SIGNED)
def test_signatures(name: str, text: str, hash_at: int, number: int, db: Connection) -> None:
    _, private, public = KEYS[name]
    key = Ed25519PrivateKey.from_private_bytes(private)
    assert key.public_key().public_bytes_raw() == public
    assert key.sign(text.encode()) == SIGNATURES[number]
    assert hashlib.sha256(text.encode()).hexdigest() == HASHES[hash_at]
    assert f"{len(text.encode())} bytes" in VECTORS
    assert verify_text(public, text, SIGNATURES[number])
    assert one(db, "select _signs(%s, %s, %s)", [public, text, SIGNATURES[number]]) is True


def test_the_database_and_python_print_these_texts(db: Connection) -> None:
    said = parse_proposal(PROPOSAL)
    assert said.proposer == KEYS["ada"][0]
    members = [said.origin, said.proposal_id, said.kind, said.previous]
    rest = [said.reason, said.proposer, said.expires]
    made = one(
        db,
        "select _proposal_text(%s, %s::uuid, %s, %s, %s, %s, %s::uuid, %s::timestamptz)",
        [*members, Jsonb(said.payload), *rest],
    )
    assert made == PROPOSAL
    again = proposal_text(
        origin=said.origin,
        proposal_id=said.proposal_id,
        kind=said.kind,
        previous=said.previous,
        payload=said.payload,
        reason=said.reason,
        proposer=said.proposer,
        expires_at=said.expires,
    )
    assert again == PROPOSAL
    vote = {name: field(APPROVAL, name) for name in ("origin", "decision", "digest", "agent", "signed_at")}
    assert vote["digest"] == HASHES[0]
    assert (
        one(db, "select _approval_text(%s, %s, %s, %s::uuid, %s::timestamptz)", list(vote.values()))
        == APPROVAL
    )
    assert approval_text(**{"agent_id" if k == "agent" else k: v for k, v in vote.items()}) == APPROVAL


def test_the_state(db: Connection) -> None:
    said = parse_proposal(PROPOSAL)
    text = STATE.removesuffix("\n")
    made = one(
        db, "select _next_state_text(_state_text(0, null, '[]'), %s, %s)", [said.kind, Jsonb(said.payload)]
    )
    assert made == text
    assert hashlib.sha256(text.encode()).hexdigest() == HASHES[2]
    assert RiskState.parse(text).hash == HASHES[2]


def test_the_bootstrap(db: Connection) -> None:
    agents = [
        {"agent_id": agent, "name": name, "role": "risk", "public_key": public.hex()}
        for name, (agent, _, public) in KEYS.items()
    ]
    origin = field(BOOTSTRAP, "origin")
    assert bootstrap_text(origin, agents[::-1]) == BOOTSTRAP
    assert one(db, "select _bootstrap_text(%s, %s)", [origin, Jsonb(agents)]) == BOOTSTRAP
