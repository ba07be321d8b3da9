"""A book of some hundred signals with what hangs on them, and agents who may archive it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.checkpoint.book import make_key
from tests.cli.desk import Desk
from tests.cluster import Server
from tests.fix_database import Prepared
from tests.retention.keeper import Keeper
from tests.retention.shelf import Shelf, write_year
from tests.risk.conftest import named
from tests.risk.council import Council
from tests.support import Connection


def _two_years(connection: Connection) -> None:
    Council(connection).bootstrap("ada", "ben", "cyd")
    write_year(connection, 1, 600)
    write_year(connection, 601, 500)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the key files of the agents of the prepared database."""
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
def with_keys(server: Server, prepared: Prepared, keys: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Name of a database with the same books, whose agents have keys in `keys`, where checkpoints are, too."""

    def fill(connection: Connection) -> None:
        desk = Desk(server.dsn(connection.info.dbname), keys, capsys)
        desk.bootstrap("ada", "ben", "cyd")
        (keys / "checkpoints").mkdir()
        keeper = Keeper(desk, connection, make_key(keys))
        write_year(connection, 1, 600)
        keeper.sign()
        write_year(connection, 601, 500)
        keeper.sign()

    return prepared("retention_with_keys", fill)


@pytest.fixture(scope="session")
def segments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the segments of the prepared database whose old rows have left."""
    return tmp_path_factory.mktemp("left") / "segments"


@pytest.fixture
def with_segments(
    server: Server,
    prepared: Prepared,
    with_keys: str,
    keys: Path,
    segments: Path,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """Name of a clone of it from which all has left that may; its segments are in `segments`."""

    def leave(connection: Connection) -> None:
        keeper = Keeper(
            Desk(server.dsn(connection.info.dbname), keys, capsys), connection, keys / "checkpoint.key"
        )
        keeper.leave()
        keeper.segments.rename(segments)

    return prepared("retention_left", leave, with_keys)


@pytest.fixture
def origin(request: pytest.FixtureRequest, prepared: Prepared) -> str:
    for fixture, name in (("left", "with_segments"), ("keeper", "with_keys")):
        if fixture in request.fixturenames:
            return str(request.getfixturevalue(name))
    return prepared("retention_two_years", _two_years)


@pytest.fixture
def shelf(db: Connection) -> Shelf:
    """1,100 signals with a debate each, an order for every second and an event for each order, in two "years"; and the
    agents ada, ben and cyd."""
    return Shelf(db, named(db))


@pytest.fixture
def keeper(
    server: Server,
    database: str,
    db: Connection,
    keys: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Keeper:
    """The same books and agents, the command line, and checkpoints of both "years": of 600 and of 1,100 signals."""
    shutil.copytree(keys, tmp_path, dirs_exist_ok=True)
    return Keeper(Desk(server.dsn(database), tmp_path, capsys), db, tmp_path / "checkpoint.key")


@pytest.fixture
def left(keeper: Keeper, segments: Path) -> Keeper:
    """A keeper from whose book all has left that may."""
    shutil.copytree(segments, keeper.segments)
    return keeper
