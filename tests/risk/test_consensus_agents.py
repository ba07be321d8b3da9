"""Who is an agent, how many approvals a change needs, and that a lost key can always be voted out.

any_server: rules that our own functions apply to our own rows; that these run on each is tested in test_consensus.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.chain.by_force import shared
from tests.cluster import Server
from tests.concurrency.background import Background
from tests.fix_database import Connect, Prepared
from tests.risk.conftest import governed_book, named
from tests.risk.council import (
    Council,
    agent,
    agent_id,
    code_of,
    limits,
    private_key,
    signed_bootstrap,
    soon,
    threshold,
)
from tests.support import Connection, assert_healthy, one, query

pytestmark = pytest.mark.any_server

WEAK = {
    "all zeros": "00" * 32,
    "identity": "01" + "00" * 31,
    "order 2": "ec" + "ff" * 30 + "7f",
    "order 8": "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "not canonical": "ee" + "ff" * 30 + "7f",
    "not on the curve": "02" + "00" * 31,
    "x is 0 with a sign": "01" + "00" * 30 + "80",
}
MALFORMED = {"short": "ab" * 31, "long": "ab" * 33, "upper case": "AB" * 32, "not hex": "zz" * 32}


def bootstrap(connection: Connection, agents: Any) -> None:
    if isinstance(agents, list) and all("name" in member for member in agents):
        agents = signed_bootstrap(connection, agents)
    query(connection, "select bootstrap_agents(%s)", [Jsonb(agents)])


def enrol(name: str, replaces: str | None = None) -> dict[str, Any]:
    return agent(name) | {"replaces": str(agent_id(replaces)) if replaces else None}


def revoke(name: str) -> dict[str, Any]:
    return {"agent_id": str(agent_id(name))}


def policy(tighten: int = 1, loosen: int = 2, govern: int = 2) -> dict[str, int]:
    return {"tighten": tighten, "loosen": loosen, "govern": govern}


def active(connection: Connection) -> set[str]:
    return {row["name"] for row in query(connection, "select name from vw_agents where revoked_at is null")}


# --------------------------------------------------------------------------------------------------
# Bootstrap


def test_bootstrap_happens_once(council: Council) -> None:
    assert active(council.connection) == {"ada", "ben", "cyd"}
    with pytest.raises(psycopg.Error) as caught:
        council.bootstrap("dan", "eve", "fay")
    assert code_of(caught) == "RSK-002"
    assert_healthy(council.connection)


def test_bootstrap_happens_once_among_two_at_once(db: Connection, connect: Connect) -> None:
    first, second = connect(autocommit=False), connect()
    bootstrap(first, [agent(name) for name in ("ada", "ben", "cyd")])
    others = Jsonb(signed_bootstrap(db, [agent(name) for name in ("dan", "eve", "fay")]))
    waiting = Background(second, "select bootstrap_agents(%s)", [others]).blocked(db)
    first.commit()
    error = waiting.error()
    assert isinstance(error, psycopg.Error)
    assert error.sqlstate == "RSK02"
    assert active(db) == {"ada", "ben", "cyd"}


@pytest.fixture(scope="module")
def nobody(server: Server, prepared: Prepared, template: str) -> Iterator[Connection]:
    """Where no bootstrap succeeds."""
    with shared(server, prepared, template, "risk_nobody") as connection:
        yield connection


@pytest.mark.parametrize("agents", [[], [agent("ada")], [agent("ada"), agent("ben")], {}, None, "x"])
def test_bootstrap_needs_three(nobody: Connection, agents: Any) -> None:
    with pytest.raises(psycopg.Error) as caught:
        bootstrap(nobody, agents)
    assert code_of(caught) == "RSK-003"


@pytest.mark.parametrize(
    ("third", "code"),
    [
        (agent("ben"), "RSK-001"),
        (agent("cyd") | {"public_key": agent("ben")["public_key"]}, "RSK-003"),
        (agent("cyd") | {"name": " "}, "RSK-001"),
        (agent("cyd") | {"role": None}, "RSK-001"),
        (agent("cyd") | {"secret": "x"}, "RSK-001"),
        ({"agent_id": str(agent_id("cyd"))}, "RSK-001"),
        (agent("cyd") | {"agent_id": str(agent_id("cyd")).upper()}, "RSK-001"),
        *((agent("cyd") | {"public_key": key}, "RSK-003") for key in {**WEAK, **MALFORMED}.values()),
    ],
)
def test_bootstrap_is_all_or_nothing(nobody: Connection, third: dict[str, Any], code: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        bootstrap(nobody, [agent("ada"), agent("ben"), third])
    assert code_of(caught) == code
    assert one(nobody, "select count(*) from agents") == 0


@pytest.mark.parametrize("key", WEAK.values(), ids=WEAK.keys())
def test_weak_key_is_never_enrolled(council: Council, key: str) -> None:
    assert one(council.connection, "select _ed25519_key_is_weak(decode(%s, 'hex'))", [key]) is True
    with pytest.raises(psycopg.Error) as caught:
        council.propose("agent_enrol", enrol("dan") | {"public_key": key}, "ada")
    assert code_of(caught) == "RSK-003"


# --------------------------------------------------------------------------------------------------
# How many


def _set_thresholds(connection: Connection) -> None:
    council = named(connection)
    council.enact("asset_kill_threshold", threshold("BTC", "0.1", "30000"), "ada", "ben")
    council.enact("asset_kill_threshold", threshold("SOL", "0.2"), "ada", "ben")


@pytest.fixture(scope="module")
def with_thresholds(server: Server, prepared: Prepared) -> Iterator[Council]:
    """With limits and two thresholds; what a test proposes there is rolled back."""
    name = prepared("risk_thresholds", _set_thresholds, governed_book(prepared))
    with psycopg.connect(server.dsn(name), autocommit=True) as connection:
        yield named(connection)


@pytest.mark.parametrize(
    ("kind", "payload", "needed"),
    [
        ("risk_config", limits("0.04", "0.03", "2"), 1),
        ("risk_config", limits("0.04", "0.02", "1"), 1),
        ("risk_config", limits(), 1),
        ("risk_config", limits("0.0501"), 2),
        ("risk_config", limits("0.01", "0.01", "2.01"), 2),
        ("risk_config", limits("0.01", "0.0301", "1"), 2),
        ("asset_kill_threshold", threshold("ETH", "0.9"), 1),
        ("asset_kill_threshold", threshold("BTC", "0.1", "30000"), 1),
        ("asset_kill_threshold", threshold("BTC", "0.0999", "30000.0"), 1),
        ("asset_kill_threshold", threshold("BTC", "0.1001", "30000"), 2),
        ("asset_kill_threshold", threshold("BTC", "0.1", "30001"), 2),
        ("asset_kill_threshold", threshold("BTC", "0.1", "29999"), 2),
        ("asset_kill_threshold", threshold("BTC", "0.1", None), 2),
        ("asset_kill_threshold", threshold("BTC", "0.1", "30000", retired=True), 2),
        ("asset_kill_threshold", threshold("SOL", "0.2", "10"), 1),
        ("agent_enrol", enrol("dan"), 2),
        ("agent_enrol", enrol("dan", replaces="cyd"), 1),
        ("agent_revoke", revoke("cyd"), 1),
        ("agent_revoke", revoke("ada"), 2),
        ("quorum_policy", policy(2, 2, 2), 2),
    ],
)
def test_the_database_classifies(
    with_thresholds: Council, kind: str, payload: dict[str, Any], needed: int
) -> None:
    with with_thresholds.connection.transaction(force_rollback=True):
        assert with_thresholds.needed(kind, payload, "ada") == needed


def test_no_change_is_one_agents(governed: Council) -> None:
    for kind, payload in (
        ("risk_config", limits("0", "0", "0")),
        ("agent_revoke", revoke("cyd")),
        ("agent_revoke", revoke("ada")),
    ):
        proposal_id = governed.propose(kind, payload, "ada")
        assert governed.status(proposal_id) == "PENDING"
        with pytest.raises(psycopg.Error) as caught:
            governed.vote(proposal_id, "ada")
        assert code_of(caught) == "RSK-004"
    assert governed.state()["version"] == 1


def test_a_stricter_quorum_holds_for_all_that_follows(governed: Council) -> None:
    governed.enact("agent_enrol", enrol("dan"), "ada", "ben", "cyd")
    governed.keys["dan"] = private_key("dan")
    governed.enact("quorum_policy", policy(2, 3, 3), "ada", "ben", "cyd")
    assert governed.needed("risk_config", limits("0.01"), "ada") == 2
    assert governed.needed("risk_config", limits("0.5"), "ada") == 3
    assert governed.needed("agent_enrol", enrol("eve"), "ada") == 3
    # a laxer policy needs what the old one asks
    governed.enact("quorum_policy", policy(), "dan", "ada", "ben", "cyd")
    assert governed.needed("risk_config", limits("0.01"), "ada") == 1


def test_changing_the_quorum_never_needs_fewer_than_it_asks_for_anything(governed: Council) -> None:
    governed.enact("agent_enrol", enrol("dan"), "ada", "ben", "cyd")
    governed.keys["dan"] = private_key("dan")
    governed.enact("quorum_policy", policy(1, 3, 2), "ada", "ben", "cyd")
    assert governed.needed("agent_revoke", revoke("dan"), "ada") == 2
    assert governed.needed("quorum_policy", policy(), "ada") == 3


# --------------------------------------------------------------------------------------------------
# Revocation


def test_nobody_votes_on_his_own_revocation(governed: Council) -> None:
    for payload, kind in ((revoke("cyd"), "agent_revoke"), (enrol("dan", replaces="cyd"), "agent_enrol")):
        proposal_id = governed.propose(kind, payload, "ada")
        for decision in ("APPROVE", "REJECT"):
            with pytest.raises(psycopg.Error) as caught:
                governed.vote(proposal_id, "cyd", decision)
            assert code_of(caught) == "RSK-004"


def test_revocation_counts_at_once(governed: Council) -> None:
    governed.enact("agent_revoke", revoke("cyd"), "ada", "ben")
    assert active(governed.connection) == {"ada", "ben"}
    with pytest.raises(psycopg.Error) as caught:
        governed.propose("risk_config", limits("0.01"), "cyd")
    assert code_of(caught) == "RSK-003"
    proposal_id = governed.propose("risk_config", limits("0.01"), "ada")
    with pytest.raises(psycopg.Error) as caught:
        governed.vote(proposal_id, "cyd")
    assert code_of(caught) == "RSK-003"
    assert_healthy(governed.connection)


def test_revocation_counts_for_pending_proposals_too(governed: Council) -> None:
    by_cyd = governed.propose("risk_config", limits("0.01"), "cyd")
    approved_by_cyd = governed.propose("risk_config", limits("0.2"), "ada")
    governed.vote(approved_by_cyd, "cyd")
    ready = governed.sign_vote(by_cyd, "ada"), governed.sign_vote(approved_by_cyd, "ben")
    governed.enact("agent_revoke", revoke("cyd"), "ada", "ben")
    for arguments in ready:
        with pytest.raises(psycopg.Error) as caught:
            governed.send_vote(arguments)
        assert code_of(caught) == "RSK-005"
    assert one(governed.connection, "select approvals from proposal_progress(%s)", [approved_by_cyd]) == 0
    # proposed anew, the revoked agent's approval is not there
    again = governed.propose("risk_config", limits("0.2"), "ada")
    assert governed.vote(again, "ben") == "PENDING"


def test_an_agent_is_revoked_once_and_its_key_never_comes_back(governed: Council) -> None:
    governed.enact("agent_revoke", revoke("cyd"), "ada", "ben")
    for payload, kind, code in (
        (revoke("cyd"), "agent_revoke", "RSK-003"),
        (revoke("nobody"), "agent_revoke", "RSK-003"),
        (enrol("dan", replaces="cyd"), "agent_enrol", "RSK-003"),
        (enrol("dan") | {"public_key": agent("cyd")["public_key"]}, "agent_enrol", "RSK-003"),
        (enrol("dan") | {"agent_id": str(agent_id("cyd"))}, "agent_enrol", "RSK-001"),
    ):
        with pytest.raises(psycopg.Error) as caught:
            governed.propose(kind, payload, "ada")
        assert code_of(caught) == code


def test_rotation_takes_the_old_key_out_as_the_new_one_comes_in(governed: Council) -> None:
    governed.enact("agent_enrol", enrol("cyd-2", replaces="cyd"), "ada", "ben")
    governed.keys["cyd-2"] = private_key("cyd-2")
    assert active(governed.connection) == {"ada", "ben", "cyd-2"}
    proposal_id = governed.propose("risk_config", limits("0.2"), "ada")
    with pytest.raises(psycopg.Error) as caught:
        governed.vote(proposal_id, "cyd")
    assert code_of(caught) == "RSK-003"
    assert [governed.vote(proposal_id, name) for name in ("ben", "cyd-2")] == ["PENDING", "APPLIED"]
    assert_healthy(governed.connection)


def test_a_key_can_be_rotated_by_its_own_agent_with_the_others(governed: Council) -> None:
    proposal_id = governed.propose("agent_enrol", enrol("ada-2", replaces="ada"), "ada")
    assert [governed.vote(proposal_id, name) for name in ("ben", "cyd")] == ["PENDING", "APPLIED"]
    assert active(governed.connection) == {"ada-2", "ben", "cyd"}


def test_a_lost_key_is_voted_out_whatever_the_quorum(governed: Council) -> None:
    governed.enact("agent_enrol", enrol("dan"), "ada", "ben", "cyd")
    governed.enact("quorum_policy", policy(3, 3, 3), "ada", "ben", "cyd")
    # all that there are: the two that are neither the proposer nor the one to go
    proposal_id = governed.propose("agent_revoke", revoke("dan"), "ada")
    assert [governed.vote(proposal_id, name) for name in ("ben", "cyd")] == ["PENDING", "APPLIED"]
    # limits are out of reach now, but the policy is not
    assert governed.needed("risk_config", limits("0.01"), "ada") == 3
    governed.enact("quorum_policy", policy(), "ada", "ben", "cyd")
    governed.enact("risk_config", limits("0.01"), "ada", "ben")


def test_of_two_agents_neither_votes_the_other_out(governed: Council) -> None:
    governed.enact("agent_revoke", revoke("cyd"), "ada", "ben")
    proposal_id = governed.propose("agent_revoke", revoke("ben"), "ada")
    for voter in ("ada", "ben"):
        with pytest.raises(psycopg.Error) as caught:
            governed.vote(proposal_id, voter)
        assert code_of(caught) == "RSK-004"
    # but together they enrol a third
    governed.enact("agent_enrol", enrol("dan"), "ada", "ben")
    assert active(governed.connection) == {"ada", "ben", "dan"}


def test_what_was_possible_is_checked_again_when_it_is_applied(council: Council) -> None:
    council.enact("agent_enrol", enrol("dan"), "ada", "ben", "cyd")
    # its expiry, at the moment of the last vote, by the database's clock
    proposal_id = council.propose("agent_enrol", enrol("eve"), "ada", expires_at=soon(hours=0.0003))
    council.vote(proposal_id, "ben")
    vote = council.sign_vote(proposal_id, "cyd")
    with council.connection.transaction():
        query(council.connection, "select pg_sleep(1.2)")
        with pytest.raises(psycopg.Error) as caught, council.connection.transaction():
            council.send_vote(vote)
    assert code_of(caught) == "RSK-006"


# --------------------------------------------------------------------------------------------------
# What the documents say openly


def test_of_three_agents_two_can_vote_out_the_third_and_then_loosen(governed: Council) -> None:
    governed.enact("agent_revoke", revoke("cyd"), "ada", "ben")
    governed.enact("agent_enrol", enrol("dan"), "ada", "ben")
    governed.keys["dan"] = private_key("dan")
    governed.enact("risk_config", limits(leverage="3"), "ada", "ben", "dan")


def test_what_is_signed_for_a_copy_holds_for_the_original(
    governed: Council, make_database: Callable[..., str], connect: Connect, origin: str
) -> None:
    """Both are clones of one."""
    copy = governed.through(connect(dbname=make_database(origin)))
    proposal = copy.sign_proposal("risk_config", limits(leverage="3"), "ada")
    copy.send_proposal(proposal)
    votes = [copy.sign_vote(proposal["proposal_id"], name) for name in ("ben", "cyd")]
    governed.send_proposal(proposal)
    assert [governed.send_vote(vote) for vote in votes] == ["PENDING", "APPLIED"]
