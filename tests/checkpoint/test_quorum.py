"""--policy: a checkpoint counts only if enough witnesses cosigned it, for every command that verifies one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alpha_db.cli.main import main
from alpha_db.evidence import offline_check
from alpha_db.evidence.checkpoint.note import NOTE, PROOF
from tests.checkpoint.book import Book, run
from tests.evidence.made_by_hand import SIGNER
from tests.evidence.made_by_hand import Book as Rows
from tests.support import tamper
from tests.witness.by_hand import Signer

pytestmark = pytest.mark.any_server

WITNESSES = [Signer(f"w{n}.example", 4) for n in (1, 2, 3)]


def policy(folder: Path, vkey: str, quorum: int = 2) -> Path:
    """A policy of one log and three witnesses."""
    lines = [f"log {vkey}", *(f"witness w{n} {one.vkey}" for n, one in enumerate(WITNESSES, 1))]
    file = folder / "witnesses.policy"
    file.write_text("\n".join([*lines, f"group all {quorum} w1 w2 w3", "quorum all", ""]))
    return file


def cosigned(note: str, *witnesses: Signer) -> str:
    """A note with cosignatures."""
    text = note.rpartition("\n\n")[0] + "\n"
    return note + "".join(witness.line(text) for witness in witnesses)


def cosign(run_of: Path, *witnesses: Signer) -> None:
    """Add a note with cosignatures to a run."""
    number = len(list(run_of.glob("cosigned-*"))) + 1
    (run_of / f"cosigned-{number}.note").write_text(cosigned((run_of / NOTE).read_text(), *witnesses))


def verify(book: Book, file: Path, expect: int) -> Any:
    """checkpoint verify of the directory; gives what it says of each run."""
    checked = run("checkpoint", "verify", book.checkpoints, "--policy", file, "--json", expect=expect).json
    return {one["what"]: one for one in checked["checked"]}


def test_the_latest_run_needs_a_quorum(book: Book, tmp_path: Path) -> None:
    file, (_, second, third) = policy(tmp_path, book.vkey), book.runs
    assert {(one["verdict"], one["reason"]) for one in verify(book, file, 1).values()} == {
        ("refused", "it is not cosigned by the quorum all: cosigned by none of the policy's witnesses")
    }
    cosign(second, *WITNESSES)
    cosign(third, WITNESSES[0])
    found = verify(book, file, 3)[third.name]
    assert (found["verdict"], found["reason"][-14:]) == ("not_run", "cosigned by w1"), (
        "perhaps it is so later"
    )
    cosign(third, WITNESSES[2])  # the cosignatures may stand in several files
    found = verify(book, file, 0)
    assert sorted(found[third.name]["cosigned"]) == ["w1", "w3"]
    assert all(one["ok"] for one in found.values()), "which has seen that it continues the others"
    assert "cosigned by w1, w3" in run("checkpoint", "verify", book.checkpoints, "--policy", file).out


def test_the_rows_are_compared_with_the_last_run_that_has_one(book: Book, tmp_path: Path) -> None:
    file, (_, second, third) = policy(tmp_path, book.vkey), book.runs
    cosign(second, *WITNESSES[:2])
    command = (
        "--dsn",
        book.dsn,
        "verify-chain",
        "--checkpoints",
        book.checkpoints,
        "--policy",
        file,
        "--json",
    )
    document = run(*command, expect=3).json["checkpoints"]
    assert document["latest"] == second.name
    assert [row["run"] for row in document["results"] if row["verdict"] == "not_run"] == [third.name]
    cosign(third, *WITNESSES[:2])
    assert run(*command).json["checkpoints"]["latest"] == third.name
    with book.connect() as conn:
        tamper(conn, "delete from only order_events where id > 10")
    assert "tail_missing" in run(*command[:-1], expect=1).out


def test_proofs_and_tiles_carry_only_signatures_that_hold(book: Book, tmp_path: Path) -> None:
    """Anybody may have added a line to the files of a run."""
    file, third = policy(tmp_path, book.vkey), book.runs[-1]
    cosign(third, *WITNESSES[:2])
    junk = WITNESSES[2].line("x\n")
    (third / "cosigned-2.note").write_text(cosigned((third / NOTE).read_text(), *WITNESSES[:2]) + junk)
    given = (
        "--dsn",
        book.dsn,
        "prove",
        "signals",
        2,
        "--checkpoints",
        book.checkpoints,
        "-o",
        tmp_path / "p",
    )
    run(*given, "--policy", file)
    run("verify-proof", tmp_path / "p", "--policy", file)
    run("--dsn", book.dsn, "tiles", tmp_path / "tiles", "--checkpoints", book.checkpoints, "--policy", file)
    published = tmp_path / "tiles" / "checkpoint_runs" / "checkpoint"
    run("checkpoint", "verify", published, "--policy", file)
    run(*given, "--trust", book.vkey, "--force")
    assert (tmp_path / "p").read_text().count("\N{EM DASH} ") == 1, "without a policy nobody knows which hold"


def test_a_policy_decides_which_logs_are_trusted(book: Book, tmp_path: Path) -> None:
    """A key in the environment must not widen it."""
    file = policy(tmp_path, Signer("another.example").vkey)
    run("checkpoint", "verify", book.runs[-1], "--policy", file, "--trust", book.vkey, expect=1)


def test_a_signature_that_does_not_hold_does_not_count(book: Book, tmp_path: Path) -> None:
    file, third = policy(tmp_path, book.vkey), book.runs[-1]
    text = (third / NOTE).read_text()
    (third / "cosigned-1.note").write_text(text + WITNESSES[0].line("x\n") + WITNESSES[1].line("x\n"))
    assert not verify(book, file, 1)[third.name]["ok"]
    cosign(third, *WITNESSES[:2])
    assert verify(book, file, 0)[third.name]["ok"], "and hides none that does"


ROWS = Rows.of(5)


def in_quorum(text: str, note: str) -> dict[str, tuple[int, str]]:
    """A proof with cosignatures in its note, and the exit code."""
    head = text.removesuffix(note)
    return {
        "none": (1, text),
        "one": (1, head + cosigned(note, WITNESSES[0])),
        "two": (0, head + cosigned(note, *WITNESSES[:2])),
        "three": (0, head + cosigned(note, *WITNESSES)),
        "the same twice": (1, head + cosigned(note, WITNESSES[0], WITNESSES[0])),
        "others": (1, head + cosigned(note, Signer("x.example", 4), Signer("y.example", 4))),
        "one bad": (1, head + cosigned(note, *WITNESSES[:2]) + WITNESSES[2].line("x\n")),
        "of another key of the same name": (
            1,
            head + cosigned(note, WITNESSES[0], Signer("w2.example", 4, b"2" * 32)),
        ),
        "signed as a log": (1, head + cosigned(note, WITNESSES[0], Signer("w2.example"))),
    }


@pytest.mark.parametrize("what", in_quorum("", ""))
def test_all_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    file = ("--policy", str(policy(tmp_path, SIGNER.vkey)))
    for name, text in (("p", ROWS.proof(2)), ("r", ROWS.run()), ("n", ROWS.note())):
        code, cosigned_text = in_quorum(text, ROWS.note())[what]
        path = tmp_path / name
        path.write_text(cosigned_text)
        assert offline_check.main(["proof" if name == "p" else "checkpoint", str(path), *file]) == code
        if name == "p":
            assert main(["verify-proof", str(path), *file]) == code
        else:
            assert main(["checkpoint", "verify", str(path), *file]) == code
    (tmp_path / "e").write_bytes(b"".join(ROWS.export()))
    against = ["--checkpoint", str(tmp_path / "r"), *file]
    assert offline_check.main(["export", str(tmp_path / "e"), *against]) == code
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert ("witness    w1, 2026-09-21" in said.out) == (code == 0)


@pytest.mark.parametrize(
    ("code", "text"),
    [(3, ""), (3, "quorum x\n"), (3, "witness a b\n"), (5, None)],
    ids=["empty", "name", "key", "gone"],
)
def test_a_policy_that_is_none(tmp_path: Path, code: int, text: str | None) -> None:
    file = tmp_path / "policy"
    if text is not None:
        file.write_text(text)
    (tmp_path / PROOF).write_text(ROWS.run())
    run("checkpoint", "verify", tmp_path / PROOF, "--policy", file, expect=code)
    assert offline_check.main(["checkpoint", str(tmp_path / PROOF), "--policy", str(file)]) == code


def test_without_checkpoints_a_policy_is_for_nothing(book: Book, tmp_path: Path) -> None:
    file = policy(tmp_path, book.vkey)
    assert (
        "--policy needs --checkpoints"
        in run("--dsn", book.dsn, "verify-chain", "--policy", file, expect=2).err
    )
