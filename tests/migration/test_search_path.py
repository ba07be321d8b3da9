"""Whoever migrates may have anything on his search_path, and in pg_temp: it changes nothing, or stops it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.cluster import Server
from tests.migration.desk import (
    MIGRATION,
    ROLLBACK,
    Desk,
    contents,
    facts,
    function_bodies,
    hint,
    last_writes,
)
from tests.support import MIGRATIONS, SUPERUSER, Connection, assert_healthy, fill, one, query, server_options

Root = Callable[[Desk], Connection]

# What a session may have lying about under the names that the kit uses.
TEMPORARY = {
    "tables": """
        create temp table installed_migrations (name text, checksum text);
        create temp table chains (table_name text, position int, is_internal boolean, open_in_lockdown boolean);
        create temp table signals (id bigint, row_hash text, created_at timestamptz);
        create temp table guard_states (id bigint, facts jsonb);
        create temp table installation (singleton boolean, role_prefix text);
        create temp table lock_signals ();
        create temp table attempt_counters (code text);
        create temp table chain_columns (id bigint);""",
    "views": """
        create temp view installed_migrations as select '004_security_hardening'::text as name;
        create temp view chains as select 'pg_temp'::text as table_name, 1 as position where false;""",
    "types": """
        create domain pg_temp.decimal_28_10 as numeric;
        create domain pg_temp.jsonb as text;
        create type pg_temp.chain_verdict as (nothing text);
        create domain pg_temp.bigserial as text;""",
    "functions": """
        create function pg_temp._begin_migration(name text) returns boolean language sql as 'select true';
        create function pg_temp.sha256(bytea) returns bytea language sql as 'select $1';
        create function pg_temp.owner_role() returns text language sql as 'select ''postgres''';
        create function pg_temp.record_guards(text) returns bigint language sql as 'select 1::bigint';""",
    "sequences": """
        create temp sequence signals_id_seq;
        create temp sequence writer_signals;""",
}

# Each migrates a database, so all that can be there at once is, and each alone with --all.
TOGETHER = {
    "tables and all but views": "".join(made for kind, made in TEMPORARY.items() if kind != "views"),
    "views and all but tables": "".join(made for kind, made in TEMPORARY.items() if kind != "tables"),
}
ALONE = [pytest.param(made, id=kind, marks=pytest.mark.long) for kind, made in TEMPORARY.items()]


def migrate_by_settings(server: Server, desk: Desk, options: str, user: str | None = None) -> None:
    """All files, each in a transaction of its own, by one psql whose session has these settings."""
    files = [argument for file in MIGRATIONS for argument in ("-f", file)]
    server.psql(desk.dbname, *files, user=user, environment={"PGOPTIONS": options})


# pg_temp is searched first unless the path says otherwise.
TEMP_FIRST, TEMP_LAST = "public", "public, pg_temp"
CROSSED = [
    (TOGETHER["tables and all but views"], TEMP_FIRST),
    (TOGETHER["views and all but tables"], TEMP_LAST),
]


@pytest.mark.parametrize(
    ("made", "path"),
    [
        pytest.param(
            made, path, id=f"{kind}-{path}", marks=() if (made, path) in CROSSED else pytest.mark.long
        )
        for kind, made in (TOGETHER | TEMPORARY).items()
        for path in (TEMP_FIRST, TEMP_LAST)
    ],
)
def test_temporary_objects_change_nothing(
    made: str, path: str, empty: Desk, root: Root, template: str, server: Server
) -> None:
    files = [argument for file in MIGRATIONS for argument in ("-f", file)]
    server.psql(empty.dbname, "-c", made, "-c", f"set search_path = {path}", *files)
    connection = root(empty)
    assert facts(connection) == facts(root(Desk(server, template)))
    fill(connection)
    assert_healthy(connection)


@pytest.mark.parametrize("made", [*(pytest.param(v, id=k) for k, v in TOGETHER.items()), *ALONE])
def test_temporary_objects_do_not_let_a_rollback_pass(
    made: str, installed: Desk, root: Root, server: Server
) -> None:
    """An empty table chains in pg_temp must not hide the rows of the log."""
    connection = root(installed)
    fill(connection)
    before = last_writes(connection, "public")
    for file in reversed(ROLLBACK.values()):
        run = server.psql(installed.dbname, "-c", made, "-f", file, check=False)
        assert run.returncode == 3
    assert last_writes(connection, "public") == before
    assert_healthy(connection)


IMPOSTORS = """
    create function public.sha256(bytea) returns bytea language sql immutable as 'select $1';
    create function public.encode(bytea, text) returns text language sql immutable as 'select ''forged''';
    create function public.now() returns timestamptz language sql as 'select ''-infinity''::timestamptz';
    create function public.clock_timestamp() returns timestamptz language sql as 'select ''-infinity''::timestamptz';
    create function public.hashtextextended(text, bigint) returns bigint language sql as 'select 1::bigint';
    create function public.format(text, variadic text[]) returns text language sql as 'select ''drop table x''';
    create function public.record_guards(text) returns bigint language sql as 'select 1::bigint';
    create table public.signals (id bigint);
    create table public.installed_migrations (name text);
    create domain public.decimal_28_10 as numeric;
    create function public.equal(bigint, bigint) returns boolean language sql as 'select true';
    create operator public.= (leftarg = bigint, rightarg = bigint, function = public.equal);
"""


@pytest.mark.parametrize(
    "path",
    [
        "desk_a, public, pg_catalog",
        *(
            pytest.param(path, marks=pytest.mark.long)
            for path in ("desk_a, public", "desk_a, pg_catalog, public")
        ),
    ],
)
def test_impostors_in_a_later_schema_change_nothing(
    path: str, empty: Desk, root: Root, template: str, server: Server
) -> None:
    """public, where anybody might create, stands behind the desk, even before pg_catalog."""
    root(empty).execute(IMPOSTORS)
    root(empty).execute("create schema desk_a")
    trusting_nothing = root(replace(empty, schema="pg_catalog"))
    before = contents(trusting_nothing, "public")
    migrate_by_settings(server, empty, f"-c search_path={path.replace(' ', '')}")
    desk = replace(empty, schema="desk_a")
    connection = root(desk)
    fill(connection)
    assert_healthy(connection)
    assert contents(trusting_nothing, "public") == before
    ours = function_bodies(root(Desk(server, template)))
    assert function_bodies(connection) == ours
    forged = query(connection, "select from signals where row_hash !~ '^[0-9a-f]{64}$'")
    assert forged == []


# test_where_and_as_whom.py goes where the default path of a role points, too.
@pytest.mark.parametrize("scope", ["database", pytest.param("role", marks=pytest.mark.long)])
def test_default_path_of_database_or_role_decides(
    scope: str, empty: Desk, root: Root, server: Server, migrator: str, prefix: str
) -> None:
    connection = root(empty)
    connection.execute(f'create schema "Desk A" authorization {migrator}')
    what = (
        f"database {empty.dbname}" if scope == "database" else f"role {migrator} in database {empty.dbname}"
    )
    connection.execute(f'alter {what} set search_path = "Desk A", public')
    migrate_by_settings(server, empty, f"-c alpha.role_prefix={prefix}", migrator)
    assert contents(connection, "public") == []
    assert_healthy(root(replace(empty, schema="Desk A")))


def test_empty_path_is_refused(empty: Desk, root: Root, server: Server) -> None:
    for path, said in (("''", "no schema to install into"), ("pg_temp", "is a system schema")):
        run = server.psql(
            empty.dbname, "-c", f"set search_path = {path}", "-f", MIGRATION["001"], check=False
        )
        assert run.returncode == 3
        assert said in run.stderr
        assert hint(run.stderr)
    assert contents(root(empty), "public") == []


# All files run again; those from `number` on do something.
@pytest.mark.parametrize("number", ["23", pytest.param("004", marks=pytest.mark.long)])
def test_the_session_setting_of_the_prefix_decides_only_once(
    number: str, installed: Desk, root: Root, prefix: str
) -> None:
    """An installation keeps its roles, whatever a later session asks for."""
    installed.roll_back(later for later in MIGRATION if int(later) >= int(number))
    other = replace(installed, prefix=prefix)
    other.migrate()
    connection = root(installed)
    assert one(connection, "select _owner_role()") == "alpha_owner"
    assert one(connection, "select count(*) from pg_roles where starts_with(rolname, %s)", [prefix]) == 0
    assert_healthy(connection)


HOSTILE_SETTINGS = {
    "standard_conforming_strings": "off",
    "quote_all_identifiers": "on",
    "default_transaction_isolation": "serializable",
    "check_function_bodies": "off",
    "DateStyle": "SQL, DMY",
    "TimeZone": "Africa/Johannesburg",
    "IntervalStyle": "iso_8601",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "lc_messages": "C",
    "xmlbinary": "hex",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "row_security": "off",
    "plpgsql.variable_conflict": "use_column",
}


# Quoting apart, under which pinned paths have quotes: the same path.
TOGETHER_SET = [name for name in HOSTILE_SETTINGS if name != "quote_all_identifiers"]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(TOGETHER_SET, id="together"),
        pytest.param(list(HOSTILE_SETTINGS), id="together and quote_all_identifiers"),
        *(pytest.param([name], id=name, marks=pytest.mark.long) for name in HOSTILE_SETTINGS),
    ],
)
def test_settings_of_the_migrator_change_nothing(
    settings: list[str], empty: Desk, root: Root, template: str, server: Server
) -> None:
    """Neither what is installed nor what is recorded depends on the session's settings."""
    options = server_options({name: HOSTILE_SETTINGS[name] for name in settings})
    migrate_by_settings(server, empty, options)
    connection = root(empty)
    if "quote_all_identifiers" not in settings:
        assert facts(connection) == facts(root(Desk(server, template)))
    fill(connection)
    assert_healthy(connection)


def test_superuser_step_in_a_quoted_schema(beside: Desk, root: Root) -> None:
    connection = root(beside)
    before = facts(connection)
    beside.guard_ddl()
    beside.run(SUPERUSER / "ddl_guard.sql")  # again: replaces it by itself
    assert facts(connection) > before
    assert_healthy(connection)
    beside.unguard_ddl()
    assert facts(connection) == before
    assert_healthy(connection)
