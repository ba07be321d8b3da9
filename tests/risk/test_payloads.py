"""Payloads are checked again outside the database, and both refuse the same."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest

from alpha_db.risk.config_manager import ON_LIMITS
from alpha_db.security.payloads import MEMBERS, check_payload
from alpha_db.security.replay import direction, next_state
from alpha_db.security.signed_text import jsonb_text
from alpha_db.security.state import EMPTY_STATE, RiskState
from tests.risk.council import (
    PLACE,
    SEGMENT,
    Council,
    agent,
    agent_id,
    limits,
    private_key,
    public_hex,
    threshold,
)
from tests.support import ROOT, Connection, one, query

SOMEBODY = str(agent_id("ada"))
DAN = agent("dan") | {"replaces": None}
POLICY = {"tighten": 1, "loosen": 2, "govern": 2}
HELD = "0f5c0f5c-0f5c-4f5c-8f5c-0f5c0f5c0f5c"
NO_ENDS = (0, -256, 255, "256", Decimal("256.0"), True, None, 10**18)
NO_HASHES = ("", "0" * 63, "A" * 64, "g" * 64, None, 0)

GOOD: list[tuple[str, Any]] = [
    ("risk_config", limits()),
    ("risk_config", limits("0", "1", "100")),
    ("risk_config", limits("0.05000000", "1.0", "99.990")),
    ("asset_kill_threshold", threshold()),
    ("asset_kill_threshold", threshold("É" * 20, "0.0001", "999999999999999999.9999999999", True)),
    ("agent_enrol", DAN),
    ("agent_enrol", DAN | {"replaces": SOMEBODY}),
    ("agent_revoke", {"agent_id": SOMEBODY}),
    ("quorum_policy", POLICY),
    ("lockdown_release", {"damage": [PLACE, PLACE | {"id": -1, "actual_hash": "x"}]}),
    ("lockdown_release", {"damage": []}),
    ("archive", SEGMENT),
    ("archive", SEGMENT | {"through_id": 10**18 - 256}),
    ("archive", {"segments": [SEGMENT, SEGMENT | {"table": "ai_debates"}]}),
    ("hold", {"table": "signals", "from_id": 1}),
    ("unhold", {"hold": HELD}),
]
NO_DECIMALS = ("NaN", "Infinity", "-0.1", "+0.1", "1e-2", ".1", "0.", "00.1", " 0.1", "٠.1", "")
BAD: list[tuple[str, Any]] = [
    ("no_such_kind", {}),
    ("risk_config", {}),
    ("risk_config", []),
    ("risk_config", limits() | {"more": "1"}),
    ("risk_config", limits("1.0001")),
    ("risk_config", limits("0.00001")),
    ("risk_config", limits(leverage="100.01")),
    ("risk_config", limits(leverage="2.001")),
    *[("risk_config", limits(text)) for text in NO_DECIMALS],
    ("risk_config", limits() | {"max_leverage_ratio": 2}),
    ("risk_config", limits() | {"max_leverage_ratio": None}),
    ("asset_kill_threshold", threshold("")),
    ("asset_kill_threshold", threshold("   ")),
    ("asset_kill_threshold", threshold("B" * 501)),
    ("asset_kill_threshold", threshold("B\u200bTC")),
    ("asset_kill_threshold", threshold(loss="1.1")),
    ("asset_kill_threshold", threshold(price="0")),
    ("asset_kill_threshold", threshold(price="1000000000000000000")),
    ("asset_kill_threshold", threshold() | {"retired": "true"}),
    ("asset_kill_threshold", threshold() | {"retired": None}),
    ("asset_kill_threshold", threshold() | {"asset": 1}),
    ("agent_enrol", agent("dan")),
    ("agent_enrol", DAN | {"agent_id": SOMEBODY.upper()}),
    ("agent_enrol", DAN | {"agent_id": "x"}),
    ("agent_enrol", DAN | {"name": "n" * 51}),
    ("agent_enrol", DAN | {"role": ""}),
    ("agent_enrol", DAN | {"public_key": public_hex(private_key("dan")).upper()}),
    ("agent_enrol", DAN | {"public_key": "01" + "00" * 31}),
    ("agent_enrol", DAN | {"public_key": None}),
    ("agent_enrol", DAN | {"replaces": "x"}),
    ("agent_revoke", {"agent_id": 1}),
    ("agent_revoke", {"agent_id": None}),
    ("quorum_policy", POLICY | {"loosen": 1}),
    ("quorum_policy", POLICY | {"govern": 1}),
    ("quorum_policy", POLICY | {"tighten": 0}),
    ("quorum_policy", POLICY | {"tighten": 10}),
    ("quorum_policy", POLICY | {"tighten": "1"}),
    ("quorum_policy", POLICY | {"tighten": True}),
    ("lockdown_release", {"damage": {}}),
    ("lockdown_release", {"damage": [PLACE | {"more": 1}]}),
    ("lockdown_release", {"damage": [PLACE | {"id": "2"}]}),
    ("lockdown_release", {"damage": [PLACE | {"actual_hash": 1}]}),
    ("lockdown_release", {"damage": [PLACE | {"table": None}]}),
    ("lockdown_release", {"damage": [PLACE | {"verdict": "Content"}]}),
    ("lockdown_release", {"damage": [PLACE | {"expected_hash": "0" * 65}]}),
    ("lockdown_release", {"damage": [{"table": "signals", "id": 2, "actual_hash": None}]}),
    ("lockdown_release", {"damage": [PLACE] * 10_001}),
    ("archive", []),
    ("archive", ["segments"]),
    ("archive", {"segments": []}),
    ("archive", {"segments": {}}),
    ("archive", {"segments": [SEGMENT], "more": 1}),
    ("archive", {"segments": [SEGMENT, SEGMENT]}),
    ("archive", {"segments": [[SEGMENT]]}),
    ("archive", SEGMENT | {"segments": [SEGMENT]}),
    *[("archive", SEGMENT | {"through_id": number}) for number in NO_ENDS],
    *[("archive", SEGMENT | {name: text}) for name in ("root", "row_hash", "segment_sha256") for text in NO_HASHES],
    ("archive", SEGMENT | {"table": None}),
    ("hold", {"table": "signals", "from_id": 0}),
    ("hold", {"table": "signals", "from_id": "1"}),
    ("hold", {"table": 1, "from_id": 1}),
    ("hold", {"table": "signals"}),
    ("unhold", {"hold": "x"}),
    ("unhold", {"hold": None}),
    ("unhold", {"hold": HELD, "more": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "payload"), GOOD)
def test_complete_payloads_pass(kind: str, payload: Any) -> None:
    check_payload(kind, payload)


@pytest.mark.parametrize(("kind", "payload"), BAD)
def test_all_others_are_refused(kind: str, payload: Any) -> None:
    with pytest.raises(ValueError):
        check_payload(kind, payload)


def test_the_database_refuses_and_accepts_the_same(council: Council) -> None:
    # what an unhold names must be there
    council.propose("hold", {"table": "signals", "from_id": 1}, "ada", proposal_id=UUID(HELD))
    assert council.vote(UUID(HELD), "ben") == "APPLIED"

    def accepts(kind: str, payload: Any) -> bool:
        try:
            query(council.connection, "select _check_payload(%s, %s::jsonb)", [kind, jsonb_text(payload)])
        except psycopg.Error as problem:
            if not str(problem.sqlstate).startswith("RSK"):
                raise
            return False
        return True

    assert [item for item in GOOD if not accepts(*item)] == []
    assert [item for item in BAD if accepts(*item)] == []


def test_the_kinds_are_the_same_everywhere(db: Connection) -> None:
    kinds = set(one(db, "select _proposal_kinds()"))
    page = (ROOT / "docs/risk.md").read_text().partition("| kind | payload |\n|---|---|\n")[2]
    assert kinds == set(MEMBERS)
    assert kinds == {row.split("`")[1] for row in page.partition("\n\n")[0].splitlines()}
    assert kinds == {kind for kind, _ in GOOD}
    assert kinds | {"no_such_kind"} == {kind for kind, _ in BAD}


@pytest.mark.parametrize("kind", MEMBERS)
def test_every_kind_has_a_direction(db: Connection, kind: str) -> None:
    payload = next(payload for named, payload in GOOD if named == kind)
    asked = [kind, jsonb_text(payload), EMPTY_STATE.text]
    assert direction(kind, payload, EMPTY_STATE) == one(
        db, "select _change_direction(%s, %s::jsonb, %s::jsonb)", asked
    )


def test_an_unknown_kind_has_none(db: Connection) -> None:
    with pytest.raises(ValueError):
        direction("no_such_kind", {}, EMPTY_STATE)
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        one(db, "select _change_direction('no_such_kind', '{}', %s::jsonb)", [EMPTY_STATE.text])
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        one(db, "select _check_allowed('no_such_kind', '{}', %s::jsonb)", [EMPTY_STATE.text])


def test_the_kinds_that_build_on_the_limits_are_those_that_change_the_state() -> None:
    changing = {
        kind for kind, payload in GOOD if next_state(EMPTY_STATE, kind, payload).text != RiskState(1).text
    }
    assert changing == set(ON_LIMITS)
