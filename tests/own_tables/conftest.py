"""A database with a table of its owner under the chain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.desk import Desk
from tests.cluster import Server
from tests.fix_database import Prepared
from tests.own_tables.books import TRADES, chain
from tests.security.refusals import install_guard
from tests.support import Connection, query


@pytest.fixture(scope="session")
def with_trades(prepared: Prepared) -> str:
    """Name of a database with the empty chained table trades, whose key is ref. Do not change it."""

    def make(connection: Connection) -> None:
        query(connection, TRADES)
        chain(connection, "trades")

    return prepared("own_trades", make)


@pytest.fixture
def origin(request: pytest.FixtureRequest, template: str) -> str:
    """With trades, for a test that asks for it."""
    return str(request.getfixturevalue("with_trades")) if "trades" in request.fixturenames else template


@pytest.fixture
def trades(db: Connection) -> Connection:
    """The superuser where trades is chained."""
    return db


@pytest.fixture
def desk(server: Server, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    """The command line on the test's database."""
    return Desk(server.dsn(database), tmp_path, capsys)


@pytest.fixture(scope="session")
def guarded_template(server: Server, prepared: Prepared) -> str:
    """Name of a database with the optional DDL guard. Do not change it."""
    return prepared("own_guarded", lambda connection: install_guard(server, connection.info.dbname))


@pytest.fixture
def guarded_database(guarded_template: str, make_database: Callable[..., str]) -> str:
    """Name of a fresh database with the DDL guard."""
    return make_database(guarded_template)
