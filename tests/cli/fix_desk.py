"""Fixtures of the command line's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.desk import Desk
from tests.cluster import Server


@pytest.fixture
def desk(server: Server, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    """A migrated database without agents."""
    return Desk(server.dsn(database), tmp_path, capsys)


@pytest.fixture
def trio(desk: Desk) -> Desk:
    """With agents ada, ben and cyd."""
    desk.bootstrap("ada", "ben", "cyd")
    return desk


@pytest.fixture
def governed(trio: Desk) -> Desk:
    """With limits in force as well."""
    trio.first_limits()
    return trio
