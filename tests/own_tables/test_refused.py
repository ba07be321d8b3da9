"""What cannot be chained is refused in one line with a hint, and nothing is left half-done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.chain.by_force import shared
from tests.cluster import Server
from tests.concurrency.background import Background
from tests.fix_database import Connect, LoginRole, Prepared
from tests.own_tables.books import TRADES, chain
from tests.support import Connection, as_role, assert_healthy, one, query, quote

#: name: how the table is made, SQLSTATE, what the message says, what the hint says
REFUSED: dict[str, tuple[str, str, str, str]] = {
    "a_view": ("create view a_view as select 1 as a", "42809", "a view", "ordinary table"),
    "a_copy": ("create materialized view a_copy as select 1 as a", "42809", "a materialized view", "ordinary"),
    "parted": ("create table parted (a int) partition by list (a)", "42809", "a partitioned table", "Copy"),
    "part": (
        "create table parted (a int) partition by list (a); create table part partition of parted default",
        "0A000", "a partition", "Detach",
    ),
    "parent": (
        "create table parent (a int); create table child () inherits (parent)", "0A000", "inherit", "no inherit",
    ),
    "child": (
        "create table parent (a int); create table child () inherits (parent)", "0A000", "inherit", "no inherit",
    ),
    "foreigner": (
        "create foreign data wrapper w; create server s foreign data wrapper w;"
        " create foreign table foreigner (a int) server s",
        "42809", "a foreign table", "ordinary",
    ),
    "typed": ("create type shape as (a int); create table typed of shape", "0A000", "typed", "not of"),
    "unlogged": ("create unlogged table unlogged (a int)", "0A000", "crash would empty it", "set logged"),
    "temporary": ("create temp table temporary (a int)", "42P01", "there is no table temporary", "set schema"),
    "extended": (
        "create table extended (a int);"
        " insert into pg_depend select 'pg_class'::regclass, 'extended'::regclass, 0, 'pg_extension'::regclass,"
        " oid, 0, 'e' from pg_extension where extname = 'plpgsql'",
        "55000", "belongs to the extension plpgsql", "of your own",
    ),
    "rls": ("create table rls (a int); alter table rls enable row level security", "55000", "row-level", "disable"),
    "ruled": (
        "create table ruled (a int); create rule r as on insert to ruled do instead nothing",
        "55000", "the rule r", "Drop",
    ),
    "fired": (
        "create schema x; create function x.f() returns trigger language plpgsql as 'begin return new; end';"
        "create table fired (a int); create trigger zzzz before insert on fired for each row execute function x.f()",
        "55000", "the trigger zzzz", "docs/own-tables.md",
    ),
    "generated": (
        "create table generated (a int, b int generated always as (a + 1) stored)", "0A000", "column b", "ordinary",
    ),
    "moody": ("create type mood as enum ('a'); create table moody (m mood)", "0A000", "m mood", "text with a CHECK"),
    "costly": ("create table costly (m money)", "0A000", "m money", "numeric"),
    "composed": ("create type pair as (a int); create table composed (p pair)", "0A000", "p pair", "jsonb"),
    "id_int": ("create table id_int (id serial primary key)", "42804", "id is integer", "alter id type bigint"),
    "id_uuid": ("create table id_uuid (id uuid primary key)", "42804", "id is uuid", "rename id"),
    "id_null": ("create table id_null (id bigint unique)", "55000", "id may be null", "set not null"),
    "id_twice": ("create table id_twice (id bigint not null)", "55000", "id is not unique", "add unique (id)"),
    "id_late": (
        "create table id_late (id bigint primary key deferrable)", "55000", "id is not unique", "add unique (id)",
    ),
    "gap": (
        "create table gap (id bigint primary key); insert into gap values (1), (3)",
        "55000", "row 2 has the id 3", "rename id",
    ),
    "from_zero": (
        "create table from_zero (id bigint primary key); insert into from_zero values (0)",
        "55000", "row 1 has the id 0", "rename",
    ),
    "keyless": (
        "create table keyless (a int); insert into keyless values (1)", "55000", "came first", "add id bigserial",
    ),
    "local_time": ("create table local_time (created_at timestamp not null)", "42804", "without time zone", "rename"),
    "no_time": ("create table no_time (created_at timestamptz)", "42804", "or null", "not null"),
    "back": (
        "create table back (id bigint primary key, created_at timestamptz not null);"
        "insert into back values (1, '2026-01-02'), (2, '2026-01-01')",
        "55000", "row 2 is earlier", "rename created_at",
    ),
    "endless": (
        "create table endless (id bigint primary key, created_at timestamptz not null);"
        "insert into endless values (1, 'infinity')",
        "55000", "no time", "rename created_at",
    ),
    "future": (
        "create table future (id bigint primary key, created_at timestamptz not null);"
        "insert into future values (1, '2999-01-01')",
        "55000", "ahead of the server's clock", "rename created_at",
    ),
    "who": ("create table who (recorded_by int)", "42804", "recorded_by is integer", "Make it text"),
    "hashed": ("create table hashed (row_hash text)", "42701", "a column row_hash", "rename row_hash"),
    "a" * 39: (f"create table {'a' * 39} (a int)", "42622", "39 bytes", "at most 38"),
    "../up": ('create table "../up" (a int)', "42602", "begins with a dot", "file of that name"),
    "a\nb": ('create table "a\nb" (a int)', "42602", "control character", "file of that name"),
    "taken": ("create table taken (a int); create table lock_taken (a int)", "42710", "lock_taken", "Rename"),
    "generate": ("create table generate (a int)", "42710", "_chain_generate", "Rename"),
    "signals": ("select 1", "42710", "a chained table already", "chained_tables()"),
    "chains": ("select 1", "42710", "a table of alpha-db itself", "of your own"),
    "lock_signals": ("select 1", "42710", "a table of alpha-db itself", "of your own"),
    "log_nodes": ("select 1", "42710", "a table of alpha-db itself", "of your own"),
    "nothing": ("select 1", "42P01", "there is no table nothing", "as it is stored"),
    "BIG": ("create table big (a int)", "42P01", 'there is no table "BIG"', "'big'"),
    "x.t": ("create schema x; create table x.t (a int)", "42P01", "no table", "alter table x.t set schema public"),
}  # fmt: skip


def catalogue(connection: Connection) -> list[Any]:
    """Every object of the schema: what it is, whose, and what its columns are."""
    return query(
        connection,
        "select c.relname, c.relkind, c.relowner, c.relacl::text,"
        "       (select array_agg((attname, atttypid, attnotnull) order by attnum) from pg_attribute"
        "        where attrelid = c.oid and attnum > 0) as columns"
        " from pg_class as c where c.relnamespace = 'public'::regnamespace order by c.relname",
    )


@pytest.fixture(scope="module")
def undone(server: Server, prepared: Prepared, template: str) -> Iterator[Connection]:
    """A database that tests share, because each rolls back what it did."""
    with shared(server, prepared, template, "own_refused") as connection:
        yield connection


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(undone: Connection, name: str) -> None:
    make, state, message, hint = REFUSED[name]
    with undone.transaction(force_rollback=True):
        query(undone, f"set local allow_system_table_mods = on; {make}")
        before, states = catalogue(undone), one(undone, "select count(*) from guard_states")
        with pytest.raises(psycopg.Error) as caught, undone.transaction():
            chain(undone, name)
        diag = caught.value.diag
        assert (diag.sqlstate, message in str(diag.message_primary)) == (state, True), caught.value
        assert hint in (diag.message_hint or ""), caught.value
        assert catalogue(undone) == before
        assert one(undone, "select count(*) from guard_states") == states


def test_one_that_is_chained_already(trades: Connection) -> None:
    with pytest.raises(psycopg.errors.DuplicateObject, match="a chained table already"):
        chain(trades, "trades")


def test_a_table_of_somebody_else(db: Connection, connect: Connect, login_role: LoginRole) -> None:
    query(db, TRADES)
    member = login_role("alpha_owner")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="trades belongs to postgres") as caught:
        chain(connect(member), "trades")
    assert f"alter table trades owner to {member}" in (caught.value.diag.message_hint or "")


def test_by_nobody_of_ours(db: Connection, connect: Connect, login_role: LoginRole) -> None:
    owner = login_role("app_trading")
    query(db, f"{TRADES}; alter table trades owner to {owner}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        chain(connect(owner), "trades")


def test_a_member_of_the_owner_chains_its_own(
    db: Connection, connect: Connect, login_role: LoginRole
) -> None:
    member = login_role("alpha_owner")
    query(db, "select record_guards('a new DBA')")
    query(db, f"{TRADES}; insert into trades values ('a'); alter table trades owner to {member}")
    assert chain(connect(member), "trades") == 1
    assert one(db, "select recorded_by from trades") == member
    assert one(db, "select pg_get_userbyid(relowner) from pg_class where relname = 'trades'") == "alpha_owner"
    assert_healthy(db)


def test_while_a_guard_is_changed(db: Connection) -> None:
    query(db, TRADES)
    with as_role(db, "alpha_owner"):
        query(db, "alter table signals disable trigger zzz_chain")
    with pytest.raises(psycopg.Error, match="AUD-011: trades cannot be chained"):
        chain(db, "trades")


def test_in_a_snapshot_that_may_miss_rows(db: Connection) -> None:
    query(db, TRADES)
    query(db, "set default_transaction_isolation = 'repeatable read'")
    with pytest.raises(psycopg.Error) as caught:
        chain(db, "trades")
    assert (caught.value.sqlstate, "READ COMMITTED" in str(caught.value)) == ("25000", True)


def test_a_row_that_is_open_in_another_session_is_waited_for(db: Connection, connect: Connect) -> None:
    query(db, TRADES)
    writer = connect(autocommit=False)
    writer.execute("insert into trades values ('a')")
    other = connect(lock_timeout="10ms")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        chain(other, "trades")
    writer.commit()
    assert chain(other, "trades") == 1


@pytest.mark.parametrize("given", [[None, False], ["trades", None]])
def test_null_is_no_argument(db: Connection, given: list[Any]) -> None:
    query(db, TRADES)
    with pytest.raises(psycopg.Error) as caught:
        query(db, "select chain_table(%s, %s)", given)
    assert caught.value.sqlstate in ("42P01", "22023")


def test_cancelled_in_its_last_step_nothing_is_left(db: Connection, connect: Connect) -> None:
    query(db, f"{TRADES}; insert into trades values ('a')")
    before, held, caller = catalogue(db), connect(autocommit=False), connect()
    held.execute("lock table lock_guard_states in share update exclusive mode")
    call = Background(caller, "select chain_table('trades')").blocked(db)
    query(db, "select pg_cancel_backend(%s)", [call.pid])
    assert isinstance(call.error(), psycopg.errors.QueryCanceled)
    held.rollback()
    assert catalogue(db) == before
    assert_healthy(db)


def test_the_name_of_a_table_is_no_statement(db: Connection) -> None:
    name = "x'); drop table chains; --"
    query(db, f"create table {quote(name)} (a int)")
    chain(db, name)
    query(db, f"insert into {quote(name)} values (1)")
    assert_healthy(db)
