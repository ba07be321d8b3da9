"""A base backup restored to a point in time: whole up to there, no false alarm; what is missing is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.checkpoint.book import Book, make_key, run
from tests.cluster import Server
from tests.durability.acknowledged import INSTALLED, assert_whole
from tests.standbys import copy_of
from tests.support import Connection, changed_guards, make_signal, one, query, wait_until

pytestmark = [pytest.mark.any_server, pytest.mark.long]

RESTORED = "restored_book"


@dataclass
class Restored:
    """A book, the same on a server that was restored, and the values by which one asks for the moment."""

    book: Book
    copy: Book
    moment: dict[str, Any]


def refused(connection: Connection) -> None:
    """An attempt, which a counter counts."""
    with pytest.raises(psycopg.DatabaseError, match="AUD-00"):
        query(connection, "update signals set symbol = 'ETH'")


@pytest.fixture(scope="module")
def restored(binaries: Path, durable: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restored]:
    """Rows, attempts and verification runs before and after a moment; a checkpoint of each; and a restored server."""
    folder = tmp_path_factory.mktemp("restored")
    (folder / "checkpoints").mkdir()
    durable.psql("postgres", f"create database {RESTORED} template {INSTALLED}")
    book = Book(durable, RESTORED, folder / "checkpoints", make_key(folder))
    server = Server(binaries)
    try:
        copy_of(durable, server, restore_command=f"cp {durable.data}/pg_wal/%f %p")
        moment = _write(book)
        with (server.data / "postgresql.conf").open("a") as conf:
            conf.write(f"recovery_target_xid = '{moment['xid']}'\nrecovery_target_action = 'promote'\n")
        (server.data / "recovery.signal").touch()
        copy = replace(book, server=server.start())
        with copy.connect() as there:
            wait_until(there, "select not pg_is_in_recovery()")
        yield Restored(book, copy, moment)
    finally:
        server.stop()


def _write(book: Book) -> dict[str, Any]:
    """Write before and after the moment that is asked for; gives it."""
    book.write(1)
    with book.connect() as connection:
        for _ in range(5):
            refused(connection)
    run("--dsn", book.dsn, "verify-chain", "--since-last")
    book.sign()
    with book.connect() as connection:
        refused(connection)
        (moment,) = query(
            connection, "select pg_current_xact_id()::text as xid, clock_timestamp()::text as time"
        )
    book.write(4)
    with book.connect() as connection:
        refused(connection)
    run("--dsn", book.dsn, "verify-chain", "--since-last")
    book.sign()
    book.server.psql("postgres", "select pg_switch_wal()")
    return moment


def test_it_is_whole_up_to_the_moment_and_raises_no_alarm(restored: Restored) -> None:
    with restored.copy.connect() as copy:
        assert_whole(copy)
        assert one(copy, "select max(id) from signals") == 3
        assert changed_guards(copy) == [], "no counter went back"
        assert one(copy, "select is_locked from lockdown_status()") is False
    assert run("--dsn", restored.copy.dsn, "verify-chain").code == 0


def test_a_checkpoint_names_the_rows_after_it_and_the_cause(restored: Restored) -> None:
    row = restored.copy.findings("--no-lockdown")["signals"]
    assert (row["verdict"], row["cause"], row["missing_rows"]) == ("tail_missing", "older_copy", 3)
    assert "was restored to a point in time" in row["detail"]
    assert "rows 1 to 3 agree with the checkpoint 000000001" in row["detail"]
    said = restored.copy.create(restored.copy.checkpoints, expect=1).err
    assert "are not those signed by run 000000002" in said
    assert "was restored to a point in time" in said


def test_it_goes_on(restored: Restored) -> None:
    with restored.copy.connect() as copy:
        before = one(copy, "select sum(attempts) from rejected_attempts()")
        assert make_signal(copy, 50)["id"] == 4
        refused(copy)
        assert one(copy, "select sum(attempts) from rejected_attempts()") > before
        assert_whole(copy)
        assert changed_guards(copy) == []
