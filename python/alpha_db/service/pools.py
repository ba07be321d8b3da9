"""A pool of connections, each as connect() opens it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import tuple_row

from alpha_db.connection import is_read_only, open_pinned, parameters, pin_names
from alpha_db.errors import ConnectionFailed, ExtraMissing, translate
from alpha_db.loaders import read_what_is_there
from alpha_db.pooled import PinningConnection, is_pooled
from alpha_db.queries import query

if TYPE_CHECKING:
    from psycopg_pool import ConnectionPool


def pool(
    dsn: str | None = None,
    *,
    schema: str | None = None,
    min_size: int = 1,
    max_size: int = 10,
    timeout: float = 30.0,
    **options: Any,
) -> ConnectionPool[psycopg.Connection[Any]]:
    """Open a pool: ``with alpha_db.pool(dsn) as pool:``, and for each task ``with pool.connection() as conn:``.

    Its connections are those of ``connect()``, in autocommit, so that ``append_*`` commits by itself; a transaction is
    ``with conn.transaction():``. Each is checked before it is handed out, and replaced if the server has gone; what
    the work before set in its session is reset. `timeout` is how many seconds to wait for one: then ConnectionFailed.
    Takes the DSN and the schema as ``connect()`` does; any other option is ``psycopg_pool.ConnectionPool``'s. Raises
    ExtraMissing without psycopg_pool (pip install 'alpha-db[pool]'), ConnectionFailed for a DSN that cannot be read.
    """
    base = require_pool().ConnectionPool
    conninfo = make_conninfo(**parameters(dsn, schema=schema))

    class Pool(base):  # type: ignore[misc, valid-type]
        def getconn(self, timeout: float | None = None) -> Any:
            """As psycopg_pool's; raises ConnectionFailed."""
            with waiting():
                return super().getconn(timeout)

    given = {"min_size": min_size, "max_size": max_size, "timeout": timeout, "open": True, **options}
    checks = {"check": base.check_connection, "reset": _reset}
    return Pool(conninfo, connection_class=_Opened, **{**checks, **given})


def require_pool() -> Any:
    """Return psycopg_pool. Raises ExtraMissing."""
    try:
        import psycopg_pool
    except ModuleNotFoundError as problem:
        message = f"a pool needs {problem.name}, which is not installed"
        raise ExtraMissing(message, hint="Install it: pip install 'alpha-db[pool]'") from None
    return psycopg_pool


@contextmanager
def waiting() -> Iterator[None]:
    """Raise ConnectionFailed for a connection that was not to be had."""
    try:
        with translate():
            yield
    except ConnectionFailed as problem:
        problem.hint = (
            "Look at the log of psycopg.pool; if connections are all in use, raise max_size or timeout."
        )
        raise


class _Opened(PinningConnection):
    @classmethod
    def connect(cls, conninfo: str = "", **kwargs: Any) -> Any:
        """Open one, as the pool asks for it."""
        return open_pinned(conninfo_to_dict(conninfo, **kwargs), autocommit=True)


def _reset(conn: psycopg.Connection[Any]) -> None:
    conn.autocommit = True
    conn.isolation_level = conn.deferrable = None
    conn.read_only = is_read_only(conn) or None
    as_opened(conn)
    if not is_pooled(conn):
        psycopg.Cursor(conn).execute(query("reset_session"), prepare=False)
        pin_names(conn)


def as_opened(conn: psycopg.BaseConnection[Any]) -> None:
    """Take back what the work before set on a connection in Python."""
    conn.row_factory = tuple_row  # type: ignore[attr-defined]
    read_what_is_there(conn)
