"""The server that the tests run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Server, all_binaries, choose_binaries


@pytest.fixture(scope="session")
def binaries(pytestconfig: pytest.Config) -> Path:
    """The directory of binaries that --pg chose."""
    return choose_binaries(pytestconfig.getoption("--pg"))


@pytest.fixture(scope="session")
def all_majors() -> dict[int, Path]:
    """Every major version on this machine, newest first; for tests that go from one to another."""
    return all_binaries()


@pytest.fixture(scope="session")
def server(binaries: Path) -> Iterator[Server]:
    """One cluster a process. Under xdist each worker has its own: roles, their members and the server's log
    belong to the whole cluster, and tests that look at them would see each other's."""
    with Server(binaries) as running:
        yield running
