"""Connections through a pooler that gives each transaction another server session, as PgBouncer does.

There nothing lasts that a session is told, and what another client told it may still hold. So each transaction
begins by saying again what must hold in it; statements in autocommit get a transaction of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Self, cast

import psycopg
from psycopg import sql
from psycopg.abc import Params, Query
from psycopg.pq import TransactionStatus
from psycopg.rows import Row

# What PostgreSQL runs in no transaction, or what makes one; none of it is ours but CALL, whose names are qualified.
_ALONE = re.compile(
    r"(?:\s|--[^\n]*\n)*(?:call|vacuum|(?:create|drop)\s+(?:database|tablespace|(?:unique\s+)?index\s+concurrently)"
    r"|reindex|cluster|alter\s+system|begin|start|commit|end|abort|rollback|prepare\s+transaction|discard|listen"
    r"|unlisten|set|reset|show|checkpoint)\b",
    re.IGNORECASE,
)
_OPTION = re.compile(r"(?:-c\s*|--)([A-Za-z_][\w.-]*)=((?:\\.|\S)*)")


class Pins(psycopg.BaseConnection[Any]):
    """What a connection that a pooler stands behind tells each transaction; without pins it tells nothing."""

    #: what each transaction is told first: the name of a setting, and its value in SQL
    pins: dict[str, sql.Composable] | None = None
    #: the schema that alpha-db is looked for in, if there is a pooler
    schema: str | None = None
    #: whether the server is a standby, if there is a pooler
    in_recovery: bool = False
    #: what the caller's options said, which a pooler does not pass on
    options: dict[str, str] | None = None

    def pin(self, name: str, value: str | sql.Composable) -> None:
        """Have a setting told to each transaction from now on."""
        assert self.pins is not None
        self.pins[name] = sql.Literal(value) if isinstance(value, str) else value

    @property
    def is_idle(self) -> bool:
        """Whether the next statement begins a transaction."""
        return self.info.transaction_status == TransactionStatus.IDLE

    def begins_with(self, statement: Query) -> tuple[bool, bool]:
        """Whether a statement needs a transaction of its own, and whether it begins one that must be told."""
        begins = self.pins is not None and self.is_idle
        alone = begins and self.autocommit and bool(_ALONE.match(_text(statement, self)))
        return begins and self.autocommit and not alone, begins and not self.autocommit

    def what_to_tell(self) -> sql.Composed | None:
        """Return the statements that a transaction begins with."""
        # SET takes no snapshot, so the transaction's isolation may still be chosen
        told = (sql.SQL("set local {} = {}").format(sql.SQL(n), v) for n, v in (self.pins or {}).items())
        return sql.SQL("; ").join(told) if self.pins else None


class PinningConnection(Pins, psycopg.Connection[Any]):
    """psycopg's connection; with pins, one that a pooler stands behind."""

    @contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[psycopg.Transaction]:
        """As psycopg's; an outermost one begins with the pins."""
        begins = self.is_idle
        with super().transaction(savepoint_name, force_rollback) as transaction:
            if begins:
                self._tell()
            yield transaction

    @contextmanager
    def pinned(self, statement: Query) -> Iterator[None]:
        """Give a statement its transaction, or the transaction that it begins its pins."""
        own, told = self.begins_with(statement)
        if told:
            self._tell()
        with self.transaction() if own else nullcontext():
            yield

    def _tell(self) -> None:
        if told := self.what_to_tell():
            psycopg.Cursor(self).execute(told, prepare=False)


class PinningCursor(psycopg.Cursor[Row]):
    """psycopg's cursor, on a PinningConnection."""

    def execute(self, query: Query, params: Params | None = None, **options: Any) -> Self:
        """As psycopg's, within a transaction that has the pins."""
        with _pinned(self.connection, query):
            return super().execute(cast(Any, query), params, **options)

    def executemany(self, query: Query, params_seq: Any, **options: Any) -> None:
        """As psycopg's, within a transaction that has the pins."""
        with _pinned(self.connection, query):
            super().executemany(query, params_seq, **options)

    @contextmanager
    def copy(self, statement: Query, params: Params | None = None, **options: Any) -> Iterator[psycopg.Copy]:
        """As psycopg's, within a transaction that has the pins."""
        with _pinned(self.connection, statement), super().copy(statement, params, **options) as copy:
            yield copy


def qualified(call: str, conn: psycopg.BaseConnection[Any]) -> str:
    """Return a CALL with the schema in front of the procedure's name, where no search_path can be relied on."""
    if isinstance(conn, Pins) and conn.schema is not None:
        schema = sql.Identifier(conn.schema).as_string(conn).replace("%", "%%")
        return re.sub(r"^call ", lambda _: f"call {schema}.", call, count=1, flags=re.MULTILINE)
    return call


def is_pooled(conn: psycopg.BaseConnection[Any]) -> bool:
    """Whether a pooler stands between this connection and the server."""
    return isinstance(conn, Pins) and conn.pins is not None


def read_options(options: str) -> dict[str, str]:
    """Return the settings in libpq's ``options``: -c name=value, -cname=value, --name=value."""
    found = {}
    for name, value in _OPTION.findall(options):
        found[name.replace("-", "_").lower()] = re.sub(r"\\(.)", r"\1", value)
    return found


def _pinned(conn: psycopg.Connection[Any], statement: Query) -> AbstractContextManager[None]:
    return conn.pinned(statement) if isinstance(conn, PinningConnection) else nullcontext()


def _text(statement: Query, conn: psycopg.BaseConnection[Any]) -> str:
    if isinstance(statement, bytes):
        return statement.decode("utf-8", "replace")
    return statement if isinstance(statement, str) else statement.as_string(conn)  # type: ignore[union-attr]
