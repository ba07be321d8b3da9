"""The server that is measured, and the machine that it runs on."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from alpha_db.connection import connect
from alpha_db.embedded import Binaries, EmbeddedError, Server
from alpha_db.migrate import migrate

SETTINGS = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "commit_delay",
    "shared_buffers",
    "max_connections",
    "jit",
)


@dataclass(frozen=True)
class Host:
    """A running server, and whether the run is a quick one."""

    server: Server
    quick: bool

    def database(self, name: str) -> str:
        """Make a database with the migrations applied; return its DSN."""
        with psycopg.connect(self.server.url(), autocommit=True) as conn:
            conn.execute(f'create database "{name}"')
        dsn = self.server.url(name)
        migrate(dsn)
        return dsn

    def connect(self, dsn: str) -> psycopg.Connection[Any]:
        """Connect in autocommit."""
        return connect(dsn, autocommit=True)

    def settings(self) -> dict[str, str]:
        """The server's settings that matter for a figure."""
        with psycopg.connect(self.server.url(), autocommit=True) as conn:
            return {name: str(conn.execute(f"show {name}").fetchone()[0]) for name in SETTINGS}  # type: ignore[index]


@contextmanager
def durable_server(binaries: Binaries) -> Iterator[Server]:
    """Start a server with PostgreSQL's own settings on the temporary directory's disk; then remove it.

    Not throwaway_server(): that is on shared memory, where a flush costs nothing.
    """
    directory = Path(tempfile.mkdtemp(prefix="alpha-db-bench-"))
    directory.chmod(0o711)  # root's server runs as another user
    server = Server(directory / "data", binaries)
    try:
        yield server.start()
    finally:
        server.stop("immediate")
        with suppress(EmbeddedError, OSError):
            server.socket_dir.rmdir()
        shutil.rmtree(directory, ignore_errors=True)


def machine() -> dict[str, str | int | float]:
    """What is known of the machine, without its name."""
    facts: dict[str, str | int | float] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "python": platform.python_version(),
    }
    with suppress(OSError, ValueError):
        facts["memory_gb"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    with suppress(OSError):
        facts["load_at_start"] = round(os.getloadavg()[0], 2)
    return facts


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
