"""Checkpoints that cannot be read: each is named, hides none of the others, and keeps nobody from making new ones."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from alpha_db.evidence import offline_check
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
        note = book.runs[1] / "votes.note"
        spoil(note)
        done = verify_all(book, expect=3)
        (said,) = [row for row in done.out.splitlines() if row.startswith("not read")]
        assert f"{book.runs[1].name}/votes.note  " in said, kind
        assert words in said, kind
        assert done.out.count("\nok  ") + done.out.startswith("ok  ") == 3, kind
        listed = run("checkpoint", "list", book.checkpoints, expect=3)
        assert f"not read  {book.runs[1].name}/votes.note" in listed.out, kind
        # named by itself it is not read either, and nothing waits for it
        code = 5 if kind == "dangling link" else 3
        alone = run("checkpoint", "verify", note, "--trust", book.vkey, expect=None)
        offline = offline_check.main(["checkpoint", str(note), "--trust", book.vkey])
        if kind == "directory":  # that could be one of runs, which has none in it
            code = 5
            offline = 5 if offline == 3 else offline
        assert (alone.code, offline) == (code, code), kind


@pytest.mark.parametrize("kind", ["cut", "FIFO"])
def test_an_unreadable_note_of_the_latest_run(book: Book, kind: str) -> None:
    first, second, third = book.runs
    SPOILT[kind][0](third / "signals.note")
    found = book.findings("--no-lockdown", expect=3)
    assert list(found) == [f"{third.name}/signals.note"]
    document = book.verify("--no-lockdown", expect=3)["checkpoints"]
    compared = {row["subject"]: row["run"] for row in document["results"]}
    assert compared["signals"] == second.name, "an older checkpoint of it stands in"
    assert compared["votes"] == third.name
    assert document["latest"] == third.name
    assert first.name not in compared.values()
    assert book.findings("--table", "votes", expect=0) == {}
    assert list(book.findings("--table", "signals", expect=3)) == [f"{third.name}/signals.note"]


def test_damage_is_damage_whatever_else_cannot_be_read(book: Book) -> None:
    first, second, third = book.runs
    SPOILT["CRLF"][0](first / "votes.note")
    shutil.rmtree(second)
    second.mkdir()
    SPOILT["empty"][0](third / "signals.note")
    with book.connect() as conn:
        cut_tail(conn)
        found = book.findings(expect=1)
        assert one(conn, "select is_locked from lockdown_status()") is True
    assert found["order_events"]["verdict"] == "tail_missing"
    unread = {name: row["detail"] for name, row in found.items() if row["verdict"] == "not_run"}
    assert list(unread) == [f"{first.name}/votes.note", second.name, f"{third.name}/signals.note"]
    assert unread[second.name] == "could not be read: there is no note in it"


def test_a_new_checkpoint_follows_the_last_that_can_be_read(book: Book) -> None:
    """Under an object lock nothing can be removed."""
    third = book.runs[-1]
    SPOILT["cut"][0](third / "signals.note")
    later = book.checkpoints / "29991231T235959.000000Z"
    later.mkdir()
    (book.checkpoints / "29991231T235959.000001Z").symlink_to("nowhere")
    made = book.create(book.checkpoints, "--json")
    assert made.json["previous"] == third.name
    assert [one["name"] for one in made.json["unreadable"]] == [
        "29991231T235959.000001Z",
        later.name,
        f"{third.name}/signals.note",
    ]
    assert f"{later.name}: there is no note in it" in made.err
    # the table whose note cannot be read is compared with the run before
    with book.connect() as conn:
        tamper(conn, "delete from only signals where id > 5")
    refused = book.create(book.checkpoints, expect=1)
    assert "signals has 5 rows, and 9 were signed in " in refused.err


def test_the_note_before_stands_in_for_one_that_cannot_be_read(book: Book) -> None:
    _, second, third = book.runs
    SPOILT["cut"][0](third / "signals.note")
    with book.connect() as conn:
        tamper(conn, "delete from only signals where id > 5")
    refused = book.create(book.checkpoints, expect=1)
    assert f"signals has 5 rows, and 6 were signed in {second.name}" in refused.err


def test_a_run_that_is_known_to_be_broken_is_left_out_by_name(book: Book) -> None:
    """It lies under an object lock, and the alarm must not ring for years."""
    third = book.runs[-1].name
    SPOILT["cut"][0](book.runs[-1] / "signals.note")
    assert book.verify("--without", third)["checkpoints"]["latest"] == book.runs[1].name
    run("checkpoint", "verify", book.checkpoints, "--trust", book.vkey, "--without", third)
    absent = ("--without", "20200101T000000.000000Z")
    assert "there is no run 2020" in book.create(book.checkpoints, *absent, expect=5).err
    # one that does not hold, and is the last
    text = (book.runs[1] / "signals.note").read_text()
    (book.runs[-1] / "signals.note").write_text(text)
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


def test_a_note_that_is_no_note_hides_none_that_was_left_out(book: Book) -> None:
    latest = book.runs[-1]
    (latest / "votes.note").unlink()
    assert "were signed together" in verify_all(book, expect=1).out
    (latest / "junk.note").write_text("hello\n")
    done = verify_all(book, expect=3)
    assert f"not read  {latest.name}/junk.note" in done.out
    (latest / "agents.note").unlink()
    done = verify_all(book, expect=1)
    assert "were signed together" in done.out
    assert f"not read  {latest.name}/junk.note" in done.out


def test_paths_hide_no_other_paths(signed_book: Book, tmp_path: Path) -> None:
    (tmp_path / "empty.note").write_text("")
    signals = signed_book.runs[0] / "signals.note"
    forged = tmp_path / "forged.note"
    forged.write_text(signals.read_text().replace("\nguards ", "\nguards 0"))
    paths = [tmp_path / "absent", tmp_path / "empty.note", signals, forged]
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
