"""Where a hydrator reads: one connection that listens and reads, and can be cut off from another thread."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Any, Protocol

import psycopg

from alpha_db.connection import pin_names
from alpha_db.pooled import PinningConnection
from alpha_db.queries import query
from alpha_db.security.evidence import Reading, read_evidence

ConnectionFactory = Callable[[], psycopg.Connection[Any]]

logger = logging.getLogger(__name__)

# cannot LISTEN during recovery
_STANDBY = "25006"


class Source(Protocol):
    """What the hydrator reads from. All but abort are called by one thread; each may raise anything."""

    def open(self) -> None:
        """Connect, and listen before anything is read."""

    def read(self, since: int) -> Reading:
        """Read what holds now, leaving out the changes up to version `since`."""

    def wait(self, timeout: float) -> None:
        """Wait for a notification, at most `timeout` seconds."""

    def abort(self) -> None:
        """Make whatever another thread waits for in this source fail now."""

    def close(self) -> None:
        """Give the connection up."""


class PostgresSource:
    """A source on a connection of its own.

    Takes how to connect (the search_path begins with the install schema), and after how many seconds the
    server shall give a statement up by itself.
    """

    def __init__(self, connect: ConnectionFactory, statement_timeout: float) -> None:
        self._connect = connect
        self._statement_timeout = statement_timeout
        self._conn: psycopg.Connection[Any] | None = None
        self._listens = False
        self._cut = threading.Event()
        self._lock = threading.Lock()

    def open(self) -> None:
        """Connect and LISTEN; on a standby and through a pooler that cannot be, and polling has to do."""
        conn = self._connect()
        with self._lock:
            self._conn = conn
        if self._cut.is_set():
            raise psycopg.OperationalError("given up while connecting")
        conn.rollback()
        conn.autocommit = True
        pooled = pin_names(conn)
        _pin(conn, "statement_timeout", f"{self._statement_timeout * 1000:.0f}ms")
        if pooled:
            logger.info("no LISTEN through a pooler: limits are read every poll interval")
            return
        try:
            conn.execute(query("listen_risk"))
            conn.execute(query("listen_lockdown"))
            self._listens = True
        except psycopg.errors.lookup(_STANDBY):
            self._listens = False

    def read(self, since: int) -> Reading:
        """Read by the connection. Raises psycopg.Error."""
        assert self._conn is not None
        return read_evidence(self._conn, since)

    def wait(self, timeout: float) -> None:
        """Wait for a NOTIFY. Its payload is anybody's word: only that one came is used."""
        if not self._listens:
            self._cut.wait(timeout)
            return
        assert self._conn is not None
        for _ in self._conn.notifies(timeout=timeout, stop_after=1):
            pass

    def abort(self) -> None:
        """Shut the socket down under the thread that waits for it; closing it there and then would be a race."""
        self._cut.set()
        with self._lock, contextlib.suppress(OSError, psycopg.Error):
            if self._conn is not None and not self._conn.closed:
                with socket.socket(fileno=os.dup(self._conn.fileno())) as copy:
                    copy.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, if there is one."""
        with self._lock, contextlib.suppress(psycopg.Error):
            if self._conn is not None:
                self._conn.close()


def _pin(conn: psycopg.Connection[Any], name: str, value: str) -> None:
    """Set a setting for as long as the connection lasts."""
    if isinstance(conn, PinningConnection) and conn.pins is not None:
        conn.pin(name, value)
    else:
        conn.execute(query("set_for_session"), {"name": name, "value": value})
