"""Types, keys and columns: what is recorded is exact, whatever the session's settings; what comes later is defined."""

from __future__ import annotations

import psycopg
import pytest

from tests.fix_database import Connect
from tests.history.tracked import differences, entries, history_verdict, positions, rows_as_of, track
from tests.support import Connection, one, query

#: A column of each kind, and two values of it.
KINDS = {
    "smallint": ("-1", "32767"),
    "numeric": ("1.0", "1.00"),
    "numeric(12,4)": ("1", "'NaN'"),
    "real": ("1.1", "'-0'"),
    "double precision": ("0.1", "'Infinity'"),
    "money": ("'12.34'", "'-0.01'"),
    "boolean": ("true", "false"),
    "text": ("''", "'é\"\\\n'"),
    "char(5)": ("'ab'", "'abcde'"),
    "bytea": ("'\\x00ff'", "''"),
    "uuid": ("gen_random_uuid()", "gen_random_uuid()"),
    "json": ('\'{"a": 1,  "a": 2}\'', "'[ 1]'"),
    "jsonb": ("'{\"a\": 1.50}'", "'null'"),
    "date": ("'2026-01-25'", "'infinity'"),
    "timestamp": ("'2026-01-25 12:00:00.000001'", "'0044-03-15 00:00 BC'"),
    "timestamptz": ("'2026-01-25 12:00+02'", "'-infinity'"),
    "timetz": ("'12:00+02'", "'23:59:59.999999-11'"),
    "interval": ("'1 year -2 days 3.5 s'", "'-1 s'"),
    "inet": ("'10.0.0.1'", "'::1/64'"),
    "integer[]": ("'{1,NULL,3}'", "'[0:1]={1,2}'"),
    "timestamptz[]": ("'{2026-01-25 12:00+02}'", "'{}'"),
    "text[]": ("array['a,b', null, 'null']", "array['\"']"),
    "int4range": ("'[1,5)'", "'empty'"),
    "tstzmultirange": ("'{[2026-01-01,2026-02-01)}'", "'{}'"),
    "point": ("'(0.1,2)'", "'(1,1)'"),
    "bit(3)": ("B'101'", "B'000'"),
    "app.colour": ("'red'", "'green'"),
    "app.price": ("1.5", "2.50"),
    "app.pair": ("row(1, 'x,y')", "row(null, null)"),
}
TYPES = """
    create schema app;
    create type app.colour as enum ('red', 'green');
    create domain app.price as numeric check (value > 0);
    create type app.pair as (n integer, t text);
"""


def test_values_come_back_as_they_were(db: Connection, connect: Connect) -> None:
    """Printed under other settings than those of the session that compares, and read back by their types."""
    columns = [f"c{number}" for number in range(len(KINDS))]
    first, second = zip(*KINDS.values(), strict=True)
    declared = ", ".join(f"{name} {kind}" for name, kind in zip(columns, KINDS, strict=True))
    db.execute(TYPES + f"create table app.t (id integer primary key, {declared})")
    db.execute(f"insert into app.t values (1, {', '.join(first)})")
    track(db, "app.t")
    strange = connect(
        TimeZone="Asia/Tokyo",
        DateStyle="SQL, DMY",
        IntervalStyle="iso_8601",
        bytea_output="escape",
        extra_float_digits="-5",
    )
    strange.execute(f"insert into app.t values (2, {', '.join(second)})")
    strange.execute("insert into app.t values (3)")
    changes = [
        [f"{name} = {value}" for name, value in zip(columns, values, strict=True)]
        for values in (second, first)
    ]
    for id_, change in enumerate(changes, 1):
        strange.execute(f"update app.t set {', '.join(change)} where id = {id_}")
    for name, kind in zip(columns, KINDS, strict=True):
        kept = one(
            db,
            f"select array_agg((r ->> '{name}')::{kind}::text order by r ->> 'id')"
            " from table_as_of('app.t', 'infinity') as r",
        )
        assert kept == one(db, f"select array_agg({name}::text order by id) from app.t"), kind
    for session in (db, strange):
        assert differences(session) == []
    track(connect(quote_all_identifiers="on"), "app.t")
    assert differences(db) == []


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("timestamptz", "'2026-01-25 12:00+02'", "'2026-01-25 12:00+03'"),
        ("uuid", "'00000000-0000-0000-0000-00000000000a'", "'00000000-0000-0000-0000-00000000000b'"),
        ("numeric", "1.0", "2.00"),
        ("text", "'é'", "repeat('x', 2000)"),
        ("bytea", "'\\x00'", "'\\x01'"),
        ("date", "'2026-01-01'", "'infinity'"),
    ],
)
def test_a_key_of_any_type(db: Connection, kind: str, first: str, second: str) -> None:
    db.execute(f"create table t (k {kind} primary key, v integer); insert into t values ({first}, 1)")
    track(db, "t")
    db.execute("set timezone = 'Asia/Tokyo'")
    db.execute(f"update t set v = 2; insert into t values ({second}, 3); update t set v = 4 where v = 3")
    assert differences(db) == []
    key = entries(db, "public.t")[-1]["key"]["k"]
    history = query(db, "select operation from table_history('public.t', %s)", [key])
    assert [row["operation"] for row in history] == ["INSERT", "UPDATE"]


def test_a_key_that_stays_equal_and_changes_its_text(db: Connection) -> None:
    """1.0 and 1.00 are one key to PostgreSQL, and two texts."""
    db.execute("create table t (k numeric primary key); insert into t values (1.0)")
    track(db, "t")
    db.execute("update t set k = 1.00")
    assert [row["key"]["k"] for row in entries(db, "public.t")] == ["1.0", "1.00"]
    assert rows_as_of(db, "t", "infinity") == [{"k": "1.00"}]
    assert differences(db) == []


def test_keys_that_swap_under_a_deferred_constraint(db: Connection) -> None:
    db.execute(
        "create table t (k integer, v text, constraint t_pkey primary key (k) deferrable initially deferred);"
        "insert into t select n, 'row ' || n from generate_series(1, 5) as n"
    )
    track(db, "t")
    db.execute("update t set k = 6 - k; update t set k = k + 1")
    with db.transaction():  # two rows share a key until the transaction ends
        db.execute("update t set k = 2 where k = 3")
        db.execute("update t set k = 3 where k = 2 and v = 'row 5'")
        assert differences(db) == []
    assert differences(db) == []
    as_of = {row["k"]: row["v"] for row in rows_as_of(db, "t", "infinity")}
    assert as_of == {str(row["k"]): row["v"] for row in query(db, "select k, v from t")}


def test_a_large_value(db: Connection) -> None:
    """Its old and its new row print to more than a row of another chain may."""
    db.execute("create table t (id integer primary key, v text, n integer)")
    track(db, "t")
    db.execute("insert into t values (1, repeat('x', 9000000))")
    db.execute("update t set n = 1")
    assert len(entries(db, "public.t")[1]["old_row"]["v"]) == 9_000_000
    assert differences(db) == []


def test_a_value_that_is_too_large(db: Connection) -> None:
    db.execute("create table t (id integer primary key, v text)")
    track(db, "t")
    with db.transaction():
        db.execute("set local alpha.maintenance = 'a test'")
        db.execute("select chain_limit('table_changes', 65536)")
    with pytest.raises(psycopg.Error, match="AUD-012"):
        db.execute("insert into t values (1, repeat('x', 70000))")
    assert differences(db) == []


def test_names_that_need_quoting(db: Connection) -> None:
    db.execute(
        'create schema "My Schema";'
        """create table "My Schema"."select ""%" ("a '{x:I}" integer primary key, "B" text)"""
    )
    track(db, '"My Schema"."select ""%"')
    db.execute('insert into "My Schema"."select ""%" values (1, \'x\')')
    name = one(db, "select distinct table_name::text from table_changes")
    assert name == '"My Schema"."select ""%"'
    assert rows_as_of(db, name, "infinity") == [{"a '{x:I}": "1", "B": "x"}]
    assert differences(db, name) == []
    db.execute("select untrack_table(%s)", [name])


def test_generated_and_dropped_columns(db: Connection) -> None:
    db.execute(
        "create table t (gone integer, id integer primary key, v integer,"
        " twice integer generated always as (v * 2) stored, n integer generated by default as identity);"
        "alter table t drop column gone; insert into t (id, v) values (1, 1)"
    )
    track(db, "t")
    db.execute("update t set v = 5")
    assert sorted(entries(db, "public.t")[0]["changed_columns"]) == ["twice", "v"]
    assert differences(db) == []


def test_a_virtual_column_is_left_out(db: Connection) -> None:
    if db.info.server_version < 180000:
        pytest.skip("virtual columns came with 18")
    db.execute("create table t (id integer primary key, twice integer generated always as (id * 2) virtual)")
    track(db, "t")
    db.execute("insert into t values (1)")
    assert entries(db, "public.t")[0]["new_row"] == {"id": "1"}
    assert differences(db) == []


def test_a_column_that_is_added(db: Connection) -> None:
    """It is recorded from then on; rows from before count as null there."""
    positions(db)
    db.execute("alter table positions add column venue text")
    assert differences(db) == []
    db.execute("update positions set venue = 'X' where account = 2")
    db.execute("insert into positions values (5, 'BTC', 1, null, 'Y')")
    assert [row["new_row"]["venue"] for row in entries(db)] == ["X", "Y"]
    assert differences(db) == []
    track(db)
    db.execute("update positions set venue = 'Z' where account = 2")
    assert differences(db) == []


def test_a_column_that_is_added_with_a_value(db: Connection) -> None:
    """No entry says so: the rows are reported until the table is tracked again."""
    positions(db)
    db.execute("alter table positions add column venue text default 'X'")
    assert [problem for problem, _ in differences(db)] == ["changed_row"] * 3
    track(db)
    assert differences(db) == []


def test_a_column_that_is_dropped(db: Connection) -> None:
    positions(db)
    db.execute("alter table positions drop column note")
    db.execute("update positions set quantity = 7")
    assert differences(db) == [("column_changed", None)]
    as_of = rows_as_of(db, "positions", "infinity")
    assert [row["quantity"] for row in as_of] == ["7"] * 3
    track(db)
    assert differences(db) == []


def test_a_column_of_another_type(db: Connection) -> None:
    positions(db)
    db.execute("alter table positions alter column quantity type double precision")
    assert ("column_changed", None) in differences(db)
    db.execute("update positions set quantity = 0.1")
    track(db)
    assert history_verdict(db)[0] == "intact"


def test_a_primary_key_that_is_dropped(db: Connection) -> None:
    positions(db)
    db.execute("alter table positions drop constraint positions_pkey")
    db.execute("update positions set quantity = 7")
    assert differences(db) == [("key_changed", None)]


def test_a_key_column_that_is_renamed(db: Connection) -> None:
    positions(db)
    db.execute("alter table positions rename column account to book")
    db.execute("update positions set quantity = 7")
    assert {problem for problem, _ in differences(db)} == {"key_changed", "column_changed"}
    track(db)
    assert differences(db) == []


def test_partitions_each_for_itself(db: Connection) -> None:
    db.execute(
        "create table t (id integer primary key, v integer) partition by range (id);"
        "create table t1 partition of t for values from (0) to (10);"
        "create table t2 partition of t for values from (10) to (20); insert into t values (1, 1), (11, 1)"
    )
    for part in ("t1", "t2"):
        track(db, part)
    db.execute("insert into t values (2, 2); update t set id = 12 where id = 2; update t set v = 9")
    assert differences(db) == []
    db.execute("truncate t")
    assert differences(db) == []
    db.execute("alter table t detach partition t1; insert into t1 values (5, 5)")
    assert differences(db) == []


def test_parent_and_child_each_for_itself(db: Connection) -> None:
    db.execute(
        "create table parent (id integer primary key, v integer);"
        "create table child (primary key (id)) inherits (parent); insert into child values (1, 1)"
    )
    for table in ("parent", "child"):
        track(db, table)
    db.execute(
        "insert into parent values (2, 2); update parent set v = v + 1; delete from parent where id = 1"
    )
    assert [row["key"]["id"] for row in entries(db, "public.child")] == ["1", "1"]
    assert differences(db) == []
