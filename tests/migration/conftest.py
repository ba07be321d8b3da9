"""Installations for the tests of migrations."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.cluster import Server
from tests.fix_database import LoginRole, fresh_name
from tests.migration.desk import Desk
from tests.support import Connection, quote


@pytest.fixture
def empty(server: Server, empty_database: str) -> Desk:
    """Schema public of an empty database."""
    return Desk(server, empty_database)


@pytest.fixture
def installed(server: Server, database: str) -> Desk:
    """Schema public of a database with all migrations."""
    return Desk(server, database)


@pytest.fixture
def root(server: Server, request: pytest.FixtureRequest) -> Iterator[Callable[[Desk], Connection]]:
    """Factory: root(desk) connects the superuser to a desk, and closes at the end."""
    request.getfixturevalue("make_database")  # closed before databases are dropped
    opened: list[Connection] = []

    def connect(desk: Desk) -> Connection:
        opened.append(desk.connect())
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def prefix(admin: Connection) -> Iterator[str]:
    """A role prefix that nobody used before. Its roles are dropped at the end, if nothing depends on them."""
    name = fresh_name("p") + "_"
    yield name
    for role in ("alpha_owner", "app_trading", "app_auditor", "app_risk"):
        try:
            admin.execute(f"drop role if exists {quote(name + role)}")
        except psycopg.errors.DependentObjectsStillExist:
            pass


@pytest.fixture
def migrator(login_role: LoginRole) -> str:
    """A login that is no superuser and may create roles, as docs ask for."""
    return login_role(attributes="createrole")
