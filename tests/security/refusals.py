"""How the security tests look at a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.cluster import Server
from tests.support import SUPERUSER, one, psql_file, query, quote

Connection = psycopg.Connection[Any]


@contextmanager
def refused(
    code: str, table: str | None = None, schema: str = "public"
) -> Iterator[pytest.ExceptionInfo[Any]]:
    """Expect a refusal as docs/errors.md promises it: SQLSTATE, message, DETAIL, HINT, schema and table."""
    with pytest.raises(psycopg.Error) as caught:
        yield caught
    error = caught.value
    said = f"{error.sqlstate}: {error}"
    assert error.sqlstate == code.replace("-0", ""), said
    assert (error.diag.message_primary or "").startswith(f"{code}: "), said
    assert error.diag.message_detail, said
    assert error.diag.message_hint, said
    if table is not None:
        assert (error.diag.schema_name, error.diag.table_name) == (schema, table), said


@contextmanager
def denied(sqlstate: str = "42501") -> Iterator[None]:
    """Expect PostgreSQL's own refusal; insufficient privilege by default."""
    with pytest.raises(psycopg.Error) as caught:
        yield
    assert caught.value.sqlstate == sqlstate, f"{caught.value.sqlstate}: {caught.value}"


@contextmanager
def undone(connection: Connection) -> Iterator[None]:
    """A transaction that is rolled back, whatever happens in it."""
    with connection.transaction(force_rollback=True):
        yield


def attempts(connection: Connection) -> dict[tuple[str, str, str], int]:
    """The counts of vw_rejected_attempts that are not zero, by code, table and operation."""
    return {
        (row["code"], row["table_name"], row["operation"]): row["attempts"]
        for row in query(connection, "select * from vw_rejected_attempts where attempts > 0")
    }


def head(connection: Connection) -> dict[str, tuple[int | None, str | None]]:
    """Every chain's last id and hash, to see that nothing was written."""
    rows = query(connection, "select table_name, last_id, head_hash from chain_status()")
    return {row["table_name"]: (row["last_id"], row["head_hash"]) for row in rows}


def copy_in(connection: Connection, target: str, *rows: str) -> None:
    """COPY target FROM STDIN with rows in text format."""
    with connection.cursor() as cursor, cursor.copy(f"copy {target} from stdin") as copy:
        for row in rows:
            copy.write(row + "\n")


def a_signal(connection: Connection) -> str:
    """The correlation_id of the first signal."""
    return str(one(connection, "select correlation_id from signals order by id limit 1"))


def install_guard(server: Server, dbname: str, schema: str = "public", file: str = "ddl_guard.sql") -> None:
    """Apply the superuser step (or take it back, by its other file), and record it as its header says."""
    psql_file(server, dbname, SUPERUSER / file, schema=schema)
    server.psql(dbname, f"select {quote(schema)}.record_guards('{file}')")
