"""Installations for the tests of migrations."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from tests.cluster import Server
from tests.fix_database import LoginRole, Prepared, fresh_name
from tests.migration.desk import LAST, MIGRATION, ROLLBACK, Desk
from tests.support import Connection, quote


@pytest.fixture
def empty(server: Server, empty_database: str) -> Desk:
    """Schema public of an empty database."""
    return Desk(server, empty_database)


@pytest.fixture
def installed(server: Server, database: str) -> Desk:
    """Schema public of a database with all migrations."""
    return Desk(server, database)


@pytest.fixture(scope="session")
def stages(server: Server, admin: Connection) -> Callable[[str], str]:
    """Names of templates with the migrations before a number, each made when it is first asked for."""
    made: dict[str, str] = {}

    def before(number: str) -> str:
        if number not in made:
            earlier = [n for n in MIGRATION if int(n) < int(number)]
            origin = before(earlier[-1]) if earlier else "template0"
            admin.execute(f"create database before_{number} template {origin}")
            Desk(server, f"before_{number}").migrate(earlier[-1:])
            made[number] = f"before_{number}"
        return made[number]

    return before


@pytest.fixture
def one_pending(installed: Desk) -> Desk:
    """All migrations but the last one, which costs less than the stages before it."""
    installed.roll_back([LAST])
    return installed


@pytest.fixture
def beside(server: Server, prepared: Prepared, make_database: Callable[..., str]) -> Desk:
    """Desk A, whose name needs quotes, beside the installation in public; both of the same roles."""

    def install(connection: Connection) -> None:
        connection.execute('create schema "Desk A"')
        Desk(server, connection.info.dbname, "Desk A").migrate()

    return Desk(server, make_database(prepared("public_and_desk_a", install)), "Desk A")


@pytest.fixture(scope="session")
def first_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first two migrations: for what each install does, and each later migration likewise."""
    folder = tmp_path_factory.mktemp("first_files")
    for number in ("001", "002"):
        for file in (MIGRATION[number], ROLLBACK[number]):
            shutil.copy(file, folder)
    return folder


@pytest.fixture
def installed_before(
    server: Server, stages: Callable[[str], str], make_database: Callable[..., str]
) -> Callable[[str], Desk]:
    """Factory: installed_before("003") is schema public of a database with 001 and 002."""
    return lambda number: Desk(server, make_database(stages(number)))


@pytest.fixture
def root(make_database: Callable[..., str]) -> Iterator[Callable[[Desk], Connection]]:
    """Factory: root(desk) connects the superuser to a desk, and closes at the end."""
    del make_database  # asked for so that connections are closed before databases are dropped
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
        with suppress(psycopg.errors.DependentObjectsStillExist):
            admin.execute(f"drop role if exists {quote(name + role)}")


@pytest.fixture
def migrator(login_role: LoginRole) -> str:
    """A login that is no superuser and may create roles, as docs ask for."""
    return login_role(attributes="createrole")
