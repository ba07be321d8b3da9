"""Nothing that must happen depends on a notification: the client sends one afterwards, and its failure is ignored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from alpha_db.risk.config_manager import ConfigManager
from alpha_db.security.audit_signer import AuditSigner
from alpha_db.verify.courtesy import RISK, tell
from tests.cluster import Server, major_of
from tests.fix_database import Connect
from tests.risk.conftest import NAMES
from tests.risk.council import Council, agent_id, limits, private_key
from tests.risk.forging import engage
from tests.support import PATIENCE, Connection, fill, migrate_with_psql, one, query


def test_sql_notifies_nobody(governed: Council, connect: Connect) -> None:
    listener = connect()
    listener.execute("listen alpha_risk; listen alpha_lockdown")
    fill(governed.connection)
    engage(governed.connection)
    governed.release()
    governed.enact("risk_config", limits("0.02"), "ada", "ben")
    query(governed.connection, "select pg_notify('alpha_risk', 'the end')")
    assert next(listener.notifies(timeout=PATIENCE)).payload == "the end"


def manager_votes(governed: Council, kind: str, payload: dict[str, object], *voters: str) -> ConfigManager:
    """The last vote by the package, the others by SQL."""
    proposal_id = governed.propose(kind, payload, "ada")
    for name in voters[:-1]:
        governed.vote(proposal_id, name)
    manager = ConfigManager(governed.connection)
    ballot = manager.ballot(proposal_id, agent_id(voters[-1]), "APPROVE")
    assert manager.vote(ballot, AuditSigner(private_key(voters[-1]))) == "APPLIED"
    return manager


def test_the_package_tells_the_guardrails_of_a_change(governed: Council, connect: Connect) -> None:
    listener = connect()
    listener.execute("listen alpha_risk")
    manager_votes(governed, "risk_config", limits("0.02"), "ben")
    assert next(listener.notifies(timeout=PATIENCE)).payload == "public"


def test_the_package_tells_the_guardrails_of_a_release(governed: Council, connect: Connect) -> None:
    listener = connect()
    listener.execute("listen alpha_lockdown")
    fill(governed.connection)
    engage(governed.connection)
    manager_votes(governed, "lockdown_release", governed.damage(), "ben", "cyd")
    assert next(listener.notifies(timeout=PATIENCE)).payload == "public"


def test_in_the_caller_s_own_transaction_nothing_is_notified(governed: Council, connect: Connect) -> None:
    """There a full queue would undo the change at commit."""
    listener = connect()
    listener.execute("listen alpha_risk")
    with governed.connection.transaction():
        proposal_id = governed.propose("risk_config", limits("0.02"), "ada")
        manager = ConfigManager(governed.connection)
        ballot = manager.ballot(proposal_id, agent_id("ben"), "REJECT")
        manager.vote(ballot, AuditSigner(private_key("ben")))
        tell(governed.connection, RISK)
    query(governed.connection, "select pg_notify('alpha_risk', 'the end')")
    assert next(listener.notifies(timeout=PATIENCE)).payload == "the end"


# --------------------------------------------------------------------------------------------------
# A queue that a login without any right has filled


@pytest.fixture(scope="module")
def small_queue(binaries: Path) -> Iterator[Server]:
    """A server whose queue of notifications is soon full."""
    if (major_of(binaries) or 0) < 17:
        pytest.skip("the queue has a size of its own from 17 on")
    with Server(binaries, {"max_notify_queue_pages": "64"}) as server:
        server.psql("postgres", "create database d")
        server.psql("postgres", "create role stranger login")
        migrate_with_psql(server, "d")
        yield server


def flood(connection: Connection) -> None:
    """Notify until the queue is full."""
    while True:
        connection.execute("select pg_notify('x', repeat('y', 7900) || n) from generate_series(1, 50) as n")


@pytest.fixture
def full(small_queue: Server) -> Iterator[Connection]:
    """A superuser's connection to a council's database, while a stranger keeps the queue full."""
    with psycopg.connect(small_queue.dsn("d"), autocommit=True) as db:
        Council(db).bootstrap(*NAMES)
        with (
            psycopg.connect(small_queue.dsn("postgres", "stranger"), autocommit=True) as idle,
            psycopg.connect(small_queue.dsn("postgres", "stranger"), autocommit=True) as filler,
        ):
            idle.execute("listen x")
            idle.execute("begin")
            idle.execute("select 1")
            with pytest.raises(psycopg.errors.ProgramLimitExceeded):
                flood(filler)
            yield db


def test_a_full_queue_stops_no_change_and_no_release(full: Connection) -> None:
    council = Council(full, {name: private_key(name) for name in NAMES})
    with pytest.raises(psycopg.errors.ProgramLimitExceeded):
        full.execute("select pg_notify('alpha_risk', '')")
    council.enact("risk_config", limits(), *NAMES)
    manager_votes(council, "risk_config", limits("0.04"), "ben")
    fill(full)
    engage(full)
    manager_votes(council, "lockdown_release", council.damage(), "ben", "cyd")
    assert one(full, "select is_locked from lockdown_status()") is False
    assert council.state()["version"] == 3
