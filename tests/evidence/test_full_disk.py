"""A verdict does not depend on whether it can be printed: a full disk, a closed stdout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from alpha_db.evidence import offline_check
from tests.cluster import client_environment
from tests.evidence.made_by_hand import OTHER, SIGNER, Book, bit_flips

pytestmark = [
    pytest.mark.any_server,
    pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here"),
]

OFFLINE = f"{sys.executable} -I {offline_check.__file__}"
ALPHA_DB = f"{sys.executable} -m alpha_db"
CHECKED = (
    f"{OFFLINE} export good",
    f"{OFFLINE} export bad",
    f"{ALPHA_DB} verify-export good",
    f"{ALPHA_DB} verify-export bad",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    good = b"".join(Book.of(3).export())
    (tmp_path / "good").write_bytes(good)
    (tmp_path / "bad").write_bytes(bit_flips(good, [good.index(b"2.50")])[0])
    (tmp_path / "own.note").write_text(Book.of(3).note(), encoding="utf-8")
    (tmp_path / "foreign.note").write_text(Book.of(3).note(signer=OTHER), encoding="utf-8")
    return tmp_path


def bash(folder: Path, command: str) -> tuple[int, str, str]:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=client_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done
    assert "Exception ignored" not in done.stderr, done
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        # where it is bad there is more to lose, and the next test has the good one
        pytest.param(each, marks=pytest.mark.long if each == f"{ALPHA_DB} verify-export good" else ())
        for each in CHECKED
    ],
)
def test_a_closed_stdout_and_a_full_disk(folder: Path, command: str) -> None:
    is_bad = command.endswith("bad")
    assert bash(folder, f"{command} >&-")[0] == is_bad
    code, _, err = bash(folder, f"{command} > /dev/full")
    assert code == (1 if is_bad else 3)
    assert ("row 2 does not give its hash" if is_bad else "No space left on device") in err
    assert bash(folder, f"{command} > /dev/full 2>&1")[0] == code


def test_what_is_proven_is_said_as_json_too(folder: Path) -> None:
    code, _, err = bash(folder, f"{ALPHA_DB} verify-export bad --json > /dev/full")
    assert (code, '"exit_code": 1' in err, "row 2 does not give its hash" in err) == (1, True, True)
    code, _, err = bash(folder, f"{ALPHA_DB} verify-export good --json > /dev/full")
    assert (code, '"exit_code": 3' in err, '"ok": false' in err) == (3, True, True)


def test_what_comes_after_the_full_disk_is_judged_all_the_same(folder: Path) -> None:
    command = f"{OFFLINE} checkpoint own.note foreign.note --trust {SIGNER.vkey}"
    code, _, err = bash(folder, f"{command} > /dev/full")
    assert (code, "REFUSED: foreign.note" in err) == (1, True)
