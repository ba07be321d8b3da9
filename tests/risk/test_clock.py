"""A clock that was set back keeps off neither a tightening nor a veto, and leaves no gap between versions."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from alpha_db.security.config_integrity import verify_database
from tests.risk.council import Council, code_of, limits, threshold, unguarded
from tests.risk.forging import assert_derived, forge
from tests.support import Connection, assert_healthy, one, query

pytestmark = pytest.mark.any_server  # rules that our own functions apply to our own rows

AHEAD = datetime.now(UTC) + timedelta(days=1)


def be_set_back(connection: Connection, by: str = "1 hour") -> None:
    """As if the clock had been ahead until now: what was applied so far has a time that is still to come."""
    forge(
        connection,
        "risk_change_log",
        f"update risk_change_log set created_at = created_at + interval '{by}'",
    )
    for table in ("risk_configurations", "risk_asset_kill_thresholds"):
        unguarded(
            connection,
            f"update {table} set valid_from = valid_from + interval '{by}', valid_to = valid_to + interval '{by}',"
            f" prev_to = prev_to + interval '{by}'",
        )
    assert_healthy(connection)
    assert_derived(connection)


def versions(connection: Connection, table: str) -> None:
    """Each version begins where the one before ended, and none is empty."""
    rows = query(connection, f"select valid_from, valid_to, version from {table} order by version")
    assert [row["valid_to"] for row in rows[:-1]] == [row["valid_from"] for row in rows[1:]]
    assert rows[-1]["valid_to"] is None
    assert all(a["valid_from"] < b["valid_from"] for a, b in itertools.pairwise(rows))


def test_limits_are_tightened_although_the_clock_was_set_back(governed: Council) -> None:
    be_set_back(governed.connection)
    for position in ("0.04", "0.03", "0.02"):
        governed.enact("risk_config", limits(position), "ada", "ben")
    versions(governed.connection, "risk_configurations")
    assert_derived(governed.connection)
    assert_healthy(governed.connection)
    found = verify_database(governed.connection)
    assert found.limits_valid_from == one(
        governed.connection, "select valid_from from risk_configurations where valid_to is null"
    )


def test_thresholds_are_tightened_although_the_clock_was_set_back(governed: Council) -> None:
    governed.enact("asset_kill_threshold", threshold(), "ada", "ben")
    be_set_back(governed.connection)
    for loss in ("0.09", "0.08"):
        governed.enact("asset_kill_threshold", threshold(loss=loss), "ada", "ben")
    governed.enact("asset_kill_threshold", threshold("ETH"), "ada", "ben")
    rows = "(select * from risk_asset_kill_thresholds where asset = 'BTC') as r"
    versions(governed.connection, rows)
    assert_derived(governed.connection)


def test_limits_are_loosened_as_well(governed: Council) -> None:
    be_set_back(governed.connection, "10 years")
    governed.enact("risk_config", limits("0.5"), "ada", "ben", "cyd")
    versions(governed.connection, "risk_configurations")


@pytest.mark.parametrize("decision", ["APPROVE", "REJECT"])
def test_a_tightening_is_voted_on_by_a_clock_that_is_ahead(governed: Council, decision: str) -> None:
    """The signer's clock is right, and the server's was set back."""
    proposal_id = governed.propose("risk_config", limits("0.04"), "ada")
    status = governed.vote(proposal_id, "ben", decision, signed_at=AHEAD)
    assert status == {"APPROVE": "APPLIED", "REJECT": "REJECTED"}[decision]
    assert_derived(governed.connection)


@pytest.mark.parametrize("decision", ["APPROVE", "REJECT"])
def test_a_loosening_is_only_vetoed_by_a_clock_that_is_ahead(governed: Council, decision: str) -> None:
    proposal_id = governed.propose("risk_config", limits("0.5"), "ada")
    if decision == "REJECT":
        assert governed.vote(proposal_id, "ben", decision, signed_at=AHEAD) == "REJECTED"
        return
    with pytest.raises(psycopg.Error) as caught:
        governed.vote(proposal_id, "ben", decision, signed_at=AHEAD)
    assert code_of(caught) == "RSK-003"


def test_a_version_that_begins_elsewhere_is_refused(governed: Council) -> None:
    """The owner may close the current version at the moment that the log says, and at no other."""
    governed.connection.execute("set role alpha_owner")
    with pytest.raises(psycopg.Error) as caught:
        query(
            governed.connection,
            "update risk_configurations set valid_to = valid_from + interval '1 microsecond'"
            " where valid_to is null",
        )
    assert code_of(caught) == "RSK-002"
