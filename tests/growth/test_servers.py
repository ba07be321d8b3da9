"""What a server does by itself with a log that grows, and what a standby of it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.cli.desk import Desk
from tests.cluster import SETTINGS, Server
from tests.growth.years import write
from tests.support import Connection, migrate_with_psql, one, query, wait_until


@pytest.fixture(scope="module")
def primary(binaries: Path) -> Iterator[Server]:
    """A server that vacuums by itself, with the database `migrated`."""
    with Server(binaries, SETTINGS | {"autovacuum": "on", "autovacuum_naptime": "1s"}) as server:
        server.psql("postgres", "create database migrated")
        migrate_with_psql(server, "migrated")
        yield server


@pytest.fixture
def trading(primary: Server, request: pytest.FixtureRequest) -> str:
    """Name of a clone of it for this test."""
    name = f"of_{request.node.originalname}"[:60]
    primary.psql("postgres", f"create database {name} template migrated")
    return name


@pytest.fixture
def standby(primary: Server, binaries: Path, trading: str) -> Iterator[Server]:
    """A standby of it that runs."""
    del trading  # is copied, too
    standby = Server(binaries)
    try:
        options = ("-D", standby.data, "-h", primary.directory, "-U", "postgres", "-R", "-X", "stream")
        primary.as_server_user("pg_basebackup", *options, "-c", "fast", "--no-sync")
        with (standby.data / "postgresql.conf").open("a") as conf:
            conf.write(f"unix_socket_directories = '{standby.directory}'\n")
        yield standby.start()
    finally:
        standby.stop()


@pytest.fixture
def db(primary: Server, trading: str) -> Iterator[Connection]:
    """The superuser in trading, autocommit."""
    with psycopg.connect(primary.dsn(trading), autocommit=True) as connection:
        yield connection


def test_rows_are_frozen_soon_after_they_were_written(db: Connection) -> None:
    """Fifty million transactions earlier than by PostgreSQL's own settings."""
    write(db, 10_001)
    wait_until(db, "select pg_stat_get_autovacuum_count('signals'::regclass) > 0")
    oldest = one(db, "select age(relfrozenxid) from pg_class where oid = 'signals'::regclass")
    assert oldest < one(db, "select min(age(xmin)) from signals")


def test_a_standby_says_the_same(db: Connection, standby: Server) -> None:
    write(db, 100)
    position = one(db, "select pg_current_wal_lsn()")
    # not what changes by itself: rates go by the clock, vacuums by the server
    growth = (
        "select table_name, rows_stored, bytes, oldest_id, oldest_created_at, last_id, problem from growth()"
    )
    # a sequence may read up to 32 high
    headroom = (
        "select kind, name, case kind when 'ids' then used end, usable from headroom() where due is null"
    )
    with psycopg.connect(standby.dsn(db.info.dbname), autocommit=True) as copy:
        wait_until(copy, f"select pg_last_wal_replay_lsn() >= '{position}'::pg_lsn")
        for asked in (growth, headroom):
            assert query(copy, asked) == query(db, asked)
        assert {row["kind"] for row in query(copy, "select kind from headroom()")} >= {
            "transaction ids",
            "ids",
        }


@pytest.mark.long
def test_a_standby_gives_every_metric(
    primary: Server, standby: Server, db: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a release, too: which alarm writers have seen, it cannot read."""
    desk = Desk(primary.dsn(db.info.dbname), tmp_path, capsys)
    desk.bootstrap("ada", "ben", "cyd")
    write(db, 3)
    query(db, "select * from verify_checkpoint('signals', 1, sha256('another book'))")
    assert _locks_on(db, standby) == [1, 1, 1]
    release = desk.propose("ada", "lockdown", "release", reason="looked at")
    desk.approve(release, "ben", "cyd")
    assert _locks_on(db, standby) == [1, 0, 0]


def _locks_on(db: Connection, standby: Server) -> list[float]:
    """Whether it is a standby, writers are locked out, the lockdown is proven there. All parts must be readable."""
    position = one(db, "select pg_current_wal_lsn()")
    with psycopg.connect(standby.dsn(db.info.dbname), autocommit=True) as copy:
        wait_until(copy, f"select pg_last_wal_replay_lsn() >= '{position}'::pg_lsn")
        rows = [
            row for call in ("metrics", "costly_metrics") for row in query(copy, f"select * from {call}()")
        ]
    assert {row["value"] for row in rows if row["name"] == "alpha_db_part_up"} == {1}
    values = {row["name"]: row["value"] for row in rows if not row["labels"]}
    return [
        values[name]
        for name in ("alpha_db_in_recovery", "alpha_db_writers_locked_out", "alpha_db_lockdown_proven")
    ]
