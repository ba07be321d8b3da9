"""CALL with a synchronous standby: it promises what a COMMIT of the caller promises, no less and no more.

The row's own commit waits for nobody, so that the chain is free; the second one waits as the caller's
synchronous_commit says.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.cluster import Server
from tests.concurrency.background import Background
from tests.durability.acknowledged import assert_whole, call_each, call_signal, fresh_key, lost
from tests.durability.conftest import Connecting
from tests.standbys import standby_of
from tests.support import Connection, one, query, wait_until

SIGNAL = "call append_signal(%s, 'BTC', 'BUY', 1.5, 2, '{}')"
IS_SYNCHRONOUS = "select exists (select from pg_stat_replication where sync_state = 'sync')"
VISIBLE = "select exists (select from signals where signal_id = %s)"


@pytest.fixture(scope="module")
def standby(durable: Server) -> Iterator[Server]:
    """A standby of the durable server, made by pg_basebackup, which runs and is synchronous."""
    with psycopg.connect(durable.dsn("postgres"), autocommit=True) as admin:
        try:
            with standby_of(durable, wal_receiver_status_interval="1") as server:
                query(admin, "alter system set synchronous_standby_names = 'walreceiver'")
                query(admin, "select pg_reload_conf()")
                wait_until(admin, IS_SYNCHRONOUS)
                yield server
        finally:
            query(admin, "alter system reset all")
            query(admin, "select pg_reload_conf()")


@pytest.fixture
def primary(session: Connecting) -> Connection:
    """A superuser's session on the primary that waits for no standby."""
    return session(synchronous_commit="local")


@pytest.fixture
def stopped(primary: Connection, standby: Server) -> Iterator[Server]:
    """The standby, which does not run."""
    standby.stop("fast", keep=True)
    wait_until(primary, "select not exists (select from pg_stat_replication)")
    yield standby
    if not (standby.data / "postmaster.pid").exists():
        standby.start()
    wait_until(primary, IS_SYNCHRONOUS)  # those who wait still are let go


def waiting_call(primary: Connection, connection: Connection, key: str) -> Background:
    """CALL append_signal in the background, as soon as it waits for the standby."""
    call = Background(connection, SIGNAL, [key])
    wait_until(primary, "select wait_event = 'SyncRep' from pg_stat_activity where pid = %s", [call.pid])
    return call


def test_remote_apply_returns_when_the_standby_shows_the_row(standby: Server, session: Connecting) -> None:
    copy, strict = session(standby), session(synchronous_commit="remote_apply")
    for _ in range(5):
        for acknowledged in call_each(strict):
            assert lost(copy, [acknowledged]) == []
    assert one(strict, "show synchronous_commit") == "remote_apply"


def test_a_standby_that_stops_replaying_holds_up_remote_apply_alone(
    primary: Connection, standby: Server, session: Connecting
) -> None:
    """It goes on flushing, which is all that `on` waits for."""
    copy = session(standby)
    query(copy, "select pg_wal_replay_pause()")
    wait_until(copy, "select pg_get_wal_replay_pause_state() = 'paused'")
    key = fresh_key()
    waiting = waiting_call(primary, session(synchronous_commit="remote_apply"), key)
    acknowledged = call_signal(session(synchronous_commit="on"))
    assert one(
        primary,
        "select flush_lsn >= %s::pg_lsn from pg_stat_replication",
        [one(primary, "select pg_current_wal_flush_lsn()")],
    )
    assert lost(copy, [acknowledged]) == [acknowledged]
    assert not waiting.done
    assert one(primary, VISIBLE, [key])
    query(copy, "select pg_wal_replay_resume()")
    waiting.result()
    assert one(copy, VISIBLE, [key])


@pytest.mark.usefixtures("stopped")
def test_a_call_that_waits_shows_its_row_and_leaves_the_chain_free(
    primary: Connection, session: Connecting
) -> None:
    """The chain is free for all who ask for less than the standby."""
    key = fresh_key()
    waiting = waiting_call(primary, session(), key)
    assert one(primary, VISIBLE, [key])
    for wish in ("local", "off"):
        call_signal(session(synchronous_commit=wish))
    assert not waiting.done


@pytest.mark.usefixtures("stopped")
def test_a_call_for_a_row_that_is_there_waits_as_its_first_sender_does(
    primary: Connection, session: Connecting
) -> None:
    key = fresh_key()
    first = waiting_call(primary, session(), key)
    again = waiting_call(primary, session(), key)
    other = Background(session(), "select id from record_signal(%s, 'BTC', 'BUY', 1, 1, '{}')", [key])
    with pytest.raises(psycopg.DatabaseError, match="AUD-010"):  # a refusal has nothing to wait for
        other.result()
    assert not first.done
    assert not again.done


@pytest.mark.usefixtures("stopped")
def test_a_wait_that_is_cancelled_leaves_the_row_and_a_warning(
    primary: Connection, session: Connecting
) -> None:
    """As after any COMMIT: the row is on this disk only."""
    key, caller = fresh_key(), session()
    told: list[tuple[str | None, str | None]] = []
    caller.add_notice_handler(lambda d: told.append((d.severity_nonlocalized, d.message_primary)))
    waiting, other = waiting_call(primary, caller, key), waiting_call(primary, session(), fresh_key())
    query(primary, "select pg_cancel_backend(%s)", [waiting.pid])
    (row,) = waiting.result()
    assert one(primary, "select row_hash from signals where signal_id = %s", [key]) == row["row_hash"]
    assert told == [("WARNING", "canceling wait for synchronous replication due to user request")]
    assert not other.done


def test_a_standby_that_comes_back_has_everything_and_ends_the_wait(
    primary: Connection, stopped: Server, session: Connecting
) -> None:
    keys = [fresh_key() for _ in range(3)]
    sessions = (session(synchronous_commit="remote_apply"), session(synchronous_commit="on"), session())
    calls = [waiting_call(primary, caller, key) for caller, key in zip(sessions, keys, strict=True)]
    stopped.start()
    for call in calls:
        call.result()
    copy = session(stopped)
    wait_until(
        copy,
        "select pg_last_wal_replay_lsn() >= %s::pg_lsn",
        [one(primary, "select pg_current_wal_flush_lsn()")],
    )
    assert all(one(copy, VISIBLE, [key]) for key in keys)
    assert_whole(primary)
