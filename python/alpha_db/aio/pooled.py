"""The connection of pooled.py, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, Self, cast

import psycopg
from psycopg.abc import Params, Query
from psycopg.rows import Row

from alpha_db.pooled import Pins


class PinningAsyncConnection(Pins, psycopg.AsyncConnection[Any]):
    """psycopg's connection; with pins, one that a pooler stands behind."""

    @asynccontextmanager
    async def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> AsyncIterator[psycopg.AsyncTransaction]:
        """As psycopg's; an outermost one begins with the pins."""
        begins = self.is_idle
        async with super().transaction(savepoint_name, force_rollback) as transaction:
            if begins:
                await self._tell()
            yield transaction

    @asynccontextmanager
    async def pinned(self, statement: Query) -> AsyncIterator[None]:
        """Give a statement its transaction, or the transaction that it begins its pins."""
        own, told = self.begins_with(statement)
        if told:
            await self._tell()
        async with self.transaction() if own else nullcontext():
            yield

    async def _tell(self) -> None:
        if told := self.what_to_tell():
            await psycopg.AsyncCursor(self).execute(told, prepare=False)


class PinningAsyncCursor(psycopg.AsyncCursor[Row]):
    """psycopg's cursor, on a PinningAsyncConnection."""

    async def execute(self, query: Query, params: Params | None = None, **options: Any) -> Self:
        """As psycopg's, within a transaction that has the pins."""
        async with _pinned(self.connection, query):
            return await super().execute(cast(Any, query), params, **options)

    async def executemany(self, query: Query, params_seq: Any, **options: Any) -> None:
        """As psycopg's, within a transaction that has the pins."""
        async with _pinned(self.connection, query):
            await super().executemany(query, params_seq, **options)

    @asynccontextmanager
    async def copy(
        self, statement: Query, params: Params | None = None, **options: Any
    ) -> AsyncIterator[psycopg.AsyncCopy]:
        """As psycopg's, within a transaction that has the pins."""
        async with (
            _pinned(self.connection, statement),
            super().copy(statement, params, **options) as copy,
        ):
            yield copy


def _pinned(conn: psycopg.AsyncConnection[Any], statement: Query) -> AbstractAsyncContextManager[None]:
    return conn.pinned(statement) if isinstance(conn, PinningAsyncConnection) else nullcontext()
