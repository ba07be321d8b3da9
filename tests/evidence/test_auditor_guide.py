"""docs/auditor-guide.md, word for word: its commands are run, and print what it says."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from alpha_db.evidence import offline_check
from tests.cluster import client_environment
from tests.evidence.desk import Evidence, book_of
from tests.evidence.made_by_hand import (
    OTHER,
    SIGNER,
    Book,
    Signer,
    checkpoint_text,
    root_of,
    run_proof,
    run_row,
    tlog_proof,
)
from tests.support import ROOT, fill, make_signal
from tests.witness.by_hand import Signer as Witness

GUIDE = (ROOT / "docs" / "auditor-guide.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|text)\n(.*?)^```$", GUIDE.split("## Check a webhook")[0], re.DOTALL | re.M)
COMMANDS = [text for kind, text in BLOCKS if kind == "sh"]
SHOWN = [text for kind, text in BLOCKS if kind == "text"]
BY_TOOL, WITNESSED, BY_HAND = COMMANDS[:2], COMMANDS[2], "".join(COMMANDS[3:])
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
    (folder / "run.tlog-proof").write_text(book.run(size), encoding="utf-8")
    (folder / "desk.vkey").write_text(f"{SIGNER.vkey}\n")
    (folder / "signals-17.tlog-proof").write_text(book.proof(min(17, size), size), encoding="utf-8")


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
    values = {"LAST_HASH": BOOK.hashes[-1].hex(), "ROOT": root_of(BOOK.leaves[:SIZE]).hex()}
    return re.sub("|".join(values), lambda found: values[found.group()], text)


def test_the_guide_has_what_is_tested_here() -> None:
    assert (len(COMMANDS), len(SHOWN)) == (7, 4)
    assert "--policy" in WITNESSED
    assert "openssl" in COMMANDS[3]


def test_by_tool(tmp_path: Path) -> None:
    sample(tmp_path)
    done = bash(tmp_path, BY_TOOL[0])
    assert (done.returncode, done.stderr, done.stdout) == (0, "", shown(SHOWN[0]))
    done = bash(tmp_path, BY_TOOL[1])
    assert (done.returncode, done.stderr) == (0, "")
    assert f"row_data   {BOOK.rows[16]}\n" in done.stdout


def test_with_witnesses(tmp_path: Path) -> None:
    sample(tmp_path)
    witness = Witness("witness.example", 4)
    (tmp_path / "witnesses.policy").write_text(f"witness w {witness.vkey}\nquorum w\n")
    for signed, code in ((BOOK.text(SIZE), 0), (BOOK.text(SIZE + 1), 1)):
        note = BOOK.note(SIZE) + witness.line(signed)
        (tmp_path / "cosigned-1.note").write_text(note, encoding="utf-8")
        done = bash(tmp_path, WITNESSED)
        assert (done.returncode, "witness    w, 2026-09-21T" in done.stdout) == (code, code == 0), done
        assert ("is not of this checkpoint" in done.stderr) == bool(code)


def test_by_hand(tmp_path: Path) -> None:
    sample(tmp_path)
    done = bash(tmp_path, BY_HAND)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", shown("".join(SHOWN[1:])))


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
    "a header of nowhere": (3, edited(LINES, 0, b"alpha-db/6f", b"alpha-db/6F")),
    "a hash that is too short": (
        3,
        edited(LINES, 3, SMALL.hashes[3].hex().encode(), SMALL.hashes[3].hex()[1:].encode()),
    ),
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


def in_part(cases: Iterable[str], kept: set[str]) -> list[Any]:
    """The cases, of which the normal run has those kept: by hand each takes half a second of some 200 processes."""
    cases = list(cases)
    assert kept <= set(cases)
    return [pytest.param(what, marks=() if what in kept else pytest.mark.long) for what in cases]


#: Those that differ most in what the script asks of an export.
EXPORTS_KEPT = {
    "a changed row, and a cut end",
    "two rows swapped",
    "an id inside that is another",
    "an end line of fewer rows, honestly made",
    "a NUL behind it",
    "a row with a member more that looks like its text",
    "the header of another installation",
    "no line end at the end",
    "written anew, with a root of its own",
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_export_by_tool(small: Path, what: str) -> None:
    code, lines = BROKEN[what]
    (small / "signals.jsonl").write_bytes(b"".join(lines))
    assert by_tool() == code


@pytest.mark.parametrize("what", in_part(BROKEN, EXPORTS_KEPT))
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
        (small / "run.tlog-proof").write_text(SMALL.run(size), encoding="utf-8")
        done = bash(small, BY_HAND)
        assert f"it holds: rows 1 to {size} were signed, {5 - size} came later\n" in done.stdout, done
    export = (small / "signals.jsonl").read_bytes()
    (small / "signals.jsonl").write_bytes(gzip.compress(export))
    assert bash(small, BY_HAND).stdout.startswith("NOT CHECKED: signals.jsonl is packed")


NAMESAKE = Signer(SIGNER.name, b"9" * 32)

NOTE, TEXT, RUN = SMALL.note(), SMALL.text(), SMALL.run()
START = RUN.removesuffix(NOTE)
V, E, X, N, *_ = RUN.split("\n")


def of_row(old: str, new: str) -> str:
    """The proof of a signed run with something else in its row."""
    runs = SMALL.runs()
    assert old in runs.rows[2]
    return run_proof(Book([*runs.rows[:2], runs.rows[2].replace(old, new, 1)], "checkpoint_runs"))


def of_heads(heads: dict[str, Any]) -> str:
    return run_proof(Book([run_row(1, heads)], "checkpoint_runs"))


def of_extra(old: str, new: str) -> str:
    """A run with something else in its line `extra`; the signature is right."""
    extra = base64.b64decode(E.split()[1])
    assert old.encode() in extra
    return (
        f"{V}\nextra {base64.b64encode(extra.replace(old.encode(), new.encode(), 1)).decode()}\n"
        + "\n".join(RUN.split("\n")[2:])
    )


def of_lines(*lines: str) -> str:
    return "\n".join([*lines, "", NOTE])


ROOT_OF_SMALL = SMALL.head()["root"]
#: A run written again with its hash and its path: what the checkpoint signs is another one.
FORGED = run_proof(ANEW.runs()).split("\n\n")[0]

#: Files run.tlog-proof, and the exit code of both ways.
CHECKPOINTS = {
    "as it was made": (0, RUN),
    # the signature
    "of another signer": (1, SMALL.run(signer=OTHER)),
    "of a namesake": (1, SMALL.run(signer=NAMESAKE)),
    "of another root": (1, ANEW.run()),
    "of more rows": (1, BOOK.run(7)),
    "with the note of another": (1, START + ANEW.note()),
    "with the signature of another": (1, START + TEXT + "\n" + ANEW.note().split("\n\n")[1]),
    "signed twice": (0, RUN + SIGNER.signature_line(TEXT)),
    "signed by a namesake, too": (0, RUN + NAMESAKE.signature_line(TEXT)),
    "signed by others first": (0, START + OTHER.sign(TEXT) + SIGNER.signature_line(TEXT)),
    "with a bad signature besides": (1, RUN + SIGNER.signature_line("x\n")),
    "a cut signature": (1, f"{RUN[:-9]}\n"),
    "a signature of two bytes": (3, f"{START}{TEXT}\n— {SIGNER.name} AAA=\n"),
    "a signature that is no base64": (3, f"{START}{TEXT}\n— {SIGNER.name} AAAAAAB=\n"),
    "unsigned": (3, START + TEXT),
    "unsigned, with an empty line": (3, f"{START}{TEXT}\n"),
    "101 signatures": (3, RUN + SIGNER.signature_line("x\n") * 100),
    "two notes": (1, START + NOTE * 2),
    "two notes, one behind the other": (1, f"{RUN}\n{NOTE}"),
    "a note that is too long": (3, START + "x" * (1 << 20) + f"\n{NOTE}"),
    # the file
    "CRLF": (3, RUN.replace("\n", "\r\n")),
    "CRLF in the note": (3, START + NOTE.replace("\n", "\r\n")),
    "cut": (3, RUN[:-1]),
    "empty": (3, ""),
    "a blank line": (3, "\n"),
    "a byte order mark": (3, f"\ufeff{RUN}"),
    "HTML": (3, "<html>\n\n<p>Not found</p>\n</html>\n"),
    "JSON": (3, "{}\n"),
    "a NUL": (3, RUN.replace("\n3\n", "\n3\0\n")),
    "a tab": (3, RUN.replace("index ", "index\t")),
    "blank lines behind": (3, f"{RUN}\n"),
    "blanks behind": (3, RUN.replace("\n", "  \n")),
    "the note alone": (3, NOTE),
    # the lines
    "no extra line": (3, of_lines(V, X, N)),
    "two extra lines": (3, of_lines(V, E, E, X, N)),
    "an extra line that is no base64": (3, of_lines(V, E[:-1], X, N)),
    "an extra line with a blank": (3, of_lines(V, f"{E} ", X, N)),
    "an extra line of nothing": (3, of_lines(V, "extra ", X, N)),
    "another version": (3, of_lines("c2sp.org/tlog-proof@v2", E, X, N)),
    "no version": (3, of_lines(E, X, N)),
    "no index": (3, of_lines(V, E, N)),
    "the index of another run": (1, of_lines(V, E, "index 1", N)),
    "an index beyond the end": (1, of_lines(V, E, "index 3", N)),
    "an index with a zero": (3, of_lines(V, E, "index 02", N)),
    "an index of 19 digits": (3, of_lines(V, E, "index " + "9" * 19, N)),
    "an index below zero": (3, of_lines(V, E, "index -1", N)),
    "no node": (1, of_lines(V, E, X)),
    "a node too many": (1, of_lines(V, E, X, N, N)),
    "another node": (1, of_lines(V, E, X, "A" * 43 + "=")),
    "63 nodes": (1, of_lines(V, E, X, *[N] * 63)),
    "64 nodes": (3, of_lines(V, E, X, *[N] * 64)),
    "a node that is no base64": (3, of_lines(V, E, X, "A" * 42 + "B=")),
    "a node that is too short": (3, of_lines(V, E, X, "AAAA")),
    "a node with a blank": (3, of_lines(V, E, X, f"{N} ")),
    "lines in another order, and another note": (3, of_lines(V, X, E, N)[: -len(NOTE)] + ANEW.note()),
    "an empty line more": (1, of_lines(V, E, X, N, "")),
    # the extra line
    "a run written again": (1, f"{FORGED}\n\n{NOTE}"),
    "a run with another size in it": (1, of_extra('\\"size\\": 5', '\\"size\\": 4')),
    "a run that says another id": (1, of_extra('{\\"id\\":3', '{\\"id\\":4')),
    "a run with another hash before it": (1, of_extra(SMALL.runs().hashes[2].hex(), "0" * 64)),
    "a hash in upper case": (3, of_extra(SMALL.runs().hashes[2].hex(), SMALL.runs().hashes[2].hex().upper())),
    "another format": (3, of_extra("run/v1", "run/v2")),
    "a member more": (3, of_extra('\\"}"}', '\\"}","more":1}')),
    "a second text": (3, of_extra('"row_data"', '"row_data":"x","row_data"')),
    "a bad escape": (3, of_extra('{\\"id', '{\\q\\"id')),
    "a bare quote": (3, of_extra('{\\"id', '{"id')),
    "a raw tab": (3, of_extra("auditor", "audi\ttor")),
    "a NUL inside": (3, of_extra("auditor", "audi\0tor")),
    "something behind": (3, of_extra('\\"}"}', '\\"}"}x')),
    "another table": (5, Book(SMALL.rows, "votes").run()),
    "no root": (3, of_row(f'"{ROOT_OF_SMALL}"', "null")),
    "an empty table, too": (0, of_heads({"votes": Book([], "votes").head(), "signals": SMALL.head()})),
    "no table at all": (5, of_heads({})),
    **{
        f"signed with {what}": (code, of_row(old, new))
        for what, code, old, new in (
            ("another installation", 1, "6f1c", "7f1c"),
            ("no installation", 3, '"installation_id":', '"place":'),
            ("an installation that is none", 3, "6f1c", "6F1C"),
            ("guards that are none", 3, "abab", "ABAB"),
            ("a bad time", 3, "2026-01-25", "2026-13-25"),
            ("a time without its zone", 3, "+00:00", ""),
            ("a bad timeline", 3, '"timeline":1', '"timeline":"1"'),
            ("a bad position", 3, "0/15D4F28", "15D4F28"),
            ("a bad escape", 3, "auditor", "au\\ditor"),
            ("a member twice", 3, '+00:00"}', '+00:00","timeline":1}'),
            ("a brace too many", 3, '+00:00"}', '+00:00"}}'),
            ("something behind", 3, '+00:00"}', '+00:00"}x'),
            ("a root in upper case", 3, ROOT_OF_SMALL, ROOT_OF_SMALL.upper()),
            ("a root that is too short", 3, ROOT_OF_SMALL, ROOT_OF_SMALL[1:]),
            ("a size below zero", 3, '"size": 5', '"size": -5'),
            ("a size that is text", 3, '"size": 5', '"size": "5"'),
            ("a size with a fraction", 3, '"size": 5', '"size": 5.0'),
            ("a size of 6,000 digits", 3, '"size": 5', f'"size": {"9" * 6000}'),
            ("no size", 3, '"size": 5, ', ""),
            ("a member more in a head", 3, '"size": 5', '"more": 1, "size": 5'),
            ("a table twice", 3, '"heads":{', f'"heads":{json.dumps({"signals": ANEW.head()})[:-1]}, '),
            (
                "the log of runs",
                3,
                '"signals": ',
                f'"checkpoint_runs": {json.dumps(SMALL.head())}, "signals": ',
            ),
            ("a comma behind the heads", 3, '"}},"created_at"', '"}, },"created_at"'),
            ("an escape in a name", 0, "auditor", '\\"heads\\":{\\\\ é \\u001b'),
        )
    },
    **{
        f"signed with {what}": (code, START + SIGNER.sign(TEXT.replace(old, new, 1)))
        for what, code, old, new in (
            ("another log", 1, SIGNER.name, "alpha-db/other"),
            ("another log and no root", 1, TEXT, "alpha-db/other\n3\nAAAA\n"),
            ("another root", 1, TEXT.split("\n")[2], "A" * 43 + "="),
            ("another size", 1, "\n3\n", "\n4\n"),
            ("a smaller size", 1, "\n3\n", "\n2\n"),
            ("the size 0", 1, "\n3\n", "\n0\n"),
            ("an extension line", 3, "=\n", "=\nmore\n"),
            ("an empty line", 3, "\n3\n", "\n\n3\n"),
            ("a root that is no base64", 3, "=\n", "\n"),
            ("a root that is too short", 3, TEXT.split("\n")[2], "AAAA"),
            ("a size of 2^64", 3, "\n3\n", f"\n{1 << 64}\n"),
            ("a size of 6,000 digits", 3, "\n3\n", f"\n{'9' * 6000}\n"),
            ("a size with a zero", 3, "\n3\n", "\n03\n"),
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

#: Those that differ most in what it asks of a checkpoint, and of keys.
CHECKPOINTS_KEPT = {
    "of a namesake",
    "signed by others first",
    "with a bad signature besides",
    "two notes",
    "the index of another run",
    "a node too many",
    "a run written again",
    "a run that says another id",
    "a second text",
    "another table",
    "signed with another installation",
    "signed with a table twice",
    "signed with an escape in a name",
    "signed with another log",
}
KEYS_KEPT = {"CRLF, no end", "another id"}


@pytest.mark.parametrize("what", KEYS)
def test_a_key_by_tool(small: Path, what: str) -> None:
    code, text = KEYS[what]
    (small / "desk.vkey").write_text(text, encoding="utf-8", newline="")
    assert by_tool() == code


@pytest.mark.parametrize("what", in_part(KEYS, KEYS_KEPT))
def test_a_key_by_tool_and_by_hand(small: Path, what: str) -> None:
    code, text = KEYS[what]
    (small / "desk.vkey").write_text(text, encoding="utf-8", newline="")
    assert by_tool() == code
    hand = bash(small, BY_HAND)
    assert (hand.returncode, hand.stderr) == (code, ""), hand


@pytest.mark.parametrize("what", CHECKPOINTS)
def test_a_checkpoint_by_tool(small: Path, what: str) -> None:
    code, text = CHECKPOINTS[what]
    (small / "run.tlog-proof").write_text(text, encoding="utf-8", newline="")
    assert by_tool() == code


@pytest.mark.parametrize("what", in_part(CHECKPOINTS, CHECKPOINTS_KEPT))
def test_a_checkpoint_by_tool_and_by_hand(small: Path, what: str) -> None:
    code, text = CHECKPOINTS[what]
    (small / "run.tlog-proof").write_text(text, encoding="utf-8", newline="")
    assert by_tool() == code
    hand = bash(small, BY_HAND)
    assert (hand.returncode, hand.stderr) == (code, ""), hand
    assert ("it holds" in hand.stdout) == (code == 0)


@pytest.mark.parametrize("n", [*(pytest.param(n, marks=pytest.mark.long) for n in range(1, 5)), 5, 6])
def test_only_the_last_run_of_a_checkpoint_counts(small: Path, n: int) -> None:
    """Nobody compared an older one with the logs when the checkpoint was signed."""
    heads = {SMALL.table: SMALL.head()}
    log = Book([run_row(n, heads) for n in range(1, 7)], "checkpoint_runs")
    extra = {
        "format": "alpha-db/run/v1",
        "previous_hash": log.hashes[n - 1].hex(),
        "row_data": log.rows[n - 1],
    }
    for index, code in ((n - 1, 0 if n == 6 else 1), (n % 6, 1)):
        proof = tlog_proof(extra, log, SIGNER.sign(checkpoint_text(log)), index)
        (small / "run.tlog-proof").write_text(proof, encoding="utf-8")
        assert by_tool() == code
        hand = bash(small, BY_HAND)
        assert (hand.returncode, hand.stderr) == (code, ""), hand


def test_a_table_whose_name_ends_in_the_other_s(small: Path) -> None:
    """What follows a quote inside a name is no name: by hand the head is found where a name begins."""
    heads = {'x"signals': ANEW.head(), ', "signals': ANEW.head(), "signals": SMALL.head()}
    (small / "run.tlog-proof").write_text(of_heads(heads), encoding="utf-8")
    assert by_tool() == 0
    assert bash(small, BY_HAND).returncode == 0
    del heads["signals"]
    (small / "run.tlog-proof").write_text(of_heads(heads), encoding="utf-8")
    assert by_tool() == 5
    assert bash(small, BY_HAND).returncode == 5


def test_what_is_not_there_by_tool_and_by_hand(small: Path) -> None:
    for file in ("signals.jsonl", "run.tlog-proof"):
        (small / file).rename(small / "away")
        assert by_tool() == 5
        done = bash(small, BY_HAND)
        assert (done.returncode, done.stdout) == (5, f"NOT THERE: {file}\n")
        (small / "away").rename(small / file)


def test_what_cannot_be_read_is_no_damage(small: Path) -> None:
    (small / "run.tlog-proof").unlink()
    (small / "run.tlog-proof").symlink_to("run.tlog-proof")
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
    run = evidence.run_file()
    shutil.copy(run, evidence.path("run.tlog-proof"))
    evidence.desk.run("export", "--table", "signals", "-o", str(evidence.path("signals.jsonl")))
    evidence.desk.run(
        "prove", "signals", "5", "--checkpoints", str(run), "--trust", str(evidence.key),
        "-o", str(evidence.path("signals-17.tlog-proof")),
    )  # fmt: skip
    shutil.copy(offline_check.__file__, evidence.folder)
    for script in (*BY_TOOL, BY_HAND):
        done = bash(evidence.folder, script)
        assert (done.returncode, done.stderr) == (0, "")
    root = root_of(book_of(evidence.db, "signals").leaves).hex()
    assert f"computed {root}\nsigned   {root}\nit holds: rows 1 to 5 were signed, 0" in done.stdout
