"""CALL with a synchronous standby: it promises what a COMMIT of the caller promises, no less and no more.

The row's own commit waits for nobody, so that the chain is free; the second one waits as the caller's
synchronous_commit says.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.cluster import Server
from tests.concurrency.background import Background
from tests.durability.acknowledged import assert_whole, call_each, call_signal, fresh_key, lost
from tests.durability.conftest import Connecting
from tests.support import Connection, one, query, wait_until

SIGNAL = "call append_signal(%s, 'BTC', 'BUY', 1.5, 2, '{}')"
VISIBLE = "select exists (select from signals where signal_id = %s)"


@pytest.fixture
def primary(session: Connecting) -> Iterator[Connection]:
    """A superuser's session on the primary that waits for no standby."""
    connection = session(synchronous_commit="local")
    yield connection
    query(connection, "alter system reset all")
    query(connection, "select pg_reload_conf()")


@pytest.fixture
def standby(binaries: Path, durable: Server, primary: Connection) -> Iterator[Server]:
    """Its standby, made by pg_basebackup, which runs and is synchronous."""
    server = Server(binaries)
    try:
        options = ("-D", server.data, "-h", durable.directory, "-U", "postgres", "-R", "-X", "stream")
        durable.as_server_user("pg_basebackup", *options, "-c", "fast", "--no-sync")
        with (server.data / "postgresql.conf").open("a") as conf:
            conf.write(f"unix_socket_directories = '{server.directory}'\nwal_receiver_status_interval = 1\n")
        server.start()
        query(primary, "alter system set synchronous_standby_names = 'walreceiver'")
        query(primary, "select pg_reload_conf()")
        wait_until(primary, "select exists (select from pg_stat_replication where sync_state = 'sync')")
        yield server
    finally:
        server.stop()


def waits_for_the_standby(primary: Connection, call: Background) -> None:
    """Wait until a backend waits for the standby."""
    wait_until(primary, "select wait_event = 'SyncRep' from pg_stat_activity where pid = %s", [call.pid])


def test_what_a_call_promises(primary: Connection, standby: Server, session: Connecting) -> None:
    copy = session(standby)
    strict, usual, local = (session(synchronous_commit=wish) for wish in ("remote_apply", "on", "local"))

    # remote_apply: the row can be read on the standby when CALL returns.
    for _ in range(5):
        for acknowledged in call_each(strict):
            assert lost(copy, [acknowledged]) == []
    assert one(strict, "show synchronous_commit") == "remote_apply"

    # The standby stops replaying, and goes on flushing: remote_apply waits, on does not.
    query(copy, "select pg_wal_replay_pause()")
    wait_until(copy, "select pg_get_wal_replay_pause_state() = 'paused'")
    key = fresh_key()
    waiting = Background(strict, SIGNAL, [key])
    waits_for_the_standby(primary, waiting)
    acknowledged = call_signal(usual)
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

    # No standby: every CALL but those that ask for less waits, their rows are visible, the chain is free.
    standby.stop("fast", keep=True)
    wait_until(primary, "select not exists (select from pg_stat_replication)")
    keys = [fresh_key() for _ in range(3)]
    calls = [Background(c, SIGNAL, [k]) for c, k in zip((strict, usual, session()), keys, strict=True)]
    for call in calls:
        waits_for_the_standby(primary, call)
    for key in keys:
        assert one(primary, VISIBLE, [key])
    call_signal(local)
    call_signal(session(synchronous_commit="off"))
    record = Background(session(), "select id from record_signal(%s, 'BTC', 'BUY', 1, 1, '{}')", [keys[0]])
    # A CALL for a row that is there waits as its first sender does; so does record_signal, which refuses this one.
    with pytest.raises(psycopg.DatabaseError, match="AUD-010"):
        record.result()
    again = Background(session(), SIGNAL, [keys[0]])
    waits_for_the_standby(primary, again)

    # Whoever is tired of waiting is told, as after any COMMIT: the row is on this disk only.
    told: list[tuple[str | None, str | None]] = []
    usual.add_notice_handler(lambda d: told.append((d.severity_nonlocalized, d.message_primary)))
    query(primary, "select pg_cancel_backend(%s)", [calls[1].pid])
    (row,) = calls[1].result()
    assert one(primary, "select row_hash from signals where signal_id = %s", [keys[1]]) == row["row_hash"]
    assert told == [("WARNING", "canceling wait for synchronous replication due to user request")]
    assert not calls[0].done
    assert not again.done

    # It comes back: those who waited are acknowledged, and it has everything.
    standby.start()
    for call in (calls[0], calls[2], again):
        call.result()
    copy = session(standby)
    wait_until(
        copy,
        "select pg_last_wal_replay_lsn() >= %s::pg_lsn",
        [one(primary, "select pg_current_wal_flush_lsn()")],
    )
    assert all(one(copy, VISIBLE, [key]) for key in keys)
    assert_whole(primary)
