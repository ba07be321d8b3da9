"""Asking the database within a deadline: whatever the server or the network does, the answer or a failure comes."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import psycopg
from psycopg import sql

from alpha_db.connection import be_read_only, connect, pin_for_command
from alpha_db.errors import AlphaDbError, ConnectionFailed, NotInstalled, from_database
from alpha_db.installation import gone, require_installed
from alpha_db.objects import tables
from alpha_db.pooled import PinningConnection, is_pooled
from alpha_db.queries import Row, ask
from alpha_db.verify.cli.desk_names import installations, require_one_owner


class TooSlowError(AlphaDbError):
    """The database did not answer in time."""


class Asks(Protocol):
    """What answers named queries of one desk."""

    def ask(self, name: str, **values: object) -> list[Row]:
        """Return the rows of a named query. Raises AlphaDbError."""
        ...


class Database:
    """One connection, kept between questions and opened again when it broke. For one thread at a time, or several.

    Takes where it is (as Settings has it), how many seconds a question may take, opening included, and whether it may
    write.
    """

    def __init__(
        self, dsn: str | None, schema: str | None, deadline: float, *, may_write: bool = False
    ) -> None:
        self._dsn, self._schema, self._deadline = dsn, schema, deadline
        self._may_write = may_write
        self._turn = threading.Lock()
        self._conn: psycopg.Connection[Any] | None = None
        self._asking: threading.Thread | None = None

    def ask(self, name: str, **values: object) -> list[Row]:
        """Return the rows of a named query. Raises AlphaDbError, TooSlowError among them."""
        return self._in_time(lambda: self.answer(name, values))

    def _in_time(self, answer: Callable[[], list[Row]]) -> list[Row]:
        end = time.monotonic() + self._deadline
        if not self._turn.acquire(timeout=self._deadline):
            raise self._too_slow()
        try:
            if self._asking and self._asking.is_alive():  # the one before, which nobody waits for any more
                self._hang_up()
                raise self._too_slow()
            question = _Question(answer)
            self._asking = threading.Thread(target=question.run, daemon=True)
            self._asking.start()
            self._asking.join(max(0.0, end - time.monotonic()))
            if self._asking.is_alive():
                self._hang_up()
                raise self._too_slow()
        finally:
            self._turn.release()
        if question.problem is not None:
            raise question.problem
        return question.rows

    def answer(self, name: str, values: dict[str, object]) -> list[Row]:
        """Ask in this thread, however long that takes; once more if a connection of before is lost.

        Raises psycopg.Error and AlphaDbError.
        """
        is_new = self._conn is None
        conn = self._conn = self._conn or self._open()
        try:
            self._before(conn)
            return ask(conn, name, **values)
        except psycopg.Error as problem:
            if not _is_lost(conn, problem):
                if part := gone(conn, problem):
                    raise part from problem
                raise
            conn.close()
            if self._conn is not conn or is_new:  # nobody waits any more, or it is no better the second time
                self._forget(conn)
                raise
            self._conn = None
        return self.answer(name, values)

    def _open(self) -> psycopg.Connection[Any]:
        milliseconds = max(1, round(self._deadline * 1000))
        conn = connect(self._dsn, schema=self._schema, autocommit=True, tcp_user_timeout=milliseconds)
        try:
            pin_for_command(conn)
            self._opened(conn)
            if not self._may_write:
                be_read_only(conn)
            # So that a question nobody waits for any more does not go on in the server.
            limit = f"{milliseconds}ms"
            ask(conn, "limit_statements", limit=limit, is_pooled=is_pooled(conn))
            if isinstance(conn, PinningConnection) and conn.pins is not None:
                conn.pin("statement_timeout", limit)
        except BaseException:
            conn.close()
            raise
        return conn

    def _opened(self, conn: psycopg.Connection[Any]) -> None:
        require_installed(conn, self._schema)

    def _before(self, conn: psycopg.Connection[Any]) -> None:
        """Prepare a connection for the next question."""

    def close(self) -> None:
        """Close the connection; the next question opens another."""
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.close()

    def _forget(self, conn: psycopg.Connection[Any]) -> None:
        if self._conn is conn:
            self._conn = None

    def _hang_up(self) -> None:
        """Break the connection under the thread that waits on it, so that the thread ends."""
        conn, self._conn = self._conn, None
        if conn is None:
            return  # it is being opened, which has a time limit of its own
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(conn.fileno())) as stream:
            stream.shutdown(socket.SHUT_RDWR)

    def _too_slow(self) -> TooSlowError:
        return TooSlowError(
            f"the database did not answer within {self._deadline:g} s",
            hint="look at its load, locks and network",
        )


class SharedDatabase(Database):
    """Asks desk after desk of a database, each in a session of its own, because a desk may spoil the session it had.

    Takes where it is, and how long a question may take.
    """

    def __init__(self, dsn: str | None, deadline: float) -> None:
        super().__init__(dsn, None, deadline)
        self._desk: str | None = None
        self._listed: set[str] = set()

    def desks(self) -> list[str]:
        """Return the schemas that hold an installation, by name. Raises AlphaDbError, PermissionDenied among them."""
        found = self.ask_in(None, "installations", {"names": tables()})
        require_one_owner(found)
        return sorted(row["schema"] for row in found)

    def ask_in(self, schema: str | None, name: str, values: dict[str, object]) -> list[Row]:
        """Return the rows of a named query in one desk; None: in none of them. Raises AlphaDbError."""

        def answer() -> list[Row]:
            if self._desk not in (None, schema):
                self.close()
            self._desk = schema
            return self.answer(name, values)

        return self._in_time(answer)

    def _opened(self, conn: psycopg.Connection[Any]) -> None:
        """Take a connection wherever it is: the question says where it is to go. Raises PermissionDenied."""
        conn.prepare_threshold = None
        self._listed = {row["schema"] for row in installations(conn)}

    def _before(self, conn: psycopg.Connection[Any]) -> None:
        """Go to the desk that is asked. Raises what require_installed raises, and psycopg.Error."""
        if self._desk is None:
            return
        if self._desk not in self._listed:
            raise NotInstalled(f"schema {self._desk} holds no installation any more", sqlstate="42P01")
        path = sql.SQL("{}, pg_temp").format(sql.Identifier(self._desk))
        if isinstance(conn, PinningConnection) and conn.pins is not None:
            conn.schema = self._desk
            conn.pin("search_path", path)
        else:
            ask(conn, "go_to", path=path.as_string(conn))
        require_installed(conn, self._desk)


class OneOfMany:
    """One desk of a shared database."""

    def __init__(self, database: SharedDatabase, schema: str) -> None:
        self._database, self._schema = database, schema

    def ask(self, name: str, **values: object) -> list[Row]:
        """Return the rows of a named query. Raises AlphaDbError."""
        return self._database.ask_in(self._schema, name, values)


def _is_lost(conn: psycopg.Connection[Any], problem: psycopg.Error) -> bool:
    """Whether the connection is of no more use: it broke, or the server ended it."""
    return conn.closed or (problem.sqlstate or "").startswith(("08", "57P"))


class _Question:
    """A question in a thread of its own."""

    def __init__(self, answer: Callable[[], list[Row]]) -> None:
        self._ask = answer
        self.rows: list[Row] = []
        self.problem: AlphaDbError | None = None

    def run(self) -> None:
        """Ask, and keep the answer or what went wrong."""
        try:
            self.rows = self._ask()
        except AlphaDbError as problem:
            self.problem = problem
        except psycopg.Error as problem:
            self.problem = from_database(problem)
        except Exception as problem:  # the thread's end must not be its only trace
            self.problem = ConnectionFailed(f"{type(problem).__name__}: {problem}")
