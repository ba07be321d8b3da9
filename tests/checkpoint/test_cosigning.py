"""alpha-db checkpoint witness: the latest run is cosigned, with the database's proofs; a fork is found."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest

from alpha_db.evidence.checkpoint import cosign
from alpha_db.evidence.checkpoint.history import Latest, read_latest
from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.checkpoint.store import Store, StoreError, add_cosigned, read_run
from alpha_db.evidence.offline_check import load_keys, open_note, parse_policy, witnessed
from alpha_db.evidence.witness.policy import load_policy
from tests.checkpoint.book import NAME, Book, Result, public, run
from tests.support import query
from tests.witness.by_hand import OTHER, WITNESS, Log, Signer, b64, request
from tests.witness.running import Running, in_process
from tests.witness.test_asking import answer, server

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
    assert set(signed_by(latest / "cosigned-2.note", file)) == {"outside", "gone"}, (
        "one note with all of them"
    )
    assert ask(book, file, "--json").json["path"] is None, "which is enough"
    third = policy(book, w(witness), f"silent {OTHER.vkey}")
    for number in (1, 2):
        (latest / f"cosigned-{number}.note").unlink()
    assert ask(book, third, "--json").json["path"] == str(latest / "cosigned-1.note")
    assert set(signed_by(latest / "cosigned-1.note", third)) == {"outside", "silent"}


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
        path.unlink()
    command = [
        "--dsn",
        book.dsn,
        "checkpoint",
        "witness",
        "--policy",
        policy(book, w(witness)),
        book.checkpoints,
    ]
    result = run(*command, expect=None)
    assert result.code == 3, "the later one was not cosigned"
    assert f"{book.runs[-1].name}: there is no checkpoint in it" in result.err
    assert (book.runs[-2] / "cosigned-1.note").exists()


def test_cosignatures_that_lie_in_several_notes_are_brought_together(book: Book) -> None:
    """As two commands leave them that ran at once, each of which reached one witness."""
    latest = book.runs[-1]
    note = (latest / "checkpoint.note").read_text(encoding="utf-8")
    text = note.split("\n\n")[0] + "\n"
    for number, signer in ((1, WITNESS), (2, OTHER)):
        (latest / f"cosigned-{number}.note").write_text(note + signer.line(text), encoding="utf-8")
    file = policy(book, f"one {WITNESS.vkey}", f"other {OTHER.vkey}")
    assert ask(book, file, "--json", dsn=NOWHERE).json["path"] == str(latest / "cosigned-3.note")
    assert set(signed_by(latest / "cosigned-3.note", file)) == {"one", "other"}


def test_what_another_command_added_meanwhile_is_kept(
    book: Book, witness: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    latest = book.runs[-1]
    note = (latest / "checkpoint.note").read_text(encoding="utf-8")
    read = read_latest

    def read_then_added(*arguments: Any) -> Latest:
        found = read(*arguments)
        text = note.split("\n\n")[0] + "\n"
        (latest / "cosigned-1.note").write_text(note + OTHER.line(text), encoding="utf-8")
        return found

    monkeypatch.setattr(cosign, "read_latest", read_then_added)
    file = policy(book, w(witness), f"silent {OTHER.vkey}")
    result = ask(book, file, "--json").json
    assert (result["quorum"], result["path"]) == (True, str(latest / "cosigned-2.note"))
    assert set(signed_by(latest / "cosigned-2.note", file)) == {"outside", "silent"}


def test_two_commands_at_once_lose_no_cosignature(book: Book, tmp_path: Path) -> None:
    """Both have read the run before either writes: their witness answers only when both have asked."""
    both, latest = Barrier(2, timeout=60), book.runs[-1]
    text = (latest / "checkpoint.note").read_text(encoding="utf-8").split("\n\n")[0] + "\n"
    results: list[int] = []

    def wait_and_sign(signer: Signer) -> Any:
        def script(connection: socket.socket, request: bytes) -> None:
            both.wait()
            answer(200, signer.line(text))(connection, request)

        return script

    def command(file: Path) -> None:
        store, keys = Store(book.checkpoints), load_keys([book.vkey])
        done = cosign.cosign_latest(store, keys, load_policy(file), refuse, 60, 30)
        results.append(done.collected.exit_code)

    def refuse() -> Any:
        raise AssertionError("nobody needs a proof")

    with server(wait_and_sign(WITNESS)) as (one, _), server(wait_and_sign(OTHER)) as (other, _):
        files = []
        for name, urls in (("first", (one, "")), ("second", ("", other))):
            witnesses = (f"one {WITNESS.vkey} {urls[0]}", f"other {OTHER.vkey} {urls[1]}")
            files.append(policy(book, *witnesses).rename(tmp_path / name))
        commands = [Thread(target=command, args=(file,)) for file in files]
        for thread in commands:
            thread.start()
        for thread in commands:
            thread.join()
    assert sorted(results) == [0, 3], "the second one has a quorum"
    assert sorted(path.name for path in latest.glob("cosigned-*")) == ["cosigned-1.note", "cosigned-2.note"]
    assert set(signed_by(latest / "cosigned-2.note", files[0])) == {"one", "other"}


def test_a_run_that_was_made_and_cosigned_meanwhile_is_no_fork(
    book: Book, witness: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, read = policy(book, w(witness)), read_latest

    def read_then_made(*arguments: Any) -> Latest:
        found = read(*arguments)
        monkeypatch.setattr(cosign, "read_latest", read)
        copy_context().run(make)
        return found

    def make() -> None:
        book.write(20)
        book.sign()
        ask(book, file)

    monkeypatch.setattr(cosign, "read_latest", read_then_made)
    result = ask(book, file, "--json").json
    assert (result["run"], result["quorum"], result["path"]) == ("000000004", True, None)
    assert result["witnesses"][0]["result"] == "cosigned_before"
    assert statuses(witness) == ["200", "409"]


def test_a_larger_size_than_any_run_is_a_fork_even_if_there_is_a_later_run(
    book: Book, witness: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert witness.post(request(0, [], signed(book, 5, bytes(32)))).status == 200
    read = read_latest

    def read_then_made(*arguments: Any) -> Latest:
        found = read(*arguments)
        monkeypatch.setattr(cosign, "read_latest", read)
        copy_context().run(book.sign)
        return found

    monkeypatch.setattr(cosign, "read_latest", read_then_made)
    result = ask(book, policy(book, w(witness)), "--json", expect=1).json
    assert result["witnesses"][0]["result"] == "fork"
    assert "it cosigned size 5" in result["witnesses"][0]["detail"]


@pytest.mark.parametrize("quorum", ["any", "all"])
def test_what_was_cosigned_is_kept_if_another_witness_needs_a_proof_that_is_not_to_be_had(
    book: Book, witness: Running, quorum: str
) -> None:
    latest = book.runs[-1]
    with server(answer(409, "1\n", "Content-Type: text/x.tlog.size")) as (url, _):
        file = policy(book, w(witness), f"other {OTHER.vkey} {url}", quorum=quorum)
        failed = ask(book, file, dsn=NOWHERE, expect=3)
        assert "no proof" in failed.out
        assert set(signed_by(latest / "cosigned-1.note", file)) == {"outside"}
        failed = ask(book, file, "--json", dsn=NOWHERE, expect=3)
    assert [(one["name"], one["result"]) for one in failed.json["witnesses"]] == [
        ("outside", "cosigned_before"),
        ("other", "no_proof"),
    ]
    assert statuses(witness) == ["200"]


def test_what_was_cosigned_is_kept_if_the_database_does_not_lead_to_the_run(
    book: Book, new_book: Book, witness: Running
) -> None:
    for first in (1, 4, 7, 10):
        new_book.write(first)
        new_book.sign()
    with server(answer(409, "1\n", "Content-Type: text/x.tlog.size")) as (url, requests):
        file = policy(book, w(witness), f"other {OTHER.vkey} {url}")
        refused = ask(book, file, dsn=new_book.dsn, expect=1)
        assert len(requests) == 1, "a wrong proof is not even sent"
    assert refused.err.startswith("alpha-db: error [AUD-009]")
    assert set(signed_by(book.runs[-1] / "cosigned-1.note", file)) == {"outside"}


def test_a_note_gets_the_lowest_number_that_is_free(book: Book, witness: Running) -> None:
    latest = book.runs[-1]
    for name in ("cosigned-1.note", "cosigned-999999999.note"):
        (latest / name).write_text("x\n")
    (latest / "cosigned-2.note").symlink_to("nowhere")
    file = policy(book, w(witness))
    assert ask(book, file, "--json").json["path"] == str(latest / "cosigned-3.note")
    assert ask(book, file, "--json").json["path"] is None, "it is found again"
    assert statuses(witness) == ["200"]


def test_a_hundred_notes_of_a_run_are_read(book: Book, witness: Running) -> None:
    latest = book.runs[-1]
    for number in range(2, 401):
        (latest / f"cosigned-{number}.note").write_text("x\n")
    stored = read_run(latest)
    assert stored.cosigned == [f"cosigned-{number}.note" for number in range(2, 102)]
    assert {file: why for file, why in stored.unreadable.items() if file not in stored.files} == {
        "cosigned-102.note": "it and 298 more are not read: of a run's notes with cosignatures 100 are"
    }
    assert ask(book, policy(book, w(witness)), "--json").json["path"] == str(latest / "cosigned-1.note")
    with pytest.raises(StoreError, match="100 notes with cosignatures"):
        add_cosigned(latest, "x\n")


def test_what_witnesses_say_is_told_even_if_their_cosignatures_cannot_be_written(
    book: Book, witness: Running
) -> None:
    latest = book.runs[-1]
    for number in range(1, 101):
        shutil.copy(latest / "checkpoint.note", latest / f"cosigned-{number}.note")
    failed = ask(book, policy(book, w(witness)), "--json", expect=3)
    assert failed.json["witnesses"][0]["result"] == "cosigned"
    assert (failed.json["quorum"], failed.json["path"]) == (False, None)
    assert "100 notes with cosignatures" in failed.err
    with server(answer(422, "another root\n")) as (url, _):
        result = ask(book, policy(book, w(witness), f"other {OTHER.vkey} {url}"), expect=1)
    assert "FORK" in result.out
    assert "100 notes with cosignatures" in result.err


def test_a_policy_that_names_a_log_trusts_no_other(
    book: Book, new_book: Book, witness: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = policy(new_book, w(witness)).rename(book.checkpoints.with_name("others"))
    assert "none of the trusted keys" in ask(book, file, "--trust", public(book.key), expect=1).err
    monkeypatch.setenv("ALPHA_DB_TRUST", book.vkey)
    assert "none of the trusted keys" in ask(book, file, expect=1).err
    assert statuses(witness) == []
    file.write_text("".join(line for line in file.read_text().splitlines(True) if line[:3] != "log"))
    ask(book, file)  # a policy that names none leaves it to the option


def test_a_policy_of_more_witnesses_than_a_note_has_room_for_is_refused(book: Book, tmp_path: Path) -> None:
    lines = [f"witness w{n} {Signer(f'w{n}.example', 4).vkey}" for n in range(65)]
    file = tmp_path / "many"
    for count, code in ((64, 0), (65, 3)):
        file.write_text("".join(f"{line}\n" for line in [f"log {book.vkey}", *lines[:count], "quorum none"]))
        result = ask(book, file, dsn=NOWHERE, expect=code)
    assert "a policy has 64 witnesses at most, and this one has 65" in result.err


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


def test_a_database_that_lost_runs_is_no_matter_of_a_size(book: Book, witness: Running) -> None:
    command = (
        "--dsn",
        book.dsn,
        "checkpoint",
        "witness",
        "--policy",
        policy(book, w(witness)),
        book.checkpoints,
    )
    run(*command)
    book.sign()
    with book.connect() as conn:
        query(conn, "alter table checkpoint_runs disable trigger all")
        query(conn, "delete from checkpoint_runs where id > 2")
    assert "[AUD-009]: tail_missing: this database does not have run 000000004" in run(*command, expect=1).err
