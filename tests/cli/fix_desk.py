"""The desk of the command line's tests, also for other folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.desk import Desk
from tests.cluster import Server


@pytest.fixture
def desk(server: Server, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    """A migrated database without agents."""
    return Desk(server.dsn(database), tmp_path, capsys)
