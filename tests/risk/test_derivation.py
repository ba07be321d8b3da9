"""What consensus is said to have made is derived again from signatures: versions, agents, revocations, releases."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from alpha_db.security.config_integrity import verify_database
from tests.fix_database import Prepared
from tests.risk.conftest import named
from tests.risk.council import (
    Council,
    agent,
    agent_id,
    code_of,
    limits,
    private_key,
    public_hex,
    threshold,
)
from tests.risk.forging import (
    assert_derived,
    assert_found,
    assert_python_refuses,
    engage,
    forge,
    forge_limits,
    forge_release,
    problems,
)
from tests.support import Connection, fill, make_signal, one, query

pytestmark = pytest.mark.any_server  # what is derived does not depend on the server

KEYS = {name: private_key(name) for name in ("ada", "ben", "cyd", "dan", "eve")}
CYD = {"agent_id": str(agent_id("cyd"))}


def _live(connection: Connection) -> None:
    """Versions of everything, an agent enrolled, one replaced, one revoked, and a release."""
    council = named(connection)
    council.keys |= KEYS
    council.enact("risk_config", limits("0.04"), "ada", "ben")
    council.enact("asset_kill_threshold", threshold(), "ada", "ben")
    council.enact("asset_kill_threshold", threshold(loss="0.05"), "ada", "ben")
    council.enact("asset_kill_threshold", threshold("ETH"), "ada", "ben")
    council.enact("agent_enrol", agent("dan") | {"replaces": None}, "ada", "ben", "cyd")
    council.enact("agent_revoke", CYD, "ada", "ben", "dan")
    council.enact("agent_enrol", agent("eve") | {"replaces": str(agent_id("ben"))}, "ada", "dan")
    fill(connection)
    engage(connection)
    council.release("ada", "dan", "eve")
    council.enact("risk_config", limits("0.03"), "ada", "dan")


@pytest.fixture
def origin(request: pytest.FixtureRequest, prepared: Prepared, origin: str) -> str:
    return prepared("risk_live", _live, origin) if "live" in request.fixturenames else origin


@pytest.fixture
def live(governed: Council) -> Council:
    governed.keys |= KEYS
    return governed


def test_all_of_it_is_derived(live: Council) -> None:
    assert_derived(live.connection)
    assert one(live.connection, "select is_locked from lockdown_status()") is False
    assert verify_database(live.connection).replay.releases == 1


VERSIONS = {
    "a closed limit": ("update risk_configurations set max_leverage_ratio = 9 where version = 1", 1),
    "a closed limit's reason": (
        "update risk_configurations set reason_for_change = 'x' where version = 1",
        1,
    ),
    "who approved a closed limit": (
        "update risk_configurations as c set approved_by_agent_id = a.agent_id from agents as a"
        " where c.version = 1 and a.name = 'ada'",
        1,
    ),
    "when a version ended": (
        "update risk_configurations set valid_to = valid_to + interval '1 us' where version = 1",
        1,
    ),
    "when a version began": (
        "update risk_configurations set valid_from = valid_from - interval '1 day' where version = 1",
        1,
    ),
    "a version less": ("delete from risk_configurations where version = 1", 1),
    "a version more": (
        "insert into risk_configurations (reason_for_change, approved_by_agent_id, valid_from, valid_to, prev_to,"
        " version, proposal_id, state_hash) select reason_for_change, approved_by_agent_id,"
        " valid_from - interval '2 day', valid_from - interval '1 day', valid_from - interval '2 day', 99,"
        " proposal_id, state_hash from risk_configurations where version = 1",
        99,
    ),
    "the hash of a closed version": (
        "update risk_configurations set state_hash = repeat('0', 64) where version = 1",
        1,
    ),
}
THRESHOLDS = {
    "a closed threshold": ("update risk_asset_kill_thresholds set kill_loss_pct = 0.9 where version = 3", 3),
    "a closed price": ("update risk_asset_kill_thresholds set kill_price = 1 where version = 3", 3),
    "a closed threshold less": ("delete from risk_asset_kill_thresholds where version = 3", 3),
    "a closed threshold retired": (
        "update risk_asset_kill_thresholds set retired = true where version = 3",
        3,
    ),
}


#: One of each kind runs always: a value, a time, a row too few, a row too many, an agent's name or key.
ALIKE = {
    "a closed limit's reason", "when a version ended", "the hash of a closed version", "a closed price",
    "a closed threshold retired", "role of an enrolled agent", "a revocation more",
    "of an applied proposal of another kind", "of a release that was used, for other damage",
    "of a proposal that does not exist",
}  # fmt: skip


def _cases(cases: dict[str, Any]) -> list[Any]:
    return [
        pytest.param(*values, id=name, marks=pytest.mark.long if name in ALIKE else ())
        for name, values in cases.items()
    ]


@pytest.mark.parametrize(("statement", "version"), _cases(VERSIONS))
def test_a_forged_version_of_limits_is_found(live: Council, statement: str, version: int) -> None:
    forge_limits(live.connection, statement)
    assert_found(live.connection, "risk_configurations", version)


@pytest.mark.parametrize(("statement", "version"), _cases(THRESHOLDS))
def test_a_forged_version_of_a_threshold_is_found(live: Council, statement: str, version: int) -> None:
    forge_limits(live.connection, statement)
    assert_found(live.connection, "risk_asset_kill_thresholds", version)


MALLORY = f"decode('{public_hex(private_key('mallory'))}', 'hex')"
AGENTS = {
    "key of an enrolled agent": (f"update agents set public_key = {MALLORY} where name = 'dan'", "agents", 4),
    "role of an enrolled agent": ("update agents set role = 'x' where name = 'dan'", "agents", 4),
    "an enrolled agent less": ("delete from agents where name = 'eve'", "agents", None),
    "an agent more, by an applied proposal": (
        "insert into agents (id, agent_id, name, role, public_key, proposal_id, row_hash, created_at,"
        f" recorded_by) select 6, gen_random_uuid(), 'mallory', 'risk', {MALLORY}, proposal_id, row_hash,"
        " created_at, 'x'"
        " from agents where id = 5",
        "agents",
        6,
    ),
    "a revocation less": ("delete from agent_revocations where id = 2", "agent_revocations", None),
    "a revocation more": (
        "insert into agent_revocations (id, agent_id, proposal_id, row_hash, created_at, recorded_by)"
        " select 3, a.agent_id, r.proposal_id, r.row_hash, r.created_at, 'x'"
        " from agent_revocations as r, agents as a where r.id = 2 and a.name = 'ada'",
        "agent_revocations",
        3,
    ),
}


@pytest.mark.parametrize(("statement", "table", "row_id"), _cases(AGENTS))
def test_forged_agents_are_found_and_decide_nothing(
    live: Council, statement: str, table: str, row_id: int | None
) -> None:
    forge(live.connection, table, statement)
    assert_found(live.connection, table, row_id)
    assert_python_refuses(live.connection)
    with pytest.raises(psycopg.Error) as caught:
        live.propose("risk_config", limits("0.01"), "ada")
    assert code_of(caught) in ("RSK-003", "RSK-007")


def test_a_forged_state_is_not_built_on(live: Council) -> None:
    """Limits and the log's last entry are changed to fit one another: the last proposal leads elsewhere."""
    db = live.connection
    forge_limits(
        db,
        "with c as (update risk_configurations set max_leverage_ratio = 99 where valid_to is null)"
        " update risk_change_log set state_text = replace(state_text, '2.00', '99.00'),"
        " state_hash = _text_digest(replace(state_text, '2.00', '99.00'))"
        " where id = (select max(id) from risk_change_log)",
    )
    with pytest.raises(psycopg.Error) as caught:
        live.propose("risk_config", limits("0.02", leverage="98"), "ada")
    assert code_of(caught) == "RSK-007"


# --------------------------------------------------------------------------------------------------
# Releases


@pytest.fixture
def locked(live: Council) -> Council:
    """A second lockdown, after one that was released."""
    engage(live.connection, 3)
    return live


def assert_still_locked(connection: Connection) -> None:
    assert one(connection, "select is_locked from lockdown_status()") is True
    assert one(connection, "select is_locked from active_risk_state()") is True


def newest(connection: Connection) -> int:
    return int(one(connection, "select max(id) from lockdown_events"))


FORGERIES = {
    "of nothing": ("null", "[]"),
    "of an applied proposal of another kind": (
        "(select proposal_id from risk_change_log where version = 1)",
        "[]",
    ),
    "of a release that was used": (
        "(select proposal_id from risk_change_log where kind = 'lockdown_release')",
        None,
    ),
    "of a release that was used, for other damage": (
        "(select proposal_id from risk_change_log where kind = 'lockdown_release')",
        "[]",
    ),
    "of a proposal that does not exist": ("gen_random_uuid()", "[]"),
}


@pytest.mark.parametrize(("proposal", "damage"), _cases(FORGERIES))
def test_a_forged_release_lifts_nothing(locked: Council, proposal: str, damage: str | None) -> None:
    db = locked.connection
    if damage is None:
        damage = one(db, "select damage::text from lockdown_events where event_type = 'RELEASED'")
    forge_release(db, one(db, f"select {proposal}"), damage)
    assert_still_locked(db)
    assert_found(db, "lockdown_events", newest(db))
    assert_python_refuses(db)


def test_a_pending_release_lifts_nothing(locked: Council) -> None:
    db = locked.connection
    damage = locked.damage()
    proposal_id = locked.propose("lockdown_release", damage, "ada")
    forge_release(
        db,
        proposal_id,
        one(db, "select payload ->> 'damage' from proposals where proposal_id = %s", [proposal_id]),
    )
    assert_still_locked(db)
    assert_found(db, "lockdown_events", newest(db))


def test_a_release_that_was_widened_acknowledges_nothing(live: Council) -> None:
    db = live.connection
    forge(
        db,
        "lockdown_events",
        "update lockdown_events set damage = damage || damage where event_type = 'RELEASED'",
    )
    assert_still_locked(db)
    assert query(db, "select * from acknowledged_damage()") == []
    assert_found(db, "lockdown_events", newest(db))
    assert_python_refuses(db)


def test_a_release_whose_event_is_gone_is_found(live: Council) -> None:
    forge(live.connection, "lockdown_events", "delete from lockdown_events where event_type = 'RELEASED'")
    assert_found(live.connection, "lockdown_events")
    assert_python_refuses(live.connection)


def test_a_release_by_agents_that_were_forged_later_holds_no_more(live: Council) -> None:
    forge(live.connection, "agents", f"update agents set public_key = {MALLORY} where name = 'cyd'")
    assert_still_locked(live.connection)


def test_without_agents_there_is_nothing_to_derive(db: Connection) -> None:
    make_signal(db)
    assert_derived(db)


def test_a_forged_first_release_is_found(db: Connection) -> None:
    """No agents at all, and yet a release."""
    fill(db)
    engage(db)
    forge_release(db)
    assert_still_locked(db)
    assert [(row["table_name"], row["id"]) for row in problems(db)] == [("lockdown_events", 2)]


def test_a_forged_release_that_was_acknowledged_claims_nothing_any_more(locked: Council) -> None:
    """It stays in the chain as damage, and the guardrail's way out of Safe Mode is the lawful release."""
    db = locked.connection
    forge_release(db)
    query(db, "select * from verify_chain_integrity()")
    listed = [(p["table"], p["id"], p["verdict"]) for p in locked.damage()["damage"]]
    assert ("lockdown_events", newest(db) - 1, "consensus_mismatch") in listed or (
        "lockdown_events",
        newest(db),
        "consensus_mismatch",
    ) in listed
    locked.release("ada", "dan", "eve")
    assert one(db, "select is_locked from lockdown_status()") is False
    assert_derived(db)
    assert verify_database(db).is_locked is False
