"""Changing rows behind the triggers' back, inside a transaction that is rolled back, and asking what is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from alpha_db.verify import chain
from tests.cluster import Server
from tests.fix_database import Prepared
from tests.risk.council import Council
from tests.support import Connection, Verdict, as_role, fill, one, query, quote, verdicts

TABLES = (
    "webhook_deliveries",
    "signals",
    "ai_debates",
    "order_execution",
    "order_events",
    "risk_decisions",
    "lockdown_events",
    "maintenance_events",
    "guard_states",
    "chain_columns",
    "checkpoint_runs",
    "table_changes",
)


def fill_all(connection: Connection, *, released: bool = True) -> None:
    """At least four rows in each chained table, and every guard as installed. Without a release, whose signatures
    every verdict on damage would verify, the lockdown stays engaged."""
    fill(connection, signals=5)
    correlation_id = one(connection, "select correlation_id from signals where id = 2")
    for _ in range(2):
        query(connection, "select id from record_order(%s, 'MARKET', 'X', 'BUY', 1)", [correlation_id])
    for number in range(4):
        query(
            connection,
            "select id from record_decision(%s, 'X', 'BUY', 1, 2, 3, false, %s, 'NORMAL', 1, repeat('a', 64), 'algo')",
            [correlation_id, f"refused {number}"],
        )
    for number in range(3 if released else 4):
        query(connection, "select _engage_lockdown('a drill', %s)", [f'[{{"drill": {number}}}]'])
    if released:
        Council(connection).bootstrap("ada", "ben", "cyd").release()
    for _ in range(4):
        query(connection, "select record_checkpoint_run()")
    query(connection, "create table held (id integer, constraint held_pkey primary key (id))")
    query(connection, "select track_table('held')")
    query(connection, "insert into held select generate_series(1, 3)")
    for number in range(4):
        query(connection, "select _record_maintenance(%s, 'ALTER TABLE', 't')", [f"test {number}"])


@contextmanager
def shared(server: Server, prepared: Prepared, origin: str, name: str) -> Iterator[Connection]:
    """The superuser in a clone that the tests of a file share, because each undoes what it did."""
    with psycopg.connect(server.dsn(prepared(name, lambda _: None, origin)), autocommit=True) as connection:
        yield connection


def filled_book(prepared: Prepared) -> str:
    """Name of a database that fill_all filled, to be cloned; made once for all files."""
    return prepared("filled_book", fill_all)


def release(connection: Connection, reason: str, damage: str = "[]") -> None:
    """What an approved lockdown_release ends with, for tests that ask for no guards. Only such a proposal may write
    the row and is believed, so the trigger that asks for it is off, and _release_holds says yes."""
    with connection.transaction():
        query(
            connection,
            "create or replace function _release_holds(event lockdown_events) returns boolean"
            " language sql stable set search_path from current as 'select true'",
        )
        query(connection, "alter table lockdown_events disable trigger _500_validate")
        with as_role(connection, "alpha_owner"):
            query(
                connection,
                "insert into lockdown_events (event_type, reason, damage, alarm) values ('RELEASED', %s, %s,"
                " coalesce(pg_sequence_last_value('lockdown_alarm'), setval('lockdown_alarm', 1)))",
                [reason, damage],
            )
        query(connection, "alter table lockdown_events enable trigger _500_validate")


@contextmanager
def undone(connection: Connection) -> Iterator[None]:
    """Whatever happens inside is rolled back."""
    with connection.transaction(force_rollback=True):
        yield


@contextmanager
def behind_its_back(connection: Connection, *tables: str) -> Iterator[None]:
    """Without triggers, foreign keys, checks and NOT NULLs on the tables; undone at the end."""
    with undone(connection):
        query(connection, "set local session_replication_role = replica")
        for table in tables:
            query(connection, f"alter table {quote(table)} disable trigger all")
            loose = query(
                connection,
                "select format('alter table %%s drop constraint %%I cascade', conrelid::regclass, conname) as command"
                " from pg_constraint where conrelid = %s::regclass and contype in ('c', 'f')"
                " union all"
                " select format('alter table %%s alter column %%I drop not null', attrelid::regclass, attname)"
                " from pg_attribute where attrelid = %s::regclass and attnum > 0 and attnotnull and attname <> 'id'",
                [table, table],
            )
            for row in loose:
                query(connection, row["command"])
        yield


def judge(connection: Connection, table: str, from_id: int | None = 1, to_id: int | None = None) -> Verdict:
    """The verdict on one chain, without the guards (a range does not ask for them) and without a lockdown."""
    arguments = {"table_name": table, "from_id": from_id, "to_id": to_id, "engage_lockdown": False}
    return verdicts(connection, **{name: value for name, value in arguments.items() if value is not None})[
        table
    ]


def places(
    connection: Connection, table: str, from_id: int | None = None, to_id: int | None = None
) -> list[tuple[int, str]]:
    """Id and verdict of every broken place."""
    found = query(
        connection, "select id, verdict from find_chain_damage(%s, %s, %s)", [table, from_id, to_id]
    )
    return [(row["id"], row["verdict"]) for row in found]


def broken_in_python(connection: Connection, table: str) -> int | None:
    """The first broken id by the independent check."""
    found = chain.recompute(connection, table).broken
    return found.id if found else None


def rehash(connection: Connection, table: str, from_id: int, previous: str | None = None) -> None:
    """Give every row from from_id on the hash that its content and its predecessor give, as a forger would."""
    if previous is None:
        stored = one(connection, f"select row_hash from {table} where id = %s", [from_id - 1])
        previous = stored or chain.genesis(table)
    for row in query(connection, "select id, row_data from chain_rows(%s, %s)", [table, from_id]):
        previous = chain.row_hash(previous, row["row_data"])
        query(connection, f"update only {table} set row_hash = %s where id = %s", [previous, row["id"]])
