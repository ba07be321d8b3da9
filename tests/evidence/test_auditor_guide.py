"""docs/auditor-guide.md, word for word: its commands are run, and print what it says."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alpha_db.evidence import offline_check
from tests.cluster import client_environment
from tests.evidence.desk import Evidence, book_of
from tests.evidence.made_by_hand import OTHER, SIGNER, Book, Signer, root_of
from tests.support import ROOT, fill, make_signal

GUIDE = (ROOT / "docs" / "auditor-guide.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|text)\n(.*?)^```$", GUIDE.split("## Check a webhook")[0], re.DOTALL | re.M)
COMMANDS = [text for kind, text in BLOCKS if kind == "sh"]
SHOWN = [text for kind, text in BLOCKS if kind == "text"]
BY_TOOL, BY_HAND = COMMANDS[:2], "".join(COMMANDS[2:])
SIZE = 100

pytestmark = [
    pytest.mark.any_server,  # what the page says; what a server prints is tested with exports
    pytest.mark.skipif(
        not (shutil.which("bash") and shutil.which("openssl") and shutil.which("sha256sum")),
        reason="no bash, openssl or sha256sum here",
    ),
]


def row(n: int) -> str:
    """What the database prints, with what a shell may stumble over in it."""
    payload = f'{{"n": {n}.50, "note": "é \\" \\\\ / \\u0001 \\n %s $HOME `id` \\\\x41  two", "t": "ℵ"}}'
    return f'{{"id":{n},"signal_id":"tv-{n:06d}","raw_payload":{payload},"hmac_verified":true}}'


BOOK = Book([row(n) for n in range(1, SIZE + 3)])


def sample(folder: Path, book: Book = BOOK, size: int = SIZE) -> None:
    shutil.copy(offline_check.__file__, folder)
    (folder / "signals.jsonl").write_bytes(b"".join(book.export()))
    (folder / "signals.note").write_text(book.note(size), encoding="utf-8")
    (folder / "desk.vkey").write_text(f"{SIGNER.vkey}\n")
    proof = json.dumps(book.proof(min(17, size), size), ensure_ascii=False)
    (folder / "signals-17.proof.json").write_text(proof, encoding="utf-8")


def bash(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{client_environment()['PATH']}"
    return subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=folder,
        env=client_environment({"PATH": path}),
        capture_output=True,
        text=True,
        check=False,
    )


def shown(text: str) -> str:
    """What the guide shows, with this book's hashes for the words in capitals."""
    lines = BOOK.text(SIZE).splitlines()
    values = {
        "LAST_HASH": BOOK.hashes[-1].hex(),
        "ROOT": root_of(BOOK.leaves[:SIZE]).hex(),
        "GUARDS": lines[4].split()[1],
        "LOGS": lines[7].split()[2],
    }
    return re.sub("|".join(values), lambda found: values[found.group()], text)


def test_the_guide_has_what_is_tested_here() -> None:
    assert (len(COMMANDS), len(SHOWN)) == (5, 3)
    assert "openssl" in COMMANDS[2]


def test_by_tool(tmp_path: Path) -> None:
    sample(tmp_path)
    done = bash(tmp_path, BY_TOOL[0])
    assert (done.returncode, done.stderr, done.stdout) == (0, "", shown(SHOWN[0]))
    done = bash(tmp_path, BY_TOOL[1])
    assert (done.returncode, done.stderr) == (0, "")
    assert f"row_data   {BOOK.rows[16]}\n" in done.stdout


def test_by_hand(tmp_path: Path) -> None:
    sample(tmp_path)
    done = bash(tmp_path, BY_HAND)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", shown(SHOWN[1] + SHOWN[2]))


SMALL = Book(BOOK.rows[:5])
LINES = SMALL.export()


def swapped(lines: list[bytes], n: int, m: int) -> list[bytes]:
    lines = list(lines)
    lines[n], lines[m] = lines[m], lines[n]
    return lines


def edited(lines: list[bytes], n: int, old: bytes, new: bytes) -> list[bytes]:
    assert old in lines[n]
    return [*lines[:n], lines[n].replace(old, new, 1), *lines[n + 1 :]]


def upper(lines: list[bytes], n: int, name: bytes) -> list[bytes]:
    found = re.search(rb'"' + name + rb'":"([0-9a-f]{64})"', lines[n])
    assert found
    return edited(lines, n, found[1], found[1].upper())


ANEW = Book([*SMALL.rows[:3], SMALL.rows[3].replace("4.50", "4.51"), SMALL.rows[4]])
INSIDE = Book([SMALL.rows[0].replace('"id":1', '"id":2')])

#: Exports that must not pass, and the exit code of both ways of checking them.
BROKEN: dict[str, tuple[int, list[bytes]]] = {
    "a changed row": (1, edited(LINES, 3, b"3.50", b"3.51")),
    "a changed row, and a cut end": (1, edited(LINES, 3, b"3.50", b"3.51")[:-1]),
    "a hash in upper case": (1, upper(LINES, 3, b"row_hash")),
    "the last hash in upper case": (1, upper(LINES, 6, b"last_hash")),
    "the first hash in upper case": (3, upper(LINES, 0, b"previous_hash")),
    "a row left out": (1, [*LINES[:3], *LINES[4:]]),
    "a row twice": (1, [*LINES[:4], *LINES[3:]]),
    "two rows swapped": (1, swapped(LINES, 2, 3)),
    "rows in reverse": (1, [LINES[0], *LINES[5:0:-1], LINES[6]]),
    "an id that jumps": (1, edited(LINES, 3, b'{"id":3', b'{"id":4')),
    "an id that is text": (3, edited(LINES, 3, b'{"id":3', b'{"id":"3"')),
    "an id inside that is another": (1, INSIDE.export()),
    "no end line": (3, LINES[:-1]),
    "an end line too early": (1, [*LINES[:4], LINES[6]]),
    "an end line of fewer rows, honestly made": (1, SMALL.export(last=4)),
    "two end lines": (1, [*LINES, LINES[6]]),
    "two exports": (1, [*LINES, *LINES]),
    "a row behind the end": (1, [*LINES, LINES[5]]),
    "an end line of another number": (1, edited(LINES, 6, b'"rows":5', b'"rows":4')),
    "an end line with a member more": (3, edited(LINES, 6, b"}", b',"more":1}')),
    "a row with a member more": (3, edited(LINES, 3, b'"}\n', b'","more":1}\n')),
    "a row with a member more that looks like its text": (3, edited(LINES, 3, b'"}\n', b'","more":"1"}\n')),
    "a row with a member between": (3, edited(LINES, 3, b'","row_data"', b'","more":"1","row_data"')),
    "a row with a member before its hash": (3, edited(LINES, 3, b',"row_hash"', b',"more":1,"row_hash"')),
    "a row with two texts": (3, edited(LINES, 3, b'"row_data"', b'"row_data":"x","row_data"')),
    "a row with blanks": (3, edited(LINES, 3, b'{"id":', b'{"id": ')),
    "a bad escape": (3, edited(LINES, 3, b'\\"n', b'\\q\\"n')),
    "a bare quote": (3, edited(LINES, 3, b'\\"n', b'"n')),
    "no header": (3, LINES[1:]),
    "the header of another installation": (1, edited(LINES, 0, b"alpha-db/6f", b"alpha-db/7f")),
    "the header of another table": (1, [Book(SMALL.rows, "votes").export()[0], *LINES[1:]]),
    "a header that begins with nothing": (1, edited(LINES, 0, SMALL.hashes[0].hex().encode(), b"0" * 64)),
    "two headers": (3, [LINES[0], *LINES]),
    "a blank line": (3, [*LINES[:3], b"\n", *LINES[3:]]),
    "a blank line at the end": (1, [*LINES, b"\n"]),
    "something without a line end behind it": (1, [*LINES, b"x"]),
    "a NUL behind it": (1, [*LINES, b"\0"]),
    "an end line with a zero before a number": (3, edited(LINES, 6, b'"rows":5', b'"rows":05')),
    "CRLF": (3, [line.replace(b"\n", b"\r\n") for line in LINES]),
    "CRLF in one line": (3, edited(LINES, 3, b"\n", b"\r\n")),
    "a byte order mark": (3, [b"\xef\xbb\xbf", *LINES]),
    "no line end at the end": (3, [b"".join(LINES).removesuffix(b"\n")]),
    "half a last row": (3, [b"".join(LINES[:5])[:-9]]),
    "a NUL": (3, edited(LINES, 3, b"two", b"t\0wo")),
    "a tab": (3, edited(LINES, 3, b"two", b"t\two")),
    "bad UTF-8": (3, edited(LINES, 3, "é".encode(), b"\xe9")),
    "nothing": (3, []),
    "something else": (3, [b"hello\n"]),
    "written anew, with a root of its own": (1, ANEW.export()),
}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sample(tmp_path, SMALL, 5)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def by_tool() -> int:
    """The first command of the page, in this process."""
    python, dash_i, _, *arguments = COMMANDS[0].split()
    assert (python, dash_i) == ("python3", "-I")
    return offline_check.main(arguments)


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_export_by_tool_and_by_hand(small: Path, what: str) -> None:
    code, lines = BROKEN[what]
    (small / "signals.jsonl").write_bytes(b"".join(lines))
    assert by_tool() == code
    hand = bash(small, BY_HAND)
    assert hand.returncode == code, hand
    assert hand.stdout.splitlines()[-1].startswith({1: "DOES NOT HOLD: ", 3: "NOT CHECKED: "}[code])
    assert "it holds" not in hand.stdout


def test_the_end_is_what_the_page_says(small: Path) -> None:
    done = bash(small, BY_HAND)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        0,
        "it holds: rows 1 to 5 were signed, 0 came later",
    )
    for size in (0, 3):
        (small / "signals.note").write_text(SMALL.note(size), encoding="utf-8")
        done = bash(small, BY_HAND)
        assert f"it holds: rows 1 to {size} were signed, {5 - size} came later\n" in done.stdout, done
    export = (small / "signals.jsonl").read_bytes()
    (small / "signals.jsonl").write_bytes(gzip.compress(export))
    assert bash(small, BY_HAND).stdout.startswith("NOT CHECKED: signals.jsonl is packed")


NAMESAKE = Signer(SIGNER.name, b"9" * 32)

#: Notes, and the exit code of both ways.
NOTES = {
    "of another signer": (1, SMALL.note(signer=OTHER)),
    "of a namesake": (1, SMALL.note(signer=NAMESAKE)),
    "changed": (1, SMALL.note().replace("guards ab", "guards ac")),
    "of another root": (1, ANEW.note()),
    "of another log": (1, Book(SMALL.rows, "votes").note()),
    "of more rows": (1, BOOK.note(7)),
    "signed twice": (0, SMALL.note() + SIGNER.signature_line(SMALL.text())),
    "signed by a namesake, too": (0, SMALL.note() + NAMESAKE.signature_line(SMALL.text())),
    "signed by others first": (0, OTHER.sign(SMALL.text()) + SIGNER.signature_line(SMALL.text())),
    "with a bad signature besides": (1, SMALL.note() + SIGNER.signature_line("x\n")),
    "CRLF": (3, SMALL.note().replace("\n", "\r\n")),
    "cut": (3, SMALL.note()[:-1]),
    "empty": (3, ""),
    "a blank line": (3, "\n"),
    "a byte order mark": (3, f"\ufeff{SMALL.note()}"),
    "HTML": (3, "<html>\n\n<p>Not found</p>\n</html>\n"),
    "JSON": (3, "{}\n"),
    "unsigned": (3, SMALL.text()),
    "unsigned, with an empty line": (3, f"{SMALL.text()}\n"),
    "blank lines behind": (3, f"{SMALL.note()}\n"),
    "blanks behind": (3, SMALL.note().replace("\n", "  \n")),
    "a cut signature": (1, f"{SMALL.note()[:-9]}\n"),
    "a signature of two bytes": (3, f"{SMALL.text()}\n— {SIGNER.name} AAA=\n"),
    "no base64": (3, f"{SMALL.text()}\n— {SIGNER.name} AAAAAAB=\n"),
    "too long": (3, "x" * (1 << 20) + f"\n{SMALL.note()}"),
    "two notes": (1, SMALL.note() * 2),
    "two notes, one behind the other": (1, f"{SMALL.note()}\n{SMALL.note()}"),
    "101 signatures": (3, SMALL.note() + SIGNER.signature_line("x\n") * 100),
    **{
        f"signed with {what}": (code, SIGNER.sign(SMALL.text().replace(old, new, 1)))
        for what, code, old, new in (
            ("another installation", 1, "installation 6f", "installation 7f"),
            ("no installation", 3, "installation ", "place "),
            ("no guards", 3, "guards ", "guard "),
            ("a line twice", 3, "guards ", "guards x\nguards "),
            ("another line", 0, "guards ", "more x\nguards "),
            ("an empty line", 3, "guards ", "\nguards "),
            ("a bad time", 3, "2026-01-25", "2026-13-25"),
            ("a short time", 3, ".123456Z", "Z"),
            ("a bad server", 3, "timeline 1", "timeline x"),
            ("a root that is no base64", 3, "=\n", "\n"),
            ("a size of 2^64", 3, "\n5\n", f"\n{1 << 64}\n"),
            ("a size of 6,000 digits", 3, "\n5\n", f"\n{'9' * 6000}\n"),
            ("a size with a zero", 3, "\n5\n", "\n05\n"),
        )
    },
}

#: Files of public keys, and the exit code of both ways.
KEYS = {
    "a comment and a blank line": (0, f"# my key\n\n{SIGNER.vkey}\n"),
    "two keys": (0, f"{OTHER.vkey}\n{SIGNER.vkey}\n"),
    "another key": (1, f"{OTHER.vkey}\n"),
    "the key of a namesake": (1, f"{NAMESAKE.vkey}\n"),
    "CRLF, no end": (0, f"# my key\r\n{SIGNER.vkey}"),
    "a byte order mark": (3, f"\ufeff{SIGNER.vkey}\n"),
    "HTML": (3, "<html></html>\n"),
    "a blank line": (3, "\n"),
    "nothing": (3, ""),
    "something behind": (3, f"{SIGNER.vkey} x\n"),
    "another id": (3, f"{SIGNER.name}+00000000+{SIGNER.vkey[-44:]}\n"),
}


@pytest.mark.parametrize("what", KEYS)
def test_a_key_by_tool_and_by_hand(small: Path, what: str) -> None:
    code, text = KEYS[what]
    (small / "desk.vkey").write_text(text, encoding="utf-8", newline="")
    assert by_tool() == code
    hand = bash(small, BY_HAND)
    assert (hand.returncode, hand.stderr) == (code, ""), hand


@pytest.mark.parametrize("what", NOTES)
def test_a_note_by_tool_and_by_hand(small: Path, what: str) -> None:
    code, note = NOTES[what]
    (small / "signals.note").write_text(note, encoding="utf-8", newline="")
    assert by_tool() == code
    hand = bash(small, BY_HAND)
    assert (hand.returncode, hand.stderr) == (code, ""), hand
    assert ("it holds" in hand.stdout) == (code == 0)


def test_what_is_not_there_by_tool_and_by_hand(small: Path) -> None:
    for file in ("signals.jsonl", "signals.note"):
        (small / file).rename(small / "away")
        assert by_tool() == 5
        done = bash(small, BY_HAND)
        assert (done.returncode, done.stdout) == (5, f"NOT THERE: {file}\n")
        (small / "away").rename(small / file)


def test_what_cannot_be_read_is_no_damage(small: Path) -> None:
    (small / "signals.note").unlink()
    (small / "signals.note").symlink_to("signals.note")
    assert by_tool() == 3
    assert bash(small, BY_HAND).returncode == 3
    assert (
        "NOT CHECKED: there is no sha256sum here"
        in bash(small, f"command() {{ [ $2 != sha256sum ]; }}\n{BY_HAND}").stdout
    )


def test_a_real_book_by_hand_and_by_tool(evidence: Evidence) -> None:
    fill(evidence.db, signals=4)
    make_signal(
        evidence.db, 5, raw_payload='{"n": 1.50, "note": "é \\" \\\\ / \\u0001 %s \\n $HOME", "s": "  x  "}'
    )
    note = evidence.note()
    evidence.desk.run("export", "--table", "signals", "-o", str(evidence.path("signals.jsonl")))
    evidence.desk.run(
        "prove", "signals", "5", "--checkpoints", str(note), "--trust", str(evidence.key),
        "-o", str(evidence.path("signals-17.proof.json")),
    )  # fmt: skip
    shutil.copy(offline_check.__file__, evidence.folder)
    for script in (*BY_TOOL, BY_HAND):
        done = bash(evidence.folder, script)
        assert (done.returncode, done.stderr) == (0, "")
    root = root_of(book_of(evidence.db, "signals").leaves).hex()
    assert f"computed {root}\nsigned   {root}\nit holds: rows 1 to 5 were signed, 0" in done.stdout
