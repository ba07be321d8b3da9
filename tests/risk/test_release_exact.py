"""A release acknowledges exactly what is there: not less, not more, and not what is edited afterwards."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.concurrency.background import Background
from tests.fix_database import Connect, LoginRole, Prepared
from tests.risk.council import PLACE, Council, code_of, limits, private_key
from tests.risk.forging import assert_derived, engage
from tests.support import Connection, fill, one, query, tamper, verdicts

VOTE = "select vote(%s, %s, %s, %s, %s) as status"


def locked(connection: Connection) -> bool:
    return bool(one(connection, "select is_locked from lockdown_status()"))


def _damage(connection: Connection) -> None:
    fill(connection)
    engage(connection)


@pytest.fixture
def origin(request: pytest.FixtureRequest, prepared: Prepared, origin: str) -> str:
    return prepared("risk_engaged", _damage, origin) if "damaged" in request.fixturenames else origin


@pytest.fixture
def damaged(governed: Council) -> Council:
    """Signal 2 was changed, and the lockdown is engaged."""
    return governed


def refused(council: Council, damage: list[Any]) -> str:
    with pytest.raises(psycopg.Error) as caught:
        council.propose("lockdown_release", {"damage": damage}, "ada")
    assert "damaged_rows" in str(caught.value.diag.message_hint)
    return code_of(caught)


def test_a_row_that_is_edited_again_is_damage_again(damaged: Council) -> None:
    damaged.release()
    db = damaged.connection
    assert verdicts(db)["signals"].verdict == "acknowledged"
    tamper(db, "update signals set price = price + 1 where id = 2")
    found = verdicts(db)["signals"]
    assert (found.verdict, found.broken_id, found.error_code) == ("content_mismatch", 2, "AUD-009")
    assert locked(db)


def test_a_row_that_is_given_another_hash_is_damage_again(damaged: Council) -> None:
    damaged.release()
    tamper(damaged.connection, "update signals set row_hash = repeat('0', 64) where id = 2")
    verdicts(damaged.connection)
    assert locked(damaged.connection)


def test_a_healthy_row_cannot_be_acknowledged(damaged: Council) -> None:
    (place,) = damaged.damage()["damage"]
    stored = one(damaged.connection, "select row_hash from signals where id = 1")
    healthy = place | {"id": 1, "actual_hash": stored, "expected_hash": stored}
    assert refused(damaged, [place, healthy]) == "RSK-005"


def test_no_damage_can_be_left_out(damaged: Council) -> None:
    tamper(damaged.connection, "update ai_debates set elapsed_ms = 1 where id = 1")
    places = damaged.damage()["damage"]
    assert len(places) == 2
    for kept in (slice(0), slice(1), slice(1, 2)):
        assert refused(damaged, places[kept]) == "RSK-005"
    damaged.release()
    assert not locked(damaged.connection)


OTHERWISE = {
    "another stored hash": {"actual_hash": "0" * 64},
    "no stored hash": {"actual_hash": None},
    "another hash of the content": {"expected_hash": "0" * 64},
    "another verdict": {"verdict": "missing_rows"},
    "another row": {"id": 3},
    "another table": {"table": "ai_debates"},
}


@pytest.mark.parametrize("change", OTHERWISE.values(), ids=OTHERWISE.keys())
def test_a_place_is_named_in_all_its_members(damaged: Council, change: dict[str, Any]) -> None:
    (place,) = damaged.damage()["damage"]
    assert refused(damaged, [place | change]) == "RSK-005"


def test_a_place_is_named_once(damaged: Council) -> None:
    assert refused(damaged, damaged.damage()["damage"] * 2) == "RSK-005"


@pytest.mark.parametrize("row_id", [2, 3], ids=["the same row", "another row"])
def test_what_was_damaged_since_the_proposal_is_not_acknowledged(damaged: Council, row_id: int) -> None:
    db = damaged.connection
    proposal_id = damaged.propose("lockdown_release", damaged.damage(), "ada")
    damaged.vote(proposal_id, "ben")
    tamper(db, "update signals set price = price + 1 where id = %s", [row_id])
    with pytest.raises(psycopg.Error) as caught:
        damaged.vote(proposal_id, "cyd")
    assert code_of(caught) == "RSK-005"
    assert locked(db)


def test_a_false_alarm_is_lifted_with_an_empty_list(governed: Council) -> None:
    db = governed.connection
    fill(db)
    query(db, "select _engage_lockdown('a drill', '[]')")
    assert locked(db)
    assert refused(governed, [PLACE]) == "RSK-005"
    governed.release()
    assert not locked(db)
    assert_derived(db)


def test_a_release_is_used_once(damaged: Council) -> None:
    proposal_id = damaged.release()
    damaged.connection.execute("set role alpha_owner")
    with pytest.raises(psycopg.Error) as caught:
        query(
            damaged.connection,
            "insert into lockdown_events (event_type, reason, damage, proposal_id, alarm)"
            " select event_type, reason, damage, proposal_id, alarm from lockdown_events where proposal_id = %s",
            [proposal_id],
        )
    assert caught.value.sqlstate == "AUD09"


@pytest.mark.parametrize("level", [pytest.param("repeatable read", marks=pytest.mark.long), "serializable"])
def test_only_read_committed_releases(damaged: Council, level: str) -> None:
    db = damaged.connection
    proposal_id = damaged.propose("lockdown_release", damaged.damage(), "ada")
    vote = damaged.sign_vote(proposal_id, "ben")
    with db.transaction(force_rollback=True):
        db.execute(f"set transaction isolation level {level}")
        with pytest.raises(psycopg.errors.FeatureNotSupported) as caught:
            query(db, VOTE, vote)
    assert "read committed" in str(caught.value.diag.message_hint)
    # a veto and a tightening are of any level
    with db.transaction():
        db.execute(f"set transaction isolation level {level}")
        assert damaged.vote(proposal_id, "ben", "REJECT") == "REJECTED"
    tightening = damaged.propose("risk_config", limits("0.01"), "ada")
    with db.transaction():
        db.execute(f"set transaction isolation level {level}")
        assert damaged.vote(tightening, "ben") == "APPLIED"


def test_an_alarm_that_is_raised_meanwhile_is_not_lifted(damaged: Council, connect: Connect) -> None:
    """The release looked at the damage, and waits for its lock while a verification finds more."""
    db = damaged.connection
    proposal_id = damaged.propose("lockdown_release", damaged.damage(), "ada")
    damaged.vote(proposal_id, "ben")
    other = damaged.propose("risk_config", limits("0.04"), "ben")
    holder = connect(autocommit=False)
    query(holder, VOTE, damaged.sign_vote(other, "ada", "REJECT"))
    waiting = Background(connect(), VOTE, damaged.sign_vote(proposal_id, "cyd")).blocked(db)
    query(db, "select setval('lockdown_alarm', 4711)")
    holder.commit()
    error = waiting.error()
    assert isinstance(error, psycopg.errors.SerializationFailure)
    assert locked(db)
    assert damaged.status(proposal_id) == "PENDING"


def test_the_release_holds_no_lock_while_it_looks(damaged: Council, connect: Connect) -> None:
    """A long look at the damage keeps nobody from voting: it ends before the lock is taken."""
    db = damaged.connection
    proposal_id = damaged.propose("lockdown_release", damaged.damage(), "ada")
    damaged.vote(proposal_id, "ben")
    tightening = damaged.propose("risk_config", limits("0.04"), "ben")
    holder = connect(autocommit=False)
    holder.execute("lock table signals in access exclusive mode")
    waiting = Background(connect(), VOTE, damaged.sign_vote(proposal_id, "cyd")).blocked(db)
    assert damaged.vote(tightening, "ada") == "APPLIED"
    holder.rollback()
    error = waiting.error()
    assert isinstance(error, psycopg.Error)
    assert error.sqlstate == "RSK05"  # it became stale meanwhile


def test_approvers_see_the_damaged_rows(damaged: Council, connect: Connect, login_role: LoginRole) -> None:
    tamper(damaged.connection, "delete from ai_debates where id = 2")
    risk = connect(login_role("app_risk"))
    rows = query(risk, "select * from damaged_rows()")
    assert [(row["table"], row["id"], row["verdict"]) for row in rows] == [
        ("signals", 2, "content_mismatch"),
        ("ai_debates", 2, "missing_rows"),
    ]
    assert '"signal_id":"tv-000002"' in rows[0]["row_data"]
    assert rows[1]["row_data"] is None
    proposal_id = damaged.propose("lockdown_release", damaged.damage(), "ada")
    assert query(risk, "select * from damaged_rows(%s)", [proposal_id]) == rows


def test_what_approvers_see_is_short(damaged: Council) -> None:
    tamper(damaged.connection, "update signals set raw_payload = to_jsonb(repeat('x', 10000)) where id = 2")
    (row,) = query(damaged.connection, "select * from damaged_rows()")
    assert len(row["row_data"]) == 2000


def test_a_release_of_agents_that_came_later_holds(damaged: Council) -> None:
    """Keys are those of the moment: of an agent that a proposal enrolled, and of one that was revoked since."""
    enrolled = {
        "agent_id": "d0d0d0d0-0000-4000-8000-000000000004", "name": "dan", "role": "risk", "replaces": None,
        "public_key": private_key("dan").public_key().public_bytes_raw().hex(),
    }  # fmt: skip
    damaged.enact("agent_enrol", enrolled, "ada", "ben", "cyd")
    damaged.release()
    damaged.enact("agent_revoke", {"agent_id": enrolled["agent_id"]}, "ada", "ben", "cyd")
    assert not locked(damaged.connection)
    assert_derived(damaged.connection)
