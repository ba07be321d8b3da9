"""alpha_db.pool(): connections as connect() opens them, whatever was done with them before."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

import alpha_db
from alpha_db import aio, errors
from tests.client.given import SIGNAL
from tests.cluster import Server
from tests.support import Connection, migrate_with_psql, one

pytestmark = pytest.mark.any_server
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pool(server: Server, database: str) -> Iterator[Any]:
    """A pool of one connection."""
    with alpha_db.pool(server.dsn(database), schema="public", max_size=1, timeout=60) as pool:
        yield pool


def test_append_is_append(pool: Any, db: Connection) -> None:
    with pool.connection() as conn:
        alpha_db.append_signal(conn, **SIGNAL)
        assert one(db, "select count(*) from signals") == 1
        with conn.transaction(force_rollback=True):
            alpha_db.append_signal(conn, **SIGNAL | {"signal_id": "s2"})
        assert one(conn, "select count(*) from signals") == 1


LEFT = [
    "set search_path = pg_catalog",
    "set row_security = on",
    "set statement_timeout = '1min'",
    "set default_transaction_read_only = on",
    "set session authorization pg_monitor",
    "set role pg_monitor",
    "create temp table signals (id integer)",
    "select pg_advisory_lock(1)",
    "listen channel",
    "begin",
]
STATE = (
    "select (select jsonb_object_agg(name, setting) from pg_settings where name in ('search_path', 'row_security',"
    " 'statement_timeout', 'default_transaction_read_only', 'standard_conforming_strings')) as settings,"
    " current_user as user, to_regclass('pg_temp.signals') as temp,"
    " (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,"
    " array(select pg_listening_channels()) as channels, pg_backend_pid() as pid"
)


@pytest.mark.parametrize("left", LEFT)
def test_nothing_is_left_to_the_next(pool: Any, left: str) -> None:
    with pool.connection() as conn:
        before = conn.execute(STATE).fetchone()
        assert before[0]["search_path"] == "public, pg_temp"
        conn.execute(left)
    with pool.connection() as conn:
        assert conn.execute(STATE).fetchone() == before


@pytest.mark.parametrize("left", LEFT)
def test_nothing_is_left_to_the_next_that_is_awaited(server: Server, database: str, left: str) -> None:
    async def use() -> None:
        async with aio.pool(server.dsn(database), schema="public", max_size=1) as pool:
            async with pool.connection() as conn:
                before = await (await conn.execute(STATE)).fetchone()
                await conn.execute(left)
                await conn.commit()
                await conn.set_autocommit(False)
            async with pool.connection() as conn:
                assert await (await conn.execute(STATE)).fetchone() == before
                assert conn.autocommit

    asyncio.run(use())


def test_what_was_set_in_python_is_taken_back(pool: Any) -> None:
    with pool.connection() as conn:
        conn.autocommit = False
        conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        conn.read_only = conn.deferrable = True
        conn.row_factory = dict_row
    with pool.connection() as conn:
        assert (conn.autocommit, conn.isolation_level, conn.read_only, conn.deferrable) == (
            True,
            None,
            None,
            None,
        )
        assert conn.execute("select 1").fetchone() == (1,)


def test_prepared_statements_last(pool: Any) -> None:
    for n in range(12):
        with pool.connection() as conn:
            alpha_db.record_signal(conn, **SIGNAL | {"signal_id": f"s{n}"})
    with pool.connection() as conn:
        assert one(conn, "select count(*) from pg_prepared_statements where statement ~ 'record_signal'") == 1


def test_a_connection_that_died_is_replaced(pool: Any, db: Connection) -> None:
    with pool.connection() as conn:
        pid = conn.info.backend_pid
    one(db, "select pg_terminate_backend(%s, 60000)", [pid])
    with pool.connection() as conn:
        assert conn.info.backend_pid != pid
        assert one(conn, "select current_setting('search_path')") == "public, pg_temp"


@pytest.mark.long  # it needs a server of its own, and the one before replaces a connection, too
def test_the_database_is_restarted(binaries: Path) -> None:
    with Server(binaries) as server:
        migrate_with_psql(server, "postgres")
        with alpha_db.pool(server.dsn("postgres"), min_size=2, timeout=60) as pool:
            with pool.connection() as conn:
                alpha_db.append_signal(conn, **SIGNAL)
            server.stop("fast", keep=True)
            server.start()
            with pool.connection() as conn:
                assert alpha_db.append_signal(conn, **SIGNAL)["is_new"] is False


def test_none_is_to_be_had(server: Server, database: str) -> None:
    with alpha_db.pool(server.dsn(database), max_size=1, timeout=0.05) as pool, pool.connection(timeout=60):
        with pytest.raises(errors.ConnectionFailed, match="couldn't get a connection") as caught:
            pool.getconn()
        assert "max_size" in str(caught.value.hint)


def test_a_dsn_that_cannot_be_read() -> None:
    for pool in (alpha_db.pool, aio.pool):
        with pytest.raises(errors.ConnectionFailed, match="invalid DSN"):
            pool("no_such_option=1")


WITHOUT = """
import sys
sys.modules["psycopg_pool"] = None
import alpha_db, alpha_db.aio
for pool in (alpha_db.pool, alpha_db.aio.pool):
    try:
        pool("")
    except alpha_db.errors.ExtraMissing as problem:
        print(problem, problem.hint)
"""


def test_without_the_extra_it_says_what_to_install() -> None:
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert found.stdout.count("psycopg_pool") == 2
    assert found.stdout.count("pip install 'alpha-db[pool]'") == 2
