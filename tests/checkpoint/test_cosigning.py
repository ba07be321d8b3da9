"""alpha-db checkpoint witness: the latest run is cosigned, with the database's proofs; a fork is found."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.offline_check import load_keys, open_note, parse_policy, witnessed
from tests.checkpoint.book import NAME, Book, Result, public, run
from tests.witness.by_hand import OTHER, WITNESS, Log, b64, request
from tests.witness.running import Running, in_process

NOWHERE = "postgresql://127.0.0.1:1/nowhere"


@pytest.fixture
def witness(book: Book, tmp_path: Path) -> Iterator[Running]:
    """A witness that knows the log of the book."""
    folder = tmp_path / "witness"
    folder.mkdir()
    with in_process(folder, (), vkeys=[book.vkey]) as running:
        yield running


def policy(book: Book, *witnesses: str, quorum: str = "all") -> Path:
    """A policy file: the witness that runs, and perhaps others."""
    names = [line.split()[0] for line in witnesses]
    lines = [f"log {book.vkey}", *(f"witness {line}" for line in witnesses)]
    lines += [f"group all-of-them {quorum} {' '.join(names)}", "quorum all-of-them"]
    file = book.checkpoints.with_name("policy")
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def w(witness: Running) -> str:
    return f"outside {WITNESS.vkey} {witness.url}"


def ask(book: Book, file: Path, *options: object, dsn: str | None = None, expect: int = 0) -> Result:
    command = [
        "--dsn",
        dsn or book.dsn,
        "checkpoint",
        "witness",
        "--policy",
        file,
        book.checkpoints,
        *options,
    ]
    return run(*command, expect=expect)


def statuses(witness: Running) -> list[str]:
    return [line.split(" ")[1] for line in witness.told]


def signed_by(path: Path, file: Path) -> dict[str, int]:
    text, _, signatures = path.read_text(encoding="utf-8").removesuffix("\n").rpartition("\n\n")
    return witnessed(
        f"{text}\n", signatures.split("\n"), parse_policy(file.read_text(encoding="utf-8"))
    ).times


def signed(book: Book, size: int, root: bytes) -> str:
    """A note that whoever has the key can sign at any time."""
    key = SigningKey.load(book.key)
    text = f"{key.name}\n{size}\n{b64(root)}\n"
    return f"{text}\n{key.sign(text)}"


def test_a_run_is_cosigned_once(book: Book, witness: Running) -> None:
    file, latest = policy(book, w(witness)), book.runs[-1]
    before = {path.name: path.read_bytes() for path in latest.iterdir()}
    result = ask(book, file, "--json").json
    assert (result["run"], result["quorum"], result["path"]) == (
        latest.name,
        True,
        str(latest / "cosigned-1.note"),
    )
    assert [(one["name"], one["result"]) for one in result["witnesses"]] == [("outside", "cosigned")]
    assert {
        path.name: path.read_bytes() for path in latest.iterdir() if path.name != "cosigned-1.note"
    } == before
    note = (latest / "cosigned-1.note").read_text(encoding="utf-8")
    assert note.startswith(before["checkpoint.note"].decode())
    assert set(signed_by(latest / "cosigned-1.note", file)) == {"outside"}
    again = ask(book, file, "--json").json
    assert (again["quorum"], again["path"], again["witnesses"][0]["result"]) == (
        True,
        None,
        "cosigned_before",
    )
    assert statuses(witness) == ["200"]
    assert len(list(latest.iterdir())) == 3


def test_the_cosigned_run_still_verifies(book: Book, witness: Running) -> None:
    ask(book, policy(book, w(witness)))
    run("checkpoint", "verify", book.checkpoints, "--trust", public(book.key))
    assert book.verify()["checkpoints"]["results"]
    open_note((book.runs[-1] / "cosigned-1.note").read_text(encoding="utf-8"), load_keys([book.vkey]))


def test_the_next_run_follows_by_a_proof_of_the_database(book: Book, witness: Running) -> None:
    file = policy(book, w(witness))
    ask(book, file)
    for first in (20, 30):
        book.write(first)
        book.sign()
    ask(book, file)
    assert statuses(witness) == ["200", "200"], "the size is known from the earlier run"
    assert witness.size(Log(NAME)) == 5


def test_a_proof_is_asked_for_if_the_earlier_run_is_not_at_hand(book: Book, witness: Running) -> None:
    file = policy(book, w(witness))
    ask(book, file)
    (book.runs[-1] / "cosigned-1.note").unlink()
    book.write(20)
    book.sign()
    ask(book, file)
    assert statuses(witness) == ["200", "409", "200"]


def test_no_database_is_asked_if_no_proof_is_needed(book: Book, witness: Running) -> None:
    ask(book, policy(book, w(witness)), dsn=NOWHERE)
    book.write(20)
    book.sign()
    failed = ask(book, policy(book, w(witness)), dsn=NOWHERE, expect=3)
    assert "nowhere" in failed.err or "refused" in failed.err.lower()


def test_a_quorum_may_take_several_times(book: Book, witness: Running) -> None:
    gone = f"gone {OTHER.vkey} http://127.0.0.1:1/"
    file, latest = policy(book, w(witness), gone), book.runs[-1]
    first = ask(book, file, expect=3)
    assert "not reached" in first.out
    assert "is not cosigned by a quorum yet" in first.out
    text = (latest / "checkpoint.note").read_text(encoding="utf-8").split("\n\n")[0] + "\n"
    by_mail = (latest / "checkpoint.note").read_text(encoding="utf-8") + OTHER.line(text)
    (latest / "cosigned-7.note").write_text(by_mail, encoding="utf-8")
    assert "is cosigned by a quorum" in ask(book, file).out
    third = policy(book, w(witness), f"silent {OTHER.vkey}")
    (latest / "cosigned-1.note").unlink()
    assert ask(book, third, "--json").json["path"] == str(latest / "cosigned-8.note")
    assert set(signed_by(latest / "cosigned-8.note", third)) == {"outside", "silent"}


def test_a_witness_that_cosigned_a_fork_is_found(book: Book, witness: Running) -> None:
    """Whoever has the key showed the witness another log: of as many runs, fewer, or more."""
    assert witness.post(request(0, [], signed(book, 3, bytes(32)))).status == 200
    result = ask(book, policy(book, w(witness), f"silent {OTHER.vkey}", quorum="any"), expect=1)
    assert "FORK" in result.out
    assert "another root of size 3" in result.out
    assert not (book.runs[-1] / "cosigned-1.note").exists()


def test_a_fork_that_began_earlier_is_found(book: Book, witness: Running) -> None:
    assert witness.post(request(0, [], signed(book, 2, bytes(32)))).status == 200
    shutil.rmtree(book.runs[1])  # so that only the witness knows
    result = ask(book, policy(book, w(witness)), expect=1)
    assert "does not accept the proof that size 3 follows from size 2" in result.out


def test_a_log_that_was_cut_back_is_found(book: Book, witness: Running) -> None:
    assert witness.post(request(0, [], signed(book, 4, bytes(32)))).status == 200
    result = ask(book, policy(book, w(witness)), "--json", expect=1).json
    assert result["witnesses"][0]["result"] == "fork"
    assert "it cosigned size 4, and this checkpoint has only 3" in result["witnesses"][0]["detail"]


def test_a_database_that_does_not_lead_to_the_run_is_found(
    book: Book, new_book: Book, witness: Running
) -> None:
    for first in (1, 4, 7, 10):
        new_book.write(first)
        new_book.sign()
    note = (book.runs[0] / "checkpoint.note").read_text(encoding="utf-8")
    assert witness.post(request(0, [], note)).status == 200
    refused = ask(book, policy(book, w(witness)), dsn=new_book.dsn, expect=1)
    assert refused.err.startswith("alpha-db: error [AUD-009]")
    assert statuses(witness) == ["200", "409"], "a wrong proof is not even sent"


def test_a_run_that_nobody_trusted_signed_is_not_sent(book: Book, new_book: Book, witness: Running) -> None:
    refused = ask(book, policy(new_book, w(witness)), expect=1)
    assert "which is none of the trusted keys" in refused.err
    assert statuses(witness) == []


def test_a_broken_note_keeps_nobody_from_asking(book: Book, witness: Running) -> None:
    latest = book.runs[-1]
    (latest / "cosigned-1.note").write_bytes(b"\xff\x00")
    (latest / "cosigned-2.note").write_text("x\n\nx\n")
    result = ask(book, policy(book, w(witness)))
    assert (latest / "cosigned-3.note").exists()
    assert "cosigned-1.note" in result.err


def test_a_later_run_that_cannot_be_read_is_named(book: Book, witness: Running) -> None:
    for path in book.runs[-1].iterdir():
        path.write_bytes(b"")
    command = [
        "--dsn",
        book.dsn,
        "checkpoint",
        "witness",
        "--policy",
        policy(book, w(witness)),
        book.checkpoints,
    ]
    result = run(*command)
    assert f"{book.runs[-1].name}/" in result.err
    assert (book.runs[-2] / "cosigned-1.note").exists()


@pytest.mark.parametrize(
    ("what", "code"),
    [("no directory", 5), ("an empty one", 5), ("no policy", 5), ("a policy without a log", 2)],
)
def test_what_is_missing_is_named(book: Book, witness: Running, tmp_path: Path, what: str, code: int) -> None:
    file = policy(book, w(witness))
    directory: Path = book.checkpoints
    if what == "no directory":
        directory = tmp_path / "missing"
    elif what == "an empty one":
        directory = tmp_path / "empty"
        directory.mkdir()
    elif what == "no policy":
        file.unlink()
    else:
        file.write_text("quorum none\n")
    run("checkpoint", "witness", "--policy", file, directory, expect=code)
    assert statuses(witness) == []
