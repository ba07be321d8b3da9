"""The directory of one log: read as anybody else's, written so that `tree` never names what is not there yet.

DIR/tree           origin, size and root, a line each
DIR/tile/...       the tiles and bundles (layout.py)
DIR/minimum-index  where the tiles begin, if the rows before were archived when the directory was made
DIR/checkpoint     the signed note, if the log has one
DIR/.new           files that are being written
"""

from __future__ import annotations

import base64
import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from alpha_db.evidence.bounded import read_bytes
from alpha_db.evidence.offline_check import MAX_NOTE, NotThere, Refused, Unreadable, read_text
from alpha_db.evidence.tiles.layout import HASH, WIDTH, Edge, File, name_of
from alpha_db.security.files import new_file, sync

TREE, CHECKPOINT, TILES, MINIMUM = "tree", "checkpoint", "tile", "minimum-index"
_NEW = ".new"
_MAX_TREE = 1_000
_CHECKPOINT = re.compile(r"[^\n]+\n(0|[1-9][0-9]{0,17})\n")
_TREE = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,17})\n([A-Za-z0-9+/]{43}=)\n")
#: So many files are open at a time: their names are given when all of them are on disk.
_OPEN = 200
MEND = "alpha-db tiles --full writes it again, if the rows still give the root"


class Tree(NamedTuple):
    """What `tree` says: the rows 1 to size of the log of that origin have this root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The three lines."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def read_tree(folder: Path) -> Tree | None:
    """Return what the tiles of a directory are of; None if there are none.

    Raises Unreadable for what is no tree, Refused if there are tiles that no tree goes with.
    """
    try:
        text = read_text(folder / TREE, _MAX_TREE)
    except NotThere:
        if (folder / TREE).is_symlink() or (folder / TILES).exists() or (folder / CHECKPOINT).exists():
            raise Refused(
                f"it has no file {TREE}: what is in it is of another log, or {TREE} was removed; name another"
                " directory, or move this one away"
            ) from None
        return None
    except Unreadable as problem:
        raise Unreadable(f"{TREE}: {problem}") from None
    found = _TREE.fullmatch(text)
    root = base64.b64decode(found[3]) if found else b""
    if not found or base64.b64encode(root).decode() != found[3]:
        raise Unreadable(f"{TREE}: it is not an origin, a size and a root")
    return Tree(found[1], int(found[2]), root)


def checkpoint_size(folder: Path) -> int:
    """Return the size that the published checkpoint names, unverified; 0 if there is none, or it is broken."""
    try:
        found = _CHECKPOINT.match(read_text(folder / CHECKPOINT, MAX_NOTE))
    except (NotThere, Unreadable):
        return 0
    return int(found[1]) if found else 0


def read_edge(folder: Path, size: int) -> Edge:
    """Return the right edge of the log of that size, from its tiles.

    Raises Refused if a tile is not there or has another length, Unreadable if it cannot be read.
    """
    levels = []
    level = 0
    while nodes := size >> 8 * level:
        index, width = divmod(nodes, WIDTH)
        levels.append(_read_tile(folder, level, index, width) if width else b"")
        level += 1
    return Edge(size, levels)


def _read_tile(folder: Path, level: int, index: int, width: int) -> bytes:
    """The first hashes of a tile. A partial one may be removed where a run that was killed wrote the full one."""
    for each in (width, WIDTH):
        name = name_of(level, index, each)
        try:
            data = read_bytes(folder / name, each * HASH)
        except NotThere:
            continue
        except Unreadable as problem:
            raise Unreadable(f"{name}: {problem}") from None
        if len(data) != each * HASH:
            raise Refused(f"{name} does not have {each * HASH} bytes; {MEND}")
        return data[: width * HASH]
    raise Refused(f"there is no {name_of(level, index, width)}, which {TREE} needs; {MEND}")


def _is_there(path: Path, data: bytes) -> bool:
    try:
        return read_bytes(path, len(data)) == data
    except (NotThere, Unreadable):
        return False


class Writer:
    """Puts files into the directory of a log. The caller holds the lock. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.written = folder, 0
        self._new = folder / _NEW
        self._open: list[tuple[int, Path, Path]] = []
        self._changed: set[Path] = set()
        self._seen: set[str] = set()

    def begin(self, tree: Tree) -> None:
        """Make the directory if need be, with its first tree, so that nobody takes it for another log's."""
        self.folder.mkdir(exist_ok=True)
        sync(self.folder.parent)
        shutil.rmtree(self._new, ignore_errors=True)  # of a run that was killed
        self._new.mkdir()
        if not (self.folder / TREE).exists():
            self._replace(TREE, tree.text)

    def begin_at(self, minimum: int) -> None:
        """Say that the rows before have no tiles here, before any tile is here."""
        self._replace(MINIMUM, f"{minimum}\n")

    def put(self, file: File) -> None:
        """Write a tile or a bundle, unless it is there with these bytes."""
        target = self.folder / file.name
        if file.name in self._seen or _is_there(target, file.data):
            return
        if ".p/" in file.name:
            self._seen.add(file.name)  # before it has its name, it may come again
        part = self._new / str(len(self._open))
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._open.append((descriptor, part, target))
        with os.fdopen(descriptor, "wb", closefd=False) as stream:
            stream.write(file.data)
        self.written += 1
        if len(self._open) == _OPEN:
            self._name()

    def commit(self, tree: Tree, note: str | None = None) -> None:
        """Have all files on disk under their names, and only then tree, and then the checkpoint."""
        self._name()
        for folder in sorted(self._changed, key=lambda path: len(path.parts), reverse=True):
            sync(folder)
        self._replace(TREE, tree.text)
        if note is not None:
            self._replace(CHECKPOINT, note)

    def close(self) -> None:
        """Leave nothing behind but files that have their names. Raises nothing."""
        for descriptor, _, _ in self._open:
            os.close(descriptor)
        self._open.clear()
        shutil.rmtree(self._new, ignore_errors=True)

    def _name(self) -> None:
        """Give the names to the files that were written, once these are on disk."""
        for descriptor, _, _ in self._open:
            os.fsync(descriptor)
        while self._open:
            descriptor, part, target = self._open.pop()
            os.close(descriptor)
            target.parent.mkdir(parents=True, exist_ok=True)
            part.replace(target)
            self._changed.update(list(target.parents)[: len(target.relative_to(self.folder).parts)])

    def _replace(self, name: str, text: str) -> None:
        path = self.folder / name
        if _is_there(path, text.encode()):
            return
        with new_file(self._new / name) as stream:
            stream.write(text.encode())
        (self._new / name).replace(path)
        sync(self.folder)
