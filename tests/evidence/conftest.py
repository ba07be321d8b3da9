"""Fixtures of the tests of evidence that comes from a database."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.cli.desk import Desk
from tests.cluster import Server
from tests.evidence.desk import Evidence
from tests.support import Connection


@pytest.fixture
def evidence(
    server: Server, database: str, db: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Evidence:
    """A migrated database with nothing in it."""
    return Evidence(Desk(server.dsn(database), tmp_path, capsys), db, tmp_path)


@pytest.fixture
def no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt to connect, to a database or anywhere else, fails the test."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("something was connected to")

    monkeypatch.setattr(psycopg, "connect", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.delenv("ALPHA_DB_DSN", raising=False)
