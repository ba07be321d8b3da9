"""A database with two desks, for all that asks every desk of a database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.desk import ODD, Desk
from tests.cluster import Server
from tests.fix_database import Connect, Prepared
from tests.support import Connection, fill, migrate_with_psql, quote


@pytest.fixture
def two_desks(prepared: Prepared, server: Server) -> str:
    """Name of a database with two desks, of which public has rows: do not change it."""

    def install(connection: Connection) -> None:
        fill(connection)
        connection.execute(f"create schema {quote(ODD)}".encode())
        migrate_with_psql(server, connection.info.dbname, schema=ODD)

    return prepared("two_desks", install)


@pytest.fixture
def both(two_desks: str, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    """The command line over both desks, which it must not change."""
    return Desk(server.dsn(two_desks), tmp_path, capsys)


@pytest.fixture
def clone(two_desks: str, make_database: Callable[..., str]) -> str:
    """Name of a clone of both."""
    return make_database(two_desks)


@pytest.fixture
def changed(clone: str, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    """The command line over the clone."""
    return Desk(server.dsn(clone), tmp_path, capsys)


@pytest.fixture
def root(clone: str, connect: Connect) -> Connection:
    """The superuser in the clone, in schema public."""
    return connect(dbname=clone)
