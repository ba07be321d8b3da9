"""yoyo's backend for any libpq connection, without the lock row that a killed process would leave."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import default_migration_table

from alpha_db.connection import open_pinned, pin_for_command
from alpha_db.errors import from_database
from alpha_db.queries import ask


class Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]
    """A yoyo backend that connects with libpq's parameters; its marks equal those of ``yoyo apply``."""

    def connect(self, dburi: Any) -> psycopg.Connection[Any]:
        """Connect as the library does; yoyo itself would show no notices and pin no names. Raises AlphaDbError."""
        try:
            conn = open_pinned(dburi.args, autocommit=True)
            pin_for_command(conn)
        except psycopg.Error as exc:
            raise from_database(exc) from exc
        return conn

    _lock_timeout = "0"

    def limit_waiting(self, timeout: str) -> None:
        """Let every statement wait for a lock for so long at most, also those of copies: each file is run on one."""
        self._lock_timeout = timeout
        set_lock_timeout(self.connection, timeout)

    def copy(self) -> Backend:
        """Return a backend with a connection of its own."""
        made: Backend = super().copy()
        made.limit_waiting(self._lock_timeout)
        return made

    @contextmanager
    def lock(self, timeout: float = 10) -> Iterator[None]:  # noqa: ARG002
        """Nothing: run.py holds the lock of all runs of migrate, which ends with its process."""
        yield

    def get_log_data(self, migration: Any = None, operation: str = "apply") -> dict[str, Any]:
        """What yoyo writes into its log, also where the uid has no name (containers)."""
        try:
            getpass.getuser()
        except (KeyError, OSError):
            os.environ["LOGNAME"] = f"uid {os.getuid()}"
        data: dict[str, Any] = super().get_log_data(migration, operation)
        return data


def set_lock_timeout(conn: psycopg.Connection[Any], timeout: str) -> None:
    """Let every statement of a connection wait for a lock for so long at most."""
    ask(conn, "set_lock_timeout", timeout=timeout)


def open_backend(parameters: dict[str, Any]) -> Backend:
    """Return a backend for libpq's parameters; its history is brought to this yoyo's form when first used."""
    # a DatabaseURI, not a URL: nothing needs quoting; sockets, services, password files work as in libpq
    uri = DatabaseURI("postgresql+psycopg", None, None, None, None, parameters.get("dbname"), parameters)
    return Backend(uri, default_migration_table)
