"""Many files of a log: whether they fit together, and the same verdicts side by side as one after another."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from alpha_db.cli.main import main
from alpha_db.evidence import side_by_side
from alpha_db.evidence.exports import Against, Result, check_export, files_of
from alpha_db.evidence.joined import join_exports
from alpha_db.evidence.offline_check import parse_vkey
from alpha_db.evidence.side_by_side import check_exports
from tests.evidence.made_by_hand import OTHER, SIGNER, Book, gzipped
from tests.support import PATIENCE, ROOT

pytestmark = pytest.mark.any_server

AGAINST = Against([parse_vkey(SIGNER.vkey)])
BOOK = Book.of(40)
#: The same rows up to 20, and others from there on.
FORGED = Book([*BOOK.rows[:20], *(row.replace(".50", ".51") for row in BOOK.rows[20:])])


def segment(
    folder: Path, first: int, last: int, book: Book = BOOK, name: str = "", size: int | None = None
) -> str:
    file = folder / (name or f"signals.{first:012}-{last:012}.segment")
    file.write_bytes(b"".join(book.segment(first, last, size)))
    return str(file)


def joined(*files: str) -> Result:
    """What the files are together, which must not depend on their order."""
    results = check_exports(files, AGAINST)
    assert {one["verdict"] for one in results} == {"holds"}
    (log,) = join_exports(results)
    (again,) = join_exports(random.sample(results, len(results)))
    assert {name: again[name] for name in log if name != "forks"} | {"reason": ""} == {
        name: log[name] for name in log if name != "forks"
    } | {"reason": ""}
    return log


def verdict_of(*files: str) -> tuple[str, list[list[int]], list[list[int]]]:
    log = joined(*files)
    return log["verdict"], log["gaps"], log["doubles"]


def test_segments_that_follow_each_other(tmp_path: Path) -> None:
    files = [segment(tmp_path, first + 1, last) for first, last in pairwise(range(0, 41, 5))]
    log = joined(*files)
    assert (log["verdict"], log["reason"], log["files"]) == ("holds", None, 8)
    assert (log["first_id"], log["last_id"], log["gaps"], log["doubles"]) == (1, 40, [], [])


def test_rows_that_are_in_no_file(tmp_path: Path) -> None:
    parts = (6, 10), (16, 16), (18, 20)
    log = joined(*(segment(tmp_path, *part) for part in parts))
    assert (log["verdict"], log["gaps"]) == ("not_there", [[1, 5], [11, 15], [17, 17]])
    assert log["reason"] == "rows 1 to 5, 11 to 15, 17 are in no file that holds"


@pytest.mark.parametrize(
    ("parts", "doubles"),
    [
        ([(1, 10), (6, 15)], [[6, 10]]),
        ([(1, 20), (5, 8)], [[5, 8]]),
        ([(1, 20), (1, 20)], [[1, 20]]),
        ([(1, 20), (11, 20)], [[11, 20]]),
        ([(1, 9), (5, 12), (10, 20), (15, 17), (21, 30)], [[5, 12], [15, 17]]),
        ([(1, 9), (10, 20)], []),
        ([(1, 9), (1, 20), (5, 15), (21, 30)], [[1, 15]]),
    ],
    ids=str,
)
def test_rows_that_are_in_two_files(
    tmp_path: Path, parts: list[tuple[int, int]], doubles: list[list[int]]
) -> None:
    files = [segment(tmp_path, *part, name=f"{n}.segment") for n, part in enumerate(parts)]
    assert verdict_of(*files) == ("holds", [], doubles)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ((1, 25), (26, 40)),
        ((1, 25), (21, 40)),
        ((1, 40), (21, 30)),
        ((1, 30), (1, 30)),
        ((21, 30), (1, 40)),
        ((31, 40), (31, 40)),
    ],
    ids=str,
)
def test_two_versions_of_a_row(tmp_path: Path, ours: tuple[int, int], theirs: tuple[int, int]) -> None:
    """Both hold by themselves: only beside each other they show that a key signed two logs."""
    files = [
        segment(tmp_path, *ours, BOOK, "a.segment", ours[1]),
        segment(tmp_path, *theirs, FORGED, "b.segment", theirs[1]),
    ]
    log = joined(*files)
    assert log["verdict"] == "refused"
    assert "there are two versions of row " in log["reason"]
    assert {Path(name.split()[-1]).name for name in log["forks"][0]["of"]} == {"a.segment", "b.segment"}


def test_two_checkpoints_of_one_size(tmp_path: Path) -> None:
    """The rows fit, and what was signed of later ones does not."""
    log = joined(segment(tmp_path, 1, 10), segment(tmp_path, 11, 20, FORGED))
    assert (log["verdict"], log["forks"][0]["id"], log["doubles"]) == ("refused", 40, [])


def test_two_logs_do_not_concern_each_other(tmp_path: Path) -> None:
    other = Book(FORGED.rows)
    other.installation = "00000000-3c1b-4a52-9d5a-0e6b7c1d2e3f"
    files = [
        segment(tmp_path, 1, 30),
        segment(tmp_path, 1, 40, other),
        segment(tmp_path, 1, 9, Book.of(9, "x")),
    ]
    logs = join_exports(check_exports(files, AGAINST))
    assert [(log["verdict"], log["files"]) for log in logs] == [("holds", 1)] * 3
    assert [log["others"] for log in logs] == [[other.origin], [BOOK.origin], []]


def test_unsigned_files_that_name_several_logs_of_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fork could hide behind an origin of its own, so the origins are named; signed ones cannot."""
    other = Book(FORGED.rows)
    other.installation = "00000000-3c1b-4a52-9d5a-0e6b7c1d2e3f"
    signed = segment(tmp_path, 1, 40, name="a.segment"), segment(tmp_path, 1, 40, other, "b.segment")
    (tmp_path / "c.jsonl").write_bytes(b"".join(other.export()))
    for files, is_warned in ((signed, False), ((signed[0], str(tmp_path / "c.jsonl")), True)):
        assert main(["verify-export", *files, "--trust", SIGNER.vkey]) == 0
        shown = capsys.readouterr().out
        assert (f"signals: these files name 2 logs, {other.origin}, {BOOK.origin}." in shown) is is_warned


def test_what_a_pipe_had_cannot_be_read_again(tmp_path: Path) -> None:
    files = [segment(tmp_path, 1, 20), segment(tmp_path, 5, 25)]
    results = check_exports(files, AGAINST)
    results[1]["file"] = "-"
    (log,) = join_exports(results)
    assert (log["verdict"], "could not be read again" in log["reason"]) == ("not_run", True)


def test_a_directory_has_segments_and_exports(tmp_path: Path) -> None:
    first, second = segment(tmp_path, 1, 20), segment(tmp_path, 21, 40)
    packed = tmp_path / "signals.jsonl.gz"
    packed.write_bytes(gzipped(b"".join(BOOK.export())))
    (tmp_path / "README").touch()
    (tmp_path / ".signals.segment.part").touch()
    assert files_of([str(tmp_path), first, "-"]) == [first, second, str(packed), first, "-"]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert files_of([str(empty), "nowhere", "a\0b"]) == [str(empty), "nowhere", "a\0b"]
    assert check_export(str(empty), AGAINST)["verdict"] == "not_there"


@pytest.fixture
def damaged(tmp_path: Path) -> list[str]:
    """Twelve segments, of which some do not hold, each in its own way; and one that is not there."""
    files = [segment(tmp_path, first + 1, last) for first, last in pairwise(range(0, 37, 3))]
    turned = Path(files[1])
    turned.write_bytes(turned.read_bytes().replace(b"5.50", b"5.51"))
    short = Path(files[3])
    short.write_bytes(short.read_bytes()[:-20])
    wrong = Path(files[5])
    wrong.write_bytes(b"".join(BOOK.segment(16, 18, signer=OTHER)))
    Path(files[7]).unlink()
    segment(tmp_path, 28, 30, FORGED, Path(files[9]).name)
    return files


def test_side_by_side_the_verdicts_are_those_of_one_after_another(damaged: list[str]) -> None:
    told: list[int] = []
    serial = [check_export(file, AGAINST) for file in damaged]
    parallel = check_exports(damaged, AGAINST, 3, told.append)
    assert parallel == serial
    count = {verdict: [one["verdict"] for one in serial].count(verdict) for verdict in ("refused", "not_run")}
    assert count == {"refused": 2, "not_run": 1}
    assert join_exports(parallel)[0]["verdict"] == "refused"
    assert told == sorted(told)
    assert told[-1] == sum(Path(file).stat().st_size for file in damaged if Path(file).exists())


def _is_ended(_file: str, _against: Against) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_file_whose_process_is_ended_is_not_checked(
    damaged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel does when there is no memory left: nothing is known of these files."""
    monkeypatch.setattr(side_by_side, "check_export", _is_ended)
    results = check_exports(damaged, AGAINST, 2)
    assert {one["verdict"] for one in results} == {"not_run"}
    assert [one["file"] for one in results] == damaged


def _raises(error: type[BaseException]) -> Callable[..., Any]:
    def fail(*_given: object, **_options: object) -> Any:
        raise error

    return fail


def test_without_processes_it_goes_one_after_another(
    damaged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serial = [check_export(file, AGAINST) for file in damaged]
    monkeypatch.setattr(side_by_side, "ProcessPoolExecutor", _raises(OSError))
    assert check_exports(damaged, AGAINST, 3) == serial


_WAITS_FOR_EVER = """
import os, signal, sys
from alpha_db.cli.main import main
from alpha_db.evidence import side_by_side

def check(_file, _against):
    os.write(1, b"%d\\n" % os.getpid())  # in one piece, beside the other process
    signal.pause()

side_by_side.check_export = check
side_by_side.check_exports(sys.argv[1:], side_by_side.Against(), 2)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_processes_end_with_the_one_that_began_them(damaged: list[str]) -> None:
    command = [sys.executable, "-c", _WAITS_FOR_EVER, *damaged]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as began:
        assert began.stdout is not None
        pids = [began.stdout.readline().strip() for _ in range(2)]
        are_there = [Path("/proc", pid).exists() for pid in pids]
        began.kill()
        assert are_there == [True, True], pids
        began.communicate(timeout=PATIENCE)  # until nobody can write any more
    assert not any(Path("/proc", pid, "exe").exists() for pid in pids)
