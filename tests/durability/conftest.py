"""A server that flushes, as one in use does, unlike the one of the other tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.cluster import Server
from tests.durability.acknowledged import DATABASE, INSTALLED, SETTINGS
from tests.support import PATIENCE, Connection, migrate_with_psql, server_options

Connecting = Callable[..., Connection]


@pytest.fixture(scope="package")
def durable(binaries: Path) -> Iterator[Server]:
    """A migrated server with fsync and full_page_writes on, whose WAL writer does nothing by itself."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc")
    with Server(binaries, SETTINGS) as server:
        server.psql("postgres", f"create database {INSTALLED}")
        migrate_with_psql(server, INSTALLED)
        server.psql("postgres", f"create database {DATABASE} template {INSTALLED}")
        yield server


@pytest.fixture
def session(durable: Server) -> Iterator[Connecting]:
    """Factory: a connection to the durable server in autocommit; session(synchronous_commit='off')."""
    opened: list[Connection] = []

    def connect(server: Server = durable, **settings: Any) -> Connection:
        options = server_options({"statement_timeout": f"{PATIENCE}s", **settings})
        opened.append(psycopg.connect(server.dsn(DATABASE, options=options), autocommit=True))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()
