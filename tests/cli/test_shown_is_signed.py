"""Nobody approves what is shown otherwise than it was signed: each of these is refused, and no vote is stored."""

from __future__ import annotations

import pytest

from alpha_db.security.audit_signer import AuditSigner, digest_of
from tests.cli.desk import Desk
from tests.risk.council import unguarded
from tests.support import Connection, fill, one, query, tamper, verdicts

pytestmark = pytest.mark.any_server
pytest_plugins = ["tests.cli.fix_desk"]

EXACT = "alter table proposals drop constraint proposals_signed_text_is_exact"
ROW = "where proposal_id = (select max(proposal_id::text)::uuid from proposals where kind = 'quorum_policy')"

#: What somebody does to the stored row who owns the tables, and what is said then.
FORCED = {
    "the payload": ('payload = \'{"tighten": 2, "loosen": 2, "govern": 3}\'', "the payload is another"),
    "the reason": ("reason = 'harmless'", "the reason is another"),
    "the expiry": ("expires_at = '2999-01-01'", "the expiry is another"),
    "the state": ("previous = repeat('0', 64)", "the state it was made for is another"),
    "the kind": ("kind = 'hold'", "the kind is another"),
}


@pytest.fixture
def pending(governed: Desk) -> str:
    """A proposal that needs two approvals."""
    options = ("--tighten", "2", "--loosen", "2", "--govern", "2")
    return governed.propose("ada", "risk", "quorum-policy", *options)


def refused(desk: Desk, db: Connection, pending: str) -> str:
    """What `risk approve` says, which exits with RSK-007 and stores nothing; `risk page` refuses it, too, and
    `risk proposals` says so."""
    before = one(db, "select count(*) from votes")
    page = desk.folder / "page.html"
    desk.run("risk", "page", pending, "--output", str(page), expect=1)
    assert not page.exists()
    listed = desk.run("risk", "proposals").out
    assert "  REFUSED  " in listed or "No proposal is pending." in listed  # another state makes it stale
    found = desk.run("risk", "approve", pending, *desk.sign("cyd"), expect=1)
    assert one(db, "select count(*) from votes") == before
    assert "[RSK-007]" in found.err
    return found.err


@pytest.mark.parametrize("name", FORCED)
def test_a_row_that_was_changed_by_force(governed: Desk, db: Connection, pending: str, name: str) -> None:
    change, said = FORCED[name]
    db.execute(EXACT)
    unguarded(db, f"update proposals set {change} {ROW}")
    assert said in refused(governed, db, pending)


def test_a_text_for_another_installation(governed: Desk, db: Connection, pending: str) -> None:
    """Ada signed it, for a desk of hers elsewhere; somebody stored it here."""
    other = "00000000-0000-4000-8000-000000000000"
    origin = one(db, "select origin from active_risk_state()")
    text = one(db, f"select signed_text from proposals {ROW}").replace(origin, other)
    signature = AuditSigner.load(governed.key("ada")).sign(text)
    change = "update proposals set origin = %s, signed_text = %s, digest = %s, signature = %s"
    unguarded(db, f"{change} {ROW}", [other, text, digest_of(text), signature])
    assert "for another installation" in refused(governed, db, pending)


def test_a_text_that_another_agent_signed(governed: Desk, db: Connection, pending: str) -> None:
    text = one(db, f"select signed_text from proposals {ROW}")
    ben = AuditSigner.load(governed.key("ben"))
    unguarded(
        db, f"update proposals set proposer_key = %s, signature = %s {ROW}", [ben.public_key, ben.sign(text)]
    )
    assert "is not its proposer's" in refused(governed, db, pending)


def test_a_vote_that_its_agent_did_not_sign(governed: Desk, db: Connection, pending: str) -> None:
    governed.approve(pending, "ben")
    db.execute("alter table votes drop constraint votes_signed_text_is_exact")
    unguarded(db, "update votes set signed_at = now() where id = (select max(id) from votes)")
    assert "a vote is not signed by its agent" in refused(governed, db, pending)


CHANGES = "proposal_changes(proposal_id uuid) returns table (name text, old_value text, new_value text, direction text)"
STANDS = (
    "proposal_progress(proposal_id uuid) returns table (status text, approvals bigint, needed integer,"
    " direction text)"
)
VOTERS = (
    "proposal_voters(proposal_id uuid) returns table (agent_id uuid, name text, role text, decision text,"
    " signed_at timestamptz, voted_at timestamptz, counts boolean, may_vote boolean)"
)
#: Functions that somebody put in the place of ours, and what is said then.
LIES = {
    "changes": (
        CHANGES,
        "select 'approvals to tighten', '1', '1', 'same'",
        "another change than the signed text",
    ),
    "no changes": (
        CHANGES,
        "select null, null, null, null where false",
        "another change than the signed text",
    ),
    "a quorum": (STANDS, "select 'PENDING', 0::bigint, 1, 'govern'", "what the proposal needs"),
    "a direction": (STANDS, "select 'PENDING', 0::bigint, 2, 'tighten'", "what the proposal needs"),
    "approvals": (STANDS, "select 'PENDING', 1::bigint, 2, 'govern'", "counts other approvals"),
    "voters": (
        VOTERS,
        "select a.agent_id, a.name::text, 'risk', null, null::timestamptz, null::timestamptz, null::boolean, true"
        " from agents as a",
        "who may vote",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_database_that_lies(governed: Desk, db: Connection, pending: str, name: str) -> None:
    signature, body, said = LIES[name]
    query(db, f"create or replace function {signature} language sql stable as $$ {body} $$")
    assert said in refused(governed, db, pending)


def test_blanks_that_fill_a_line_are_seen(governed: Desk, db: Connection) -> None:
    """A terminal would wrap such a text where other lines of the ballot stand."""
    fill(db, 2)
    tamper(db, 'update signals set raw_payload = \'{"a": "x      signals 9  intact"}\' where id = 2')
    verdicts(db)
    blanks = "x      changes  max_leverage_ratio"
    pending = governed.propose("ada", "lockdown", "release", reason=blanks)
    shown = governed.run("risk", "approve", pending, *governed.sign("ben")).out
    content = next(line for line in shown.splitlines() if "content    " in line)
    text = next(line for line in shown.splitlines() if "| reason: " in line)
    seen = "x " + "\\u0020" * 5
    assert f'"x {seen[2:]}signals 9 \\u0020intact"' in content
    assert text == f'  | reason: "{seen}changes \\u0020max_leverage_ratio"'
