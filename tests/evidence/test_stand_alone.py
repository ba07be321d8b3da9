"""offline_check.py as an auditor has it: a file alone in a directory, run by a bare Python."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alpha_db import offline_check
from tests.evidence.book import OTHER, SIGNER, Book, gzipped

SOURCE = Path(offline_check.__file__)
BOOK = Book.of(5)


class Auditor:
    """An empty directory with the file and the evidence in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(SOURCE, folder)
        export = b"".join(BOOK.export())
        for name, data in {
            "signals.jsonl": export,
            "signals.jsonl.gz": gzipped(export),
            "part.jsonl": b"".join(BOOK.export(3)),
            "cut.jsonl": b"".join(BOOK.export(last=4)),
            "truncated.jsonl": export[:-10],
            "signals.note": BOOK.note().encode(),
            "foreign.note": BOOK.note(signer=OTHER).encode(),
            "proof.json": json.dumps(BOOK.proof(2)).encode(),
            "wrong.json": json.dumps({**BOOK.proof(2), "proof": []}).encode(),
            "keys": f"# of the desk\n\n{SIGNER.vkey}\n".encode(),
            "binary": bytes(range(256)),
            "empty": b"",
        }.items():
            (folder / name).write_bytes(data)

    def run(self, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        # -I -S: no environment, no site-packages, not even the current directory
        command = [sys.executable, "-I", "-S", "-W", "error", "offline_check.py", *arguments]
        done = subprocess.run(command, cwd=self.folder, env={}, input=stdin, capture_output=True, check=False)
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in err
        return done.returncode, out, err


@pytest.fixture
def auditor(tmp_path: Path) -> Auditor:
    return Auditor(tmp_path)


def test_it_imports_nothing_but_the_standard_library() -> None:
    names = set()
    for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(node.module or "")
        else:
            assert not (isinstance(node, ast.Name) and node.id in ("__import__", "eval", "exec"))
    assert names
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
    assert not {
        name for name in names if name.startswith(("socket", "urllib", "http", "subprocess", "importlib"))
    }


def test_exports(auditor: Auditor) -> None:
    for file in ("signals.jsonl", "signals.jsonl.gz"):
        code, out, err = auditor.run("export", file)
        assert (code, err) == (0, "")
        assert "rows       1 to 5\n" in out
        assert f"last hash  {BOOK.hashes[5].hex()}\n" in out
        assert "signed     not looked at" in out
    code, out, _ = auditor.run("export", "part.jsonl", "--checkpoint", "signals.note", "--key", "keys")
    assert code == 0
    assert "rows       3 to 5\n" in out
    assert "signed     the rows up to 5; 0 came later\n" in out
    assert "  server 7412345678901234567 timeline 1 lsn 0/15D4F28\n" in out
    code, out, _ = auditor.run("export", "-", stdin=(auditor.folder / "signals.jsonl.gz").read_bytes())
    assert (code, out.count("\n")) == (0, 5)


def test_proofs_and_checkpoints(auditor: Auditor) -> None:
    code, out, err = auditor.run("proof", "proof.json", "--key", SIGNER.vkey)
    assert (code, err) == (0, "")
    assert f"row        2\nrow_hash   {BOOK.hashes[2].hex()}\nrow_data   {BOOK.rows[1]}\n" in out
    code, out, err = auditor.run(
        "checkpoint", "signals.note", "signals.note", "--key", OTHER.vkey, "--key", "keys"
    )
    assert (code, err) == (0, "")
    assert out.count(f"log        {BOOK.origin}\ncheckpoint 5 rows, root ") == 2


def test_what_does_not_hold_is_1_and_what_cannot_be_checked_3(auditor: Auditor) -> None:
    with_note = ("--checkpoint", "signals.note", "--key", "keys")
    for code, arguments, said in (
        (1, ("export", "cut.jsonl", *with_note), "REFUSED: the end is missing: 5 rows were signed"),
        (1, ("proof", "wrong.json", "--key", "keys"), "REFUSED: row 2 is not the row 2 of the log"),
        (1, ("checkpoint", "foreign.note", "--key", "keys"), "REFUSED: the note is signed by else.example"),
        (1, ("export", "signals.jsonl", "--checkpoint", "foreign.note", "--key", "keys"), "REFUSED: "),
        (3, ("export", "truncated.jsonl"), "NOT CHECKED: line 7 is cut short"),
        (3, ("export", "binary"), "NOT CHECKED: "),
        (3, ("export", "empty"), "NOT CHECKED: "),
        (3, ("export", "signals.note"), "NOT CHECKED: "),
        (3, ("export", "absent"), "NOT CHECKED: "),
        (3, ("export", "."), "NOT CHECKED: "),
        (3, ("proof", "binary", "--key", "keys"), "NOT CHECKED: "),
        (3, ("proof", "signals.jsonl", "--key", "keys"), "NOT CHECKED: "),
        (3, ("checkpoint", "signals.jsonl", "--key", "keys"), "NOT CHECKED: "),
        (3, ("checkpoint", "signals.note", "--key", "empty"), "NOT CHECKED: empty has no public key"),
        (3, ("checkpoint", "signals.note", "--key", "absent"), "NOT CHECKED: "),
        (3, ("checkpoint", "signals.note", "--key", SIGNER.vkey[:-1]), "NOT CHECKED: "),
        (2, ("checkpoint", "signals.note"), "--key is missing"),
        (2, ("proof", "proof.json"), "--key is missing"),
        (2, ("export", "signals.jsonl", "--checkpoint", "signals.note"), "--key is missing"),
        (2, (), "usage: "),
        (2, ("verify",), "usage: "),
    ):  # fmt: skip
        found, out, err = auditor.run(*arguments)
        assert (found, out) == (code, ""), (arguments, out, err)
        assert said in err, (arguments, err)


def test_a_reader_that_goes_away_is_no_traceback(auditor: Auditor) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-I", "-S", "offline_check.py", "export", "signals.jsonl"]
    done = subprocess.run(
        command, cwd=auditor.folder, env={}, stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr


def test_a_terminal_that_cannot_show_it_is_no_traceback(auditor: Auditor) -> None:
    command = [sys.executable, "-S", "offline_check.py", "proof", "proof.json", "--key", "keys"]
    environment = {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=auditor.folder, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b'"note":"\\xe9 ' in done.stdout


def test_what_is_printed_cannot_steer_a_terminal(auditor: Auditor) -> None:
    evil = Book(['{"id":1,"x":"\x9b2J\u202e"}'])
    (auditor.folder / "evil.json").write_text(json.dumps(evil.proof(1)), encoding="utf-8")
    code, out, _ = auditor.run("proof", "evil.json", "--key", "keys")
    assert code == 0
    assert '{"id":1,"x":"\\u009b2J\\u202e"}' in out
