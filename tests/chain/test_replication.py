"""Rows that are replicated or restored keep the hash that they came with."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.chain.by_force import TABLES, broken_in_python, filled_book, judge
from tests.cluster import Server
from tests.fix_database import Connect, Prepared
from tests.support import (
    AUDIT_TABLES,
    PATIENCE,
    Connection,
    assert_healthy,
    fill,
    make_signal,
    one,
    query,
    wait_until,
)


def test_a_replica_s_insert_keeps_what_it_was_given(db: Connection) -> None:
    row = make_signal(db, 1)
    with db.transaction():
        query(db, "set local session_replication_role = replica")
        query(
            db,
            "insert into signals values"
            " (7, gen_random_uuid(), 's7', 'X', 'BUY', 1, 1, '{}', null, false, null, repeat('a', 64),"
            " '2026-01-25 12:00:00+00', 'replicated')",
        )
    (kept,) = query(
        db,
        "select id, row_hash, created_at = '2026-01-25 12:00:00+00' as same from signals where signal_id = 's7'",
    )
    assert kept == {"id": 7, "row_hash": "a" * 64, "same": True}
    assert one(db, "select row_hash from signals where id = 1") == row["row_hash"]
    # It was no row of this chain, and that shows.
    assert judge(db, "signals").verdict == "missing_rows"


@pytest.mark.parametrize(
    "statement", ["update signals set price = 2", "delete from signals", "truncate signals cascade"]
)
def test_a_replica_may_not_change_rows_either(db: Connection, statement: str) -> None:
    make_signal(db, 1)
    query(db, "set session_replication_role = replica")
    with pytest.raises(psycopg.DatabaseError, match=r"AUD-00[23]") as caught:
        query(db, statement)
    assert str(caught.value.sqlstate).startswith("AUD0")


@pytest.mark.parametrize(
    "options", [(), pytest.param(("--inserts", "--column-inserts"), marks=pytest.mark.long)]
)
def test_a_dump_restores_to_an_intact_book(
    server: Server,
    make_database: Callable[..., str],
    prepared: Prepared,
    connect: Connect,
    empty_database: str,
    options: tuple[str, ...],
) -> None:
    db = connect(dbname=make_database(filled_book(prepared)))
    before = {table: query(db, f"select * from {table} order by id") for table in TABLES}
    alarm = one(db, "select pg_sequence_last_value('lockdown_alarm')")
    dump = server.program("pg_dump", *options, "-d", server.dsn(db.info.dbname)).stdout
    server.psql(empty_database, "-1", "-f", "-", stdin=dump)
    restored = connect(dbname=empty_database)
    for table in TABLES:
        assert query(restored, f"select * from {table} order by id") == before[table]
        assert broken_in_python(restored, table) is None
    assert_healthy(restored)
    assert one(restored, "select pg_sequence_last_value('lockdown_alarm')") == alarm
    assert make_signal(restored, 99)["id"] == len(before["signals"]) + 1
    assert_healthy(restored)


def test_a_data_only_dump_restores_as_a_replica(
    server: Server, db: Connection, connect: Connect, template: str, make_database: object
) -> None:
    assert callable(make_database)
    fill(db)
    tables = [f"--table={table}" for table in AUDIT_TABLES]
    dump = server.program("pg_dump", "--data-only", *tables, "-d", server.dsn(db.info.dbname)).stdout
    target = make_database(template)
    server.psql(target, "-1", "-f", "-", stdin="set session_replication_role = replica;\n" + dump)
    restored = connect(dbname=target)
    for table in AUDIT_TABLES:
        assert query(restored, f"select * from {table} order by id") == query(
            db, f"select * from {table} order by id"
        )
    assert_healthy(restored)
    make_signal(restored, 99)
    assert_healthy(restored)


def test_logical_replication(
    server: Server, db: Connection, connect: Connect, template: str, make_database: object
) -> None:
    if one(db, "show wal_level") != "logical":
        pytest.skip("wal_level is not logical")
    assert callable(make_database)
    target = make_database(template)
    replica = connect(dbname=target)
    name = f"sub_{target}"
    tables = ", ".join(AUDIT_TABLES)
    fill(db)
    query(db, f"create publication book for table {tables}")
    query(db, f"select pg_create_logical_replication_slot('{name}', 'pgoutput')")
    query(
        replica,
        f"create subscription {name} connection '{server.dsn(db.info.dbname)}' publication book"
        f" with (create_slot = false, slot_name = '{name}')",
    )
    try:
        fill(db, first=50)
        wait_until(
            replica,
            "select count(*) = 5 and bool_and(srsubstate = 'r') from pg_subscription_rel",
            timeout=PATIENCE,
        )
        wait_until(replica, "select count(*) = 8 from order_events")
        for table in AUDIT_TABLES:
            columns = "id, row_hash, created_at"
            assert query(replica, f"select {columns} from {table} order by id") == query(
                db, f"select {columns} from {table} order by id"
            )
            assert broken_in_python(replica, table) is None
            assert judge(replica, table).verdict == "intact"
    finally:
        query(replica, f"alter subscription {name} disable")
        query(replica, f"alter subscription {name} set (slot_name = none)")
        query(replica, f"drop subscription {name}")
        wait_until(
            db,
            "select not coalesce((select active from pg_replication_slots where slot_name = %s), false)",
            [name],
        )
        query(db, f"select pg_drop_replication_slot('{name}')")
