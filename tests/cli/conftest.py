"""Installations with agents and limits: each test gets a clone of one, and the agents have the same keys in all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.desk import Desk
from tests.cluster import Server
from tests.fix_database import Prepared
from tests.support import Connection

NAMES = ("ada", "ben", "cyd")


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the key files of the agents of prepared databases."""
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
def with_agents(server: Server, prepared: Prepared, keys: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Name of a database with agents ada, ben and cyd, whose keys are in `keys`."""

    def bootstrap(connection: Connection) -> None:
        Desk(server.dsn(connection.info.dbname), keys, capsys).bootstrap(*NAMES)

    return prepared("cli_trio", bootstrap)


@pytest.fixture
def with_limits(
    server: Server, prepared: Prepared, with_agents: str, keys: Path, capsys: pytest.CaptureFixture[str]
) -> str:
    """Name of a clone of it with limits in force."""

    def enact(connection: Connection) -> None:
        Desk(server.dsn(connection.info.dbname), keys, capsys).first_limits()

    return prepared("cli_governed", enact, with_agents)


@pytest.fixture
def origin(request: pytest.FixtureRequest, template: str) -> str:
    """With agents, or with limits too, for tests that ask for a trio or a governed desk."""
    for fixture, name in (("governed", "with_limits"), ("trio", "with_agents")):
        if fixture in request.fixturenames:
            return str(request.getfixturevalue(name))
    return template


@pytest.fixture
def trio(desk: Desk, keys: Path) -> Desk:
    """With agents ada, ben and cyd."""
    shutil.copytree(keys, desk.folder, dirs_exist_ok=True)
    desk.names.extend(NAMES)
    return desk


@pytest.fixture
def governed(trio: Desk) -> Desk:
    """With limits in force as well."""
    return trio
