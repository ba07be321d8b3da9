"""A history belongs to a name: it goes on after a dump is restored, and two installations keep theirs apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.cluster import Server
from tests.fix_database import Connect
from tests.history.tracked import differences, entries, positions, track
from tests.support import Connection, assert_healthy, changed_guards, one, query, tamper


@pytest.mark.parametrize("options", [("-Fc",), pytest.param(("-Fc", "--inserts"), marks=pytest.mark.long)])
def test_a_restored_dump(
    server: Server,
    db: Connection,
    connect: Connect,
    make_database: Callable[..., str],
    tmp_path: Path,
    options: tuple[str, ...],
) -> None:
    """The rows come before the triggers, so nothing is recorded twice; then the history goes on."""
    positions(db, "note")
    db.execute(
        "alter table positions add column later text; update positions set later = 'x' where account = 2"
    )
    before = one(db, "select count(*) from table_changes")
    file, copy = tmp_path / "dump", make_database()
    server.program("pg_dump", *options, "-f", file, "-d", server.dsn(db.info.dbname))
    server.program("pg_restore", "--exit-on-error", "-1", "-d", server.dsn(copy), file)
    restored = connect(dbname=copy)
    assert one(restored, "select count(*) from table_changes") == before
    assert differences(restored) == []
    assert changed_guards(restored) == []
    assert_healthy(restored)
    restored.execute("update positions set quantity = 7 where account = 2")
    assert entries(restored)[-1]["changed_columns"] == ["quantity"]
    track(restored)
    assert_healthy(restored)


def test_a_history_whose_beginning_was_archived(db: Connection) -> None:
    """Entries before the last TRACK may go: what is left verifies, and says from when on it can be read."""
    positions(db)
    early = one(db, "select max(created_at) from table_changes")
    db.execute("update positions set quantity = 2 where account = 1")
    track(db)
    tamper(db, "delete from table_changes where id < _history_needed_from()")
    assert differences(db) == []
    assert len(query(db, "select table_as_of('positions', 'infinity')")) == 3
    with pytest.raises(psycopg.Error, match="does not go back"):
        query(db, "select table_as_of('positions', %s)", [early])


def test_what_retention_must_keep(db: Connection) -> None:
    assert one(db, "select _history_needed_from()") is None
    positions(db)
    db.execute("create table t (id integer primary key)")
    track(db, "t")
    assert one(db, "select _history_needed_from()") == 1
    track(db)
    assert one(db, "select _history_needed_from()") == 5
    db.execute("select untrack_table('t')")
    assert one(db, "select _history_needed_from()") == 6
    db.execute("select untrack_table('positions')")
    assert one(db, "select _history_needed_from()") is None
