"""What a proposal changes: the database and Python say the same, and a proposal loosens if one of its rows does."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from alpha_db.risk.config_manager import ConfigManager
from tests.risk.council import (
    Council,
    Payload,
    agent,
    agent_id,
    limits,
    private_key,
    public_hex,
    threshold,
    unguarded,
)
from tests.support import one, query

Rows = list[tuple[Any, ...]]


def changes(council: Council, proposal_id: UUID) -> Rows:
    found = query(council.connection, "select * from proposal_changes(%s)", [proposal_id])
    return [tuple(row.values()) for row in found]


def shown(council: Council, kind: str, payload: Payload) -> Rows:
    """Propose, and have Python find the same; its word on the direction is that of the database."""
    proposal_id = council.propose(kind, payload, "ada")
    ConfigManager(council.connection).review(proposal_id)  # raises if Python derives another change
    return changes(council, proposal_id)


def test_limits(governed: Council) -> None:
    assert shown(governed, "risk_config", limits("0.05", "0.02", "3.5")) == [
        ("max_position_size_pct", "0.0500", "0.0500", "same"),
        ("daily_drawdown_limit_pct", "0.0300", "0.0200", "tighten"),
        ("max_leverage_ratio", "2.00", "3.50", "loosen"),
    ]


def test_the_first_limits_loosen(council: Council) -> None:
    assert shown(council, "risk_config", limits("0.05", "0", "2")) == [
        ("max_position_size_pct", None, "0.0500", "loosen"),
        ("daily_drawdown_limit_pct", None, "0.0000", "loosen"),
        ("max_leverage_ratio", None, "2.00", "loosen"),
    ]


THRESHOLDS: list[tuple[Payload | None, Payload, Rows]] = [
    (None, threshold(), [("BTC kill_loss_pct", None, "0.1000", "tighten")]),
    (
        threshold(),
        threshold(loss="0.2", price="30000"),
        [
            ("BTC kill_loss_pct", "0.1000", "0.2000", "loosen"),
            ("BTC kill_price", None, "30000.0000000000", "tighten"),
        ],
    ),
    (
        threshold(price="30000"),
        threshold(loss="0.05", price="20000"),
        [
            ("BTC kill_loss_pct", "0.1000", "0.0500", "tighten"),
            ("BTC kill_price", "30000.0000000000", "20000.0000000000", "loosen"),
        ],
    ),
    (
        threshold(price="30000"),
        threshold(price="30000", retired=True),
        [
            ("BTC kill_loss_pct", "0.1000", None, "loosen"),
            ("BTC kill_price", "30000.0000000000", None, "loosen"),
        ],
    ),
]


@pytest.mark.parametrize("asset", ["BTC 9 → 1", "ВТС", 'B"\\'])
def test_an_asset_that_could_be_read_as_something_else_is_in_quotes(governed: Council, asset: str) -> None:
    rows = shown(governed, "asset_kill_threshold", threshold() | {"asset": asset})
    assert rows == [(f"{json.dumps(asset, ensure_ascii=False)} kill_loss_pct", None, "0.1000", "tighten")]


@pytest.mark.parametrize(("before", "after", "rows"), THRESHOLDS)
def test_a_kill_threshold(governed: Council, before: Payload | None, after: Payload, rows: Rows) -> None:
    if before is not None:
        governed.enact("asset_kill_threshold", before, "ada", "ben")
    assert shown(governed, "asset_kill_threshold", after) == rows
    (way,) = query(governed.connection, "select direction from vw_proposals where status = 'PENDING'")
    assert way["direction"] == ("loosen" if "loosen" in [row[3] for row in rows] else "tighten")


def test_a_quorum(governed: Council) -> None:
    assert shown(governed, "quorum_policy", {"tighten": 2, "loosen": 2, "govern": 2}) == [
        ("approvals to tighten", "1", "2", "govern"),
        ("approvals to loosen", "2", "2", "same"),
        ("approvals to govern", "2", "2", "same"),
    ]


def test_agents(governed: Council) -> None:
    ben = f"ben (risk), key {public_hex(private_key('ben'))}"
    dan = f"dan (risk), key {public_hex(private_key('dan'))}"
    enrolled = agent("dan") | {"replaces": None}
    assert shown(governed, "agent_enrol", enrolled) == [("agent", None, dan, "govern")]
    replacing = enrolled | {"replaces": str(agent_id("ben"))}
    assert shown(governed, "agent_enrol", replacing) == [("agent", ben, dan, "govern")]
    assert shown(governed, "agent_revoke", {"agent_id": str(agent_id("ben"))}) == [
        ("agent", ben, None, "govern")
    ]


def test_holds(governed: Council) -> None:
    assert shown(governed, "hold", {"table": "signals", "from_id": 7}) == [
        ("signals, rows from 7 on", "may leave", "held", "tighten")
    ]
    held = governed.enact("hold", {"table": "signals", "from_id": 9}, "ada", "ben")
    assert shown(governed, "unhold", {"hold": str(held)}) == [
        (f"hold {held}", "signals, rows from 9 on", None, "loosen")
    ]


def test_old_values_stay_those_of_the_state_it_was_made_for(governed: Council) -> None:
    stale = governed.propose("risk_config", limits("0.04"), "ada")
    quorum = governed.propose("quorum_policy", {"tighten": 2, "loosen": 2, "govern": 2}, "ada")
    before = changes(governed, stale), changes(governed, quorum)
    governed.vote(quorum, "ben")
    assert governed.vote(quorum, "cyd") == "APPLIED"
    governed.enact("risk_config", limits("0.02"), "ada", "ben", "cyd")
    assert (changes(governed, stale), changes(governed, quorum)) == before


def test_a_payload_that_was_put_there_by_force_hides_no_other_proposal(governed: Council) -> None:
    proposal_id = governed.propose("risk_config", limits("0.04"), "ada")
    governed.vote(proposal_id, "ben", "REJECT")
    governed.connection.execute("alter table proposals drop constraint proposals_signed_text_is_exact")
    forged = (
        'update proposals set payload = payload || \'{"max_leverage_ratio": "x"}\' where proposal_id = %s'
    )
    unguarded(governed.connection, forged, [proposal_id])
    (row,) = changes(governed, proposal_id)
    assert (row[0], row[3]) == ("payload", None)
    assert '"x"' in row[2]
    found = ConfigManager(governed.connection)
    assert [row["status"] for row in found.explained(found.proposals(every=True))] == ["APPLIED", "REJECTED"]


def test_nothing_is_said_of_a_proposal_that_is_not_there(council: Council) -> None:
    assert changes(council, uuid4()) == []
    assert query(council.connection, "select * from proposal_voters(%s)", [uuid4()]) == []


def voters(council: Council, proposal_id: UUID) -> Rows:
    asked = "select name, decision, counts, may_vote from proposal_voters(%s)"
    return [tuple(row.values()) for row in query(council.connection, asked, [proposal_id])]


def test_voters(governed: Council) -> None:
    proposal_id = governed.propose("risk_config", limits("0.06"), "ada")
    waiting = (None, None, True)
    assert voters(governed, proposal_id) == [("ben", *waiting), ("cyd", *waiting)]
    governed.vote(proposal_id, "cyd")
    assert voters(governed, proposal_id) == [("cyd", "APPROVE", True, False), ("ben", *waiting)]
    governed.vote(proposal_id, "ben")
    assert voters(governed, proposal_id) == [("cyd", "APPROVE", True, False), ("ben", "APPROVE", True, False)]


def test_an_agent_is_no_voter_on_its_own_revocation(governed: Council) -> None:
    proposal_id = governed.propose("agent_revoke", {"agent_id": str(agent_id("ben"))}, "ada")
    assert voters(governed, proposal_id) == [("cyd", None, None, True)]


def test_an_approval_of_what_was_rejected_does_not_count(governed: Council) -> None:
    proposal_id = governed.propose("risk_config", limits("0.06"), "ada")
    governed.vote(proposal_id, "ben")
    governed.vote(proposal_id, "cyd", "REJECT")
    assert voters(governed, proposal_id) == [("ben", "APPROVE", False, False), ("cyd", "REJECT", True, False)]
    assert (
        one(governed.connection, "select count(*) from proposal_voters(%s) where may_vote", [proposal_id])
        == 0
    )
