"""Who listens is told, in a transaction of its own, and nothing depends on it."""

from __future__ import annotations

import logging

import psycopg
import pytest

from alpha_db.verify.courtesy import LOCKDOWN, RISK, tell
from tests.cli.desk import Desk
from tests.fix_database import Connect
from tests.support import PATIENCE, Connection, fill, one, tamper

pytest_plugins = ["tests.cli.fix_desk"]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The channels that commands have notified."""
    channels: list[str] = []

    def spy(conn: Connection, *names: str) -> None:
        assert conn.autocommit
        channels.extend(names)
        tell(conn, *names)

    for module in ("alpha_db.risk.config_manager", "alpha_db.verify.cli.verify_chain"):
        monkeypatch.setattr(f"{module}.tell", spy)
    return channels


def test_those_who_listen_hear_the_schemas_name(db: Connection, connect: Connect) -> None:
    listener = connect()
    listener.execute("listen alpha_risk; listen alpha_lockdown")
    tell(db, RISK, LOCKDOWN)
    heard = [(notice.channel, notice.payload) for notice in listener.notifies(timeout=PATIENCE, stop_after=2)]
    assert heard == [("alpha_risk", "public"), ("alpha_lockdown", "public")]


def test_what_fails_is_only_logged(db: Connection, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "alpha_db.verify.courtesy"):
        tell(db, "")  # no name of a channel, as a full queue fails
    assert "was not notified" in caplog.text
    assert one(db, "select 1") == 1


def test_a_transaction_of_the_caller_is_left_alone(db: Connection, connect: Connect) -> None:
    """A notification in it could fail its commit."""
    listener = connect()
    listener.execute("listen alpha_risk")
    own = connect(autocommit=False)
    tell(own, RISK)
    assert own.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    with db.transaction():
        tell(db, RISK)
    assert list(listener.notifies(timeout=0.05)) == []


def test_an_applied_change_is_told(trio: Desk, told: list[str]) -> None:
    assert told == []
    proposal_id = trio.propose(
        "ada", "risk", "quorum-policy", "--tighten", "2", "--loosen", "2", "--govern", "2"
    )
    assert trio.approve(proposal_id, "ben", "cyd") == ["PENDING", "APPLIED"]
    assert told == [RISK]


def test_a_bootstrap_is_told(told: list[str], desk: Desk) -> None:
    desk.bootstrap("ada", "ben", "cyd")
    assert told == [RISK]


def test_a_lockdown_and_its_release_are_told(trio: Desk, db: Connection, told: list[str]) -> None:
    fill(db)
    trio.run("verify-chain")
    assert told == []
    tamper(db, "update signals set price = 1 where id = 2")
    trio.run("verify-chain", "--no-lockdown", expect=1)
    assert told == []
    trio.run("verify-chain", expect=1)
    assert told == [LOCKDOWN]
    proposal_id = trio.propose("ada", "lockdown", "release")
    assert trio.approve(proposal_id, "ben", "cyd") == ["PENDING", "APPLIED"]
    assert told == [LOCKDOWN, RISK, LOCKDOWN]
