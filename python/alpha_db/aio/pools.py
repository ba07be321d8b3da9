"""A pool of connections, each as alpha_db.aio.connect() opens it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from alpha_db.aio.connection import open_pinned, pin_names
from alpha_db.aio.pooled import PinningAsyncConnection
from alpha_db.connection import is_read_only, parameters
from alpha_db.pooled import is_pooled
from alpha_db.queries import query
from alpha_db.service.pools import as_opened, require_pool, waiting

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool


def pool(
    dsn: str | None = None,
    *,
    schema: str | None = None,
    min_size: int = 1,
    max_size: int = 10,
    timeout: float = 30.0,
    **options: Any,
) -> AsyncConnectionPool[psycopg.AsyncConnection[Any]]:
    """Return a pool as ``alpha_db.pool()`` does, which ``async with`` or ``await pool.open()`` opens."""
    base = require_pool().AsyncConnectionPool
    conninfo = make_conninfo(**parameters(dsn, schema=schema))

    class Pool(base):  # type: ignore[misc, valid-type]
        async def getconn(self, timeout: float | None = None) -> Any:
            """As psycopg_pool's; raises ConnectionFailed."""
            with waiting():
                return await super().getconn(timeout)

    given = {"min_size": min_size, "max_size": max_size, "timeout": timeout, "open": False, **options}
    checks = {"check": base.check_connection, "reset": _reset}
    return Pool(conninfo, connection_class=_Opened, **{**checks, **given})


class _Opened(PinningAsyncConnection):
    @classmethod
    async def connect(cls, conninfo: str = "", **kwargs: Any) -> Any:
        """Open one, as the pool asks for it."""
        return await open_pinned(conninfo_to_dict(conninfo, **kwargs), autocommit=True)


async def _reset(conn: PinningAsyncConnection) -> None:
    await conn.set_autocommit(True)
    await conn.set_isolation_level(None)
    await conn.set_deferrable(None)
    await conn.set_read_only(is_read_only(conn) or None)
    as_opened(conn)
    if not is_pooled(conn):
        await psycopg.AsyncCursor(conn).execute(query("reset_session"), prepare=False)
        await pin_names(conn)
