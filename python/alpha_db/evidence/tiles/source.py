"""The logs of a database as the tiles are made of: their sizes in one snapshot, their row hashes by COPY."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from alpha_db.errors import ChainMismatch
from alpha_db.evidence.archived import edge_at
from alpha_db.evidence.tiles.layout import HASH, WIDTH, Edge
from alpha_db.queries import ask_one, query

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class DatabaseLog:
    """A log in a database, in a transaction that sees one snapshot; the methods raise psycopg.Error."""

    conn: Connection
    table: str
    origin: str
    size: int
    is_behind: bool  #: a standby may have fewer rows than its primary
    start: int = 0  #: the last row that was archived

    def edge_at_start(self) -> Edge:
        """Return the edge of the log of the archived rows. Raises ChainMismatch (AUD-009)."""
        return edge_at(self.conn, self.table, self.start)

    def root(self, size: int) -> bytes:
        """Return the root of the stored nodes, and of the rows that none covers yet."""
        return bytes(ask_one(self.conn, "log_root", table_name=self.table, size=size))

    def recomputed_root(self, size: int) -> bytes:
        """Return the root of the rows alone."""
        return bytes(ask_one(self.conn, "recompute_log_root", table_name=self.table, size=size))

    def blocks(self, first: int) -> Generator[list[bytes]]:
        """Yield the row hashes from a row on, up to the end of a bundle at a time.

        Raises ChainMismatch (AUD-009) if a row is missing, or its hash is none.
        """
        next_id, block = first, list[bytes]()
        # closed here, whatever happens: an open COPY would make the end of the transaction wait for it
        with closing(self._rows(first)) as rows:
            for row_id, row_hash in rows:
                if row_id != next_id:
                    break
                block.append(_decoded(self.table, row_id, row_hash))
                next_id += 1
                if row_id % WIDTH == 0:
                    yield block
                    block = []
        if next_id <= self.size:
            raise _damage(f"row {next_id} of {self.table} is missing")
        if block:
            yield block

    def _rows(self, first: int) -> Generator[tuple[int, str]]:
        self.conn.execute(query("export_settings"))
        statement = sql.SQL(query("copy_row_hashes")).format(
            table=sql.Identifier(self.table), from_id=sql.Literal(first), to_id=sql.Literal(self.size)
        )
        with self.conn.cursor(row_factory=tuple_row) as cursor, cursor.copy(statement) as copy:
            copy.set_types(["int8", "text"])
            yield from copy.rows()


def _decoded(table: str, row_id: int, row_hash: str) -> bytes:
    try:
        found = bytes.fromhex(row_hash)
    except ValueError:
        found = b""
    if len(found) != HASH:
        raise _damage(f"row {row_id} of {table} has no hash")
    return found


def _damage(message: str) -> ChainMismatch:
    hint = "alpha-db verify-chain tells more"
    return ChainMismatch(f"AUD-009: missing_rows: {message}", hint=hint, sqlstate="AUD09")
