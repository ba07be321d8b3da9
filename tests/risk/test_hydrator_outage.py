"""The guardrail service through outages: no server, a killed one, a black hole, a standby, a suspended process.

any_server: about connections that break, whichever server is behind them; test_hydrator_live.py has the SQL.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from alpha_db.risk.hydrator import RiskGuardrailService
from alpha_db.risk.orders import Order
from alpha_db.risk.safe_boot import safe_boot
from alpha_db.risk.source import PostgresSource
from alpha_db.service.backoff import Backoff
from tests.cluster import Server
from tests.risk.council import Council, limits
from tests.risk.proxy import Proxy
from tests.support import PATIENCE, ROOT, migrate_with_psql

pytestmark = pytest.mark.any_server

IN_TIME = PATIENCE
DATABASE = "desk"
SELL = Order("ETHZAR", "SELL", Decimal(1), Decimal(1))
BUY = Order("ETHZAR", "BUY", Decimal(1), Decimal(0), Decimal(1000), Decimal(10**6), Decimal(0), Decimal(0))


@pytest.fixture(scope="module")
def mine(binaries: Path) -> Iterator[Server]:
    """A server of these tests alone, to be killed, with limits in force."""
    with Server(binaries) as server:
        server.psql("postgres", f"create database {DATABASE} template template0")
        migrate_with_psql(server, DATABASE)
        with psycopg.connect(server.dsn(DATABASE), autocommit=True) as connection:
            Council(connection).bootstrap("ada", "ben", "cyd").enact(
                "risk_config", limits(), "ada", "ben", "cyd"
            )
        yield server


@pytest.fixture
def running(mine: Server) -> Iterator[Server]:
    """The server, up before and after the test."""
    yield mine
    if not (mine.data / "postmaster.pid").exists():
        mine.start()


def service_on(server: Server, dsn: str | None = None, **options: Any) -> RiskGuardrailService:
    given = {"lease": 1.0, "poll": 0.1, "read_deadline": 0.4, "good_reads": 2, **options}
    return RiskGuardrailService(dsn or server.dsn(DATABASE), backoff=Backoff(0.01, 0.2), **given)


def quickest(question: Callable[[], object]) -> float:
    """The seconds that the quickest of some tries took: a slow machine interrupts some of them, not all."""
    took = []
    for _ in range(20):
        begun = time.perf_counter()
        question()
        took.append(time.perf_counter() - begun)
    return min(took)


def in_force(service: RiskGuardrailService) -> None:
    assert service.wait_for(lambda state: state.is_normal, IN_TIME), service.state


def in_safe_mode(service: RiskGuardrailService, reason: str = "") -> None:
    assert service.wait_for(lambda state: not state.is_normal and reason in state.reason, IN_TIME), (
        service.state
    )


def test_a_server_that_is_down_at_boot(running: Server, tmp_path: Path) -> None:
    running.stop(keep=True)
    begun = time.monotonic()
    service = safe_boot(
        running.dsn(DATABASE),
        high_water=tmp_path / "mark",
        lease=1.0,
        poll=0.1,
        read_deadline=0.4,
        backoff=Backoff(0.01, 0.2),
    )
    with_boot = time.monotonic() - begun
    try:
        assert with_boot < 10, "it waits for no server"
        assert not service.allows(BUY)
        assert service.allows(SELL)
        in_safe_mode(service, "connection")
        running.start()
        in_force(service)
        assert service.allows(BUY)
    finally:
        service.stop()


def test_a_server_that_never_was(tmp_path: Path) -> None:
    dsn = f"host={tmp_path} dbname=none"
    service = safe_boot(dsn, high_water=tmp_path / "mark", pins=tmp_path / "no-pins.json", wait=0.01)
    try:
        assert not service.allows(BUY)
        assert service.allows(SELL)
    finally:
        service.stop()


@pytest.mark.parametrize("mode", ["immediate", pytest.param("fast", marks=pytest.mark.long)])
def test_a_server_that_is_killed_and_restarted(running: Server, mode: str) -> None:
    with service_on(running) as service:
        in_force(service)
        running.stop(mode, keep=True)
        in_safe_mode(service)
        running.start()
        in_force(service)


def test_a_killed_connection_costs_nothing(running: Server) -> None:
    with (
        service_on(running, lease=5.0) as service,
        psycopg.connect(running.dsn(DATABASE), autocommit=True) as other,
    ):
        in_force(service)
        for _ in range(3):
            reads = service.reads
            other.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'alpha-db'"
            )
            assert service.wait_for(lambda _, reads=reads: service.reads > reads + 1, IN_TIME)  # type: ignore[misc]
            assert service.state.is_normal


def test_a_proxy_that_swallows_bytes(running: Server) -> None:
    with Proxy(running.directory / ".s.PGSQL.5432") as proxy:
        dsn = running.dsn(DATABASE, port=5432).replace(str(running.directory), "127.0.0.1")
        dsn = dsn.replace("port=5432", f"port={proxy.port}")
        with service_on(running, dsn) as service:
            in_force(service)
            proxy.swallow()
            with proxy.swallowing:
                assert proxy.swallowing.wait_for(lambda: proxy.swallowed > 0, IN_TIME)
            in_safe_mode(service)
            assert quickest(lambda: service.allows(BUY)) < 0.05, "a question does not hang with the socket"
            assert not service.allows(BUY)
            proxy.swallow(False)
            in_force(service)
        readers = [t for t in threading.enumerate() if t.name.startswith("alpha-db-risk")]
        for reader in readers:
            reader.join(IN_TIME)
        assert not [t for t in readers if t.is_alive()], "no thread hangs on in a dead socket"


def test_a_server_that_is_stopped_in_its_tracks(running: Server) -> None:
    """SIGSTOP to the backend: the socket is open, the kernel takes the bytes, nobody answers."""
    with service_on(running) as service, psycopg.connect(running.dsn(DATABASE), autocommit=True) as other:
        in_force(service)
        row = other.execute("select pid from pg_stat_activity where application_name = 'alpha-db'").fetchone()
        assert row is not None
        os.kill(row[0], signal.SIGSTOP)
        try:
            # the worker that hangs is given up and another one takes over, at the latest after the deadline
            reads = service.reads
            assert service.wait_for(lambda _: service.reads > reads + 3, IN_TIME)
            in_force(service)
        finally:
            os.kill(row[0], signal.SIGCONT)


# --------------------------------------------------------------------------------------------------
# A standby


def test_a_standby_serves_as_long_as_it_keeps_up(running: Server, binaries: Path) -> None:
    standby = Server(binaries)
    try:
        options = (
            "-D",
            standby.data,
            "-h",
            running.directory,
            "-U",
            "postgres",
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
        )
        running.as_server_user("pg_basebackup", *options, "--no-sync")
        with (standby.data / "postgresql.conf").open("a") as conf:
            conf.write(f"unix_socket_directories = '{standby.directory}'\n")
        standby.start()
        with (
            service_on(standby, lease=3.0) as service,
            psycopg.connect(running.dsn(DATABASE), autocommit=True) as primary,
        ):
            beating = threading.Event()

            def beat() -> None:
                # an idle primary cannot be told from one that is out of reach
                with psycopg.connect(running.dsn(DATABASE), autocommit=True) as heart:
                    while not beating.wait(0.1):
                        heart.execute("select pg_logical_emit_message(true, 'alpha-db', 'heartbeat')")

            heart = threading.Thread(target=beat)
            heart.start()
            try:
                in_force(service)
                Council(primary, named()).enact("risk_config", limits("0.04"), "ada", "ben")
                assert service.wait_for(lambda state: state.max_position_size_pct == Decimal("0.04"), IN_TIME)
            finally:
                beating.set()
                heart.join()
            in_safe_mode(service, "behind")
    finally:
        standby.stop()


def named() -> dict[str, Any]:
    from tests.risk.council import private_key

    return {name: private_key(name) for name in ("ada", "ben", "cyd")}


class Unheard:
    """Stands for a connection on which LISTEN fails as it does during recovery."""

    def __init__(self) -> None:
        self.autocommit = True
        self.info = SimpleNamespace(backend_pid=1)

    def cursor(self, **_: Any) -> Unheard:
        return self

    def fetchone(self) -> None: ...

    def execute(self, statement: str, _: Any = None, **__: Any) -> Unheard:
        if statement.startswith("listen"):
            raise psycopg.errors.ReadOnlySqlTransaction("cannot execute LISTEN during recovery")
        return self

    def rollback(self) -> None: ...


def test_where_listening_fails_polling_has_to_do() -> None:
    source = PostgresSource(lambda: Unheard(), 1.0)  # type: ignore[arg-type, return-value]
    source.open()
    source.wait(0.001)


# --------------------------------------------------------------------------------------------------
# A suspended process

DESK = """
import sys
from alpha_db.risk.hydrator import RiskGuardrailService
service = RiskGuardrailService(sys.argv[1], lease=2.0, poll=0.1, read_deadline=0.5, good_reads=4).start()
service.wait_for(lambda state: state.is_normal, 120)
print("ready", flush=True)
for line in sys.stdin:
    print(service.state.mode, service.state.reason, flush=True)
"""


def test_a_process_that_was_suspended_asks_no_old_limits(running: Server) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    with subprocess.Popen(
        [sys.executable, "-c", DESK, running.dsn(DATABASE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdin
        assert process.stdout

        def ask() -> None:
            assert process.stdin
            process.stdin.write("?\n")
            process.stdin.flush()

        def answer() -> str:
            assert process.stdout
            assert select.select([process.stdout], [], [], IN_TIME)[0]
            return process.stdout.readline().strip()

        try:
            assert answer() == "ready"
            ask()
            assert answer() == "NORMAL"
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            ask()
            suspended = threading.Event()
            suspended.wait(2.2)  # longer than the lease; what is waited for is the time itself
            process.send_signal(signal.SIGCONT)
            assert answer().startswith("SAFE_MODE the lease ended")
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
