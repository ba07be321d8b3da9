"""Logs whose first rows were archived: where they begin now, and which segment has the rows that left.

The nodes over the rows that left stay in the database, so roots and proofs of what remains are what they were. A block
of 256 rows leaves as a whole. Source: docs/retention.md.
"""

from __future__ import annotations

from typing import Any

import psycopg

from alpha_db.errors import ChainMismatch, NotThere
from alpha_db.evidence.tiles.layout import HASH, WIDTH, Edge
from alpha_db.queries import ask, ask_one

Connection = psycopg.Connection[Any]


def start_of(conn: Connection, table: str) -> int:
    """Return the id of the last row that left a chain; 0 if none has. Raises psycopg.Error."""
    return int(ask_one(conn, "chain_start", table_name=table))


def is_start_proven(conn: Connection, table: str, start: int) -> bool:
    """Return whether an approved archive has the rows up to the start of a chain. Raises psycopg.Error."""
    return start == 0 or start == ask_one(conn, "proven_start", table_name=table)


def has_root(size: int, start: int) -> bool:
    """Return whether the root of a log of that size can still be computed, if rows up to start are archived."""
    return size >= start or size % WIDTH == 0


def archived_row(conn: Connection, table: str, row_id: int) -> NotThere:
    """Return the error that a row is in a segment, and in which. Raises psycopg.Error."""
    found = ask(conn, "segment_of_row", table_name=table, id=row_id)
    where = "a segment"
    if found:
        where = f"the segment of rows {found[0]['first_id']} to {found[0]['through_id']}"
        where += f", whose SHA-256 is {found[0]['segment_sha256']}"
    return NotThere(
        f"row {row_id} of {table} is archived: it is in {where}",
        hint="alpha-db verify-export SEGMENT --trust KEY checks it",
    )


def edge_at(conn: Connection, table: str, size: int) -> Edge:
    """Return the right edge of a log of that size, a multiple of 256, from stored nodes alone.

    Raises ChainMismatch (AUD-009) if they do not give the root of the log, and psycopg.Error.
    """
    levels = [b""] if size else []
    level = 1
    while last := size >> 8 * level:
        first = last - last % WIDTH
        nodes = ask(conn, "stored_nodes", table_name=table, level=8 * level, first=first, last=last)
        levels.append(b"".join(bytes(node["hash"]) for node in nodes))
        level += 1
    edge = Edge(size, levels)
    is_whole = all(len(tile) == (size >> 8 * n) % WIDTH * HASH for n, tile in enumerate(levels))
    if not is_whole or edge.root() != bytes(ask_one(conn, "log_root", table_name=table, size=size)):
        raise ChainMismatch(
            f"AUD-009: the stored nodes of {table} do not give the root of its archived rows 1 to {size}",
            hint="alpha-db verify-chain tells more",
            sqlstate="AUD09",
        )
    return edge
