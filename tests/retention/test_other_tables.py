"""Retention of own tables, and of the history of tracked ones."""

from __future__ import annotations

import psycopg
import pytest

from tests.retention.shelf import Shelf
from tests.support import assert_healthy, changed_guards, one, query


def test_an_own_table_leaves_like_any_other(shelf: Shelf) -> None:
    query(shelf.connection, "create table fees (ref text primary key, amount decimal_28_10)")
    query(shelf.connection, "insert into fees select 'f-' || i, i from generate_series(1, 600) as i")
    query(shelf.connection, "select chain_table('fees')")
    assert shelf.plan()["fees"] == 512
    shelf.archive({"fees": 512})
    shelf.prune("fees")
    assert shelf.first_ids(["fees"]) == {"fees": 513}
    query(shelf.connection, "insert into fees values ('new', 1)")
    assert_healthy(shelf.connection)


def test_an_own_table_that_refers_to_a_signal_keeps_it(shelf: Shelf) -> None:
    query(shelf.connection, "create table notes (signal bigint references signals (id), note text)")
    query(shelf.connection, "insert into notes values (300, 'look at this one')")
    limit = "select limited_by from retention_plan(now()) where planned_table = 'signals'"
    assert one(shelf.connection, limit) == "notes (grant select on it to alpha_owner) still refers to row 1"
    query(shelf.connection, "grant select on notes to alpha_owner")
    assert one(shelf.connection, limit) == "notes still refers to row 300"
    assert shelf.plan()["signals"] == 256


def test_a_history_leaves_up_to_its_last_beginning(shelf: Shelf) -> None:
    query(shelf.connection, "create table positions (symbol text primary key, quantity numeric)")
    query(shelf.connection, "select track_table('positions')")
    query(shelf.connection, "insert into positions select 'S-' || i, i from generate_series(1, 300) as i")
    query(shelf.connection, "update positions set quantity = quantity + 1")
    assert shelf.plan()["table_changes"] is None
    with pytest.raises(psycopg.Error, match="AUD-016: the history of a tracked table begins with row 1"):
        shelf.council.propose("archive", shelf.segment("table_changes", 512), "ada")
    query(shelf.connection, "select track_table('positions')")  # a fresh beginning: 601 rows stand before it
    assert shelf.plan()["table_changes"] == 512
    shelf.archive({"table_changes": 512})
    shelf.prune("table_changes")
    assert query(shelf.connection, "select * from verify_tracked()") == []
    assert len(query(shelf.connection, "select table_as_of('positions', now())")) == 300
    assert changed_guards(shelf.connection) == []
    assert_healthy(shelf.connection)
