"""docs/auditor-guide.md, word for word: its commands are run, and print what it says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alpha_db import offline_check
from tests.cluster import client_environment
from tests.evidence.book import OTHER, SIGNER, Book, root_of
from tests.evidence.desk import Evidence, book_of
from tests.support import ROOT, fill, make_signal

GUIDE = (ROOT / "docs" / "auditor-guide.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|text)\n(.*?)^```$", GUIDE, re.DOTALL | re.M)
COMMANDS = [text for kind, text in BLOCKS if kind == "sh"]
SHOWN = [text for kind, text in BLOCKS if kind == "text"]
BY_TOOL, BY_HAND = COMMANDS[:2], "".join(COMMANDS[2:])
SIZE = 100

pytestmark = pytest.mark.skipif(
    not (shutil.which("bash") and shutil.which("openssl") and shutil.which("sha256sum")),
    reason="no bash, openssl or sha256sum here",
)


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


def by_hand(tmp_path: Path) -> tuple[int, str, str, str]:
    """Exit code, the last but two lines, and whether both roots are the same."""
    done = bash(tmp_path, BY_HAND)
    roots = dict(
        line.split() for line in done.stdout.splitlines() if line.startswith(("computed", "signed "))
    )
    return done.returncode, done.stdout, roots.get("computed", "none"), roots.get("signed", "no")


def test_by_hand_what_does_not_hold_shows(tmp_path: Path) -> None:
    small = Book(BOOK.rows[:7])
    export, note = tmp_path / "signals.jsonl", tmp_path / "signals.note"

    sample(tmp_path, small, 7)
    code, out, computed, signed = by_hand(tmp_path)
    assert (code, computed) == (0, signed)

    export.write_bytes(export.read_bytes().replace(b"3.50", b"3.51"))
    code, out, computed, signed = by_hand(tmp_path)
    assert code == 1
    assert out.endswith("row 3 does not hold\n")

    export.write_bytes(b"".join(line for n, line in enumerate(small.export()) if n != 3))
    assert by_hand(tmp_path)[:2] == (1, "Signature Verified Successfully\nrow 3 does not hold\n")

    anew = Book([*small.rows[:5], small.rows[5].replace("6.50", "6.51"), small.rows[6]])
    export.write_bytes(b"".join(anew.export()))
    code, out, computed, signed = by_hand(tmp_path)
    assert "rows 1 to 7 hold" in out
    assert computed != signed
    assert len(computed) == len(signed) == 64

    export.write_bytes(b"".join(small.export(last=6)))
    code, out, computed, signed = by_hand(tmp_path)
    assert code == 1
    assert out.endswith("rows are missing at the end\n")

    for wrong in (small.note().replace("guards ab", "guards ac"), small.note(signer=OTHER)):
        note.write_text(wrong, encoding="utf-8")
        done = bash(tmp_path, BY_HAND)
        assert done.returncode != 0
        assert "Verified Successfully" not in done.stdout


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
    assert done.stdout.endswith(f"computed {root}\nsigned   {root}\n")
