"""A reader of tiles, written from c2sp.org/tlog-tiles and RFC 6962, section 2.1: nothing of alpha_db's is used."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path


def path_of(level: int | str, index: int, width: int = 256) -> str:
    """<prefix>/tile/<L>/<N>[.p/<W>]: N in groups of three digits, all but the last with an x."""
    digits = str(index)
    digits = "0" * (-len(digits) % 3) + digits
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    place = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{place}" + ("" if width == 256 else f".p/{width}")


def files_of(size: int) -> set[str]:
    """Every tile and bundle of a log of that size: "the partial tile has floor(s / 256**l) mod 256 entries"."""
    found = set()
    for level in range(8):
        hashes = size // 256**level
        for index in range(hashes // 256):
            found.add(path_of(level, index))
        if hashes % 256:
            found.add(path_of(level, hashes // 256, hashes % 256))
    return found | {name.replace("tile/0/", "tile/entries/") for name in found if name.startswith("tile/0/")}


@dataclass
class Reader:
    """The files of one log below a directory, which stands for the URL prefix."""

    folder: Path
    _tiles: dict[str, bytes] = field(default_factory=dict)

    @property
    def tree(self) -> tuple[str, int, bytes]:
        origin, size, root = (self.folder / "tree").read_text(encoding="utf-8").splitlines()
        return origin, int(size), base64.b64decode(root, validate=True)

    @property
    def size(self) -> int:
        return self.tree[1]

    def tile(self, level: int | str, index: int, size: int) -> bytes:
        """What a client of a log of that size asks for."""
        of = 0 if level == "entries" else int(level)
        width = min(256, size // 256**of - 256 * index)
        name = path_of(level, index, width)
        if name not in self._tiles:
            self._tiles[name] = (self.folder / name).read_bytes()
            assert len(self._tiles[name]) == width * (34 if level == "entries" else 32), name
        return self._tiles[name]

    def entries(self, size: int) -> list[bytes]:
        """All entries of the log, out of its bundles."""
        found = []
        for index in range(-(-size // 256)):
            bundle = self.tile("entries", index, size)
            while bundle:
                length = int.from_bytes(bundle[:2], "big")
                found.append(bundle[2 : 2 + length])
                bundle = bundle[2 + length :]
        return found

    def node(self, level: int, place: int, size: int) -> bytes:
        """MTH over the 256**level entries at a place, from a tile."""
        at = 32 * (place % 256)
        return self.tile(level, place // 256, size)[at : at + 32]

    def root(self, size: int, of: int | None = None) -> bytes:
        """MTH(D[0:size]), from the tiles that a log of the size `of` has (default: of that same size)."""
        return self._mth(0, size, size if of is None else of)

    def _mth(self, first: int, last: int, of: int) -> bytes:
        n = last - first
        if n == 0:
            return sha256(b"").digest()
        for level in range(8):
            if n == 256**level and first % n == 0:
                return self.node(level, first // n, of)
        k = 1
        while k * 2 < n:
            k *= 2
        return sha256(b"\1" + self._mth(first, first + k, of) + self._mth(first + k, last, of)).digest()

    def check(self) -> None:
        """Every tile of the published tree: each hash is that of its entry, or of its tile below; and the root."""
        _, size, root = self.tree
        for place, entry in enumerate(self.entries(size)):
            assert len(entry) == 32
            assert self.node(0, place, size) == sha256(b"\0" + entry).digest(), place
        for level in range(1, 8):
            for place in range(size // 256**level):
                below = 256 ** (level - 1)
                first = place * 256 * below
                middle = first + 128 * below
                halves = self._mth(first, middle, size) + self._mth(middle, first + 256 * below, size)
                assert self.node(level, place, size) == sha256(b"\1" + halves).digest(), (level, place)
        assert self.root(size) == root
