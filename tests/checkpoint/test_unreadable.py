"""Checkpoints that cannot be read: each is named, hides none of the others, and keeps nobody from making new ones."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from alpha_db.evidence import offline_check
from alpha_db.evidence.checkpoint.note import NOTE, PROOF
from tests.checkpoint.book import Book, Result, run
from tests.support import Connection, one, tamper

# The command line and the files; the SQL behind them is tested on every server elsewhere.
pytestmark = pytest.mark.any_server


def cut_tail(conn: Connection) -> None:
    tamper(conn, "delete from only order_events where id > 10")


def a_socket(path: Path) -> None:
    """A Unix socket, whose whole path may be too long for one: it is made in its directory."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Something else under the note's name."""

    def spoil(note: Path) -> None:
        note.unlink()
        make(note)

    return spoil


#: What becomes of a note, and what is said of it.
SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda note: note.write_bytes(b""), "it is empty"),
    "cut": (lambda note: note.write_bytes(note.read_bytes()[:-40]), "not a signed note, or not the whole"),
    "cut in the text": (lambda note: note.write_bytes(note.read_bytes()[:90]), "not a signed note, or not"),
    "CRLF": (
        lambda note: note.write_bytes(note.read_bytes().replace(b"\n", b"\r\n")),
        "it has CRLF line ends",
    ),
    "byte order mark": (
        lambda note: note.write_bytes(b"\xef\xbb\xbf" + note.read_bytes()),
        "byte order mark",
    ),
    "UTF-16": (lambda note: note.write_bytes(note.read_text().encode("utf-16")), "it is UTF-16"),
    "garbage": (lambda note: note.write_bytes(b"\x80abc"), "it is not UTF-8"),
    "too long": (lambda note: note.write_bytes(b"x" * ((1 << 20) + 1)), "it is longer than 1,048,576 bytes"),
    "FIFO": (instead(os.mkfifo), "it is a FIFO"),
    "socket": (instead(a_socket), "it is a socket"),
    "directory": (instead(Path.mkdir), "it is a directory"),
    "device": (instead(lambda note: note.symlink_to("/dev/zero")), "it is a device"),
    "dangling link": (instead(lambda note: note.symlink_to("nowhere")), "it is a link to a file that is not"),
}


def verify_all(book: Book, expect: int) -> Result:
    return run("checkpoint", "verify", book.checkpoints, "--trust", book.vkey, expect=expect)


def test_every_kind_is_named_and_the_others_are_verified(signed_book: Book, tmp_path: Path) -> None:
    for kind, (spoil, words) in SPOILT.items():
        book = Book(signed_book.server, signed_book.dbname, tmp_path / kind, signed_book.key)
        shutil.copytree(signed_book.checkpoints, book.checkpoints)
        note = book.runs[1] / NOTE
        spoil(note)
        done = verify_all(book, expect=3)
        (said,) = [row for row in done.out.splitlines() if row.startswith("not read")]
        assert f"{book.runs[1].name}/{NOTE}  " in said, kind
        assert words in said, kind
        assert done.out.count("\nok  ") + done.out.startswith("ok  ") == 3, kind
        listed = run("checkpoint", "list", book.checkpoints, expect=3)
        assert f"not read  {book.runs[1].name}/{NOTE}" in listed.out, kind
        # named by itself it is not read either, and nothing waits for it
        code = 5 if kind == "dangling link" else 3
        alone = run("checkpoint", "verify", note, "--trust", book.vkey, expect=None)
        offline = offline_check.main(["checkpoint", str(note), "--trust", book.vkey])
        if kind == "directory":  # that could be one of runs, which has none in it
            code = 5
            offline = 5 if offline == 3 else offline
        assert (alone.code, offline) == (code, code), kind


@pytest.mark.parametrize("kind", ["cut", pytest.param("FIFO", marks=pytest.mark.long)])
def test_the_note_and_the_proof_of_the_run_stand_in_for_each_other(book: Book, kind: str) -> None:
    """Both have the checkpoint: without the note nothing is lost, without the proof only the heads are."""
    _, second, third = book.runs
    SPOILT[kind][0](third / NOTE)
    found = book.findings("--no-lockdown", expect=3)
    assert list(found) == [f"{third.name}/{NOTE}"]
    document = book.verify("--no-lockdown", expect=3)["checkpoints"]
    assert {row["run"] for row in document["results"]} == {third.name}
    SPOILT[kind][0](second / PROOF)
    SPOILT["empty"][0](third / PROOF)
    document = book.verify("--no-lockdown", expect=3)["checkpoints"]
    compared = {row["subject"]: row["run"] for row in document["results"] if row["verdict"] == "intact"}
    assert compared["checkpoint_runs"] == second.name, "its note is whole"
    assert compared["votes"] == book.runs[0].name, "an older run stands in"


def test_damage_is_damage_whatever_else_cannot_be_read(book: Book) -> None:
    first, second, third = book.runs
    SPOILT["CRLF"][0](first / NOTE)
    shutil.rmtree(second)
    second.mkdir()
    SPOILT["empty"][0](third / NOTE)
    with book.connect() as conn:
        cut_tail(conn)
        found = book.findings(expect=1)
        assert one(conn, "select is_locked from lockdown_status()") is True
    assert found["order_events"]["verdict"] == "tail_missing"
    unread = {name: row["detail"] for name, row in found.items() if row["verdict"] == "not_run"}
    assert list(unread) == [f"{first.name}/{NOTE}", second.name, f"{third.name}/{NOTE}"]
    assert unread[second.name] == "could not be read: there is no checkpoint in it"


def test_a_new_checkpoint_follows_the_last_that_can_be_read(book: Book) -> None:
    """Under an object lock nothing can be removed."""
    third = book.runs[-1]
    SPOILT["cut"][0](third / PROOF)
    later = book.checkpoints / "000000900"
    later.mkdir()
    (book.checkpoints / "000000901").symlink_to("nowhere")
    made = book.create(book.checkpoints, "--json")
    assert made.json["previous"] == third.name
    assert [one["name"] for one in made.json["unreadable"]] == [
        "000000901",
        later.name,
        f"{third.name}/{PROOF}",
    ]
    assert f"{later.name}: there is no checkpoint in it" in made.err


def test_the_run_before_stands_in_for_one_that_cannot_be_read(book: Book) -> None:
    _, second, third = book.runs
    SPOILT["cut"][0](third / PROOF)
    with book.connect() as conn:
        tamper(conn, "delete from only signals where id > 5")
    refused = book.create(book.checkpoints, expect=1)
    assert f"signals has 5 rows, and 6 were signed by run {second.name}" in refused.err


def test_a_run_that_is_known_to_be_broken_is_left_out_by_name(book: Book) -> None:
    """It lies under an object lock, and the alarm must not ring for years."""
    third = book.runs[-1].name
    SPOILT["cut"][0](book.runs[-1] / NOTE)
    assert book.verify("--without", third)["checkpoints"]["latest"] == book.runs[1].name
    run("checkpoint", "verify", book.checkpoints, "--trust", book.vkey, "--without", third)
    assert (
        "there is no run 000000777" in book.create(book.checkpoints, "--without", "000000777", expect=5).err
    )
    # one that does not hold, and is the last
    shutil.copy(book.runs[1] / NOTE, book.runs[-1] / NOTE)
    book.create(book.checkpoints, expect=1)
    made = book.create(book.checkpoints, "--without", third, "--json").json
    assert made["previous"] == book.runs[1].name
    assert list(book.findings()) == [third]
    assert book.findings("--without", third, expect=0) == {}


def test_nothing_that_can_be_read_is_exit_3(book: Book) -> None:
    for path in book.runs:
        shutil.rmtree(path)
        path.mkdir()
    found = book.findings(expect=3)
    assert {row["verdict"] for row in found.values()} == {"not_run"}
    assert "no checkpoint in " in book.create(book.checkpoints, expect=3).err
    verify_all(book, expect=3)


def test_a_file_that_is_gone_is_said_so(book: Book) -> None:
    latest = book.runs[-1]
    (latest / "junk.note").write_text("hello\n")
    (latest / PROOF).unlink()
    done = verify_all(book, expect=3)
    assert f"not read  {latest.name}/{PROOF}  there is no such file" in done.out
    assert "junk" not in done.out
    (latest / NOTE).unlink()
    assert f"not read  {latest.name}  there is no checkpoint in it" in verify_all(book, expect=3).out


def test_paths_hide_no_other_paths(signed_book: Book, tmp_path: Path) -> None:
    (tmp_path / "empty.note").write_text("")
    good = signed_book.runs[0] / NOTE
    forged = tmp_path / "forged.note"
    forged.write_text(good.read_text().replace("\n1\n", "\n2\n"))
    paths = [tmp_path / "absent", tmp_path / "empty.note", good, forged]
    for count, code in ((1, 5), (2, 3), (3, 3), (4, 1)):
        done = run("checkpoint", "verify", *paths[:count], "--trust", signed_book.vkey, "--json", expect=code)
        verdicts = ["not_there", "not_run", "holds", "refused"][:count]
        assert [checked["verdict"] for checked in done.json["checked"]] == verdicts


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_directory_without_read_right(book: Book) -> None:
    book.runs[1].chmod(0)
    try:
        assert list(book.findings(expect=3)) == [book.runs[1].name]
        book.checkpoints.chmod(0)
        book.verify(expect=3)
        verify_all(book, expect=3)
    finally:
        book.checkpoints.chmod(0o755)
        book.runs[1].chmod(0o755)


def test_a_row_is_proved_by_the_last_run_whose_row_can_be_read(book: Book, tmp_path: Path) -> None:
    SPOILT["cut"][0](book.runs[-1] / PROOF)
    proof, trust = tmp_path / "p", ("--trust", book.vkey)
    made = run(
        "--dsn", book.dsn, "prove", "signals", 6, "--checkpoints", book.checkpoints, *trust, "-o", proof
    )
    assert f"{PROOF}: " in made.err
    assert run("verify-proof", proof, *trust, "--json").json["checkpoint"]["size"] == 2
