"""What chain_table adds to a table, and how its rows are taken in."""

from __future__ import annotations

import psycopg
import pytest

from tests.own_tables.books import HOSTILE_NAME, TRADES, chain, chain_holds, make_all_types, rows_of
from tests.support import Connection, assert_healthy, one, query, quote


def test_an_empty_table(db: Connection) -> None:
    query(db, TRADES)
    assert chain(db, "trades") == 0
    query(db, "insert into trades (ref) values ('a'), ('b')")
    assert [(row["id"], row["ref"], row["recorded_by"]) for row in rows_of(db, "trades")] == [
        (1, "a", "postgres"),
        (2, "b", "postgres"),
    ]
    assert chain_holds(db, "trades")
    assert_healthy(db)


def test_one_row(db: Connection) -> None:
    query(db, TRADES)
    query(db, "insert into trades values ('a', 1.5)")
    assert chain(db, "trades") == 1
    assert chain_holds(db, "trades")
    assert_healthy(db)


def test_rows_without_id_are_numbered_by_primary_key(db: Connection) -> None:
    query(db, TRADES)
    query(db, "insert into trades values ('c'), ('a'), ('b')")
    assert chain(db, "trades") == 3
    assert [row["ref"] for row in rows_of(db, "trades")] == ["a", "b", "c"]
    assert chain_holds(db, "trades")


def test_rows_without_id_are_numbered_by_time_first(db: Connection) -> None:
    query(db, "create table t (k int primary key, created_at timestamptz not null)")
    query(db, "insert into t values (1, '2026-01-02'), (2, '2026-01-01'), (3, '2026-01-01')")
    chain(db, "t")
    assert [row["k"] for row in rows_of(db, "t")] == [2, 3, 1]


def test_an_id_that_is_there_is_kept(db: Connection) -> None:
    query(db, "create table t (id bigint generated always as identity primary key, a int)")
    query(db, "insert into t (a) select n from generate_series(1, 25000) as n")
    assert chain(db, "t") == 25000
    assert one(db, "select count(*) from t where id = a") == 25000
    query(db, "insert into t (a) values (25001)")
    assert chain_holds(db, "t")
    assert_healthy(db)


def test_a_natural_key_stays_the_primary_key(db: Connection) -> None:
    query(db, TRADES)
    chain(db, "trades")
    found = query(
        db,
        "select i.indisprimary, pg_get_indexdef(i.indexrelid) ~ '[(]id[)]' as is_of_id from pg_index as i"
        " where i.indrelid = 'trades'::regclass and i.indisunique order by 1",
    )
    assert found == [{"indisprimary": False, "is_of_id": True}, {"indisprimary": True, "is_of_id": False}]


def test_the_first_entry_says_that_rows_were_taken_in(db: Connection) -> None:
    query(db, TRADES)
    query(db, "insert into trades values ('a'), ('b')")
    chain(db, "trades")
    assert one(db, "select from_id from chain_columns where table_name = 'trades'") == 3
    assert one(db, "select reason from guard_states order by id desc limit 1") == (
        "chain_table trades: rows 1 to 2 were there before, and were taken in"
    )


def test_every_type_is_taken_in_as_it_is_written(db: Connection) -> None:
    """Under settings that change how values print."""
    query(db, "set timezone = 'Asia/Tokyo'; set datestyle = 'SQL, DMY'; set bytea_output = 'escape';"
              "set extra_float_digits = -5; set intervalstyle = 'iso_8601'")  # fmt: skip
    make_all_types(db, rows=2)
    assert chain(db, "every_type") == 3
    columns = one(
        db,
        "select string_agg(attname, ', ' order by attnum) from pg_attribute"
        " where attrelid = 'every_type'::regclass and attname ~ '^c[0-9]'",
    )
    query(db, f"insert into every_type (key, {columns}) select 9, {columns} from every_type where id = 1")
    rows = query(db, "select row_data::jsonb - '{key,id,created_at,recorded_by}'::text[] as content"
                     " from chain_rows('every_type') where id in (1, 4)")  # fmt: skip
    assert rows[0] == {"content": {**rows[1]["content"], "c5": rows[0]["content"]["c5"]}}
    assert chain_holds(db, "every_type")
    assert_healthy(db)


@pytest.mark.parametrize(
    "name",
    [
        HOSTILE_NAME,
        pytest.param("Orders", marks=pytest.mark.long),
        pytest.param("select", marks=pytest.mark.long),
        "ä" * 19,
    ],
)
def test_names_that_need_quoting(db: Connection, name: str) -> None:
    query(db, f"create table {quote(name)} ({quote(name)} int primary key, t int, n int, e int, r int)")
    query(db, f"insert into {quote(name)} values (1), (2)")
    assert chain(db, name) == 2
    query(db, f"insert into {quote(name)} values (3)")
    assert chain_holds(db, name)
    assert_healthy(db)


def test_names_that_differ_in_case_alone(db: Connection) -> None:
    query(db, 'create table "Trades" (a int); create table trades (a int)')
    chain(db, "Trades")
    chain(db, "trades")
    assert_healthy(db)


def test_many_rows_verify_in_parts(db: Connection) -> None:
    """Several processes read them by the index of id, which is not the primary key."""
    query(db, "create table t (k int primary key, filler text)")
    query(db, "insert into t select n, repeat('x', 60) from generate_series(1, 110000) as n")
    assert chain(db, "t") == 110000
    query(db, "set max_parallel_workers_per_gather = 2")
    assert one(db, "select (verify_chain('t')).detail") == "110000 rows"
    [row] = query(db, "select * from _check_in_parts('t', 1, 110000)")
    assert row["holds"] is True


@pytest.mark.long
def test_a_million_rows(db: Connection) -> None:
    query(db, "create table t (k int primary key, v numeric(12,2), filler text)")
    query(db, "insert into t select n, n / 7.0, 'number ' || n from generate_series(1, 1000000) as n")
    assert chain(db, "t") == 1000000
    assert one(db, "select (verify_chain('t')).verdict") == "intact"


def test_foreign_keys_to_and_from_the_audit_log(db: Connection) -> None:
    query(db, "create table fees (ref text primary key, signal bigint not null references signals (id))")
    query(db, "create table notes (ref text references fees (ref), a int)")
    chain(db, "fees")
    query(db, "select id from record_signal('s1', 'BTCZAR', 'BUY', 1, 1, '{}')")
    query(db, "insert into fees values ('f', 1)")
    query(db, "insert into notes values ('f', 1)")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        query(db, "insert into fees values ('g', 2)")
    assert chain_holds(db, "fees")
    assert_healthy(db)


def test_a_column_whose_name_would_end_the_trigger_s_function(db: Connection) -> None:
    query(db, 'create table t ("x$chain$; drop table t; --" integer)')
    chain(db, "t")
    query(db, "insert into t values (1)")
    assert chain_holds(db, "t")
    assert_healthy(db)
