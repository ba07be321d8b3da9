"""Every function pins its search_path: the install schema, then pg_temp (docs/threat-model.md)."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.cluster import Server
from tests.fix_database import Connect, LoginRole
from tests.security.refusals import Connection
from tests.support import changed_guards, make_signal, migrate_with_psql, query, quote

# Migrations call these, and the role and the search_path that they set must outlast them.
UNPINNED = {
    "_take_migration_lock",
    "_begin_migration",
    "_begin_rollback",
    "_end_migration",
    "_finish_migration",
    "_finish_rollback",
}

HOME = "(select oid from pg_namespace where nspname = current_schema())"
ODD = 'Desk "A", b'


# How a name is quoted is the same on every server.
@pytest.fixture(scope="module", params=["public", pytest.param(ODD, marks=pytest.mark.any_server)])
def installed(
    request: pytest.FixtureRequest, server: Server, admin: Connection, template: str
) -> Iterator[tuple[Connection, str]]:
    """An installation in a schema, and the schema's name."""
    schema = request.param
    name = f"security_path_{len(schema)}"
    admin.execute(f"create database {name} template {template if schema == 'public' else 'template0'}")
    with psycopg.connect(server.dsn(name), autocommit=True) as connection:
        if schema != "public":
            connection.execute(f"create schema {quote(schema)}")
            migrate_with_psql(server, name, schema=schema)
        connection.execute(f"set search_path = {quote(schema)}")
        yield connection, schema


def test_every_function_is_pinned(installed: tuple[Connection, str]) -> None:
    connection, schema = installed
    pinned = f"search_path={quote(schema) if schema != 'public' else schema}, pg_temp"
    rows = query(
        connection,
        "select p.proname::text as name, p.proconfig as settings, p.prosecdef from pg_proc as p"
        # A body that PostgreSQL parsed when the function was made holds no names any more.
        f" where p.pronamespace = {HOME} and p.prokind = 'f' and p.prosqlbody is null",
    )
    assert len(rows) > 40
    unpinned = {row["name"] for row in rows if pinned not in (row["settings"] or [])}
    assert unpinned == UNPINNED
    assert not [row["name"] for row in rows if row["name"] in UNPINNED and row["prosecdef"]]


def test_what_must_be_pinned_is(installed: tuple[Connection, str]) -> None:
    """Definer functions, trigger functions and what a CHECK or a domain calls, wherever they are."""
    connection, _ = installed
    rows = query(
        connection,
        "select p.oid::regprocedure::text as name from pg_proc as p"
        f" where p.pronamespace = {HOME}"
        "   and (p.prosecdef or p.prorettype in ('trigger'::regtype, 'event_trigger'::regtype)"
        "        or exists (select from pg_depend as d where d.refobjid = p.oid"
        "                   and d.classid = 'pg_constraint'::regclass))"
        "   and not exists (select from unnest(p.proconfig) as s where s like 'search_path=%')",
    )
    assert rows == []


def test_pg_catalog_first_and_pg_temp_last(installed: tuple[Connection, str]) -> None:
    """pg_catalog is searched first when it is not named; pg_temp first unless it is named, so it is, last."""
    connection, schema = installed
    rows = query(
        connection,
        "select s as setting from pg_proc as p cross join unnest(p.proconfig) as s"
        f" where p.pronamespace = {HOME} and s like 'search_path=%'",
    )
    assert {row["setting"] for row in rows} == {
        f"search_path={quote(schema) if schema != 'public' else schema}, pg_temp"
    }


SHADOWED = [
    # What the functions use, as anybody may make it for himself.
    "create temp table signals (id bigint, signal_id text, correlation_id uuid, row_hash text)",
    "create temp table order_execution (id bigint)",
    "create temp table lockdown_events (id int, event_type text, reason text)",
    "insert into lockdown_events values (1, 'ENGAGED', 'fake')",
    "create temp table lock_signals ()",
    "create temp table chains (table_name text, position int, is_internal boolean, open_in_lockdown boolean)",
    "create temp table attempt_counters (code text, table_name text, operation text, sequence_name text)",
    "create temp table installation (role_prefix text)",
    "create temp table pg_class (relname text)",
    "create temp sequence writer_signals",
    "create temp sequence attempts_aud002_update_signals",
    "create domain pg_temp.decimal_28_10 as numeric(5, 1)",
    "create function pg_temp.chain_genesis(text) returns text language sql as $$ select 'fake' $$",
    "create function pg_temp.refuse(text, text, text, text, text, text) returns void language sql as ''",
    "create function pg_temp._refuse_decimal(numeric, text) returns bool language sql as 'select true'",
    "create function pg_temp.sha256(bytea) returns bytea language sql as $$ select '\\x00'::bytea $$",
    "create function pg_temp.clock_timestamp() returns timestamptz"
    " language sql as 'select null::timestamptz'",
    "create operator pg_temp.|| (leftarg = bytea, rightarg = bytea, function = byteacat)",
    "create operator pg_temp.= (leftarg = text, rightarg = text, function = textne)",
]


@pytest.mark.parametrize("path", ["pg_temp, {s}", "pg_temp, pg_catalog, {s}", "{s}", "pg_temp"])
def test_temporary_objects_cannot_stand_in_for_ours(
    installed: tuple[Connection, str], connect: Connect, login_role: LoginRole, path: str
) -> None:
    connection, schema = installed
    ours = quote(schema)
    hostile = connect(login_role("app_trading"), dbname=connection.info.dbname)
    hostile.execute(f"set search_path = {path.format(s=ours)}")
    for statement in SHADOWED:
        hostile.execute(
            statement.format(s=ours).replace("insert into lockdown", "insert into pg_temp.lockdown")
        )
    before = query(connection, "select count(*) as n from signals")[0]["n"]
    hostile.execute(
        f"insert into {ours}.signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " values (%s, 'B', 'BUY', 1.5, 1, '{}')",
        [f"shadow-{before}"],
    )
    hostile.execute(f"select {ours}.record_signal(%s, 'B', 'BUY', 1.25, 1, '{{}}')", [f"shadow-{before + 1}"])
    with pytest.raises(psycopg.Error) as caught:
        hostile.execute(f"select {ours}.record_signal(%s, 'B', 'BUY', 0.12345678901, 1, '{{}}')", ["lost"])
    assert caught.value.sqlstate == "AUD01"
    assert query(connection, "select count(*) as n from signals")[0]["n"] == before + 2
    assert query(connection, "select verdict from verify_chain_integrity('signals')") == [
        {"verdict": "intact"}
    ]
    assert query(hostile, "select count(*) as n from pg_temp.signals") == [{"n": 0}]
    # Two counters moved, both ours.
    assert query(hostile, "select is_called from pg_temp.writer_signals") == [{"is_called": False}]


def test_an_auditor_with_temporary_objects_gets_the_truth(
    installed: tuple[Connection, str], connect: Connect, login_role: LoginRole
) -> None:
    connection, schema = installed
    ours = quote(schema)
    auditor = connect(login_role("app_auditor"), dbname=connection.info.dbname)
    for statement in (
        "create temp table guard_states (id bigint, facts jsonb)",
        "insert into guard_states values (1, '[]')",
        "create temp table signals (id bigint, row_hash text)",
        "create temp table chain_columns (table_name text, from_id bigint, column_names text[],"
        " older_values jsonb, id bigint)",
        "create temp table installation (role_prefix text)",
        "create temp table pg_proc (oid oid)",
        f"set search_path = pg_temp, {ours}",
    ):
        auditor.execute(statement)
    assert query(auditor, f"select * from {ours}.verify_guards()") == []
    rows = query(auditor, f"select table_name, verdict, rows_checked from {ours}.verify_chain_integrity()")
    assert {row["verdict"] for row in rows} == {"intact"}
    real = query(connection, "select count(*) as n from signals")[0]["n"]
    assert {row["table_name"]: row["rows_checked"] for row in rows}["signals"] == real


def test_no_function_of_the_schemas_owner_stands_beside_ours_unseen(
    connect: Connect, db: Connection, login_role: LoginRole
) -> None:
    """The chain trigger, as alpha_owner, would call a better match than pg_catalog's for an untyped literal."""
    owner = login_role()
    query(db, f"alter schema public owner to {owner}")
    query(db, "select record_guards('the schema has another owner')")
    connect(owner).execute(
        "create function public.setval(text, bigint) returns bigint language plpgsql as"
        " $$ begin raise exception 'called as %', current_user; end $$"
    )
    assert [g["object_name"] for g in changed_guards(db)] == ["setval(text, bigint)"]
    make_signal(db)


def test_a_type_of_the_callers_does_not_stand_in_front_of_ours(connect: Connect) -> None:
    caller = connect()
    query(caller, "create temporary table text (a integer)")
    query(caller, "call append_signal('s', 'B', 'BUY', 1, 1, '{}')")
