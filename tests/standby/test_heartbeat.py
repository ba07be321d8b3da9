"""A guardrail that reads from the standby of an idle primary: only a heartbeat shows it that the primary lives."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from datetime import timedelta

import pytest

from alpha_db.risk import RiskGuardrailService
from tests.checkpoint.book import run
from tests.cluster import client_environment
from tests.standby.pair import DATABASE, LOGINS, Pair, fenced
from tests.support import PATIENCE, one, query, wait_until

LEASE = 0.6


def test_safe_mode_ends_with_a_heartbeat(pair: Pair) -> None:
    beat = ("--dsn", pair.primary.dsn(DATABASE, "trader"), "risk", "heartbeat")
    service = RiskGuardrailService(
        pair.standby.dsn(DATABASE, "risk"), lease=LEASE, poll=0.05, read_deadline=0.6, good_reads=1
    )
    with service:
        for _ in range(2):
            run(*beat)
            assert service.wait_for(lambda state: state.is_normal, PATIENCE), service.state
            assert service.wait_for(lambda state: not state.is_normal, PATIENCE)
            assert re.search(r"lease|the standby may be behind its primary", str(service.state.reason))


@pytest.mark.parametrize("synchronous", ["on", "off"])
def test_a_heartbeat_reaches_the_standby_and_leaves_no_row(pair: Pair, synchronous: str) -> None:
    with pair.connect(pair.primary, "trader") as primary, pair.connect(pair.standby, "auditor") as standby:
        query(primary, f"set synchronous_commit = {synchronous}")
        before = one(primary, "select pg_current_wal_insert_lsn()::text")
        started = one(primary, "select clock_timestamp()")
        assert one(primary, "select heartbeat()")
        written = one(primary, "select pg_current_wal_insert_lsn() - %s::pg_lsn", [before])
        wait_until(standby, "select pg_last_xact_replay_timestamp() >= %s", [started])
        assert written < 10_000  # 48 bytes, unless the server wrote something of its own meanwhile
        assert one(standby, "select seconds from replay_lag()") < timedelta(seconds=PATIENCE).total_seconds()


@pytest.mark.parametrize("login", LOGINS)
def test_every_role_may_and_no_standby_takes_it(pair: Pair, login: str) -> None:
    run("--dsn", pair.primary.dsn(DATABASE, login), "risk", "heartbeat")
    for more in ([], ["--every", "1"]):
        said = run("--dsn", pair.standby.dsn(DATABASE, login), "risk", "heartbeat", *more, expect=3).err
        assert "[25006]" in said
        assert "hint: connect to the primary" in said.lower()


def test_it_goes_on_after_a_lost_connection_until_a_signal(pair: Pair) -> None:
    dsn = pair.primary.dsn(DATABASE, "trader", application_name="beats")
    arguments = ["--dsn", dsn, "risk", "heartbeat", "--every", "0.1", "--json"]
    with (
        pair.connect(pair.primary) as admin,
        subprocess.Popen(
            [sys.executable, "-m", "alpha_db", *arguments],
            env=client_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        beats = "select pid from pg_stat_activity where application_name = 'beats' and query ~ 'heartbeat'"
        try:
            wait_until(admin, f"select exists ({beats})")
            first = one(admin, beats)
            query(admin, "alter role trader nologin")
            query(admin, "select pg_terminate_backend(%s)", [first])
            assert process.stderr
            assert "no heartbeat, trying again" in process.stderr.readline()
            query(admin, "set default_transaction_read_only = off")
            with fenced(pair.primary):
                query(admin, "alter role trader login")
                assert "read-only" in process.stderr.readline()  # each reason is said, not the first one only
            assert "heartbeats again" in process.stderr.readline()
        finally:
            query(admin, "alter role trader login")
            process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        assert '"beats"' in out
