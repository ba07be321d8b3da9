"""Checkpoints and standbys; and a server that was put back, told from one whose rows were cut off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from alpha_db.evidence.checkpoint import whereabouts
from alpha_db.evidence.checkpoint.note import Position
from alpha_db.evidence.checkpoint.whereabouts import Whereabouts, why_missing
from tests.checkpoint.book import Book, make_key, run
from tests.cluster import Server
from tests.support import migrate_with_psql, query, tamper, wait_until

DATABASE = "trading"


@pytest.fixture
def pair(binaries: Path) -> Iterator[tuple[Server, Server]]:
    """A migrated server and its standby, which runs."""
    standby = Server(binaries)
    with Server(binaries) as primary:
        try:
            primary.psql("postgres", f"create database {DATABASE}")
            migrate_with_psql(primary, DATABASE)
            options = ("-D", standby.data, "-h", primary.directory, "-U", "postgres", "-R", "-X", "stream")
            primary.as_server_user("pg_basebackup", *options, "-c", "fast", "--no-sync")
            with (standby.data / "postgresql.conf").open("a") as conf:
                conf.write(f"unix_socket_directories = '{standby.directory}'\n")
            yield primary, standby.start()
        finally:
            standby.stop()


def test_standbys(pair: tuple[Server, Server], tmp_path: Path) -> None:
    primary, standby = pair
    (tmp_path / "checkpoints").mkdir()
    book = Book(primary, DATABASE, tmp_path / "checkpoints", make_key(tmp_path))
    copy = replace(book, server=standby)

    # A checkpoint waits until the standby has replayed what it is of.
    book.write(1)
    made = book.create(book.checkpoints, "--wait-for-standby", "--json").json
    assert made["standbys"] == ["walreceiver"]
    copy.verify()
    assert "connect to the primary" in copy.create(copy.checkpoints, expect=3).err
    primary.psql(DATABASE, "create role auditor login in role app_auditor")
    blind = ("--dsn", primary.dsn(DATABASE, "auditor"), "checkpoint", "create", "--key", book.key)
    assert "pg_monitor" in run(*blind, book.checkpoints, "--wait-for-standby", expect=3).err

    # One that replays nothing more is behind: that is no damage, and no checkpoint comes of waiting for it.
    with psycopg.connect(standby.dsn(DATABASE), autocommit=True) as conn:
        query(conn, "select pg_wal_replay_pause()")
        wait_until(conn, "select pg_get_wal_replay_pause_state() = 'paused'")
    book.write(4)
    said = book.create(book.checkpoints, "--wait-for-standby", "--timeout", "0.3", expect=3)
    assert "not replayed up to" in said.err
    assert "walreceiver" in said.err
    assert len(book.runs) == 1
    book.sign()
    behind = copy.findings(expect=3)
    assert behind["signals"]["verdict"] == "not_run"
    assert "this standby has replayed up to" in behind["signals"]["detail"]

    # The standby as it is then, started as a server of its own: a copy that ends earlier, on the same timeline.
    standby.stop("immediate", keep=True)
    book.write(7)
    with book.connect() as conn:
        query(conn, "select pg_logical_emit_message(true, 'test', repeat('x', 100000))")
    book.sign()
    signal, settings = standby.data / "standby.signal", standby.data / "postgresql.auto.conf"
    signal.unlink()
    settings.write_text("")
    standby.start()
    row = copy.findings("--no-lockdown")["signals"]
    assert (row["verdict"], row["cause"], row["missing_rows"]) == ("tail_missing", "older_copy", 3)
    assert "this server's write-ahead log ends at" in row["detail"]
    assert "it is an older copy" in row["detail"]
    assert f"rows 1 to 6 agree with the checkpoint {book.runs[1].name}" in row["detail"]

    # And promoted: it left the timeline before the checkpoint was made, which a superuser can see.
    standby.stop("fast", keep=True)
    signal.touch()
    standby.start()
    standby.psql(DATABASE, "select pg_promote()")
    row = copy.findings("--no-lockdown")["signals"]
    assert (row["cause"], row["missing_rows"]) == ("older_copy", 3)
    assert "this server left timeline 1 at" in row["detail"]
    auditor = ("--dsn", standby.dsn(DATABASE, "auditor"))
    checkpoints = ("--checkpoints", book.checkpoints, "--trust", book.vkey)
    told = run(*auditor, "verify-chain", "--no-lockdown", *checkpoints, expect=1)
    assert "this server went from timeline 1 to 2 since" in told.out

    # The same on the server that had the rows: they were deleted, which nothing but the server's past can tell.
    with book.connect() as conn:
        tamper(conn, "delete from only order_events where id > 8")
    assert book.findings()["order_events"]["cause"] == "unknown"


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
