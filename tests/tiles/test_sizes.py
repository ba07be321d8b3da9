"""A log that grows past the widths of its tiles: one run for all of it, or one after the other."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from alpha_db.cli.main import main
from tests.cluster import Server
from tests.merkle.logs import WIDE, pour, root
from tests.merkle.reference import Tree
from tests.support import Connection
from tests.tiles.log import files_in
from tests.tiles.reader import Reader, files_of

SIZES = (0, 1, 255, 256, 257, 65_535, 65_536, 65_537)


@dataclass
class Grown:
    """A log at each of the sizes: its root in the database, its tiles by one run; and the tiles by all runs."""

    roots: dict[int, bytes]
    whole: dict[int, Path]
    grown: Path
    seen: dict[int, set[str]]  #: the names in `grown` at each size


@pytest.fixture(scope="module")
def log(server: Server, admin: Connection, template: str, tmp_path_factory: pytest.TempPathFactory) -> Grown:
    name, folder = "tiles_grown", tmp_path_factory.mktemp("tiles")
    admin.execute(f"create database {name} template {template}")
    found = Grown({}, {}, folder / "grown", {})
    with psycopg.connect(server.dsn(name), autocommit=True) as db:
        for before, size in zip((0, *SIZES), SIZES, strict=False):
            pour(db, size - before)
            found.roots[size] = root(db, WIDE, size)
            found.whole[size] = folder / f"whole-{size}" / WIDE
            for place in (found.grown, found.whole[size].parent):
                assert main(["--dsn", server.dsn(name), "tiles", str(place), "--table", WIDE]) == 0
            found.seen[size] = set(files_in(found.grown / WIDE))
    found.grown /= WIDE
    return found


@pytest.mark.parametrize("size", SIZES)
def test_one_run(log: Grown, size: int) -> None:
    assert set(files_in(log.whole[size])) == files_of(size) | {"tree"}
    reader = Reader(log.whole[size])
    assert reader.tree[1:] == (size, log.roots[size])
    reader.check()


@pytest.mark.parametrize("size", SIZES)
def test_run_after_run_gives_the_same_bytes(log: Grown, size: int) -> None:
    """But for tree, no file ever changes; so those of now are those of then."""
    grown = files_in(log.grown)
    for name, data in files_in(log.whole[size]).items():
        if name != "tree":
            assert grown[name] == data, name
    older = {name for each in SIZES if each <= size for name in files_of(each)}
    assert log.seen[size] == older | {"tree"}
    assert grown["tree"] == (log.whole[SIZES[-1]] / "tree").read_bytes()


def test_the_latest_tiles_give_every_root_that_there_was(log: Grown) -> None:
    reader = Reader(log.grown)
    assert {size: reader.root(size, of=reader.size) for size in SIZES} == log.roots
    tree = Tree(reader.entries(reader.size))
    for size in random.Random(2026).sample(range(65_537), 50):
        assert reader.root(size, of=reader.size) == tree.root(size)
