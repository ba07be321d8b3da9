"""A log without a database, as the tiles are made of one; what lies in a directory."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from alpha_db.evidence.tiles.layout import Edge
from alpha_db.evidence.tiles.publish import Head, Published, publish
from tests.merkle.reference import Tree

ORIGIN = "alpha-db/6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f/made_up"


@dataclass
class MadeUpLog:
    """The first rows of an endless log."""

    size: int
    origin: str = ORIGIN
    is_behind: bool = False
    seed: str = ""  #: what makes another log of it
    start: int = 0  #: how many rows are archived

    def __post_init__(self) -> None:
        self.hashes = [sha256(f"{self.seed}{n}".encode()).digest() for n in range(1, self.size + 1)]
        self.tree = Tree(list(self.hashes))

    def edge_at_start(self) -> Edge:
        edge = Edge()
        for at in range(0, self.start, 256):
            list(edge.add(self.hashes[at : at + 256]))
        return edge

    def root(self, size: int) -> bytes:
        return self.tree.root(size)

    def recomputed_root(self, size: int) -> bytes:
        return self.tree.root(size)

    def blocks(self, first: int) -> Generator[list[bytes]]:
        at = first - 1
        while at < self.size:
            end = min(self.size, at - at % 256 + 256)
            yield self.hashes[at:end]
            at = end

    def signed(self, size: int) -> Head:
        return Head(size, self.root(size), f"a log\n{size}\nits root\n\n— a note\n")

    def publish(
        self, folder: Path, note: int | None = None, *, full: bool = False, every_size: bool = False
    ) -> Published:
        signed = None if note is None else self.signed(note)
        return publish(self, folder, signed=signed, every_size=every_size, full=full, progress=lambda _: None)


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below a directory, by its name from there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
