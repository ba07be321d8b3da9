"""One primary with one standby for the tests of this folder, which leave its rows as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Server
from tests.standby.pair import DATABASE, Pair, prepare
from tests.standbys import standby_of
from tests.support import migrate_with_psql


@pytest.fixture(scope="package")
def made(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pair, dict[str, str]]]:
    """The pair, and what the arguments of commands stand for."""
    folder = tmp_path_factory.mktemp("pair")
    with Server(binaries) as primary:
        primary.psql("postgres", f"create database {DATABASE}")
        migrate_with_psql(primary, DATABASE)
        names = prepare(primary, folder)
        with standby_of(
            primary, max_standby_streaming_delay="0", wal_receiver_status_interval="1"
        ) as standby:
            yield Pair(primary, standby, folder), names


@pytest.fixture
def pair(made: tuple[Pair, dict[str, str]]) -> Pair:
    """The primary and its standby, which has replayed everything, and waits for no reader."""
    made[0].catch_up()
    return made[0]


@pytest.fixture
def names(made: tuple[Pair, dict[str, str]]) -> dict[str, str]:
    """What the arguments of commands stand for."""
    return made[1]
