"""The names of tiles, and the files of logs of many sizes, against the text of the standard."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from alpha_db.evidence.tiles.layout import name_of
from tests.tiles.log import MadeUpLog, files_in
from tests.tiles.reader import Reader, files_of, path_of

pytestmark = pytest.mark.any_server


def test_the_names_of_the_standards_examples() -> None:
    assert name_of(0, 1_234_067) == "tile/0/x001/x234/067"
    assert name_of(0, 273, 112) == "tile/0/273.p/112"
    assert name_of("entries", 0) == "tile/entries/000"


@pytest.mark.parametrize("index", [0, 1, 9, 10, 999, 1000, 1001, 999_999, 1_000_000, 10**9, 2**55])
def test_the_names_of_others(index: int) -> None:
    assert name_of(3, index) == path_of(3, index)
    assert name_of("entries", index, 255) == path_of("entries", index, 255)


def test_the_files_of_the_standards_example() -> None:
    """A tree of size 70,000, and one of 256."""
    names = files_of(70_000)
    assert len([name for name in names if name.startswith("tile/0/") and ".p/" not in name]) == 273
    assert {name for name in names if ".p/" in name and "entries" not in name} == {
        "tile/0/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    }
    assert files_of(256) == {"tile/0/000", "tile/entries/000", "tile/1/000.p/1"}


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 1_000])
def test_a_log_of_a_size(tmp_path: Path, size: int) -> None:
    log, folder = MadeUpLog(size), tmp_path / "log"
    assert log.publish(folder) == (0, size, log.root(size), len(files_of(size)))
    assert set(files_in(folder)) == files_of(size) | {"tree"}
    reader = Reader(folder)
    assert reader.tree == (log.origin, size, log.root(size))
    reader.check()
    assert reader.entries(size) == log.hashes


def test_it_grows_in_steps_of_any_size(tmp_path: Path) -> None:
    """After every step the tiles are those that one run writes, byte for byte; older partial ones stay."""
    steps = random.Random(15)
    size, folder, seen = 0, tmp_path / "grown", set[str]()
    for number in range(20):
        before, size = size, size + steps.choice([0, 1, 2, 100, 255, 256, 257, 300])
        log = MadeUpLog(size)
        assert log.publish(folder)[:3] == (before, size, log.root(size))
        whole = tmp_path / f"whole-{number}"
        log.publish(whole)
        grown, expected = files_in(folder), files_in(whole)
        assert {name: grown.get(name) for name in expected} == expected
        seen |= set(expected)
        assert set(grown) == seen
        assert log.publish(folder).files == 0
    reader = Reader(folder)
    for each in range(0, size, 97):
        assert reader.root(each, of=size) == log.root(each)
