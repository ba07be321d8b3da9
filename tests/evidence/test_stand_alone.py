"""offline_check.py as an auditor has it: a file alone in a directory, run by a bare Python."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alpha_db.evidence import offline_check
from tests.evidence.made_by_hand import OTHER, SIGNER, Book, gzipped, run_proof, run_row, tlog_proof
from tests.witness.by_hand import Signer as Witness

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
            "checkpoint.note": BOOK.note().encode(),
            "foreign.note": BOOK.note(signer=OTHER).encode(),
            "run.tlog-proof": BOOK.run().encode(),
            "foreign.tlog-proof": BOOK.run(signer=OTHER).encode(),
            "votes.tlog-proof": Book.of(5, "votes").run().encode(),
            "row.tlog-proof": BOOK.proof(2).encode(),
            "wrong.tlog-proof": tlog_proof({**BOOK.extra(2), "proof": []}, BOOK.runs(), BOOK.note()).encode(),
            "keys": f"# of the desk\n\n{SIGNER.vkey}\n".encode(),
            "turned.jsonl": export.replace(b"3.50", b"3.51"),
            "binary": bytes(range(256)),
            "empty": b"",
        }.items():
            (folder / name).write_bytes(data)
        os.mkfifo(folder / "fifo")
        (folder / "dangling").symlink_to("nowhere")

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


class HereAuditor(Auditor):
    """The same, by the function in this process: the tenth of a second that Python takes to begin is saved."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(folder)
        self.capsys = capsys

    def run(self, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        assert not stdin
        self.capsys.readouterr()
        with contextlib.chdir(self.folder):
            try:
                code = offline_check.main(arguments)
            except SystemExit as ended:  # wrong usage
                code = int(str(ended.code))
        return code, *self.capsys.readouterr()


@pytest.fixture
def here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> HereAuditor:
    return HereAuditor(tmp_path, capsys)


def test_the_checker_imports_nothing_but_the_standard_library() -> None:
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


def test_it_says_how_long_it_is() -> None:
    lines = SOURCE.read_text(encoding="utf-8").count("\n")
    assert f"\nIt has {lines} lines, " in (offline_check.__doc__ or "")


def test_exports(auditor: Auditor) -> None:
    for file in ("signals.jsonl", "signals.jsonl.gz"):
        code, out, err = auditor.run("export", file)
        assert (code, err) == (0, "")
        assert "rows       1 to 5\n" in out
        assert f"last hash  {BOOK.hashes[5].hex()}\n" in out
        assert "signed     not looked at" in out
    code, out, _ = auditor.run("export", "part.jsonl", "--checkpoint", "run.tlog-proof", "--trust", "keys")
    assert code == 0
    assert "rows       3 to 5\n" in out
    assert f"root       {BOOK.head()['root']}\nsigned     the rows up to 5, by {SIGNER.name}\n" in out
    assert "           in run 3, 2026-01-25T12:00:03.123456+00:00; 0 came later\n" in out
    code, out, _ = auditor.run("export", "-", stdin=(auditor.folder / "signals.jsonl.gz").read_bytes())
    assert (code, out.count("\n")) == (0, 5)


def test_proofs_and_checkpoints(auditor: Auditor) -> None:
    code, out, err = auditor.run("proof", "row.tlog-proof", "--trust", SIGNER.vkey)
    assert (code, err) == (0, "")
    assert f"row        2\nrow_hash   {BOOK.hashes[2].hex()}\nrow_data   {BOOK.rows[1]}\n" in out
    code, out, err = auditor.run(
        "checkpoint", "checkpoint.note", "run.tlog-proof", "--trust", OTHER.vkey, "--trust", "keys"
    )
    assert (code, err) == (0, "")
    assert out.count(f"log        {SIGNER.name}\ncheckpoint 3 runs, root ") == 2
    assert "run        3, 2026-01-25T12:00:03.123456+00:00\n" in out
    assert f"  signals: 5 rows, root {BOOK.head()['root']}\n" in out
    assert f"  guards {'ab' * 32}\n  server 7412345678901234567 timeline 1 lsn 0/15D4F28\n" in out
    # a run is a row, too, and its checkpoint can be read out of the proof of any row
    assert auditor.run("proof", "run.tlog-proof", "--trust", "keys")[1] in out
    assert auditor.run("checkpoint", "row.tlog-proof", "--trust", "keys")[0] == 0


def test_what_does_not_hold_is_1_and_what_cannot_be_checked_3(here: HereAuditor) -> None:
    with_run = ("--checkpoint", "run.tlog-proof", "--trust", "keys")
    for code, arguments, said in (
        (1, ("export", "cut.jsonl", *with_run), "REFUSED: cut.jsonl: the end is missing: 5 rows were signed"),
        (1, ("proof", "wrong.tlog-proof", "--trust", "keys"), "REFUSED: wrong.tlog-proof: row 2 is not the row"),
        (1, ("checkpoint", "foreign.note", "--trust", "keys"), "REFUSED: foreign.note: the note is signed by else"),
        (3, ("export", "truncated.jsonl"), "NOT CHECKED: truncated.jsonl: line 7 is cut short"),
        (3, ("export", "binary"), "NOT CHECKED: "),
        (3, ("export", "empty"), "NOT CHECKED: "),
        (3, ("export", "checkpoint.note"), "NOT CHECKED: "),
        (3, ("proof", "checkpoint.note", "--trust", "keys"), "NOT CHECKED: checkpoint.note: it is not a proof"),
        (5, ("export", "absent"), "NOT THERE: absent: there is no such file"),
        (5, ("proof", "keys/absent", "--trust", "keys"), "NOT THERE: keys/absent: there is no such file"),
        (5, ("checkpoint", "dangling", "--trust", "keys"), "NOT THERE: dangling: it is a link to a file that"),
        (3, ("export", "."), "NOT CHECKED: .: it is a directory"),
        (3, ("export", "fifo"), "NOT CHECKED: fifo: it is a FIFO"),
        (3, ("checkpoint", "fifo", "--trust", "keys"), "NOT CHECKED: fifo: it is a FIFO"),
        (3, ("proof", "/dev/null", "--trust", "keys"), "NOT CHECKED: /dev/null: it is a device"),
        (3, ("proof", "binary", "--trust", "keys"), "NOT CHECKED: "),
        (3, ("proof", "signals.jsonl", "--trust", "keys"), "NOT CHECKED: "),
        (3, ("checkpoint", "signals.jsonl", "--trust", "keys"), "NOT CHECKED: "),
        (3, ("checkpoint", "checkpoint.note", "--trust", "empty"), "NOT CHECKED: empty: there is no public key in it"),
        (5, ("checkpoint", "checkpoint.note", "--trust", "absent"), "NOT THERE: absent: "),
        (3, ("checkpoint", "checkpoint.note", "--trust", SIGNER.vkey[:-1]), "NOT CHECKED: "),
        (2, ("checkpoint", "checkpoint.note"), "--trust is missing"),
        (2, ("proof", "row.tlog-proof"), "--trust is missing"),
        (2, ("export", "signals.jsonl", "--checkpoint", "run.tlog-proof"), "--trust is missing"),
        (2, (), "usage: "),
        (2, ("verify",), "usage: "),
    ):  # fmt: skip
        found, out, err = here.run(*arguments)
        assert (found, out) == (code, ""), (arguments, out, err)
        assert said in err, (arguments, err)


def test_one_file_hides_no_other(here: HereAuditor) -> None:
    """The worst counts: what does not hold, then what cannot be read, then what is not there."""
    trust = ("--trust", "keys")
    code, out, err = here.run("checkpoint", "absent", "fifo", "checkpoint.note", "foreign.note", *trust)
    assert (code, out.count("log  ")) == (1, 1)
    assert [line.split(": ")[:2] for line in err.splitlines()] == [
        ["NOT THERE", "absent"],
        ["NOT CHECKED", "fifo"],
        ["REFUSED", "foreign.note"],
    ]
    assert here.run("checkpoint", "absent", "empty", *trust)[0] == 3
    for run, expected in (("fifo", 3), ("absent", 5), ("foreign.tlog-proof", 1), ("checkpoint.note", 3),
                          ("votes.tlog-proof", 5)):  # fmt: skip
        against = ("--checkpoint", run, *trust)
        code, out, err = here.run("export", "signals.jsonl", *against)
        assert code == expected, err
        assert "rows       1 to 5\n" in out
        assert "signed     not known: the run could not be used" in out
        code, out, err = here.run("export", "turned.jsonl", *against)
        assert (code, out) == (1, ""), "the rows do not hold, whatever the checkpoint is"
        assert "REFUSED: turned.jsonl: " in err


WITNESSES = [Witness(f"witness{n}.example", 4) for n in (1, 2, 3)]


WHY = {
    "unsigned": "none of the trusted keys",
    "wrong": "of the witness witness2.example is not of this checkpoint",
}


def policy(quorum: str = "two") -> str:
    lines = [f"log {SIGNER.vkey}", *(f"witness w{n} {one.vkey}" for n, one in enumerate(WITNESSES, 1))]
    return "\n".join([*lines, "group two 2 w1 w2 w3", f"quorum {quorum}", ""])


def test_a_quorum_of_witnesses(here: HereAuditor) -> None:
    text, (one, two, three) = BOOK.text(), WITNESSES
    notes = {
        "none": BOOK.note(),
        "few": BOOK.note() + one.line(text),
        "twice": BOOK.note() + one.line(text) + one.line(text, 1),
        "enough": BOOK.note() + one.line(text) + three.line(text, 1_700_000_000),
        "first": f"{text}\n{one.line(text)}{two.line(text)}{SIGNER.signature_line(text)}",
        "wrong": BOOK.note() + one.line(text) + two.line(f"{text}x"),
        "unsigned": f"{text}\n{one.line(text)}{two.line(text)}",
    }
    for name, note in notes.items():
        (here.folder / f"{name}.note").write_text(note, encoding="utf-8")
        for kind, proof in (("run", BOOK.run()), ("row", BOOK.proof(2))):
            whole = proof.removesuffix(BOOK.note()) + note
            (here.folder / f"{name}.{kind}").write_text(whole, encoding="utf-8")
    for name, text in (
        ("policy", policy()),
        ("any", policy("none")),
        ("bad", policy("x")),
        ("cut", policy()[:-1]),
    ):
        (here.folder / name).write_text(text)
    for name in notes:
        code = 0 if name in ("enough", "first") else 1
        for command in (
            ("checkpoint", f"{name}.note"),
            ("checkpoint", f"{name}.run"),
            ("proof", f"{name}.row"),
            ("export", "signals.jsonl", "--checkpoint", f"{name}.run"),
        ):
            for keys in ((), ("--trust", "keys")):
                found, out, err = here.run(*command, "--policy", "policy", *keys)
                assert (found, out.count("witness    w")) == (code, 0 if code else 2), (command, out, err)
                said = WHY.get(name, "not cosigned by the quorum two")
                assert (said in err) == bool(code)
    assert "witness    w3, 2023-11-14T22:13:20Z\n" in here.run("proof", "enough.row", "--policy", "policy")[1]
    for code, arguments, said in (
        (0, ("proof", "none.row", "--policy", "any"), ""),
        (3, ("proof", "enough.row", "--policy", "bad"), "NOT CHECKED: bad: line 6 of the policy: x is not above"),
        (3, ("proof", "enough.row", "--policy", "cut"), "NOT CHECKED: cut: "),
        (3, ("proof", "enough.row", "--policy", "fifo"), "NOT CHECKED: fifo: it is a FIFO"),
        (5, ("proof", "enough.row", "--policy", "absent"), "NOT THERE: absent: "),
        (3, ("export", "signals.jsonl", "--policy", "policy"), "no segment, so --policy needs --checkpoint"),
        (1, ("export", "turned.jsonl", "--checkpoint", "none.run", "--policy", "policy"), "REFUSED: turned.jsonl"),
    ):  # fmt: skip
        found, _, err = here.run(*arguments)
        assert (found, said in err) == (code, True), (arguments, err)


def test_a_quorum_of_witnesses_by_a_bare_python(auditor: Auditor) -> None:
    text, (one, two, _) = BOOK.text(), WITNESSES
    (auditor.folder / "policy").write_text(policy())
    for name, lines, code in (("few", one.line(text), 1), ("enough", one.line(text) + two.line(text), 0)):
        note = BOOK.note() + lines
        (auditor.folder / name).write_text(BOOK.run().removesuffix(BOOK.note()) + note, encoding="utf-8")
        found, out, err = auditor.run("checkpoint", name, "--policy", "policy")
        assert (found, out.count("witness    w")) == (code, 0 if code else 2), err


def test_what_the_shell_opened_may_be_a_pipe(auditor: Auditor) -> None:
    script = 'exec "$0" -I offline_check.py export <(gzip -dc signals.jsonl.gz)'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable], cwd=auditor.folder, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


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
    command = [sys.executable, "-S", "offline_check.py", "proof", "row.tlog-proof", "--trust", "keys"]
    environment = {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=auditor.folder, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b'"note":"\\xe9 ' in done.stdout


def test_what_is_printed_cannot_steer_a_terminal(auditor: Auditor) -> None:
    evil = Book(['{"id":1,"x":"\x9b2J\u202e"}'])
    (auditor.folder / "evil").write_text(evil.proof(1), encoding="utf-8")
    code, out, _ = auditor.run("proof", "evil", "--trust", "keys")
    assert code == 0
    assert '{"id":1,"x":"\\u009b2J\\u202e"}' in out
    heads = {"\x9b2J": BOOK.head(), "\x1b": {**BOOK.head(), "root": None}}
    evil = Book([run_row(1, heads)], "checkpoint_runs")
    (auditor.folder / "evil").write_text(run_proof(evil), encoding="utf-8")
    code, out, _ = auditor.run("checkpoint", "evil", "--trust", "keys")
    assert (code, "  \\u009b2J: 5 rows, root " in out, "  \\u001b: no root, " in out) == (0, True, True)
