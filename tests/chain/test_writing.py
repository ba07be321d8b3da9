"""Whatever way rows come in, id, created_at and row_hash are the server's, and the chain is intact."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.chain.by_force import TABLES, broken_in_python, judge, places
from tests.fix_database import Connect, LoginRole
from tests.support import AUDIT_TABLES, Connection, fill, make_signal, one, query

COLUMNS = "signal_id, symbol, side, price, quantity, raw_payload"


def assert_gapless(connection: Connection, *tables: str) -> None:
    """Ids 1 to n, times that never decrease, a chain that holds by both checks."""
    for table in tables or AUDIT_TABLES:
        rows = query(connection, f"select id, created_at from only {table} order by id")
        assert [row["id"] for row in rows] == list(range(1, len(rows) + 1))
        times = [row["created_at"] for row in rows]
        assert times == sorted(times)
        assert places(connection, table) == []
        assert judge(connection, table).verdict == "intact"
        assert broken_in_python(connection, table) is None


def test_what_a_writer_supplies_is_overwritten(db: Connection) -> None:
    before = one(db, "select clock_timestamp()")
    for n, (row_id, row_hash, created_at) in enumerate(
        [(99, "0" * 64, "1999-01-01"), (1, "f" * 64, "2999-01-01"), (None, None, None), (-5, "", "infinity")],
        start=1,
    ):
        query(
            db,
            f"insert into signals (id, row_hash, created_at, {COLUMNS})"
            " values (%s, %s, %s, %s, 'X', 'BUY', 1, 1, '{}')",
            [row_id, row_hash, created_at, f"tv-{n}"],
        )
        (row,) = query(db, "select * from signals where signal_id = %s", [f"tv-{n}"])
        assert row["id"] == n
        assert before <= row["created_at"] <= one(db, "select clock_timestamp()")
        assert row["row_hash"] not in ("0" * 64, "f" * 64, None, "")
        before = row["created_at"]
    assert_gapless(db, "signals")


@pytest.mark.parametrize("table", AUDIT_TABLES)
def test_what_a_writer_gives_is_overwritten_in_every_table(db: Connection, table: str) -> None:
    fill(db)
    copied = one(
        db,
        "select string_agg(quote_ident(attname), ', ') from pg_attribute where attrelid = %s::regclass and attnum > 0"
        " and attname not in ('id', 'row_hash', 'created_at', 'correlation_id', 'signal_id')",
        [table],
    )
    own = {"signals": "gen_random_uuid(), 'new'", "order_events": "", "webhook_deliveries": ""}.get(
        table, "correlation_id"
    )
    names = {"signals": "correlation_id, signal_id, ", "order_events": "", "webhook_deliveries": ""}.get(
        table, "correlation_id, "
    )
    last = one(db, f"select max(id) from {table}")
    rows = query(
        db,
        f"insert into {table} ({names}{copied}, id, row_hash, created_at)"
        f" select {own}{', ' if own else ''}{copied}, 77, repeat('0', 64), '1999-01-01'"
        f" from {table} where id = 1 returning *",
    )
    assert rows[0]["id"] == last + 1
    assert rows[0]["created_at"].year > 1999
    assert_gapless(db, table)


def test_created_at_never_decreases_though_the_clock_does(db: Connection) -> None:
    """The next row gets the time of the one before it, when that lies in the future."""
    make_signal(db, 1)
    with db.transaction(force_rollback=True):
        with db.transaction():
            query(db, "set local session_replication_role = replica")
            query(db, "alter table signals disable trigger all")
            query(db, "update signals set created_at = '2999-01-01'")
            query(db, "alter table signals enable trigger zzz_chain")
            query(db, "set local session_replication_role = origin")
        make_signal(db, 2)
        assert one(db, "select count(distinct created_at) from signals") == 1


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_a_multi_row_insert(db: Connection, rows: int) -> None:
    values = ", ".join(f"('tv-{n}', 'X', 'BUY', {n}, 1.5, '{{}}')" for n in range(1, rows + 1))
    returned = query(db, f"insert into signals ({COLUMNS}) values {values} returning id")
    assert [row["id"] for row in returned] == list(range(1, rows + 1))
    assert_gapless(db, "signals")


def test_insert_select_and_a_writing_query_in_with(db: Connection) -> None:
    query(
        db,
        f"insert into signals ({COLUMNS}) select 's' || n, 'X', 'SELL', n, 1, '{{}}' from generate_series(1, 50) as n",
    )
    query(
        db,
        f"with one as (insert into signals ({COLUMNS}) values ('w1', 'X', 'BUY', 1, 1, '{{}}') returning id),"
        f" two as (insert into signals ({COLUMNS}) values ('w2', 'X', 'BUY', 1, 1, '{{}}') returning id)"
        " select * from one, two",
    )
    assert one(db, "select count(*) from signals") == 52
    assert_gapless(db, "signals")


def test_an_insert_that_reads_the_table_it_writes(db: Connection) -> None:
    fill(db)
    query(
        db,
        f"insert into signals ({COLUMNS})"
        " select 'copy-' || id, symbol, side, price, quantity, raw_payload from signals",
    )
    assert one(db, "select count(*) from signals") == 6
    assert_gapless(db)


@pytest.mark.parametrize("form", ["text", "csv", "binary"])
def test_copy(db: Connection, form: str) -> None:
    rows: list[tuple[Any, ...]] = [
        (f"tv-{n}", "X", "BUY", f"{n}.5", "1", f'{{"n": {n}, "text": "a\\tb\\"c"}}') for n in range(1, 30)
    ]
    with db.cursor() as cursor:
        if form == "binary":
            with cursor.copy(f"copy signals ({COLUMNS}) from stdin (format binary)") as copy:
                copy.set_types(["varchar", "varchar", "varchar", "numeric", "numeric", "jsonb"])
                for row in rows:
                    copy.write_row((*row[:3], Decimal(row[3]), 1, Jsonb(row[5])))
        elif form == "csv":
            with cursor.copy(f"copy signals ({COLUMNS}) from stdin (format csv)") as copy:
                for row in rows:
                    copy.write(",".join('"' + str(value).replace('"', '""') + '"' for value in row) + "\n")
        else:
            with cursor.copy(f"copy signals ({COLUMNS}) from stdin") as copy:
                for row in rows:
                    copy.write_row(row)
    assert one(db, "select count(*) from signals") == 29
    assert_gapless(db, "signals")


def test_copy_of_every_column_overwrites_the_server_s(db: Connection) -> None:
    """A data-only dump that is read into a live database is a new book, not the old one."""
    make_signal(db, 1)
    with db.cursor() as cursor, cursor.copy("copy signals from stdin") as copy:
        for n in (2, 3):
            copy.write_row(
                [
                    77,
                    uuid.uuid4(),
                    f"t{n}",
                    "X",
                    "BUY",
                    1,
                    1,
                    "{}",
                    None,
                    False,
                    None,
                    "0" * 64,
                    "1999-01-01",
                    "other",
                ]
            )
    assert_gapless(db, "signals")


def test_a_copy_that_fails_leaves_nothing(db: Connection) -> None:
    make_signal(db, 1)
    statement = f"copy signals ({COLUMNS}) from stdin"
    with pytest.raises(psycopg.errors.UniqueViolation), db.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write("a\tX\tBUY\t1\t1\t{}\nb\tX\tBUY\t1\t1\t{}\ntv-000001\tX\tBUY\t1\t1\t{}\n")
    make_signal(db, 2)
    assert one(db, "select count(*) from signals") == 2
    assert_gapless(db, "signals")


def test_on_conflict_do_nothing_leaves_no_gap(db: Connection) -> None:
    """The trigger fires for the row that is then skipped, too."""
    values = ", ".join(f"('tv-{n % 7}', 'X', 'BUY', 1, 1, '{{}}')" for n in range(30))
    for _ in range(2):
        query(db, f"insert into signals ({COLUMNS}) values {values} on conflict (signal_id) do nothing")
        query(db, f"insert into signals ({COLUMNS}) values {values} on conflict do nothing")
    assert one(db, "select count(*) from signals") == 7
    make_signal(db, 1)
    assert_gapless(db, "signals")


def test_on_conflict_do_update_is_an_update(db: Connection) -> None:
    make_signal(db, 1)
    statement = f"insert into signals ({COLUMNS}) values ('tv-000001', 'X', 'BUY', 1, 1, '{{}}')"
    with pytest.raises(psycopg.DatabaseError) as caught:
        query(db, f"{statement} on conflict (signal_id) do update set price = 2")
    assert caught.value.sqlstate == "AUD02"
    assert_gapless(db, "signals")


def test_merge_inserts(db: Connection) -> None:
    make_signal(db, 1)
    query(
        db,
        "merge into signals as s using (values ('tv-000001'), ('m1'), ('m2')) as v(signal_id)"
        " on s.signal_id = v.signal_id"
        " when not matched then insert (signal_id, symbol, side, price, quantity, raw_payload)"
        " values (v.signal_id, 'X', 'BUY', 1, 1, '{}')",
    )
    assert one(db, "select count(*) from signals") == 3
    assert_gapless(db, "signals")


def test_rollback_and_savepoints(db: Connection) -> None:
    make_signal(db, 1)
    with db.transaction(force_rollback=True):
        make_signal(db, 2)
    with db.transaction():
        make_signal(db, 3)
        with db.transaction(force_rollback=True):
            make_signal(db, 4)
            with db.transaction():
                make_signal(db, 5)
        with db.transaction():
            make_signal(db, 6)
            with db.transaction(force_rollback=True):
                make_signal(db, 7)
    make_signal(db, 8)
    assert [row["signal_id"][-1] for row in query(db, "select signal_id from signals order by id")] == [
        "1",
        "3",
        "6",
        "8",
    ]
    assert_gapless(db, "signals")


def test_an_error_in_an_exception_block(db: Connection) -> None:
    """A plpgsql EXCEPTION block is a savepoint, too."""
    query(
        db,
        "do $$ begin for n in 1..20 loop begin"
        f" insert into signals ({COLUMNS}) values ('s' || n, 'X', 'BUY', 1, 1, '{{}}');"
        " if n % 3 = 0 then raise exception 'no'; end if;"
        " exception when raise_exception then null; end; end loop; end $$",
    )
    assert one(db, "select count(*) from signals") == 14
    assert_gapless(db, "signals")


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_prepared_transactions(db: Connection, connect: Connect, end: str) -> None:
    make_signal(db, 1)
    name = f"two-phase {db.info.dbname}"
    with connect(autocommit=False) as other:
        fill(other, signals=2, first=2)
        other.execute(f"prepare transaction '{name}'")
        other.rollback()
    # The chain's lock outlives the session.
    query(db, "set lock_timeout = '50ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        make_signal(db, 9)
    query(db, f"{end} prepared '{name}'")
    make_signal(db, 9)
    assert one(db, "select count(*) from signals") == (4 if end == "commit" else 2)
    assert_gapless(db)


def test_an_inheritance_child_does_not_hide_the_tail(db: Connection) -> None:
    """Whoever could make one would otherwise decide what the tail is."""
    make_signal(db, 1)
    query(db, "create table child () inherits (signals)")
    query(
        db,
        "insert into child select 1000, gen_random_uuid(), 'child', symbol, side, price, quantity, raw_payload,"
        " source_ip, hmac_verified, delivery_id, repeat('0', 64), created_at, recorded_by from signals",
    )
    assert make_signal(db, 2)["id"] == 2
    assert judge(db, "signals").rows_checked == 2
    assert_gapless(db, "signals")
    assert one(db, "select last_id from chain_status() where table_name = 'signals'") == 2
    verdict = judge(db, "signals", from_id=None)
    assert (verdict.verdict, verdict.error_code) == ("guard_changed", "AUD-011")
    assert "child" in verdict.detail


def test_a_chain_writes_the_same_for_an_application(
    db: Connection, connect: Connect, login_role: LoginRole
) -> None:
    app = connect(user=login_role("app_trading"))
    fill(app)
    query(
        app,
        f"insert into signals (id, row_hash, {COLUMNS}) values (9, 'x', 'plain', 'X', 'BUY', 1.5, 1, '{{}}')",
    )
    with app.cursor() as cursor, cursor.copy(f"copy signals ({COLUMNS}) from stdin") as copy:
        copy.write_row(["copied", "X", "BUY", "1", "1", "{}"])
    assert_gapless(db)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        query(
            app,
            "insert into chain_columns (table_name, from_id, column_names, older_values)"
            " values ('signals', 1, '{}', '{}')",
        )


def test_a_large_transaction_costs_as_much_a_row_as_a_small_one(db: Connection) -> None:
    """A counter row that is updated for every row is quadratic; blocks touched a row show it without a clock."""

    def blocks(rows: int, first: int) -> float:
        plan = one(
            db,
            f"explain (analyze, buffers, format json) insert into signals ({COLUMNS})"
            f" select 's' || n, 'X', 'BUY', 1, 1, '{{}}' from generate_series({first}, {first + rows - 1}) as n",
        )
        return float(plan[0]["Plan"]["Shared Hit Blocks"]) / rows

    small = blocks(500, 1)
    large = blocks(5000, 1000)
    assert large < 2 * small, (small, large)
    assert_gapless(db, "signals")


def test_every_chain_keeps_its_own_count(db: Connection) -> None:
    fill(db, signals=4)
    last = {
        row["table_name"]: row["last_id"]
        for row in query(db, "select table_name, last_id from chain_status()")
    }
    assert set(TABLES) < set(last)  # and those of the consensus: tests/risk
    assert [last[table] for table in AUDIT_TABLES] == [4, 4, 4, 2, 4]
