"""The roots of a log from its rows alone, recomputed over several connections.

The database recomputes the root over each block of 256 rows (recompute_block_roots, docs/sql/auditor.md). A tree over
these roots is the tree over the rows, so the root of every size follows from them: of a size that ends within a block,
the rows of that block are read again. Source: RFC 9162, 2.1.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from alpha_db.errors import ConnectionFailed, is_recovery_conflict
from alpha_db.evidence.offline_check import MerkleTree
from alpha_db.evidence.tiles.layout import HASH, WIDTH
from alpha_db.queries import ask
from alpha_db.verify.again import Reader
from alpha_db.verify.side_by_side import side_by_side

Connection = psycopg.Connection[Any]
#: From which row to which.
Span = tuple[int, int]

#: How many rows a statement reads, and the ends of how many sizes.
STEP, ENDS = 65_536, 64


@dataclass(frozen=True)
class Hands:
    """How to connect, how many connections may read side by side, and who is told how many rows of how many are read.

    `on_fewer` is told how many connections worked, and why not all did; `on_again` how often a standby cancelled what
    was read, before it was read again.
    """

    connect: Callable[[], Connection]
    jobs: int
    on_progress: Callable[[int, int], None] = lambda _done, _total: None
    on_fewer: Callable[[int, ConnectionFailed], None] = lambda _number, _problem: None
    on_again: Callable[[int], None] = lambda _conflicts: None


def savepoint(conn: Connection) -> AbstractContextManager[object]:
    """In a transaction of the caller's, what an error undoes; else nothing, because a statement is a transaction."""
    is_within = conn.info.transaction_status is TransactionStatus.INTRANS
    return conn.transaction() if is_within else nullcontext()


def read_blocks(
    conn: Connection,
    table: str,
    size: int,
    hands: Hands | None,
    on_progress: Callable[[int], None] = lambda _rows: None,
) -> list[bytes] | None:
    """Return the roots of the blocks of a log of that size, the last of which may be shorter.

    Without `hands` they are read over `conn`, in the caller's transaction if there is one. `on_progress` is told how
    many rows are read. None if the rows do not give them, because some are missing or are no hashes: verify_checkpoint
    then says why. Raises a conflict with recovery, and psycopg.Error for a connection that is lost.
    """
    spans = [[(first + 1, min(first + STEP, size))] for first in range(0, size, STEP)]
    try:
        with savepoint(conn):
            found = _read(conn, table, spans, hands, lambda done: on_progress(min(done * STEP, size)))
    except psycopg.Error as problem:
        if is_recovery_conflict(problem) or conn.closed:
            raise
        return None
    return [root for (roots,) in found for root in _hashes(roots)]


def root_of(blocks: Sequence[bytes]) -> bytes:
    """Return the root of the log that consists of these blocks."""
    tree = MerkleTree()
    tree.add(*blocks)
    return tree.root()


def roots_at(
    conn: Connection, table: str, blocks: Sequence[bytes], sizes: Sequence[int], hands: Hands | None
) -> Iterator[bytes]:
    """Yield the roots of a log of these blocks when it had these sizes, in ascending order. Raises psycopg.Error."""
    within = sorted({size for size in sizes if size % WIDTH})
    spans = [(size - size % WIDTH + 1, size) for size in within]
    parts = [spans[first : first + ENDS] for first in range(0, len(spans), ENDS)]
    read = _read(conn, table, parts, hands, lambda _done: None)
    ends = dict(zip(within, (root for roots in read for root in roots), strict=True))
    tree = MerkleTree()
    for size in sizes:
        tree.add(*blocks[tree.size : size // WIDTH])
        cut = MerkleTree(tree.size, tree.subtrees)
        if size % WIDTH:
            cut.add(ends[size])
        yield cut.root()


def _read(
    conn: Connection,
    table: str,
    parts: Sequence[Sequence[Span]],
    hands: Hands | None,
    on_progress: Callable[[int], None],
) -> list[list[bytes]]:
    """The roots of the blocks of each span, part by part; of one span they are concatenated."""
    if hands is None or len(parts) < 2:
        return [_roots(conn, table, spans) for spans in parts]

    def read(reader: Reader, spans: Sequence[Span]) -> list[bytes]:
        return reader.read(lambda own: _roots(own, table, spans))

    return side_by_side(
        hands.connect,
        parts,
        read,
        jobs=hands.jobs,
        on_progress=on_progress,
        on_fewer=hands.on_fewer,
        on_again=hands.on_again,
        spare=Reader(hands.connect, conn),
    )


def _roots(conn: Connection, table: str, spans: Sequence[Span]) -> list[bytes]:
    first, last = [list(ends) for ends in zip(*spans, strict=True)]
    found = ask(conn, "recompute_block_roots", table_name=table, from_ids=first, to_ids=last)
    return [bytes(row["roots"]) for row in found]


def _hashes(roots: bytes) -> Iterator[bytes]:
    return (roots[place : place + HASH] for place in range(0, len(roots), HASH))
