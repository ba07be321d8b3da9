"""Databases with logs in them, made once; each test gets a clone, or works in a transaction that is rolled back."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.cluster import Server
from tests.fix_database import Connect
from tests.merkle.logs import WIDE, pour, seal, tree_of, write_signals
from tests.merkle.reference import Tree
from tests.support import Connection


@pytest.fixture(scope="session")
def logged_template(server: Server, admin: Connection, template: str) -> str:
    """Name of a database with 300 signals, written as signals are, and nothing sealed. Shared: change nothing."""
    name = "merkle_logged"
    admin.execute(f"create database {name} template {template}")
    with psycopg.connect(server.dsn(name), autocommit=True) as connection:
        write_signals(connection, 300)
    return name


@pytest.fixture(scope="session")
def long_template(server: Server, admin: Connection, template: str) -> str:
    """Name of a database with a log of 66,000 made-up rows, sealed up to 65,536. Shared: change nothing."""
    name = "merkle_long"
    admin.execute(f"create database {name} template {template}")
    with psycopg.connect(server.dsn(name), autocommit=True) as connection:
        pour(connection, 65_536)
        seal(connection)
        pour(connection, 464)
    return name


@pytest.fixture(scope="session")
def long_tree(server: Server, long_template: str) -> Tree:
    """The reference's tree of that log."""
    with psycopg.connect(server.dsn(long_template)) as connection:
        return tree_of(connection, WIDE)


@pytest.fixture
def logged(logged_template: str, make_database, connect: Connect) -> Connection:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """The superuser in a clone with 300 signals."""
    return connect(dbname=make_database(logged_template))


@pytest.fixture
def long(server: Server, long_template: str) -> Iterator[Connection]:
    """The superuser in a log of 66,000 rows; what it does is rolled back."""
    with psycopg.connect(server.dsn(long_template)) as connection:
        yield connection
        connection.rollback()
