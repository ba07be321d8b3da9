"""What is refused, mended and gone on with: other logs, damaged tiles, checkpoints."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from alpha_db.errors import ChainMismatch
from alpha_db.evidence.offline_check import Refused, Unreadable
from alpha_db.evidence.tiles.publish import Head, publish
from tests.tiles.log import ORIGIN, MadeUpLog, files_in
from tests.tiles.reader import Reader, files_of, path_of

pytestmark = pytest.mark.any_server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The tiles of 600 rows."""
    MadeUpLog(600).publish(tmp_path / "log")
    return tmp_path / "log"


OTHERS = {
    "another installation": (MadeUpLog(700, ORIGIN.replace("6f1c", "0000")), Refused, "has the tiles of"),
    "another table": (MadeUpLog(700, f"{ORIGIN}2"), Refused, "has the tiles of"),
    "other rows": (MadeUpLog(700, seed="x"), ChainMismatch, "rows 1 to 600 of .* are not those"),
    "fewer rows": (MadeUpLog(599), ChainMismatch, "AUD-009: tail_missing: .* 600 rows, and 599 are here"),
    "no rows": (MadeUpLog(0), ChainMismatch, "600 rows, and 0 are here"),
    "a standby that is behind": (MadeUpLog(599, is_behind=True), Unreadable, "this standby has replayed"),
}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", OTHERS)
def test_another_log_is_refused(folder: Path, name: str, full: bool) -> None:
    log, error, said = OTHERS[name]
    before = files_in(folder)
    with pytest.raises(error, match=said):
        log.publish(folder, full=full)
    assert files_in(folder) == before


def test_a_change_of_the_last_rows_alone_is_found(folder: Path) -> None:
    log = MadeUpLog(700)
    log.hashes[599] = bytes(32)
    log.tree = type(log.tree)(log.hashes)
    with pytest.raises(ChainMismatch, match="rows 1 to 600"):
        log.publish(folder)


def test_rows_that_do_not_give_the_root_of_the_stored_nodes(folder: Path) -> None:
    log = MadeUpLog(700)
    log.hashes[650] = bytes(32)
    with pytest.raises(ChainMismatch, match="do not give the root of its stored nodes"):
        log.publish(folder)
    assert Reader(folder).size == 600
    Reader(folder).check()


TREES: dict[str, bytes] = {
    "nothing": b"",
    "two lines": f"{ORIGIN}\n600\n".encode(),
    "four lines": f"{ORIGIN}\n600\n{'A' * 43}=\nmore\n".encode(),
    "no line end": f"{ORIGIN}\n600\n{'A' * 43}=".encode(),
    "a negative size": f"{ORIGIN}\n-1\n{'A' * 43}=\n".encode(),
    "a size with a zero before it": f"{ORIGIN}\n0600\n{'A' * 43}=\n".encode(),
    "a size that is too long": f"{ORIGIN}\n{'9' * 30}\n{'A' * 43}=\n".encode(),
    "a size in other digits": f"{ORIGIN}\n٦٠٠\n{'A' * 43}=\n".encode(),
    "base64 with other last bits": f"{ORIGIN}\n600\n{'A' * 42}B=\n".encode(),
    "CRLF": f"{ORIGIN}\r\n600\r\n{'A' * 43}=\r\n".encode(),
    "no text": b"\xff\x00" * 30,
    "too much": b"x" * 100_000,
}


@pytest.mark.parametrize("name", TREES)
def test_a_tree_that_is_none_is_not_read(folder: Path, name: str) -> None:
    (folder / "tree").write_bytes(TREES[name])
    before = files_in(folder)
    with pytest.raises(Unreadable, match=r"^tree: "):
        MadeUpLog(700).publish(folder)
    assert files_in(folder) == before


def test_a_tree_that_is_no_file_is_not_waited_for(folder: Path) -> None:
    (folder / "tree").unlink()
    os.mkfifo(folder / "tree")
    with pytest.raises(Unreadable, match="a FIFO"):
        MadeUpLog(700).publish(folder)
    (folder / "tree").unlink()
    (folder / "tree").mkdir()
    with pytest.raises(Unreadable, match="a directory"):
        MadeUpLog(700).publish(folder)


@pytest.mark.parametrize("what", ["tile", "checkpoint"])
def test_what_has_no_tree_is_of_another_log(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / what).mkdir()
    with pytest.raises(Refused, match="it has no file tree"):
        MadeUpLog(3).publish(folder)
    assert [path.name for path in folder.iterdir()] == [what]


def test_a_root_of_another_tree_is_refused(folder: Path) -> None:
    text = (folder / "tree").read_text(encoding="utf-8")
    (folder / "tree").write_text(text.replace("\n600\n", "\n500\n"), encoding="utf-8")
    with pytest.raises(ChainMismatch, match="rows 1 to 500"):
        MadeUpLog(700).publish(folder)


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "is gone": (Path.unlink, "there is no tile/"),
    "has a bit turned": (flipped, "a tile was changed"),
    "is empty": (lambda path: path.write_bytes(b""), "does not have"),
    "is longer": (lambda path: path.write_bytes(path.read_bytes() + bytes(32)), "does not have"),
}
#: What a later run goes on from.
EDGE = (path_of(0, 2, 88), path_of(1, 0, 2))


@pytest.mark.parametrize("file", EDGE)
@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_tile_is_not_built_on(folder: Path, name: str, file: str) -> None:
    whole = files_in(folder)
    damage, said = DAMAGE[name]
    damage(folder / file)
    before = files_in(folder)
    with pytest.raises(Refused, match=said):
        MadeUpLog(700).publish(folder)
    assert files_in(folder) == before
    assert MadeUpLog(600).publish(folder, full=True).files == 1
    assert files_in(folder) == whole


@pytest.mark.parametrize("file", sorted(files_of(600) - set(EDGE)))
@pytest.mark.parametrize("name", DAMAGE)
def test_every_file_is_mended_by_a_full_run(folder: Path, name: str, file: str) -> None:
    DAMAGE[name][0](folder / file)
    assert MadeUpLog(600).publish(folder, full=True).files == 1
    Reader(folder).check()


def test_a_partial_tile_may_be_removed_where_the_full_one_is(folder: Path) -> None:
    """A run was killed before it wrote tree, and somebody removed what the full tile makes superfluous."""
    later = folder.parent / "later"
    MadeUpLog(768).publish(later)
    (folder / path_of(0, 2)).write_bytes((later / path_of(0, 2)).read_bytes())
    (folder / path_of(0, 2, 88)).unlink()
    assert MadeUpLog(768).publish(folder).previous == 600
    Reader(folder).check()


def test_what_a_killed_run_left_is_replaced(folder: Path) -> None:
    """Beyond tree nothing is published: rows that a crash took back may be other rows now."""
    whole = folder.parent / "whole"
    MadeUpLog(700).publish(whole)
    (folder / path_of(0, 2, 188)).write_bytes(b"other rows")
    (folder / ".new").mkdir()
    (folder / ".new" / "0").write_bytes(b"half")
    MadeUpLog(700).publish(folder)
    found = files_in(folder)
    assert {name: found[name] for name in files_in(whole)} == files_in(whole)
    assert not (folder / ".new").exists()


def test_the_checkpoint_of_the_log_is_beside_its_tiles(tmp_path: Path) -> None:
    folder, log = tmp_path / "log", MadeUpLog(300)
    log.publish(folder, note=299)
    assert (folder / "checkpoint").read_text(encoding="utf-8") == log.signed(299).note
    # the same size again may have more signatures, an older one is no progress
    again = log.signed(299)._replace(note=f"{log.signed(299).note}— a witness\n")
    publish(log, folder, signed=again, progress=lambda _: None)
    assert (folder / "checkpoint").read_text(encoding="utf-8") == again.note
    with pytest.raises(Refused, match="checkpoint is of 299 rows"):
        log.publish(folder, note=298)
    log.publish(folder)
    assert (folder / "checkpoint").read_text(encoding="utf-8") == again.note


def test_a_checkpoint_that_is_broken_is_replaced(tmp_path: Path) -> None:
    folder, log = tmp_path / "log", MadeUpLog(300)
    log.publish(folder)
    for text in (b"", b"half", b"\xff\xfe", b"x\n-5\n", b"x\n" + b"9" * 30 + b"\n", bytes(2_000_000)):
        (folder / "checkpoint").write_bytes(text)
        log.publish(folder, note=299)
        assert (folder / "checkpoint").read_text(encoding="utf-8") == log.signed(299).note


@pytest.mark.parametrize(
    ("signed", "is_behind", "error", "said"),
    [
        (
            MadeUpLog(301).signed(301),
            False,
            ChainMismatch,
            "tail_missing: .* 301 rows were signed, and 300 are here",
        ),
        (MadeUpLog(301).signed(301), True, Unreadable, "wait until this standby"),
        (
            MadeUpLog(300, seed="x").signed(299),
            False,
            ChainMismatch,
            "rows 1 to 299 of .* are not those that were",
        ),
    ],
)
def test_what_was_signed_contradicts_the_log(
    tmp_path: Path, signed: Head, is_behind: bool, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        publish(MadeUpLog(300, is_behind=is_behind), tmp_path / "log", signed=signed, progress=lambda _: None)
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("steps", [(600,), (1, 2, 3, 255, 256, 257, 600), (250, 520, 600)])
def test_a_log_of_which_every_size_was_signed(tmp_path: Path, steps: tuple[int, ...]) -> None:
    """A client with an older checkpoint asks for its partial tiles, or for the full ones that replace them."""
    folder = tmp_path / "log"
    for size in steps:
        log = MadeUpLog(size)
        log.publish(folder, every_size=True)
    there = set(files_in(folder))
    if len(steps) == 1:  # the full tiles do for the others
        assert not [name for name in there if name.startswith(("tile/0/000.p", "tile/0/001.p"))]
    for size in range(1, 601):
        for name in files_of(size):
            assert name in there or name.split(".p/")[0] in there, (size, name)
    reader = Reader(folder)
    assert [reader.root(size) for size in range(513, 601)] == [log.root(size) for size in range(513, 601)]
    reader.check()
