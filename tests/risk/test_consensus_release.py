"""The way out of a lockdown: by consensus, with the damage named; and what a lockdown allows meanwhile."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.fix_database import Prepared
from tests.risk.conftest import named
from tests.risk.council import Council, agent, agent_id, code_of, limits, threshold
from tests.support import Connection, as_role, assert_healthy, fill, make_signal, one, query, tamper, verdicts


def locked(council: Council) -> bool:
    return bool(one(council.connection, "select is_locked from lockdown_status()"))


def _damage(connection: Connection) -> None:
    named(connection).enact("asset_kill_threshold", threshold(), "ada", "ben")
    fill(connection)
    tamper(connection, "update signals set price = 1 where id = 2")
    tamper(connection, "delete from ai_debates where id = 2")
    verdicts(connection)


@pytest.fixture
def origin(request: pytest.FixtureRequest, prepared: Prepared, origin: str) -> str:
    return prepared("risk_damaged", _damage, origin) if "damaged" in request.fixturenames else origin


@pytest.fixture
def damaged(governed: Council) -> Council:
    """Signal 2 was changed and debate 2 removed, and the lockdown is engaged."""
    assert locked(governed)
    return governed


def test_release_by_consensus(damaged: Council) -> None:
    payload = damaged.damage()
    assert [(place["table"], place["id"]) for place in payload["damage"]] == [
        ("signals", 2),
        ("ai_debates", 2),
    ]
    proposal_id = damaged.enact("lockdown_release", payload, "ada", "ben", "cyd")
    assert not locked(damaged)
    released = query(damaged.connection, "select * from lockdown_events order by id")[-1]
    assert (released["event_type"], released["proposal_id"]) == ("RELEASED", proposal_id)
    assert released["damage"] == payload["damage"]
    make_signal(damaged.connection, 99)
    found = {table: verdict.verdict for table, verdict in verdicts(damaged.connection).items()}
    assert {table for table, verdict in found.items() if verdict == "acknowledged"} == {
        "signals",
        "ai_debates",
    }
    assert set(found.values()) == {"intact", "acknowledged"}
    assert not locked(damaged)


def test_no_single_agent_releases(damaged: Council) -> None:
    proposal_id = damaged.propose("lockdown_release", damaged.damage(), "ada")
    assert one(damaged.connection, "select needed from proposal_progress(%s)", [proposal_id]) == 2
    assert damaged.vote(proposal_id, "ben") == "PENDING"
    assert locked(damaged)


def test_further_damage_locks_again(damaged: Council) -> None:
    damaged.release()
    tamper(damaged.connection, "update signals set price = 1 where id = 3")
    verdicts(damaged.connection)
    assert locked(damaged)


def test_nothing_to_release(governed: Council) -> None:
    payload: dict[str, Any] = {"damage": []}
    with pytest.raises(psycopg.Error) as caught:
        governed.propose("lockdown_release", payload, "ada")
    assert code_of(caught) == "RSK-005"


def test_release_is_not_made_by_hand(damaged: Council) -> None:
    applied = one(damaged.connection, "select proposal_id from risk_change_log limit 1")
    for proposal_id in (None, applied):
        with as_role(damaged.connection, "alpha_owner"), pytest.raises(psycopg.Error) as caught:
            query(
                damaged.connection,
                "insert into lockdown_events (event_type, reason, damage, proposal_id, alarm)"
                " select 'RELEASED', 'x', '[]', %s, last_value from lockdown_alarm",
                [proposal_id],
            )
        assert caught.value.sqlstate in ("AUD09", "23514")
    assert locked(damaged)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("risk_config", limits("0.0501")),
        ("risk_config", limits("0.01", "0.01", "2.01")),
        ("asset_kill_threshold", threshold(loss="0.2")),
        ("asset_kill_threshold", threshold(retired=True)),
    ],
)
def test_loosening_is_refused_in_a_lockdown(damaged: Council, kind: str, payload: dict[str, Any]) -> None:
    with pytest.raises(psycopg.Error) as caught:
        damaged.propose(kind, payload, "ada")
    assert code_of(caught) == "AUD-009"


def test_loosening_that_was_proposed_before_is_refused_when_it_would_apply(governed: Council) -> None:
    proposal_id = governed.propose("risk_config", limits("0.5"), "ada")
    governed.vote(proposal_id, "ben")
    fill(governed.connection)
    tamper(governed.connection, "update signals set price = 1 where id = 2")
    verdicts(governed.connection)
    with pytest.raises(psycopg.Error) as caught:
        governed.vote(proposal_id, "cyd")
    assert code_of(caught) == "AUD-009"
    assert governed.state()["version"] == 1


@pytest.mark.parametrize(
    ("kind", "payload", "voters"),
    [
        ("risk_config", limits("0.01", "0.03", "2"), ["ben"]),
        ("asset_kill_threshold", threshold(loss="0.05"), ["ben"]),
        ("asset_kill_threshold", threshold("ETH", "0.5"), ["ben"]),
        ("agent_revoke", {"agent_id": str(agent_id("cyd"))}, ["ben"]),
        ("agent_enrol", agent("dan") | {"replaces": None}, ["ben", "cyd"]),
    ],
)
def test_tightening_and_agents_are_allowed_in_a_lockdown(
    damaged: Council, kind: str, payload: dict[str, Any], voters: list[str]
) -> None:
    damaged.enact(kind, payload, "ada", *voters)
    assert locked(damaged)


def test_consensus_is_intact_after_all_that(damaged: Council) -> None:
    damaged.release()
    damaged.enact("risk_config", limits("0.5"), "ada", "ben", "cyd")
    assert all(
        row["is_valid"] for row in query(damaged.connection, "select * from verify_config_integrity()")
    )
    with pytest.raises(AssertionError):
        assert_healthy(damaged.connection)  # the damage stays to be seen
