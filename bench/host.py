"""The server that is measured, and the machine that it runs on."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
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
    "ssl_library",
)


@dataclass(frozen=True)
class Host:
    """A running server, whether the run is a quick one, the rows of growth's largest table, and those of bulk."""

    server: Server
    quick: bool
    largest: int = 1_000_000
    bulk_rows: int = 40_000

    def database(self, name: str) -> str:
        """Make a database with the migrations applied; return its DSN."""
        self._administer(f'create database "{name}"')
        dsn = self.server.url(name)
        migrate(dsn)
        return dsn

    def drop(self, name: str) -> None:
        """Drop a database."""
        self._administer(f'drop database if exists "{name}" with (force)')

    @contextmanager
    def clone(self, name: str, number: int = 0) -> Iterator[str]:
        """Make a copy of a database that nobody is connected to, give its DSN, and drop it at the end."""
        copy = f"{name}_copy_{number}"
        self._administer(f'create database "{copy}" template "{name}"')
        try:
            yield self.server.url(copy)
        finally:
            self.drop(copy)

    @contextmanager
    def set(self, settings: Mapping[str, str]) -> Iterator[None]:
        """Change settings of the server, for new sessions, and take it back at the end."""
        try:
            self._administer(
                *(f"alter system set {name} = {value}" for name, value in settings.items()),
                "select pg_reload_conf()",
            )
            yield
        finally:
            self._administer("alter system reset all", "select pg_reload_conf()")

    def checkpoint(self) -> None:
        """Write out what came before, so that it does not disturb what comes."""
        self._administer("checkpoint")

    @property
    def cores(self) -> int:
        """How many cores this process may use."""
        return cores()

    def _administer(self, *statements: str) -> None:
        with psycopg.connect(self.server.url(), autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement)

    def connect(self, dsn: str) -> psycopg.Connection[Any]:
        """Connect in autocommit."""
        return connect(dsn, autocommit=True)

    @staticmethod
    def clock(work: Callable[[], object]) -> float:
        """Return the seconds that something takes."""
        started = perf_counter()
        work()
        return perf_counter() - started

    def seconds(self, conn: psycopg.Connection[Any], statement: str) -> float:
        """Return the seconds that a statement takes, as its client sees it."""
        return self.clock(lambda: conn.execute(statement))

    def settings(self) -> dict[str, str]:
        """The server's settings that matter for a figure."""
        with psycopg.connect(self.server.url(), autocommit=True) as conn:
            return {name: str(conn.execute(f"show {name}").fetchone()[0]) or "none" for name in SETTINGS}  # type: ignore[index]


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
        "cores": cores(),
        "python": platform.python_version(),
    }
    with suppress(OSError, ValueError):
        facts["memory_gb"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    with suppress(OSError):
        facts["load_at_start"] = round(os.getloadavg()[0], 2)
    return facts


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
