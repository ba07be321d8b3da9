"""Where the tiles of a log are, and what is in them. Source: c2sp.org/tlog-tiles.

A tile has up to 256 hashes of one level: of leaves (level 0), or of full tiles of the level below. A bundle has the
entries of a tile of level 0. A full one has one name, and each partial one another, so no file ever changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from alpha_db.evidence.offline_check import MerkleTree

WIDTH = 256  #: hashes of a full tile
HASH = 32  #: bytes of a hash, and of an entry
ENTRIES = "entries"  #: stands in the name of a bundle where a tile has its level
_LENGTH = HASH.to_bytes(2, "big")  #: stands before each entry


class File(NamedTuple):
    """A tile or a bundle: its name from the directory of its log, and its bytes."""

    name: str
    data: bytes


def name_of(level: int | str, index: int, width: int = WIDTH) -> str:
    """Return the name of a tile, or of a bundle, from the directory of its log: tile/0/x001/234/067.p/112."""
    place = f"{index % 1000:03}"
    while index := index // 1000:
        place = f"x{index % 1000:03}/{place}"
    return f"tile/{level}/{place}" + (f".p/{width}" if width < WIDTH else "")


class Edge:
    """The right edge of a log's tiles: all that is not in a full tile yet. It grows, and gives the files.

    Takes the size of the log, and the hashes of each level's last tile, from level 0. The entries of the last bundle
    are not known: before rows are added there must be none (before_last_bundle).
    """

    def __init__(self, size: int = 0, levels: Sequence[bytes] = ()) -> None:
        self.size, self._levels, self._entries = size, list(levels), b""

    def add(self, row_hashes: Sequence[bytes]) -> Iterator[File]:
        """Add rows, none of them beyond the end of the last bundle; give the files that are full now."""
        self.size += len(row_hashes)
        self._entries += b"".join([_LENGTH + row_hash for row_hash in row_hashes])
        self._push(0, b"".join([sha256(b"\0" + row_hash).digest() for row_hash in row_hashes]))
        if self.size % WIDTH:
            return
        level, index = 0, self.size // WIDTH
        yield File(name_of(ENTRIES, index - 1), self._entries)
        self._entries = b""
        while len(tile := self._levels[level]) == WIDTH * HASH:
            yield File(name_of(level, index - 1), tile)
            self._levels[level] = b""
            level, index = level + 1, index // WIDTH
            self._push(level, _tree(tile).root())

    def partial(self, size: int | None = None) -> Iterator[File]:
        """Give the partial tiles and the partial bundle, but for those that are full in the log of a larger size."""
        for level, tile in enumerate(self._levels):
            index, width = self.size // WIDTH ** (level + 1), len(tile) // HASH
            if not tile or (index + 1) * WIDTH ** (level + 1) <= (size or 0):
                continue
            if level == 0:
                yield File(name_of(ENTRIES, index, width), self._entries)
            yield File(name_of(level, index, width), tile)

    @property
    def subtrees(self) -> list[bytes]:
        """The roots of the complete subtrees of the log, the smallest first."""
        return [node for tile in self._levels for node in _tree(tile).subtrees]

    def root(self) -> bytes:
        """Return the root of the log as it is now."""
        return MerkleTree(self.size, self.subtrees).root()

    def before_last_bundle(self) -> Edge:
        """Return the edge at the end of the last full bundle."""
        return Edge(self.size - self.size % WIDTH, [b"", *self._levels[1:]])

    def _push(self, level: int, hashes: bytes) -> None:
        if level == len(self._levels):
            self._levels.append(b"")
        self._levels[level] += hashes


def _tree(tile: bytes) -> MerkleTree:
    tree = MerkleTree()
    tree.add(*(tile[at : at + HASH] for at in range(0, len(tile), HASH)))
    return tree
