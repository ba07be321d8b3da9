"""Cheap checks come first, every input has a bound, and nothing is locked before a signature holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from alpha_db.risk.config_manager import ConfigManager
from tests.cluster import Server
from tests.fix_database import Connect, LoginRole, Prepared
from tests.risk.conftest import governed_book, named
from tests.risk.council import PLACE, Council, agent_id, code_of, limits, threshold, unguarded
from tests.support import Connection, one, query

PROPOSE = (
    "select propose(%(proposal_id)s, %(kind)s, %(payload)s, %(reason)s, %(proposer)s, %(expires_at)s,"
    " %(signature)s, %(previous)s)"
)
VOTE = "select vote(%s, %s, %s, %s, %s)"


@pytest.fixture(scope="module")
def busy(server: Server, prepared: Prepared) -> Iterator[Council]:
    """Another session holds the lock of the proposals: anything that waits for it fails at once, and is refused at
    the latest then, so that all tests can have the same."""
    dsn = server.dsn(prepared("risk_bounds", lambda _: None, governed_book(prepared)))
    with psycopg.connect(dsn, autocommit=True) as connection, psycopg.connect(dsn) as holder:
        busy = named(connection)
        proposal_id = busy.propose("risk_config", limits("0.04"), "ada")
        query(holder, VOTE, busy.sign_vote(proposal_id, "ben"))
        connection.execute("set lock_timeout = '1ms'")
        yield busy
        holder.rollback()


def refused(connection: Connection, statement: str, parameters: Any) -> str:
    with pytest.raises(psycopg.Error) as caught:
        query(connection, statement, parameters)
    return code_of(caught)


def test_the_lock_is_held(busy: Council) -> None:
    with pytest.raises(psycopg.errors.LockNotAvailable):
        busy.propose("risk_config", limits("0.04"), "ada")


BAD_PROPOSALS: dict[str, tuple[dict[str, Any], str]] = {
    "no signature": ({"signature": None}, "RSK-003"),
    "one byte": ({"signature": b"\0"}, "RSK-003"),
    "too long a signature": ({"signature": b"\0" * 1_000_000}, "RSK-003"),
    "another's signature": ({"signature": b"\x01" * 64}, "RSK-003"),
    "no proposal_id": ({"proposal_id": None}, "RSK-006"),
    "no kind": ({"kind": None}, "RSK-001"),
    "a long kind": ({"kind": "x" * 1_000_000}, "RSK-001"),
    "no payload": ({"payload": None}, "RSK-001"),
    "a large payload": ({"payload": Jsonb(limits() | {"x": "y" * 70_000})}, "RSK-001"),
    "a release of very much": (
        {"kind": "lockdown_release", "payload": Jsonb({"damage": [PLACE] * 100_000})},
        "RSK-001",
    ),
    "a release, unsigned": ({"kind": "lockdown_release", "payload": Jsonb({"damage": [PLACE] * 10_000})}, "RSK-003"),
    "deep": ({"payload": '{"x":' + "[" * 5000 + "]" * 5000 + "}"}, "RSK-003"),
    "no reason": ({"reason": None}, "RSK-001"),
    "a long reason": ({"reason": "x" * 2001}, "RSK-001"),
    "a very long reason": ({"reason": "x" * 10_000_000}, "RSK-001"),
    "nobody": ({"proposer": None}, "RSK-003"),
    "a stranger": ({"proposer": uuid4()}, "RSK-003"),
    "no end": ({"expires_at": None}, "RSK-006"),
    "the year 20000": ({"expires_at": "20000-01-01"}, "RSK-006"),
    "a long previous": ({"previous": "0" * 1_000_000}, "RSK-005"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "code"), BAD_PROPOSALS.values(), ids=BAD_PROPOSALS.keys())
def test_a_bad_proposal_is_refused_without_the_lock(
    busy: Council, changes: dict[str, Any], code: str
) -> None:
    row = busy.sign_proposal("risk_config", limits("0.01"), "ada")
    assert refused(busy.connection, PROPOSE, row | changes) == code


def test_a_bad_vote_is_refused_without_the_lock(busy: Council) -> None:
    proposal_id = one(
        busy.connection, "select proposal_id from proposals where reason = 'because' order by id desc"
    )
    good = busy.sign_vote(proposal_id, "cyd")
    now = datetime.now(UTC)
    for changes, code in (
        ((uuid4(), *good[1:]), "RSK-006"),
        ((None,) * 5, "RSK-006"),
        ((good[0], uuid4(), *good[2:]), "RSK-003"),
        ((*good[:2], "x" * 1_000_000, *good[3:]), "RSK-004"),
        ((*good[:3], "0044-03-15 BC", good[4]), "RSK-003"),
        ((*good[:3], now, good[4]), "RSK-003"),
        ((*good[:4], b"\0" * 1_000_000), "RSK-003"),
        ((*good[:4], b"\0" * 64), "RSK-003"),
    ):
        assert refused(busy.connection, VOTE, changes) == code


def test_a_stored_vote_that_is_sent_again_takes_no_lock(governed: Council, connect: Connect) -> None:
    """Signatures can be read by anyone who may call: sending one again must not hold others up."""
    governed.enact("agent_enrol", {"agent_id": str(uuid4()), "name": "dan", "role": "risk", "replaces": None,
                                   "public_key": "5512ccc0f69c452fa4bda62555b9772e21095ed3725c1245d42e5451148f386c"},
                   "ada", "ben", "cyd")  # fmt: skip
    proposal_id = governed.propose("risk_config", limits("0.5"), "ada")
    vote = governed.sign_vote(proposal_id, "ben")
    governed.send_vote(vote)
    applied = one(governed.connection, "select proposal_id from risk_change_log where version = 1")
    holder = connect(autocommit=False)
    query(holder, VOTE, governed.sign_vote(proposal_id, "cyd", "REJECT"))
    governed.connection.execute("set lock_timeout = '1ms'")
    assert refused(governed.connection, VOTE, vote) == "RSK-004"
    assert refused(governed.connection, VOTE, governed.sign_vote(applied, "ben")) == "RSK-006"
    stored = query(governed.connection, "select * from proposals where proposal_id = %s", [proposal_id])[0]
    stored["payload"] = Jsonb(stored["payload"])
    assert refused(governed.connection, PROPOSE, stored) == "RSK-006"


def test_an_agent_has_at_most_twenty_pending_proposals(governed: Council) -> None:
    made = [governed.propose("risk_config", limits("0.04"), "ada", reason=str(n)) for n in range(20)]
    with pytest.raises(psycopg.Error) as caught:
        governed.propose("risk_config", limits("0.04"), "ada")
    assert code_of(caught) == "RSK-006"
    assert "20 pending" in str(caught.value)
    governed.propose("risk_config", limits("0.04"), "ben")
    governed.vote(made[0], "ada", "REJECT")
    made.append(governed.propose("risk_config", limits("0.04"), "ada"))
    # all of them are stale once one is applied: a flood holds up nobody
    governed.vote(made[-1], "cyd")
    governed.propose("risk_config", limits("0.03"), "ada")


# --------------------------------------------------------------------------------------------------
# Times that a client cannot read back


UNREADABLE = (
    "0044-03-15 BC", "0001-01-01 BC", "0001-01-01 00:00:00+00", "9999-12-31 23:59:59+00", "10000-01-01",
    "20000-01-01", "294276-12-31", "infinity", "-infinity",
)  # fmt: skip


def test_an_expiry_that_no_client_reads_is_refused(governed: Council) -> None:
    for time in UNREADABLE:
        with pytest.raises(psycopg.Error) as caught:
            governed.propose("risk_config", limits("0.01"), "ada", expires_at=time)
        assert code_of(caught) == "RSK-006", time


@pytest.mark.parametrize("decision", ["APPROVE", "REJECT"])
def test_a_time_of_signing_that_no_client_reads_is_refused(governed: Council, decision: str) -> None:
    proposal_id = governed.propose("risk_config", limits("0.01"), "ada")
    for time in UNREADABLE:
        with pytest.raises(psycopg.Error) as caught:
            governed.vote(proposal_id, "ben", decision, signed_at=time)
        assert code_of(caught) == "RSK-003", time


@pytest.mark.parametrize("time", ["0001-01-02 00:00:00+00", "9999-12-30 23:59:59.999999+00"])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Etc/GMT+12"])
def test_the_first_and_the_last_time_can_be_read_everywhere(governed: Council, time: str, zone: str) -> None:
    governed.connection.execute(f"set timezone = '{zone}'")
    later = time.startswith("9999")
    proposal_id = governed.propose("risk_config", limits("0.01"), "ada", expires_at=time if later else None)
    if not later:
        governed.vote(proposal_id, "ben", signed_at=time)
    manager = ConfigManager(governed.connection)
    (row,) = [row for row in manager.proposals(every=True) if row["proposal_id"] == proposal_id]
    assert manager.proposal(row["proposal_id"])["votes"] is not None
    assert one(governed.connection, "select isfinite(expires_at) from proposals limit 1")


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("update proposals set expires_at = '0044-03-15 BC'", "proposals_expires_at_is_readable"),
        ("update proposals set expires_at = '20000-01-01'", "proposals_expires_at_is_readable"),
        ("update proposals set reason = repeat('x', 2001)", "proposals_reason_is_short"),
        ("update votes set signed_at = '0044-03-15 BC'", "votes_signed_at_is_readable"),
        ("update votes set signed_at = 'infinity'", "votes_signed_at_is_readable"),
        ("update agents set signature = null", "agents_signature_is_of_bootstrap"),
        ("update agents set signature = '\\x00'", "agents_signature_is_of_bootstrap"),
    ],
)
def test_the_bounds_stand_in_checks(governed: Council, statement: str, constraint: str) -> None:
    others = {
        "proposals": ["proposals_signed_text_is_exact"],
        "votes": ["votes_signed_text_is_exact"],
        "agents": [],
    }[statement.split()[1]]
    for other in others:
        governed.connection.execute(f"alter table {statement.split()[1]} drop constraint {other}")
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        unguarded(governed.connection, statement)
    assert caught.value.diag.constraint_name == constraint


# --------------------------------------------------------------------------------------------------
# A veto is never kept off


def test_one_odd_row_hides_no_other_from_a_client(
    governed: Council, connect: Connect, login_role: LoginRole
) -> None:
    manager = ConfigManager(connect(login_role("app_risk")))
    far = datetime(9999, 12, 30, tzinfo=UTC)
    odd = governed.propose("asset_kill_threshold", threshold(), "ada", expires_at=far)
    plain = governed.propose(
        "risk_config", limits("0.5"), "ada", expires_at=datetime.now(UTC) + timedelta(hours=1)
    )
    assert {row["proposal_id"] for row in manager.proposals()} == {odd, plain}
    assert manager.ballot(plain, agent_id("ben"), "REJECT").decision == "REJECT"
