"""Writing the tiles of one log: all of them, or those that are new since `tree` was written.

Nothing is written that contradicts what is there. A run that is killed at any moment leaves a directory whose `tree`
goes with its tiles, and the next run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Protocol

from alpha_db.errors import ChainMismatch
from alpha_db.evidence.archived import has_root
from alpha_db.evidence.offline_check import Refused, Unreadable
from alpha_db.evidence.tiles.folder import (
    CHECKPOINT,
    MEND,
    TREE,
    Tree,
    Writer,
    checkpoint_size,
    read_edge,
    read_tree,
)
from alpha_db.evidence.tiles.layout import Edge


class Source(Protocol):
    """A log as the database holds it."""

    @property
    def origin(self) -> str:
        """The log's name."""

    @property
    def size(self) -> int:
        """How many rows are published."""

    @property
    def is_behind(self) -> bool:
        """Whether another server may have more rows."""

    @property
    def start(self) -> int:
        """How many rows are archived, so that they are not here any more."""

    def edge_at_start(self) -> Edge:
        """Return the edge of the log of the archived rows."""

    def root(self, size: int) -> bytes:
        """Return the root that the database gives."""

    def recomputed_root(self, size: int) -> bytes:
        """Return the root that the rows alone give."""

    def blocks(self, first: int) -> Generator[list[bytes]]:
        """Yield the row hashes from a row on, as many at a time as there are up to the end of a bundle."""


class Head(NamedTuple):
    """What was signed of the log, and the caller has verified: its first rows; the note, if that is of this log."""

    size: int
    root: bytes
    note: str | None = None


class Published(NamedTuple):
    """What came of a log: how long it was in the directory and is now, its root, how many files were written."""

    previous: int
    size: int
    root: bytes
    files: int


def publish(
    source: Source,
    folder: Path,
    *,
    signed: Head | None = None,
    every_size: bool = False,
    full: bool = False,
    progress: Callable[[int], None],
) -> Published:
    """Write the tiles of a log that the directory does not have yet, then `tree`, then the checkpoint if there is one.

    Takes what was signed of the log, whether every size of it was signed, so that clients ask for its partial tiles,
    and whether all rows are read again. The caller holds the lock of the directory. Raises ChainMismatch (AUD-009) if
    the database contradicts the tiles or what was signed, Refused for a directory of another log or with damaged
    tiles, Unreadable, OSError, and what the source raises.
    """
    before = read_tree(folder)
    edge = _compare(source, folder, before, full=full)
    previous = before.size if before else 0
    if signed:
        _check_signed(source, folder, signed)
    writer = Writer(folder)
    try:
        writer.begin(before or Tree(source.origin, 0, Edge().root()))
        if edge.size > previous:
            writer.begin_at(edge.size)
        with closing(source.blocks(edge.size + 1)) as blocks:
            for block in blocks:
                for rows in [[row] for row in block] if every_size else [block]:
                    for file in edge.add(rows):
                        writer.put(file)
                    for file in edge.partial(source.size) if every_size else ():
                        writer.put(file)
                progress(edge.size)
        for file in edge.partial():
            writer.put(file)
        root = edge.root()
        if edge.size != source.size or root != source.root(source.size):
            raise _contradiction(f"the rows of {source.origin} do not give the root of its stored nodes")
        writer.commit(Tree(source.origin, source.size, root), signed.note if signed else None)
        return Published(previous, source.size, root, writer.written)
    finally:
        writer.close()


def _compare(source: Source, folder: Path, before: Tree | None, *, full: bool) -> Edge:
    """The edge to go on from, after what is there was compared with the database."""
    if before is None:
        return source.edge_at_start()
    if before.origin != source.origin:
        raise Refused(f"it has the tiles of {before.origin}, this is {source.origin}; name another directory")
    if before.size > source.size:
        found = f"the tiles are of {before.size} rows, and {source.size} are here"
        if source.is_behind:
            raise Unreadable(f"{found}: wait until this standby has replayed the others, or ask the primary")
        raise _contradiction(f"tail_missing: {source.origin}: {found}")
    if before.size == 0:
        return source.edge_at_start()
    if before.size < source.start:
        raise Refused(
            f"its tiles end with row {before.size}, and rows up to {source.start} are archived; name another directory"
        )
    root = source.recomputed_root(before.size) if full else source.root(before.size)
    if root != before.root:
        raise _contradiction(
            f"checkpoint_mismatch: rows 1 to {before.size} of {source.origin} are not those whose tiles are there"
        )
    if full:
        return source.edge_at_start()
    edge = read_edge(folder, before.size)
    if edge.root() != before.root:
        raise Refused(f"a tile was changed, because they do not give the root in {TREE}; {MEND}")
    return edge.before_last_bundle()


def _check_signed(source: Source, folder: Path, signed: Head) -> None:
    """Refuse a log that contradicts what was signed of it, and a checkpoint that is older than the published one."""
    if signed.size > source.size:
        found = f"{signed.size} rows were signed, and {source.size} are here"
        if source.is_behind:
            raise Unreadable(f"{found}: wait until this standby has replayed the others, or ask the primary")
        raise _contradiction(f"tail_missing: {source.origin}: {found}")
    if not has_root(signed.size, source.start):
        raise Unreadable(
            f"{signed.size} rows were signed, and {source.start} are archived: alpha-db checkpoint create makes a later"
            " checkpoint"
        )
    if source.root(signed.size) != signed.root:
        raise _contradiction(
            f"checkpoint_mismatch: rows 1 to {signed.size} of {source.origin} are not those that were signed"
        )
    there = checkpoint_size(folder) if signed.note else 0
    if there > signed.size:
        raise Refused(
            f"{CHECKPOINT} is of {there} rows, and the latest checkpoint that was named is of {signed.size}: its"
            " directory is an older copy, or a run is missing in it"
        )


def _contradiction(message: str) -> ChainMismatch:
    hint = "Nothing was published. alpha-db verify-chain --checkpoints tells more."
    return ChainMismatch(f"AUD-009: {message}", hint=hint, sqlstate="AUD09")
