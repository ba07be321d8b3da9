"""A lockdown outlives a crash of the server and the promotion of its standby."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.cluster import Server
from tests.durability.acknowledged import DATABASE, SETTINGS
from tests.support import Connection, fill, make_signal, migrate_with_psql, one, query, wait_until


@pytest.fixture
def primary(binaries: Path) -> Iterator[Server]:
    """A server of its own with a book, whose lockdown nobody else is to meet."""
    with Server(binaries, SETTINGS) as server:
        server.psql("postgres", f"create database {DATABASE}")
        migrate_with_psql(server, DATABASE)
        with connected(server) as book:
            fill(book)
        yield server


def connected(server: Server) -> Connection:
    return psycopg.connect(server.dsn(DATABASE), autocommit=True)


def assert_closed(server: Server) -> None:
    with connected(server) as book:
        assert one(book, "select is_locked from lockdown_status()") is True
        with pytest.raises(psycopg.DatabaseError, match="AUD-009"):
            make_signal(book, 99)


def test_a_crash_after_the_event(primary: Server) -> None:
    with connected(primary) as book:
        query(book, "select _engage_lockdown('test', '[]')")
    primary.stop("immediate", keep=True)
    primary.start()
    assert_closed(primary)


def test_the_promotion_of_a_standby(primary: Server, binaries: Path) -> None:
    standby = Server(binaries)
    try:
        options = ("-D", standby.data, "-h", primary.directory, "-U", "postgres", "-R", "-X", "stream")
        primary.as_server_user("pg_basebackup", *options, "-c", "fast", "--no-sync")
        with (standby.data / "postgresql.conf").open("a") as conf:
            conf.write(f"unix_socket_directories = '{standby.directory}'\n")
        standby.start()
        with connected(primary) as book, connected(standby) as copy:
            query(book, "select _engage_lockdown('test', '[]')")
            wait_until(copy, "select is_locked from lockdown_status()")
            query(copy, "select pg_promote()")
        assert_closed(standby)
    finally:
        standby.stop()
