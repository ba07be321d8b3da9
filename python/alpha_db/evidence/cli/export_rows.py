"""A log as the lines of an export, streamed from one snapshot of the database, and checked while it is written.

The formats are those of docs/auditor-guide.md; offline_check reads them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import IO, Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from alpha_db.errors import ChainMismatch
from alpha_db.evidence.archived import edge_at
from alpha_db.evidence.cli.notes import EvidenceRefused, EvidenceUnreadable
from alpha_db.evidence.offline_check import (
    ExportResult,
    MerkleTree,
    Refused,
    Unreadable,
    leaf_hash,
    verify_export,
)
from alpha_db.queries import query


class Log(NamedTuple):
    """A chained table, as it is in the snapshot."""

    origin: str
    table: str
    last_id: int
    error_code: str | None = None  #: if it cannot be read: AUD-009 for a table that is gone, or an SQLSTATE
    problem: str | None = None
    start_id: int = 0  #: the last row that was archived and is not here any more

    def require(self) -> None:
        """Raise ChainMismatch (AUD-009) if the table is gone, EvidenceUnreadable if it cannot be read."""
        if self.error_code == "AUD-009":
            hint = "alpha-db verify-chain verifies all others"
            raise ChainMismatch(f"AUD-009: {self.problem}", hint=hint, sqlstate="AUD09")
        if self.error_code:
            raise EvidenceUnreadable(f"{self.table}: {self.problem}", sqlstate=self.error_code)


class Written(NamedTuple):
    """What an export has in it, and what is wrong with it, if anything is."""

    first_id: int
    rows: int
    last_id: int
    problem: str | None


@contextmanager
def snapshot(conn: psycopg.Connection[Any]) -> Iterator[list[Log]]:
    """Open a read-only transaction whose statements all see the same, and give the logs in it, in order."""
    conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    conn.read_only = True
    with conn.transaction(), conn.cursor(row_factory=dict_row) as cursor:
        yield [Log(**row) for row in cursor.execute(query("logs")).fetchall()]


def write_export(
    conn: psycopg.Connection[Any],
    log: Log,
    first_id: int,
    last_id: int,
    stream: IO[bytes],
    progress: Callable[[int], None],
) -> Written:
    """Write the rows first_id to last_id of a log, as they are in the database, and check what is written.

    Everything is written, also where it does not hold. Raises psycopg.Error, OSError, and EvidenceRefused if
    the row before the first is missing.
    """
    problem = None
    # Closed here, whatever happens: an open COPY would make the end of the transaction wait for it.
    with closing(_lines(conn, log, first_id, last_id)) as source:
        lines = _Tee(source, stream)
        try:
            found: ExportResult | None = verify_export(lines, progress=progress)
        except (Refused, Unreadable) as exc:
            found, problem = None, str(exc)
            for _ in lines:
                pass  # the rest is written as well
    rows = lines.count - 2
    if found is not None and found.last_id != last_id:
        problem = f"row {found.last_id + 1} is missing"
    return Written(first_id, rows, last_id if found is None else found.last_id, problem)


class _Tee:
    """Lines that are written as they are read, and counted."""

    def __init__(self, lines: Iterator[bytes], stream: IO[bytes]) -> None:
        self.count, self._lines, self._stream = 0, lines, stream

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = next(self._lines)
        self._stream.write(line)
        self.count += 1
        return line


def _lines(conn: psycopg.Connection[Any], log: Log, first_id: int, last_id: int) -> Generator[bytes]:
    previous, subtrees = _before(conn, log, first_id - 1)
    header = {
        "format": "alpha-db/export/v1",
        "origin": log.origin,
        "table": log.table,
        "first_id": first_id,
        "previous_hash": previous,
        "subtrees": [base64.b64encode(node).decode() for node in subtrees],
    }
    yield _line(header)
    rows, seen, found = 0, first_id - 1, previous
    with closing(_rows(conn, log, first_id, last_id)) as stored:
        for seen, found, line in stored:  # noqa: B007
            rows += 1
            yield line
    yield _line({"format": "alpha-db/export-end/v1", "rows": rows, "last_id": seen, "last_hash": found})


def _before(conn: psycopg.Connection[Any], log: Log, before: int) -> tuple[str, list[bytes]]:
    """The hash of the row before the first, and the roots of the complete subtrees that end with it."""
    arguments = {"table_name": log.table, "before": before}
    if before == 0:
        return _one(conn, "chain_genesis", arguments), []
    if before == log.start_id:
        return _one(conn, "start_hash", arguments), edge_at(conn, log.table, before).subtrees
    previous = _one(conn, "row_hash", arguments)
    if previous is None:
        raise EvidenceRefused(
            f"row {before} of {log.table} is missing, so nothing can be exported from {before + 1} on"
        )
    tree = MerkleTree(before - 1, _one(conn, "inclusion_proof_of_last", arguments))
    tree.add(leaf_hash(bytes.fromhex(previous)))
    return previous, tree.subtrees


def _rows(
    conn: psycopg.Connection[Any], log: Log, first_id: int, last_id: int
) -> Generator[tuple[int, str, bytes]]:
    """Each row's id and hash, and its line, as the server makes it; never more of them in memory than one."""
    conn.execute(query("export_settings"))
    rows = _one(conn, "chain_rows_sql", {"table_name": log.table})
    statement = sql.SQL(query("export_rows")).format(
        rows=sql.SQL(rows), from_id=sql.Literal(first_id), to_id=sql.Literal(last_id)
    )
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(["int8", "text", "bytea"])
        yield from copy.rows()


def _one(conn: psycopg.Connection[Any], name: str, arguments: dict[str, Any]) -> Any:
    row = conn.execute(query(name), arguments).fetchone()
    return None if row is None else row[0]


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
