"""Tiles that a standby writes: it may be behind, and that is no damage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.cli.desk import Desk
from tests.cluster import Server
from tests.support import fill, make_signal, migrate_with_psql, one, query, wait_until
from tests.tiles.reader import Reader


@pytest.fixture
def primary(binaries: Path) -> Iterator[Server]:
    """A server with a filled log in the database trading."""
    with Server(binaries) as server:
        server.psql("postgres", "create database trading")
        migrate_with_psql(server, "trading")
        with psycopg.connect(server.dsn("trading"), autocommit=True) as db:
            fill(db, signals=3)
        yield server


@pytest.fixture
def standby(primary: Server, binaries: Path) -> Iterator[Server]:
    """A standby of it that runs."""
    standby = Server(binaries)
    try:
        options = ("-D", standby.data, "-h", primary.directory, "-U", "postgres", "-R", "-X", "stream")
        primary.as_server_user("pg_basebackup", *options, "-c", "fast", "--no-sync")
        with (standby.data / "postgresql.conf").open("a") as conf:
            conf.write(f"unix_socket_directories = '{standby.directory}'\n")
        yield standby.start()
    finally:
        standby.stop()


def test_a_standby_writes_the_same_tiles(
    primary: Server, standby: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = (Desk(server.dsn("trading"), tmp_path, capsys) for server in (primary, standby))
    folder = tmp_path / "www"
    there.run("tiles", str(folder))
    Reader(folder / "signals").check()
    with psycopg.connect(standby.dsn("trading"), autocommit=True) as db:
        query(db, "select pg_wal_replay_pause()")
        wait_until(db, "select pg_get_wal_replay_pause_state() = 'paused'")
        with psycopg.connect(primary.dsn("trading"), autocommit=True) as writer:
            make_signal(writer, 10)
            end = one(writer, "select pg_current_wal_insert_lsn()")
        here.run("tiles", str(folder))
        assert Reader(folder / "signals").size == 4
        done = there.run("tiles", str(folder), "--table", "signals", expect=3)
        assert "the tiles are of 4 rows, and 3 are here: wait until this standby has replayed" in done.out
        query(db, "select pg_wal_replay_resume()")
        wait_until(db, "select pg_last_wal_replay_lsn() >= %s::pg_lsn", [end])
    there.run("tiles", str(folder))
    assert Reader(folder / "signals").size == 4
