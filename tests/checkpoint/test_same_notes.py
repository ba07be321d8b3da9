"""The command and offline_check.py say the same of each note."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from alpha_db.cli.main import main
from alpha_db.evidence import offline_check
from tests.evidence.made_by_hand import OTHER, SIGNER, Book

pytestmark = pytest.mark.any_server

BOOK = Book.of(5)
TEXT, NOTE, PROOF = BOOK.text(), BOOK.note(), BOOK.run()


def post_quantum(number: int) -> str:
    """A line as a witness with an ML-DSA-44 key makes it: 2,420 bytes of signature, and 8 of its time."""
    blob = bytes([number]) * 4 + bytes(8) + bytes([number]) * 4600
    return f"— witness-{number}.example/mldsa {base64.b64encode(blob).decode()}\n"


MANY = NOTE + "".join(map(post_quantum, range(15)))
OTHERS_FIRST = f"{TEXT}\n{''.join(map(post_quantum, range(15)))}{SIGNER.signature_line(TEXT)}"


def signed(text: str) -> str:
    assert text != TEXT
    return SIGNER.sign(text)


NOTES = {
    "plain": (0, NOTE),
    "signed by 15 others": (0, MANY),
    "signed by 15 others first": (0, OTHERS_FIRST),
    "signed by 99 others": (0, NOTE + post_quantum(1) * 99),
    "signed by 100 others": (3, NOTE + post_quantum(1) * 100),
    "too long": (3, NOTE.replace("\n3\n", "\n" + "3" * (1 << 20) + "\n")),
    "changed": (1, NOTE.replace("\n3\n", "\n2\n")),
    "of another key": (1, BOOK.note(signer=OTHER)),
    "with a bad signature besides": (1, NOTE + SIGNER.signature_line("x\n")),
    "of another log than its key's": (1, signed(TEXT.replace(SIGNER.name, "another.example", 1))),
    "with a line more": (3, signed(TEXT + "more than this\n")),
    "with a line less": (3, signed("\n".join(TEXT.split("\n")[:2]) + "\n")),
    "of no size": (3, signed(TEXT.replace("\n3\n", "\n03\n"))),
    "of a root of 31 bytes": (3, signed("\n".join([*TEXT.split("\n")[:2], "A" * 41 + "E=", ""]))),
    "CRLF": (3, NOTE.replace("\n", "\r\n")),
    "CRLF at the end": (3, NOTE.replace("=\n", "=\r\n")),
    "a byte order mark": (3, "\ufeff" + NOTE),
    "empty": (3, ""),
    "cut in the signature": (3, NOTE[:-9]),
    "cut before the signature": (3, TEXT),
    "cut in the text": (3, TEXT[:20]),
    "a signature of four bytes": (3, f"{TEXT}\n— x AAAAAA==\n"),
    "two notes": (1, f"{NOTE}\n{Book.of(4, 'votes').note()}"),
    "a NUL": (3, NOTE.replace("\n3\n", "\n\0\n")),
    "half a character": (3, NOTE.replace("\n3\n", "\n\udc80\n")),
}

LINES = PROOF.split("\n")
PROOFS = {
    "plain": (0, PROOF),
    "cut": (3, PROOF[:-9]),
    "cut before the note": (3, PROOF.split("\n\n")[0] + "\n"),
    "CRLF": (3, PROOF.replace("\n", "\r\n")),
    "with another index": (1, PROOF.replace("\nindex 2\n", "\nindex 1\n")),
    "with an index out of range": (1, PROOF.replace("\nindex 2\n", "\nindex 3\n")),
    "with a zero before the index": (3, PROOF.replace("\nindex 2\n", "\nindex 02\n")),
    "without a node": (1, "\n".join(line for n, line in enumerate(LINES) if n != 3)),
    "without extra": (3, "\n".join(line for n, line in enumerate(LINES) if n != 1)),
    "with a changed note": (1, PROOF.replace("\n3\n", "\n4\n")),
    "of another key": (1, BOOK.run(signer=OTHER)),
    "of another version": (3, PROOF.replace("@v1", "@v2")),
    "with its lines in another order": (
        3,
        "\n".join([PROOF.split("\n")[n] for n in (0, 2, 1)] + PROOF.split("\n")[3:]),
    ),
}


@pytest.mark.parametrize("what", PROOFS)
def test_both_say_the_same_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    code, text = PROOFS[what]
    file = tmp_path / "x.tlog-proof"
    file.write_text(text, encoding="utf-8", newline="")
    assert offline_check.main(["checkpoint", str(file), "--trust", SIGNER.vkey]) == code
    assert main(["checkpoint", "verify", str(file), "--trust", SIGNER.vkey]) == code
    # and so do the commands that compare rows with one
    (tmp_path / "e").write_bytes(b"".join(BOOK.export()))
    against = ["--checkpoint", str(file), "--trust", SIGNER.vkey]
    assert offline_check.main(["export", str(tmp_path / "e"), *against]) == code
    assert main(["verify-export", str(tmp_path / "e"), *against]) == code
    capsys.readouterr()


@pytest.mark.parametrize("what", NOTES)
def test_both_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    code, text = NOTES[what]
    file = tmp_path / "x.note"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert offline_check.main(["checkpoint", str(file), "--trust", SIGNER.vkey]) == code
    assert main(["checkpoint", "verify", str(file), "--trust", SIGNER.vkey]) == code
    capsys.readouterr()


def test_a_note_of_93_kilobytes_is_one_of_them() -> None:
    assert len(MANY.encode()) > 90_000
