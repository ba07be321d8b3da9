"""The bootstrap is a list that each of its agents signed: no order of statements, no force adds one unseen."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from alpha_db.security.signed_text import bootstrap_text as python_text
from tests.concurrency.background import Background
from tests.fix_database import Connect
from tests.risk.council import (
    Council,
    agent,
    agent_id,
    bootstrap_text,
    code_of,
    private_key,
    public_hex,
    signed_bootstrap,
)
from tests.risk.forging import assert_derived, assert_found, assert_python_refuses, forge
from tests.support import Connection, assert_healthy, one, query

NAMES = ("ada", "ben", "cyd")
INSERT = (
    "insert into agents (agent_id, name, role, public_key, signature)"
    " select (m ->> 'agent_id')::uuid, m ->> 'name', m ->> 'role', decode(m ->> 'public_key', 'hex'),"
    " decode(m ->> 'signature', 'hex') from jsonb_array_elements(%s) as m"
)


def late(connection: Connection, *names: str) -> list[dict[str, Any]]:
    """Members whose own signatures are for the list of the honest three and them."""
    everybody = [agent(name) for name in (*NAMES, *names)]
    return [m for m in signed_bootstrap(connection, everybody) if m["name"] in names]


def test_three_languages_make_the_same_text(db: Connection) -> None:
    agents = [agent(n) | {"name": f'{n} "\\ é\t'} for n in ("cyd", "ada", "ben")]
    origin = one(db, "select origin from active_risk_state()")
    text = one(db, "select bootstrap_message(%s)", [Jsonb(agents)])
    assert text == python_text(origin, agents)
    assert one(db, "select bootstrap_message(%s)", [Jsonb(agents[::-1])]) == text
    plain = [agent(n) for n in NAMES]
    assert one(db, "select bootstrap_message(%s)", [Jsonb(plain)]) == bootstrap_text(origin, plain)


def test_the_signed_bootstrap_is_derived(council: Council) -> None:
    assert_derived(council.connection)


@pytest.mark.parametrize("who", NAMES)
def test_every_agent_must_have_signed(db: Connection, who: str) -> None:
    agents = signed_bootstrap(db, [agent(n) for n in NAMES], {who: private_key("mallory")})
    with pytest.raises(psycopg.Error) as caught:
        query(db, "select bootstrap_agents(%s)", [Jsonb(agents)])
    assert code_of(caught) == "RSK-003"
    assert one(db, "select count(*) from agents") == 0


@pytest.mark.parametrize("signature", [None, "", "00" * 63, "AB" * 64, 1])
def test_what_is_no_signature_is_rsk_003(db: Connection, signature: Any) -> None:
    agents = signed_bootstrap(db, [agent(n) for n in NAMES])
    with pytest.raises(psycopg.Error) as caught:
        query(db, "select bootstrap_agents(%s)", [Jsonb([*agents[:2], agents[2] | {"signature": signature}])])
    assert code_of(caught) == "RSK-003"


def test_a_statement_that_began_before_the_bootstrap_adds_nobody(db: Connection, connect: Connect) -> None:
    gate, slow = connect(), connect()
    slow.execute("set role alpha_owner")
    query(gate, "select pg_advisory_lock(4711)")
    members = Jsonb(late(db, "mallory", "trudy"))
    # its first row is made only when the gate opens, long after its snapshot and its statement_timestamp
    waiting = Background(
        slow, INSERT + ", (select pg_advisory_lock_shared(4711) offset 0) as gate", [members]
    ).blocked(db)
    Council(db).bootstrap(*NAMES)
    query(gate, "select pg_advisory_unlock(4711)")
    error = waiting.error()
    assert isinstance(error, psycopg.Error)
    assert error.sqlstate == "RSK02"
    assert one(db, "select count(*) from agents") == 3
    assert_healthy(db)


def test_the_transaction_of_the_bootstrap_adds_nobody(db: Connection) -> None:
    members = Jsonb(late(db, "mallory", "trudy"))
    with db.transaction(force_rollback=True):
        Council(db).bootstrap(*NAMES)
        db.execute("set role alpha_owner")
        with pytest.raises(psycopg.Error) as caught:
            query(db, INSERT, [members])
    assert code_of(caught) == "RSK-002"


def test_the_statement_of_the_bootstrap_adds_nobody(db: Connection) -> None:
    signed = Jsonb(signed_bootstrap(db, [agent(n) for n in NAMES]))
    members = Jsonb(late(db, "mallory"))
    db.execute("set role alpha_owner")
    with pytest.raises(psycopg.Error) as caught:
        query(db, INSERT + ", (select count(*) from bootstrap_agents(%s)) as b", [members, signed])
    assert code_of(caught) == "RSK-002"


def test_an_older_snapshot_adds_nobody(db: Connection, connect: Connect) -> None:
    old = connect(autocommit=False)
    old.execute("set transaction isolation level repeatable read")
    assert one(old, "select count(*) from agents") == 0
    mine = Jsonb(signed_bootstrap(db, [agent(n) for n in ("mallory", "trudy", "oscar")]))
    old.execute("set local role alpha_owner")
    Council(db).bootstrap(*NAMES)
    with pytest.raises(psycopg.errors.SerializationFailure):
        query(old, INSERT, [mine])


def test_a_direct_insert_of_fewer_than_three_is_no_bootstrap(db: Connection) -> None:
    two = Jsonb(signed_bootstrap(db, [agent("ada"), agent("ben")]))
    db.execute("set role alpha_owner")
    with pytest.raises(psycopg.Error) as caught:
        query(db, INSERT, [two])
    assert code_of(caught) == "RSK-002"


MALLORY = f"decode('{public_hex(private_key('mallory'))}', 'hex')"
FORGED = {
    "key of an agent that never signed a vote": f"update agents set public_key = {MALLORY} where name = 'cyd'",
    "name": "update agents set name = 'cyd2' where name = 'cyd'",
    "role": "update agents set role = 'chief' where name = 'cyd'",
    "identity": "update agents set agent_id = gen_random_uuid() where name = 'cyd'",
    "signature": "update agents set signature = (select b.signature from agents as b where b.id = 1) where id = 3",
    "one less": "delete from agents where name = 'cyd'",
    "one more": f"insert into agents select 4, '{agent_id('mallory')}', 'mallory', 'risk', {MALLORY}, replaces,"
    " proposal_id, signature, row_hash, created_at, recorded_by from agents where id = 3",
}


@pytest.mark.parametrize("statement", FORGED.values(), ids=FORGED.keys())
def test_an_agent_changed_by_force_is_found(council: Council, statement: str) -> None:
    db = council.connection
    forge(db, "agents", statement)
    assert_found(db, "agents", 3 if "set signature" in statement else 1)
    assert_python_refuses(db)


@pytest.mark.parametrize("statement", FORGED.values(), ids=FORGED.keys())
def test_nothing_is_decided_by_agents_that_were_changed_by_force(council: Council, statement: str) -> None:
    db = council.connection
    proposal_id = council.propose("asset_kill_threshold", {"asset": "BTC", "kill_loss_pct": "0.1",
                                  "kill_price": None, "retired": False}, "ada")  # fmt: skip
    forge(db, "agents", statement)
    council.keys["cyd"] = private_key("mallory")
    council.keys["mallory"] = private_key("mallory")
    for name in ("ben", "cyd", "mallory"):
        with pytest.raises(psycopg.Error) as caught:
            council.vote(proposal_id, name)
        assert code_of(caught) in ("RSK-003", "RSK-007")
    with pytest.raises(psycopg.Error) as caught:
        council.propose("agent_revoke", {"agent_id": str(agent_id("ben"))}, "ada")
    assert code_of(caught) == "RSK-007"
    assert council.state()["version"] == 0


def test_a_forged_vote_that_stands_in_its_table_does_not_apply_by_hand(council: Council) -> None:
    """The owner's own INSERT into the change log counts by keys that are derived, too."""
    db = council.connection
    payload = {"asset": "BTC", "kill_loss_pct": "0.1", "kill_price": None, "retired": False}
    proposal_id = council.propose("asset_kill_threshold", payload, "ada")
    forge(db, "agents", FORGED["key of an agent that never signed a vote"])
    council.keys["cyd"] = private_key("mallory")
    arguments = council.sign_vote(proposal_id, "cyd")
    db.execute("set role alpha_owner")
    query(
        db,
        "insert into votes (proposal_id, digest, origin, agent_id, agent_key, decision, signed_at,"
        " signed_text, signature) select p.proposal_id, p.digest, p.origin, %s, a.public_key, 'APPROVE', %s,"
        " _approval_text(p.origin, 'APPROVE', p.digest, a.agent_id, %s), %s"
        " from proposals as p, agents as a where a.name = 'cyd'",
        [arguments[1], arguments[3], arguments[3], arguments[4]],
    )
    with pytest.raises(psycopg.Error) as caught:
        query(db, "select _apply_proposal(p, %s) from proposals as p", [agent_id("cyd")])
    assert code_of(caught) == "RSK-007"


def test_a_veto_needs_no_other_agent_s_key(council: Council) -> None:
    db = council.connection
    payload = {"asset": "BTC", "kill_loss_pct": "0.1", "kill_price": None, "retired": False}
    proposal_id = council.propose("asset_kill_threshold", payload, "ada")
    forge(db, "agents", FORGED["name"])
    assert council.vote(proposal_id, "ben", "REJECT") == "REJECTED"
