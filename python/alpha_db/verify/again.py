"""Reading again what a standby cancelled, because replaying what the primary did could not wait for the reader.

PostgreSQL cancels the statement (40001, or 40P01 over a buffer). Inside a block that catches errors it ends the session
(40001, too), and the functions that give verdicts have such blocks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg

from alpha_db.errors import RecoveryConflict, is_recovery_conflict
from alpha_db.service.backoff import Backoff

Connection = psycopg.Connection[Any]
Result = TypeVar("Result")

#: How often one thing is read before it is given up, or read in smaller parts.
TRIES = 4


class Reader:
    """A connection that reads, replaced by another one if a standby ended its session.

    Takes how to connect, a connection that is open already, if there is one, and an event after which nothing is read
    again.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        conn: Connection | None = None,
        is_over: threading.Event | None = None,
    ) -> None:
        self._connect = connect
        self._is_over = is_over or threading.Event()
        self.conn = connect() if conn is None else conn
        #: how often a standby cancelled what was read
        self.conflicts = 0

    def read(self, work: Callable[[Connection], Result], tries: int = TRIES) -> Result:
        """Return what `work` returns; run it again after a conflict with recovery, `tries` times in all.

        Raises what it raises, that of the last attempt, and ConnectionFailed.
        """
        backoff = Backoff(first=0.05, longest=1.0)
        while True:
            if self.conn.closed:  # a standby ended it
                self.conn = self._connect()
            try:
                return work(self.conn)
            except (psycopg.Error, RecoveryConflict) as problem:
                if not is_recovery_conflict(problem):
                    raise
                self.conflicts += 1
                tries -= 1
                if tries <= 0 or self._is_over.is_set():
                    raise
            self._is_over.wait(backoff.next())

    def close(self) -> None:
        """Close the connection."""
        self.conn.close()
