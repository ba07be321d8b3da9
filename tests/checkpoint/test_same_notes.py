"""The command and offline_check.py say the same of each note."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from alpha_db.cli.main import main
from alpha_db.evidence import offline_check
from tests.evidence.made_by_hand import OTHER, SIGNER, Book

pytestmark = pytest.mark.any_server

TEXT, NOTE = Book.of(5).text(), Book.of(5).note()


def post_quantum(number: int) -> str:
    """A line as a witness with an ML-DSA-44 key makes it: 2,420 bytes of signature, and 8 of its time."""
    blob = bytes([number]) * 4 + bytes(8) + bytes([number]) * 4600
    return f"— witness-{number}.example/mldsa {base64.b64encode(blob).decode()}\n"


def without(line: str) -> str:
    """A note that is signed, and lacks a line."""
    return SIGNER.sign("".join(row for row in TEXT.splitlines(True) if not row.startswith(line)))


MANY = NOTE + "".join(map(post_quantum, range(15)))

NOTES = {
    "plain": (0, NOTE),
    "signed by 15 others": (0, MANY),
    "signed by 15 others first": (
        0,
        f"{TEXT}\n{''.join(map(post_quantum, range(15)))}{SIGNER.signature_line(TEXT)}",
    ),
    "signed by 99 others": (0, NOTE + post_quantum(1) * 99),
    "signed by 100 others": (3, NOTE + post_quantum(1) * 100),
    "too long": (3, NOTE.replace("\nguards ", "\nx " + "y" * (1 << 20) + "\nguards ")),
    "changed": (1, NOTE.replace("guards ab", "guards ac")),
    "of another key": (1, Book.of(5).note(signer=OTHER)),
    "with a bad signature besides": (1, NOTE + SIGNER.signature_line("x\n")),
    "without guards": (3, without("guards ")),
    "without a time": (3, without("time ")),
    "without the others of its run": (3, without("logs ")),
    "without an installation": (3, without("installation ")),
    "of another installation": (1, SIGNER.sign(TEXT.replace("installation 6f", "installation 7f"))),
    "with no such time": (3, SIGNER.sign(TEXT.replace("time 2026-01", "time 2026-13"))),
    "with a line more": (0, SIGNER.sign(TEXT + "more than this\n")),
    "with a line twice": (3, SIGNER.sign(TEXT + "guards x\n")),
    "of no size": (3, SIGNER.sign(TEXT.replace("\n5\n", "\n05\n"))),
    "CRLF": (3, NOTE.replace("\n", "\r\n")),
    "CRLF at the end": (3, NOTE.replace("=\n", "=\r\n")),
    "a byte order mark": (3, "\ufeff" + NOTE),
    "empty": (3, ""),
    "cut in the signature": (3, NOTE[:-9]),
    "cut before the signature": (3, TEXT),
    "cut in the text": (3, TEXT[:80]),
    "a signature of four bytes": (3, f"{TEXT}\n— x AAAAAA==\n"),
    "two notes": (0, f"{NOTE}\n{Book.of(4, 'votes').note()}"),
    "two notes, one of another key": (1, f"{NOTE}\n{Book.of(4, 'votes').note(signer=OTHER)}"),
    "two notes, one cut": (3, f"{NOTE}\n{Book.of(4, 'votes').note()[:-9]}"),
    "two notes, one cut and one changed": (1, f"{NOTE[:-9]}\n\n{NOTE.replace('guards ab', 'guards ac')}"),
    "a NUL": (3, NOTE.replace("guards ", "guards \0")),
    "half a character": (3, NOTE.replace("guards ", "guards \udc80")),
}


@pytest.mark.parametrize("what", NOTES)
def test_both_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    code, text = NOTES[what]
    file = tmp_path / "x.note"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert offline_check.main(["checkpoint", str(file), "--trust", SIGNER.vkey]) == code
    assert main(["checkpoint", "verify", str(file), "--trust", SIGNER.vkey]) == code
    capsys.readouterr()
    # and so do the commands that compare rows with one
    if "two" not in what:
        (tmp_path / "e").write_bytes(b"".join(Book.of(5).export()))
        against = ["--checkpoint", str(file), "--trust", SIGNER.vkey]
        assert offline_check.main(["export", str(tmp_path / "e"), *against]) == code
        assert main(["verify-export", str(tmp_path / "e"), *against]) == code


def test_a_note_of_93_kilobytes_is_one_of_them() -> None:
    assert len(MANY.encode()) > 90_000
