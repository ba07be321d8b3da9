"""A segment: rows, and the run that signed them, in one file. Nothing else is needed, and nothing else passes."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from alpha_db.evidence import offline_check
from alpha_db.evidence.offline_check import (
    ExportResult,
    Refused,
    Signed,
    Unreadable,
    parse_vkey,
    read_lines,
    verify_export,
    verify_proof,
)
from tests.evidence.made_by_hand import OTHER, SIGNER, Book, bit_flips, line

pytestmark = pytest.mark.any_server

KEYS = [parse_vkey(SIGNER.vkey)]
BOOK = Book.of(12)


def check(
    lines: Sequence[bytes], head: Signed | None = None, keys: Sequence[offline_check.Key] = KEYS
) -> ExportResult:
    return verify_export(read_lines(io.BytesIO(b"".join(lines))), head, keys=keys)


def signed(size: int) -> Signed:
    return verify_proof(BOOK.run(size), KEYS).run.head("signals")


def refused(lines: Sequence[bytes], words: str) -> None:
    with pytest.raises(Refused, match=words):
        check(lines)


def test_every_segment_of_a_book_in_every_later_run() -> None:
    for first in (1, 2, 4, 9):
        for last in range(first, 13, 2):
            for size in range(last, 13):
                found = check(BOOK.segment(first, last, size))
                assert (found.first_id, found.last_id, found.signed_to) == (first, last, last)
                assert found.proof is not None
                assert found.proof.run.head("signals").size == size


def test_without_a_key_only_the_rows_are_checked() -> None:
    found = check(BOOK.segment(3, 8, 10), keys=[])
    assert (found.rows, found.signed_to, found.proof) == (6, None, None)


def test_behind_its_first_line_it_is_an_export() -> None:
    assert check(BOOK.segment(3, 8, 10)[1:]) == check(BOOK.export(3, 8))


def test_a_run_of_fewer_rows() -> None:
    lines = BOOK.segment(3, 8, 10)
    lines[0] = line({**_begin(lines), "run": BOOK.run(7), "consistency": []})
    refused(lines, "its run names 7 rows, the segment ends at row 8")


def test_rows_that_were_written_again() -> None:
    forged = Book([row.replace(".50", ".51") for row in BOOK.rows])
    lines = forged.segment(3, 8, 10)
    lines[0] = BOOK.segment(3, 8, 10)[0]
    refused(lines, "rows 1 to 8 are not those that desk.example/log signed")


def test_rows_before_the_segment_that_were_written_again() -> None:
    forged = Book([BOOK.rows[0].replace(".50", ".51"), *BOOK.rows[1:]])
    lines = forged.segment(3, 8, 10)
    lines[0] = BOOK.segment(3, 8, 10)[0]
    refused(lines, "rows 1 to 8 are not those")


def test_another_key() -> None:
    refused(BOOK.segment(1, 8, 10, OTHER), "none of the trusted keys")


def test_a_run_of_another_installation() -> None:
    other = Book(BOOK.rows)
    other.installation = "00000000-3c1b-4a52-9d5a-0e6b7c1d2e3f"
    refused([BOOK.segment(1, 8, 10)[0], *other.export(1, 8)], "the segment is of .*, its run of ")


def test_a_run_that_does_not_name_the_table() -> None:
    votes = Book(BOOK.rows, "votes")
    refused([BOOK.segment(1, 8, 10)[0], *votes.export(1, 8)], "does not name the table votes")


def test_a_proof_of_a_row_in_the_place_of_the_run() -> None:
    lines = BOOK.segment(1, 8, 10)
    lines[0] = line({**_begin(lines), "run": BOOK.proof(2, 10)})
    with pytest.raises(Unreadable, match="another row than a run"):
        check(lines)


@pytest.mark.parametrize("nodes", [[], ["x"], [None], ["AAAA"]], ids=str)
def test_a_consistency_proof_that_is_none(nodes: list[object]) -> None:
    lines = BOOK.segment(1, 7, 10)
    lines[0] = line({**_begin(lines), "consistency": nodes})
    with pytest.raises((Refused, Unreadable)):
        check(lines)


def test_any_bit_that_is_turned() -> None:
    data = b"".join(BOOK.segment(1, 4, 6))
    for changed in bit_flips(data, range(0, len(data), 53)):
        with pytest.raises((Refused, Unreadable)):
            check([changed])


def test_a_checkpoint_of_some_of_its_rows_is_compared_too() -> None:
    assert check(BOOK.segment(3, 8, 10), signed(5)).signed_to == 8
    wrong = signed(5)._replace(root=bytes(32))
    with pytest.raises(Refused, match="rows 1 to 5 are not those"):
        check(BOOK.segment(3, 8, 10), wrong)


@pytest.mark.parametrize("size", [1, 10, 12])
def test_a_checkpoint_of_other_rows_takes_nothing_from_it(size: int) -> None:
    assert check(BOOK.segment(3, 8, 10), signed(size)).signed_to == 8


def test_an_auditor_needs_the_file_and_a_key(tmp_path: Path) -> None:
    shutil.copy(offline_check.__file__, tmp_path)
    (tmp_path / "one.segment").write_bytes(b"".join(BOOK.segment(3, 8, 10)))
    command = [
        sys.executable,
        "-I",
        "-S",
        "offline_check.py",
        "export",
        "one.segment",
        "--trust",
        SIGNER.vkey,
    ]
    done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "signed     all rows of the segment, by desk.example/log" in done.stdout
    assert "in its run 3, 2026-01-25T12:00:03.123456+00:00, of 10 rows" in done.stdout


def _begin(lines: Sequence[bytes]) -> dict[str, object]:
    return offline_check._json(lines[0])
