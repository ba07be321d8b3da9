"""What a transaction through a pooler relies on is told in that transaction, whatever others left in the session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

import alpha_db
from alpha_db.connection import connect_for_command
from alpha_db.pooled import PinningConnection, is_pooled, read_options
from alpha_db.risk.source import PostgresSource
from tests.cluster import Server
from tests.pooler.pgbouncer import PROGRAM, pgbouncer, through
from tests.support import Connection, one, query

pytestmark = pytest.mark.any_server
needs_pgbouncer = pytest.mark.skipif(
    PROGRAM is None, reason="no pgbouncer here (Debian: apt-get install pgbouncer)"
)


@pytest.fixture
def pooler(server: Server, database: str) -> Iterator[Path]:
    """One that ends before the database is dropped, which would wait for the connection that it keeps."""
    del database
    with pgbouncer(server, 1, "postgres") as folder:
        yield folder


@pytest.fixture
def dsn(pooler: Path, database: str) -> str:
    """A database behind a pooler, in whose one session another client left what it could."""
    url = through(pooler, database, "postgres")
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as other:
        other.execute("create schema evil")
        other.execute(
            "create function evil.lockdown_status() returns text language sql as $$ select 'evil' $$"
        )
        other.execute("set search_path = evil, public, pg_catalog")
        other.execute("set standard_conforming_strings = off")
        other.execute("set statement_timeout = '1min'")
        other.execute("set default_transaction_read_only = on")
    return url


@needs_pgbouncer
@pytest.mark.parametrize("schema", ["public", None])
def test_nothing_left_by_others_counts(dsn: str, schema: str | None) -> None:
    with connect_for_command(dsn, schema=schema) as conn:
        assert isinstance(conn, PinningConnection)
        assert one(conn, "select is_locked from lockdown_status()") is False
        assert one(conn, r"select '\\'") == r"\\"
        for name, value in {
            "search_path": "public, pg_temp",
            "statement_timeout": "0",
            "row_security": "off",
            "jit": "off",
            "transaction_read_only": "off",
            "transaction_isolation": "read committed",
        }.items():
            shown = one(conn, "select current_setting(%s)", [name])
            assert str(shown).replace('"', "") == value


@needs_pgbouncer
def test_nothing_is_left_to_others(pooler: Path, database: str) -> None:
    url = through(pooler, database, "postgres")
    shown = (
        "select name, setting from pg_settings where source = 'session'"
        " and name not in ('application_name', 'client_encoding') order by 1"
    )
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as other:
        before = query(other, shown)
        with connect_for_command(url, schema="public") as conn:
            conn.execute("select * from lockdown_status()")
        assert query(other, shown) == before
        assert one(other, "select count(*) from pg_prepared_statements") == 0


@needs_pgbouncer
def test_writers(pooler: Path, database: str) -> None:
    dsn = through(pooler, database, "postgres")
    given: dict[str, Any] = {
        "symbol": "BTCUSD",
        "side": "BUY",
        "price": 1,
        "quantity": 1,
        "raw_payload": "{}",
    }
    for n in range(3):
        with alpha_db.connect(dsn, schema="public", autocommit=True) as conn:
            first = alpha_db.append_signal(conn, signal_id=f"a{n}", **given)
            assert alpha_db.record_signal(conn, signal_id=f"r{n}", **given)["id"] == first["id"] + 1
        with alpha_db.connect(dsn, schema="public") as conn:
            alpha_db.append_signal(conn, signal_id=f"t{n}", **given)
            conn.commit()
            assert one(conn, "select max(id) from signals") == first["id"] + 2


@needs_pgbouncer
def test_options_of_the_caller_hold(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c search_path=evil -c work_mem=12MB")
    with alpha_db.connect(dsn, autocommit=True) as conn:
        assert one(conn, "select current_setting('search_path')") == "evil, pg_temp"
        assert one(conn, "select current_setting('work_mem')") == "12MB"


@needs_pgbouncer
def test_a_default_of_the_database_counts_but_not_for_commands(
    pooler: Path, database: str, db: Connection
) -> None:
    db.execute(f"alter database {database} set default_transaction_read_only = on")
    dsn = through(pooler, database, "postgres")
    shown = "select current_setting('transaction_read_only')"
    with alpha_db.connect(dsn, autocommit=True) as conn:
        assert one(conn, shown) == "on"
    with connect_for_command(dsn) as conn:
        assert one(conn, shown) == "off"
    with connect_for_command(f"{dsn} options='-c default_transaction_read_only=on'") as conn:
        assert one(conn, shown) == "on"


@needs_pgbouncer
def test_hydrator_polls(dsn: str) -> None:
    source = PostgresSource(lambda: alpha_db.connect(dsn, schema="public"), 5)
    source.open()
    try:
        assert source.read(0).active[0].version == 0
        source.wait(0.01)
        assert source.read(0).active[0].version == 0
    finally:
        source.close()


@needs_pgbouncer
def test_a_connection_that_cannot_be_pinned_is_refused(dsn: str) -> None:
    source = PostgresSource(lambda: psycopg.connect(dsn), 5)
    with (
        closing(source),
        pytest.raises(alpha_db.errors.ConnectionFailed, match="a pooler gives each transaction"),
    ):
        source.open()


def test_a_direct_connection_is_no_pooled_one(server: Server, database: str, db: Connection) -> None:
    del db
    with alpha_db.connect(server.dsn(database), autocommit=True) as conn:
        assert not is_pooled(conn)
        assert conn.prepare_threshold == 5
        assert one(conn, "select current_setting('search_path')") == "public, pg_temp"


def test_commands_compile_no_query(server: Server, database: str, db: Connection) -> None:
    """Compiling took seconds in each command, on servers with LLVM."""
    db.execute(f"alter database {database} set jit = on")
    with connect_for_command(server.dsn(database)) as conn:
        assert one(conn, "select current_setting('jit')") == "off"


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ("-c search_path=desk_a -cwork_mem=1MB", {"search_path": "desk_a", "work_mem": "1MB"}),
        ('--lock-timeout=5s -csearch_path="a\\ b"', {"lock_timeout": "5s", "search_path": '"a b"'}),
        ("", {}),
    ],
)
def test_options_as_libpq_reads_them(options: str, settings: dict[str, str]) -> None:
    assert read_options(options) == settings
