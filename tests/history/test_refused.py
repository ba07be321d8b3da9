"""What cannot be tracked, or read, is refused with a hint, and nothing is half-done."""

from __future__ import annotations

import psycopg
import pytest

from tests.fix_database import Prepared
from tests.history.tracked import differences, entries, positions, track
from tests.support import Connection, assert_healthy, changed_guards, one, query


@pytest.fixture(scope="session")
def origin(prepared: Prepared) -> str:
    """Positions of three rows, tracked."""
    return prepared("history_positions", positions)


UNTRACKABLE = {
    "a view": "create view t as select 1 as id",
    "a materialized view": "create materialized view t as select 1 as id",
    "no table": "create sequence t",
    "a foreign table": "create foreign data wrapper w; create server s foreign data wrapper w;"
    " create foreign table t (id integer) server s",
    "is temporary": "create temporary table t (id integer primary key)",
    "is unlogged": "create unlogged table t (id integer primary key)",
    "is partitioned": "create table t (id integer primary key) partition by range (id)",
    "has no primary key": "create table t (id integer not null unique)",
    "row-level security": "create table t (id integer primary key); alter table t enable row level security",
}


@pytest.mark.parametrize("reason", UNTRACKABLE)
def test_what_is_no_ordinary_table(db: Connection, reason: str) -> None:
    db.execute(UNTRACKABLE[reason])
    with pytest.raises(psycopg.errors.WrongObjectType, match=reason) as refusal:
        track(db, "t")
    assert refusal.value.diag.message_hint
    assert one(db, "select count(*) from table_changes where table_name <> 'public.positions'") == 0


@pytest.mark.reads_only
@pytest.mark.parametrize("table", ["signals", "table_changes", "chains", "guard_states"])
def test_our_own_tables(db: Connection, table: str) -> None:
    with pytest.raises(psycopg.errors.WrongObjectType, match="belongs to alpha-db"):
        track(db, table)


@pytest.mark.reads_only
@pytest.mark.parametrize("table", ["pg_class", "information_schema.sql_features"])
def test_tables_of_postgresql(db: Connection, table: str) -> None:
    with pytest.raises(psycopg.errors.WrongObjectType, match="PostgreSQL itself"):
        track(db, table)


@pytest.mark.reads_only
def test_a_table_that_is_not_there(db: Connection) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        track(db, "nothing")


@pytest.mark.parametrize(
    ("exclude", "state", "message"),
    [
        (["nothing"], "42703", "no column nothing"),
        (["account"], "22023", "a column of the key"),
        ([None], "42703", "no column NULL"),
    ],
)
def test_columns_that_cannot_be_excluded(
    db: Connection, exclude: list[str | None], state: str, message: str
) -> None:
    with pytest.raises(psycopg.Error, match=message) as refusal:
        query(db, "select track_table('positions', %s)", [exclude])
    assert refusal.value.sqlstate == state
    assert differences(db) == []


def test_a_change_of_the_guards_is_not_accepted_on_the_way(db: Connection) -> None:
    db.execute("create table t (id integer primary key); grant select on signals to public")
    with pytest.raises(psycopg.Error, match="AUD-011"):
        track(db, "t")
    assert [row["problem"] for row in changed_guards(db)] == ["extra"]


@pytest.mark.reads_only
@pytest.mark.parametrize(
    "call",
    [
        "untrack_table({})",
        "verify_tracked({})",
        "table_history({}, '1')",
        "table_as_of({}, now())",
    ],
)
@pytest.mark.parametrize("name", ["'nothing'", "'public.nothing'", "'a.b.c'", "'; --'", "''", "null"])
def test_a_name_without_a_history(db: Connection, call: str, name: str) -> None:
    if call.startswith("verify") and name == "null":
        assert differences(db) == []
        return
    with pytest.raises(psycopg.errors.UndefinedTable, match="has no history") as refusal:
        query(db, f"select {call.format(name)}")
    assert "track_table" in (refusal.value.diag.message_hint or "")


@pytest.mark.parametrize("moment", ["'-infinity'", "'2001-01-01'", "null"])
def test_a_moment_before_the_history(db: Connection, moment: str) -> None:
    with pytest.raises(psycopg.Error, match="does not go back to") as refusal:
        query(db, f"select table_as_of('positions', {moment})")
    assert (refusal.value.sqlstate, refusal.value.diag.message_hint[:19]) == ("22023", "Give a moment from ")  # type: ignore[index]


def test_a_moment_at_which_it_was_not_tracked(db: Connection) -> None:
    db.execute("select untrack_table('positions')")
    with pytest.raises(psycopg.Error, match="was not tracked at"):
        query(db, "select table_as_of('positions', clock_timestamp())")
    with pytest.raises(psycopg.errors.UndefinedTable, match="not tracked any more"):
        db.execute("select untrack_table('positions')")
    assert_healthy(db)


@pytest.mark.parametrize(
    "key", ["1", "{}", "{", "[]", '{"account": 1}', '{"account": 1, "symbol": "A", "x": 1}', ""]
)
def test_a_key_that_is_not_the_tables(db: Connection, key: str) -> None:
    with pytest.raises(psycopg.Error, match=r"the key of public[.]positions is") as refusal:
        query(db, "select * from table_history('positions', %s)", [key])
    assert refusal.value.sqlstate == "22023"


def test_a_name_that_fits_two_tables(db: Connection) -> None:
    db.execute("create schema app; create table app.positions (id integer primary key)")
    track(db, "app.positions")
    with pytest.raises(psycopg.errors.UndefinedTable) as refusal:
        differences(db, "positions")
    assert refusal.value.diag.message_hint == (
        "Name one of these, with its schema: app.positions, public.positions."
    )
    assert differences(db, "app.positions") == []


def test_untracking_leaves_the_table_as_it_was(db: Connection) -> None:
    db.execute("create table t (id integer primary key)")
    asks = (
        "select (select count(*) from pg_trigger where tgrelid = 't'::regclass) as triggers,"
        " (select count(*) from pg_proc where proname ~ '^_history_[0-9a-f]{16}$') as functions,"
        " has_table_privilege('alpha_owner', 't', 'select') as readable"
    )
    before = query(db, asks)
    track(db, "t")
    assert query(db, asks) != before
    db.execute("select untrack_table('t')")
    assert query(db, asks) == before
    db.execute("insert into t values (1)")
    assert [row["operation"] for row in entries(db, "public.t")] == ["UNTRACK"]
