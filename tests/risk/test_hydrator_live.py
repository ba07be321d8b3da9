"""The guardrail service on a real server: what it sees, how soon, and what forced changes do to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from alpha_db.risk.hydrator import RiskGuardrailService
from alpha_db.risk.orders import Order
from alpha_db.risk.pins import Pins
from alpha_db.risk.source import PostgresSource
from alpha_db.risk.worker import READ_GAP
from alpha_db.security.config_integrity import IntegrityChecker, verify_database
from tests.cluster import Server
from tests.fix_database import Connect, LoginRole
from tests.risk.council import Council, agent_id, limits, private_key, public_hex, threshold
from tests.support import PATIENCE, Connection, make_signal, one, query, tamper

MakeDatabase = Callable[..., str]
Serve = Callable[..., RiskGuardrailService]
IN_TIME = PATIENCE


@pytest.fixture(scope="module")
def governed_template(server: Server, template: str, admin: Connection) -> Iterator[str]:
    """A database with three agents and limits in force, to be cloned."""
    name = "alpha_governed"
    admin.execute(f"create database {name} template {template}")
    with psycopg.connect(server.dsn(name), autocommit=True) as connection:
        council = Council(connection).bootstrap("ada", "ben", "cyd")
        council.enact("risk_config", limits(), "ada", "ben", "cyd")
        council.enact("asset_kill_threshold", threshold(), "ben", "ada")
    yield name
    admin.execute(f"drop database {name} with (force)")


@pytest.fixture
def database(governed_template: str, make_database: MakeDatabase) -> str:
    return make_database(governed_template)


@pytest.fixture
def council(db: Connection) -> Council:
    return Council(db, {name: private_key(name) for name in ("ada", "ben", "cyd")})


@pytest.fixture
def serve(server: Server, database: str, make_database: MakeDatabase) -> Iterator[Serve]:
    """Factory: a running service, in force unless told otherwise."""
    del make_database  # services are stopped before databases are dropped
    running: list[RiskGuardrailService] = []

    def serve(
        *, in_force: bool = True, user: str | None = None, dbname: str | None = None, **options: Any
    ) -> RiskGuardrailService:
        given = {"lease": 10.0, "poll": 0.05, "good_reads": 2, "read_deadline": 5.0, **options}
        service = RiskGuardrailService(server.dsn(dbname or database, user), **given).start()
        running.append(service)
        if in_force:
            assert service.wait_for(lambda state: state.is_normal, IN_TIME), service.state
        return service

    yield serve
    for service in running:
        service.stop()


def trips(service: RiskGuardrailService, reason: str = "RSK-007") -> None:
    assert service.wait_for(lambda state: not state.is_normal, IN_TIME)
    assert service.wait_for(lambda state: reason in state.reason, IN_TIME), service.state


def force(connection: Connection, table: str, statement: str, parameters: tuple[Any, ...] = ()) -> None:
    """What a superuser can do to a table."""
    with connection.transaction():
        query(connection, f"alter table {table} disable trigger all")
        query(connection, statement, parameters)


# --------------------------------------------------------------------------------------------------
# What it sees, and how soon


def test_app_trading_may_ask_and_nothing_else_is_needed(serve: Serve, login_role: LoginRole) -> None:
    state = serve(user=login_role("app_trading")).state
    assert (state.max_position_size_pct, state.version) == (Decimal("0.05"), 2)
    assert state.kill_thresholds["BTC"].kill_loss_pct == Decimal("0.1")


def test_a_notification_is_enough(serve: Serve, council: Council) -> None:
    service = serve(lease=60.0, poll=0.05)
    service.stop()
    service = serve(lease=120.0, poll=60.0, good_reads=1)
    council.enact("risk_config", limits("0.04"), "ada", "ben")
    query(council.connection, "select pg_notify('alpha_risk', 'public')")
    assert service.wait_for(lambda state: state.max_position_size_pct == Decimal("0.04"), IN_TIME)


class Deaf(PostgresSource):
    """Hears no notification, as on a standby or while it reconnects."""

    def open(self) -> None:
        super().open()
        self._listens = False


def test_a_missed_notification_costs_one_poll(server: Server, database: str, council: Council) -> None:
    def source() -> Deaf:
        return Deaf(lambda: psycopg.connect(server.dsn(database)), 5.0)

    with RiskGuardrailService(
        source=source, lease=10.0, poll=0.3, good_reads=1, read_deadline=5.0
    ) as service:
        assert service.wait_for(lambda state: state.is_normal, IN_TIME)
        council.enact("risk_config", limits("0.04"), "ada", "ben")
        assert service.wait_for(lambda state: state.version == 3, IN_TIME)


def test_a_forged_notification_changes_nothing(serve: Serve, connect: Connect, login_role: LoginRole) -> None:
    service = serve(lease=120.0, poll=60.0, good_reads=1)
    before, reads = service.state, service.reads
    forger = connect(login_role())
    forger.execute("select pg_notify('alpha_risk', '{\"max_position_size_pct\": 1}')")
    forger.execute("select pg_notify('alpha_lockdown', 'another schema')")
    assert service.wait_for(lambda _: service.reads > reads, IN_TIME)
    after = service.state
    assert (after.version, after.max_position_size_pct) == (before.version, before.max_position_size_pct)
    assert after.is_normal


def test_a_flood_of_notifications_makes_few_reads(serve: Serve, connect: Connect, council: Council) -> None:
    service = serve(lease=10.0, poll=2.0, good_reads=1)
    flooder = connect()
    reads, begun = service.reads, time.monotonic()
    for n in range(500):
        flooder.execute("select pg_notify('alpha_risk', %s)", [str(n)])
    took = time.monotonic() - begun
    assert service.reads - reads <= took / READ_GAP + 3
    assert service.state.is_normal
    council.enact("risk_config", limits("0.04"), "ada", "ben")
    assert service.wait_for(lambda state: state.version == 3, IN_TIME), "and what is true still arrives"


def test_a_question_neither_waits_nor_asks(serve: Serve, connect: Connect) -> None:
    service = serve(lease=10.0)
    order = Order(
        "ETHZAR", "BUY", Decimal(1), Decimal(0), Decimal(1000), Decimal(10**6), Decimal(0), Decimal(0)
    )
    blocker = connect(autocommit=False)
    blocker.execute("lock table risk_configurations, agents, risk_change_log in access exclusive mode")
    reads = service.reads
    begun = time.thread_time()
    for _ in range(200):
        assert service.allows(order)
    assert (time.thread_time() - begun) / 200 < 0.001
    assert service.reads <= reads + 1, "the reader waits for the lock all the while"
    blocker.rollback()


# --------------------------------------------------------------------------------------------------
# Force


def looser(db: Connection) -> None:
    force(db, "risk_configurations", "update risk_configurations set max_leverage_ratio = 9")


def threshold_gone(db: Connection) -> None:
    force(db, "risk_asset_kill_thresholds", "delete from risk_asset_kill_thresholds")


def state_hash(db: Connection) -> None:
    query(db, "alter table risk_change_log drop constraint risk_change_log_state_hash_is_of_text")
    tamper(db, "update risk_change_log set state_hash = repeat('0', 64) where id = 1")


def log_entry(db: Connection) -> None:
    tamper(
        db,
        "update risk_change_log set approved_by = (select proposer from proposals where id = 1),"
        " created_at = created_at - interval '1 day' where id = 1",
    )


def approval_swapped(db: Connection) -> None:
    tamper(
        db,
        "update risk_change_log set approvals = jsonb_set(jsonb_set(approvals,"
        " '{0,signature}', approvals #> '{1,signature}'), '{1,signature}', approvals #> '{0,signature}')"
        " where id = 1",
    )


def proposal_s_signature(db: Connection) -> None:
    query(db, "alter table proposals drop constraint proposals_signature_is_valid")
    tamper(db, "update proposals set signature = (select signature from proposals where id = 2) where id = 1")


def log_s_end(db: Connection) -> None:
    tamper(db, "delete from risk_change_log where id = 2")


def key_replaced(db: Connection) -> None:
    tamper(
        db,
        "update agents set public_key = %s where name = 'cyd'",
        [bytes.fromhex(public_hex(private_key("mallory")))],
    )


def agent_added(db: Connection) -> None:
    tamper(
        db,
        "insert into agents (id, agent_id, name, role, public_key, signature, row_hash, created_at, recorded_by)"
        " select 4, %s, 'mallory', 'risk', %s, signature, row_hash, created_at, recorded_by from agents where id = 3",
        [agent_id("mallory"), bytes.fromhex(public_hex(private_key("mallory")))],
    )


def no_row(db: Connection) -> None:
    force(db, "risk_configurations", "delete from risk_configurations")


def two_rows(db: Connection) -> None:
    query(db, "alter table risk_configurations drop constraint risk_configurations_prev_to_fkey")
    query(db, "alter table risk_configurations drop constraint idx_active_config")
    query(db, "alter table risk_configurations drop constraint risk_configurations_prev_to_key")
    force(
        db,
        "risk_configurations",
        "insert into risk_configurations select gen_random_uuid(), 0.9, 0.9, 90,"
        " reason_for_change, approved_by_agent_id, valid_from + interval '1 s', null, null, 99, proposal_id,"
        " state_hash, created_at from risk_configurations",
    )


def out_of_range(db: Connection) -> None:
    query(db, "alter table risk_configurations drop constraint risk_configurations_max_leverage_ratio_bounds")
    force(db, "risk_configurations", "update risk_configurations set max_leverage_ratio = 900")


def null(db: Connection) -> None:
    query(db, "alter table risk_configurations alter column max_leverage_ratio drop not null")
    force(db, "risk_configurations", "update risk_configurations set max_leverage_ratio = null")


def nan(db: Connection) -> None:
    query(db, "alter table risk_configurations drop constraint risk_configurations_max_leverage_ratio_bounds")
    query(db, "alter domain risk_5_2 drop constraint risk_5_2_is_exact")
    force(db, "risk_configurations", "update risk_configurations set max_leverage_ratio = 'NaN'")


def future(db: Connection) -> None:
    force(db, "risk_configurations", "update risk_configurations set valid_from = 'tomorrow'")


def function_replaced(db: Connection) -> None:
    query(
        db,
        """
        create or replace function _stored_state_text() returns text language sql stable as $$
          select replace(_current_state_text(), '"max_leverage_ratio":2.00', '"max_leverage_ratio":9.00') $$""",
    )


def functions_replaced(db: Connection) -> None:
    """A server that lies consistently: state and log agree, and only the signatures do not."""
    function_replaced(db)
    query(db, "alter table risk_change_log drop constraint risk_change_log_state_hash_is_of_text")
    tamper(
        db,
        """update risk_change_log set state_text
             = replace(state_text, '"max_leverage_ratio":2.00', '"max_leverage_ratio":9.00')""",
    )
    tamper(db, "update risk_change_log set state_hash = _text_digest(state_text)")


FORCED = [
    looser,
    threshold_gone,
    state_hash,
    log_entry,
    approval_swapped,
    proposal_s_signature,
    log_s_end,
    key_replaced,
    agent_added,
    no_row,
    two_rows,
    out_of_range,
    null,
    nan,
    future,
    function_replaced,
    functions_replaced,
]


@pytest.mark.parametrize("act", FORCED, ids=lambda act: act.__name__)
def test_force_is_found_out(db: Connection, serve: Serve, act: Callable[[Connection], None]) -> None:
    keys = {str(agent_id(n)): bytes.fromhex(public_hex(private_key(n))) for n in ("ada", "ben", "cyd")}
    service = serve(pins=Pins(keys))
    checker = IntegrityChecker.on(db, keys)
    config = verify_database(db, keys).state
    assert checker.verify_config_integrity(config)
    act(db)
    trips(service)
    assert not checker.verify_config_integrity(config)


def test_an_order_is_refused_and_a_liquidation_is_not(db: Connection, serve: Serve) -> None:
    service = serve()
    buy = Order(
        "ETHZAR", "BUY", Decimal(1), Decimal(2), Decimal(1000), Decimal(10**6), Decimal(2000), Decimal(0)
    )
    sell = Order("ETHZAR", "SELL", Decimal(2), Decimal(2))
    assert service.allows(buy)
    looser(db)
    trips(service)
    assert "RSK-007" in service.allows(buy).reason
    assert service.allows(sell)
    assert service.state.max_leverage_ratio == 0


def test_what_is_undone_is_in_force_again(db: Connection, serve: Serve) -> None:
    service = serve()
    looser(db)
    trips(service)
    query(db, "update risk_configurations set max_leverage_ratio = 2")
    assert service.wait_for(lambda state: state.is_normal, IN_TIME), service.state


def test_an_older_copy_is_found_out(
    connect: Connect, make_database: MakeDatabase, governed_template: str, serve: Serve, tmp_path: Path
) -> None:
    older = make_database(governed_template)
    Council(connect(), {n: private_key(n) for n in ("ada", "ben")}).enact(
        "risk_config", limits("0.01"), "ada", "ben"
    )
    serve(high_water=tmp_path / "mark").stop()
    restored = serve(in_force=False, dbname=older, high_water=tmp_path / "mark")
    trips(restored, "was seen before")


# --------------------------------------------------------------------------------------------------
# Not being able to look


def test_a_revoked_permission(db: Connection, serve: Serve, login_role: LoginRole) -> None:
    service = serve(user=login_role("app_trading"), lease=0.5, poll=0.05, read_deadline=0.5)
    query(db, "revoke execute on function risk_evidence(bigint) from app_trading")
    trips(service, "permission denied")
    query(db, "grant execute on function risk_evidence(bigint) to app_trading")
    assert service.wait_for(lambda state: state.is_normal, IN_TIME), service.state


def test_a_missing_schema(db: Connection, serve: Serve) -> None:
    service = serve(lease=0.5, poll=0.05, read_deadline=0.5)
    query(db, "alter schema public rename to gone")
    trips(service, "does not exist")
    query(db, "alter schema gone rename to public")
    assert service.wait_for(lambda state: state.is_normal, IN_TIME), service.state


def test_a_lockdown_and_its_release(db: Connection, council: Council, serve: Serve, tmp_path: Path) -> None:
    make_signal(db)
    service = serve(high_water=tmp_path / "mark")
    tamper(db, "update signals set price = 1")
    query(db, "select * from verify_chain_integrity('signals')")
    assert service.wait_for(lambda state: state.is_locked, IN_TIME), service.state
    assert "lockdown" in service.state.reason
    again = serve(in_force=False, high_water=tmp_path / "mark")
    assert again.wait_for(lambda state: state.is_locked, IN_TIME)
    council.release()
    for running in (service, again):
        assert running.wait_for(lambda state: state.is_normal, IN_TIME), running.state


def test_a_lockdown_that_somebody_erased(db: Connection, serve: Serve) -> None:
    make_signal(db)
    service = serve()
    tamper(db, "update signals set price = 1")
    query(db, "select * from verify_chain_integrity('signals')")
    assert service.wait_for(lambda state: state.is_locked, IN_TIME), service.state
    tamper(db, "delete from lockdown_events")
    reads = service.reads
    assert service.wait_for(lambda _: service.reads > reads + 1, IN_TIME)
    assert service.state.is_locked, "the alarm stands"
    query(db, "alter sequence lockdown_alarm restart")
    query(db, "select setval('lockdown_alarm', 1, false)")
    trips(service, "without an approved release")


# --------------------------------------------------------------------------------------------------
# Every kind of change, replayed from a real database


def test_every_kind_of_change_is_replayed(db: Connection, council: Council) -> None:
    from tests.risk.council import agent

    checker = IntegrityChecker.on(db)
    council.enact("asset_kill_threshold", threshold("ÉTH \"'\\", "0.05", "30000.5"), "ada", "ben")
    council.enact("asset_kill_threshold", threshold("BTC", retired=True), "ada", "ben", "cyd")
    council.keys["dan"] = private_key("dan")
    council.enact("agent_enrol", agent("dan") | {"replaces": None}, "ada", "ben", "cyd")
    council.enact("quorum_policy", {"tighten": 2, "loosen": 3, "govern": 2}, "dan", "ada", "ben")
    council.enact("agent_revoke", {"agent_id": str(agent_id("cyd"))}, "ada", "ben", "dan")
    council.keys["eve"] = private_key("eve")
    council.enact("agent_enrol", agent("eve") | {"replaces": str(agent_id("ben"))}, "ada", "dan")
    council.enact("risk_config", limits("0.01", "0.01", "0.5"), "ada", "dan", "eve")
    verified = verify_database(db)
    assert verified.state.text == one(db, "select state_text from active_risk_state()")
    assert verified.replay.releases == 0
    assert sorted(verified.replay.active) == sorted(str(agent_id(n)) for n in ("ada", "dan", "eve"))
    assert checker.verify_config_integrity(verified.state)
    assert checker.problem is None
    with db.transaction():
        assert not IntegrityChecker.on(db).verify_config_integrity(verified.state), "a transaction is open"
