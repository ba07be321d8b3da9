"""Databases that the security tests share: each test works in a transaction that it rolls back."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.cluster import Server
from tests.fix_database import LoginRole
from tests.risk.council import Council
from tests.security.refusals import Connection, install_guard
from tests.support import fill


def _clone(admin: Connection, template: str, name: str) -> str:
    admin.execute(f"create database {name} template {template}")
    return name


@pytest.fixture(scope="session")
def filled_database(server: Server, admin: Connection, template: str) -> str:
    """Name of a database with rows in every chained table. Shared: change nothing for good."""
    name = _clone(admin, template, "security_filled")
    with psycopg.connect(server.dsn(name), autocommit=True) as connection:
        fill(connection)
        connection.execute("select record_decision(null, 'B', 'BUY', 1, 1, 0, false, 'a test', 'NORMAL')")
        council = Council(connection).bootstrap("ada", "ben", "cyd")
        connection.execute("select _engage_lockdown('a test', '[]')")
        council.release()
        connection.execute("select _record_maintenance('a test', 'x', 'y')")
    return name


@pytest.fixture(scope="session")
def guarded_template(server: Server, admin: Connection, template: str) -> str:
    """Name of a migrated database with the optional DDL guard, to be cloned. Do not change it."""
    name = _clone(admin, template, "security_guarded")
    install_guard(server, name)
    return name


@pytest.fixture
def guarded_database(guarded_template: str, make_database: Callable[..., str]) -> str:
    """Name of a fresh database with the DDL guard."""
    return make_database(guarded_template)


@pytest.fixture(scope="session")
def guarded_shared(admin: Connection, guarded_template: str) -> str:
    """Name of a database with the DDL guard. Shared: change nothing for good."""
    return _clone(admin, guarded_template, "security_guarded_shared")


@pytest.fixture
def owner_login(login_role: LoginRole) -> str:
    """A login that is a member of alpha_owner and may become it, as a migrating role is."""
    return login_role("alpha_owner")
