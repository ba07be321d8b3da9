"""alpha-db risk submit: a vote that was signed elsewhere is verified, sent, or refused in words."""

from __future__ import annotations

import io
import json
import sys

import pytest

from tests.cli.desk import Desk, Result
from tests.cli.votes import Vote, signed_vote
from tests.support import Connection, one

pytestmark = pytest.mark.any_server
pytest_plugins = ["tests.cli.fix_desk"]

CHANGE = ("risk", "update-param", "max_leverage_ratio", "3")


def submit(desk: Desk, vote: object, *options: str, expect: int = 0) -> Result:
    file = desk.folder / "vote.json"
    file.write_text(vote if isinstance(vote, str) else json.dumps(vote))
    return desk.run("risk", "submit", str(file), *options, expect=expect)


def test_a_vote_is_sent_however_old_its_signature_is(governed: Desk) -> None:
    proposal_id = governed.propose("ada", *CHANGE)
    said = submit(governed, signed_vote(governed, proposal_id, "ben")).out
    assert "max_leverage_ratio        2.00 → 3.00  loosens" in said
    assert "Approved: 1 of 2 approvals." in said
    found = submit(governed, signed_vote(governed, proposal_id, "cyd", decision="REJECT"), "--json").json
    assert (found["status"], found["agent"]["name"]) == ("REJECTED", "cyd")


def test_a_vote_from_standard_input(governed: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    vote = json.dumps(signed_vote(governed, governed.propose("ada", *CHANGE), "ben"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(vote.encode()), encoding="utf-8"))
    assert "Approved" in governed.run("risk", "submit", "-").out


def test_what_is_not_signed_for_this_proposal_is_refused(governed: Desk, db: Connection) -> None:
    proposal_id = governed.propose("ada", *CHANGE)
    right = signed_vote(governed, proposal_id, "ben")
    elsewhere = "00000000-0000-4000-8000-000000000000"
    wrong: dict[str, Vote] = {
        "signed for another installation": signed_vote(governed, proposal_id, "ben", origin=elsewhere),
        "not that of a vote on this proposal": signed_vote(governed, proposal_id, "ben", digest="0" * 64),
        "not that of a vote": right | {"decision": "REJECT"},
        "the signature is not ben's": right | {"signature": "0" * 128},
        "is not enrolled": right | {"agent_id": elsewhere},
    }
    for said, vote in wrong.items():
        found = submit(governed, vote, expect=1).err
        assert "[RSK-003]" in found
        assert said in found
    first = right | {"signed_text": f"x\nno JSON\n{right['signed_text']}"}
    assert "not that of a vote on this proposal" in submit(governed, first, expect=1).err
    changed = right | {"signed_text": right["signed_text"].replace("APPROVE", "REJECT"), "decision": "REJECT"}
    assert "[RSK-003]" in submit(governed, changed, expect=1).err
    assert one(db, "select count(*) from votes") == 2  # those of the first limits


def test_a_proposal_that_is_closed_or_gone_takes_no_vote(governed: Desk) -> None:
    proposal_id = governed.propose("ada", *CHANGE)
    vote = signed_vote(governed, proposal_id, "ben")
    assert "[RSK-006]" in submit(governed, vote | {"proposal_id": vote["agent_id"]}, expect=1).err
    governed.run("risk", "reject", proposal_id, *governed.sign("cyd"))
    assert "[RSK-006]" in submit(governed, vote, expect=1).err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not a signed vote"),
        ("[]", "has not exactly the members"),
        ('{"proposal_id": "x"}', "has not exactly the members"),
        ("x" * 70_000, "more than 65536 bytes"),
    ],
    ids=["empty", "list", "object", "long"],
)
def test_a_file_that_is_no_vote(governed: Desk, content: str, said: str) -> None:
    found = submit(governed, content, expect=3)
    assert said in found.err
    assert found.err.count("\n") <= 2
