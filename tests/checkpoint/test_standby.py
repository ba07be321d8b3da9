"""Checkpoints and standbys; and a server that was put back, told from one whose rows were cut off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alpha_db.evidence.checkpoint import whereabouts
from alpha_db.evidence.checkpoint.note import Position
from alpha_db.evidence.checkpoint.whereabouts import Whereabouts, why_missing
from tests.checkpoint.book import Book, make_key, run
from tests.cluster import Server
from tests.fix_database import fresh_name
from tests.standbys import catch_up, standby_of
from tests.support import migrate_with_psql, query, wait_until


@pytest.fixture(scope="module")
def primary(binaries: Path) -> Iterator[Server]:
    """A server with an auditor, and a migrated database to be cloned."""
    with Server(binaries) as server:
        server.psql("postgres", "create database installed")
        migrate_with_psql(server, "installed")
        server.psql("postgres", "create role auditor login in role app_auditor")
        yield server


@pytest.fixture
def book(primary: Server, tmp_path: Path) -> Book:
    """A database of the primary without rows, and no checkpoint yet."""
    (tmp_path / "checkpoints").mkdir()
    dbname = fresh_name("standby")
    primary.psql("postgres", f"create database {dbname} template installed")
    return Book(primary, dbname, tmp_path / "checkpoints", make_key(tmp_path))


@pytest.fixture(scope="module")
def standby(primary: Server) -> Iterator[Server]:
    """A standby of it, which runs, for tests that leave it as it is."""
    with standby_of(primary) as standby:
        yield standby


@pytest.fixture
def copy(book: Book, standby: Server) -> Book:
    """The book on the standby."""
    catch_up(book.server, standby)
    return replace(book, server=standby)


@pytest.mark.long
def test_doctor_tells_a_standby(copy: Book) -> None:
    told = {check["name"]: check for check in run("--dsn", copy.dsn, "doctor", "--json").json}
    assert (told["primary"]["state"], told["primary"]["found"]) == ("lost", "a standby")
    assert "checkpoints" not in told, "nothing can be recorded there"


@pytest.fixture
def behind(copy: Book) -> Iterator[Book]:
    """What the standby receives from now on, it does not replay."""
    with copy.connect() as conn:
        query(conn, "select pg_wal_replay_pause()")
        wait_until(conn, "select pg_get_wal_replay_pause_state() = 'paused'")
        yield copy
        query(conn, "select pg_wal_replay_resume()")


def test_a_checkpoint_waits_until_the_standby_has_replayed_what_it_is_of(book: Book, copy: Book) -> None:
    book.write(1)
    made = book.create(book.checkpoints, "--wait-for-standby", "--json").json
    assert made["standbys"] == ["walreceiver"]
    copy.verify()
    assert "connect to the primary" in copy.create(copy.checkpoints, expect=3).err
    blind = ("--dsn", book.server.dsn(book.dbname, "auditor"), "checkpoint", "create", "--key", book.key)
    assert "pg_monitor" in run(*blind, book.checkpoints, "--wait-for-standby", expect=3).err


def test_a_standby_that_is_behind_is_no_damage_and_gets_no_checkpoint(book: Book, behind: Book) -> None:
    book.write(1)
    said = book.create(book.checkpoints, "--wait-for-standby", "--timeout", "0.3", expect=3)
    assert "not replayed up to" in said.err
    assert "walreceiver" in said.err
    assert book.runs == []
    book.sign()
    found = behind.findings(expect=3)
    assert found["signals"]["verdict"] == "not_run"
    assert "this standby has replayed up to" in found["signals"]["detail"]


@pytest.fixture
def put_back(book: Book) -> Iterator[Book]:
    """The book on a standby of its own, which is stopped and promoted."""
    with standby_of(book.server) as standby:
        yield replace(book, server=standby)


def test_a_server_that_was_put_back_is_told_as_an_older_copy(book: Book, put_back: Book) -> None:
    """A standby that stood still is such a copy once it is started as a server of its own."""
    book.write(1)
    book.create(book.checkpoints, "--wait-for-standby")
    put_back.server.stop("immediate", keep=True)
    book.write(4)
    with book.connect() as conn:
        query(conn, "select pg_logical_emit_message(true, 'test', repeat('x', 100000))")
    book.sign()

    # It ends earlier, on the same timeline.
    signal, settings = put_back.server.data / "standby.signal", put_back.server.data / "postgresql.auto.conf"
    signal.unlink()
    settings.write_text("")
    put_back.server.start()
    row = put_back.findings("--no-lockdown")["signals"]
    assert (row["verdict"], row["cause"], row["missing_rows"]) == ("tail_missing", "older_copy", 3)
    assert "this server's write-ahead log ends at" in row["detail"]
    assert "it is an older copy" in row["detail"]
    assert f"rows 1 to 3 agree with the checkpoint {book.runs[0].name}" in row["detail"]

    # Promoted, it left the timeline before the checkpoint was made, which a superuser can see.
    put_back.server.stop("fast", keep=True)
    signal.touch()
    put_back.server.start()
    put_back.server.psql(book.dbname, "select pg_promote()")
    row = put_back.findings("--no-lockdown")["signals"]
    assert (row["cause"], row["missing_rows"]) == ("older_copy", 3)
    assert "this server left timeline 1 at" in row["detail"]
    auditor = ("--dsn", put_back.server.dsn(book.dbname, "auditor"))
    checkpoints = ("--checkpoints", book.checkpoints, "--trust", book.vkey)
    told = run(*auditor, "verify-chain", "--no-lockdown", *checkpoints, expect=1)
    assert "this server went from timeline 1 to 2 since" in told.out


HERE = Position("7", 1, "0/3000000")
LATER = Position("7", 3, "0/9000000")


@pytest.mark.parametrize(
    ("signed", "now", "cause"),
    [
        (HERE, HERE, "unknown"),
        (HERE, replace(HERE, lsn="0/3000001"), "unknown"),
        (HERE, replace(HERE, lsn="1/0"), "unknown"),
        (HERE, replace(HERE, lsn="0/2FFFFFF"), "older_copy"),
        (HERE, replace(HERE, system_identifier="8"), "another_server"),
        (LATER, HERE, "older_copy"),
        (HERE, LATER, "unknown"),
        (replace(HERE, lsn="0/5000001"), LATER, "older_copy"),
        (replace(HERE, timeline=2), LATER, "unknown"),
        (replace(HERE, timeline=2, lsn="0/8000001"), LATER, "older_copy"),
    ],
)
def test_what_the_write_ahead_log_tells(
    monkeypatch: pytest.MonkeyPatch, signed: Position, now: Position, cause: str
) -> None:
    history = "1\t0/5000000\tno recovery target specified\n\n2\t0/8000000\tbefore 2026\n"
    monkeypatch.setattr(whereabouts, "read_history", lambda *_: history)
    no_connection: Any = None
    found, said = why_missing(no_connection, signed, Whereabouts(now, in_recovery=False))
    assert found == cause
    assert cause != "unknown" or "an older copy of the server's files was put back" in said
    monkeypatch.setattr(whereabouts, "read_history", lambda *_: "")
    if now.timeline > signed.timeline:
        assert why_missing(no_connection, signed, Whereabouts(now, in_recovery=False))[0] == "unknown"
