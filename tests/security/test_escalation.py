"""Members of our roles get no more than their roles have; a member of alpha_owner does not become superuser."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.cluster import Server
from tests.fix_database import Connect, LoginRole
from tests.security.refusals import Connection, denied, undone
from tests.support import (
    MIGRATIONS,
    SUPERUSER,
    changed_guards,
    fill,
    make_signal,
    one,
    psql_file,
    query,
    tamper,
    verdicts,
)

TABLES = ("signals", "ai_debates", "order_execution", "order_events")


# ----------------------------------------------------------------------------------------------------
# What an application role can do, and what it cannot with it


def test_app_trading_can_do_its_work(connect: Connect, login_role: LoginRole, database: str) -> None:
    trader = connect(login_role("app_trading"), dbname=database)
    written = fill(trader)  # by record_*
    assert len(written.events) == 4
    trader.execute(
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " values ('p-1', 'B', 'BUY', 1.5, 2, '{}'), ('p-2', 'B', 'SELL', '2.5', 1, '[]') returning *"
    )
    with (
        trader.cursor() as cursor,
        cursor.copy(
            "copy signals (signal_id, symbol, side, price, quantity, raw_payload) from stdin"
        ) as copy,
    ):
        copy.write_row(("c-1", "B", "BUY", "1.5", "1", "{}"))
    trader.execute("insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
                   " values ('p-1', 'B', 'BUY', 1, 1, '{}') on conflict do nothing")  # fmt: skip
    for view in ("vw_trade_audit_full", "vw_kill_switch_events", "vw_rejected_attempts"):
        trader.execute(f"select * from {view}")
    assert one(trader, "select is_locked from lockdown_status()") is False
    assert one(trader, "select count(*) from signals") == 6
    trader.execute("select sum(price * quantity) from signals group by symbol having sum(price) > 0")


def test_what_a_writer_supplies_for_the_chain_is_overwritten(
    connect: Connect, login_role: LoginRole, db: Connection
) -> None:
    trader = connect(login_role("app_trading"))
    make_signal(trader)
    row = query(
        trader,
        "insert into signals (id, signal_id, symbol, side, price, quantity, raw_payload, row_hash, created_at)"
        " values (-5, 'x', 'B', 'BUY', 1, 1, '{}', repeat('0', 64), '1999-01-01') returning *",
    )[0]
    assert row["id"] == 2
    assert row["row_hash"] != "0" * 64
    assert row["created_at"].year > 1999
    trader.execute("select nextval('signals_id_seq') from generate_series(1, 100)")
    assert make_signal(trader, 3)["id"] == 3
    assert verdicts(db)["signals"].verdict == "intact"


def test_app_auditor_can_do_its_work(connect: Connect, login_role: LoginRole, db: Connection) -> None:
    fill(db)
    auditor = connect(login_role("app_auditor"))
    assert {v.verdict for v in verdicts(auditor).values()} == {"intact"}
    assert changed_guards(auditor) == []
    for statement in (
        "select * from chain_rows('signals')",
        "select * from chain_status()",
        "select * from find_chain_damage('signals')",
        "select chain_genesis('signals')",
        "select * from installed_migrations",
        "select * from installation",
        "select * from guard_states",
        "select * from chain_columns",
        "select * from lockdown_events",
        "select * from maintenance_events",
        *(f"select * from {table}" for table in TABLES),
    ):
        auditor.execute(statement)
    for table in TABLES:
        with denied():
            auditor.execute(f"insert into {table} default values")
    with denied():
        auditor.execute("select record_signal('x', 'B', 'BUY', 1, 1, '{}')")


def test_an_auditor_engages_the_lockdown_only_by_damage(
    connect: Connect, login_role: LoginRole, db: Connection
) -> None:
    fill(db)
    auditor = connect(login_role("app_auditor"))
    verdicts(auditor)
    assert one(db, "select count(*) from lockdown_events") == 0
    tamper(db, "update signals set symbol = 'X' where id = 1")
    with denied():
        auditor.execute("select _engage_lockdown('x', '[]')")
    assert verdicts(auditor)["signals"].error_code == "AUD-009"
    event = query(db, "select recorded_by, event_type from lockdown_events")[0]
    assert event == {"recorded_by": auditor.info.user, "event_type": "ENGAGED"}


def test_app_risk_reads_the_views(connect: Connect, login_role: LoginRole, db: Connection) -> None:
    fill(db)
    risk = connect(login_role("app_risk"))
    for name in (*TABLES, "vw_trade_audit_full", "vw_kill_switch_events"):
        assert query(risk, f"select * from {name}")
    for table in TABLES:
        with denied():
            risk.execute(f"insert into {table} default values")
    with denied():
        risk.execute("select * from verify_chain_integrity()")


@pytest.mark.parametrize("role", ["app_trading", "app_auditor", "app_risk"])
def test_no_way_up(connect: Connect, login_role: LoginRole, database: str, role: str) -> None:
    user = connect(login_role(role), dbname=database)
    for statement in (
        "set role alpha_owner",
        "set session authorization alpha_owner",
        "set session_replication_role = replica",
        "set log_min_messages = panic",
        "set log_statement = none",
        "alter role current_user superuser",
        f"grant alpha_owner to {user.info.user}",
        f"alter role {role} bypassrls",
        "create schema mine",
        "create extension plpgsql_check",
        "create event trigger x on ddl_command_end execute function pg_temp.x()",
        "create publication p for table signals",
        "alter default privileges for role alpha_owner grant all on tables to public",
        "reassign owned by alpha_owner to current_user",
        "drop owned by alpha_owner",
        "copy signals to program 'cat'",
        "copy signals from '/etc/passwd'",
        "select pg_read_file('/etc/passwd')",
        "create trigger x before insert on signals for each row execute function _reject_change('signals')",
        "create rule x as on insert to signals do instead nothing",
        "create statistics pg_temp.s on id, symbol from signals",
        "create table pg_temp.child () inherits (signals)",
        "create temp table refers (c uuid references signals (correlation_id))",
        "select _reject_change()",
        "lock table lock_signals in exclusive mode",
        "lock table signals in share mode",
    ):  # fmt: skip
        try:
            with undone(user), pytest.raises(psycopg.Error) as caught, user.transaction():
                user.execute(statement)
            assert caught.value.sqlstate in ("42501", "0A000", "42809", "42P01", "42P16", "42883"), (
                caught.value
            )
        except BaseException as problem:
            problem.add_note(statement)
            raise
    assert one(user, "select current_user") == user.info.user


def test_a_hostile_operand_runs_with_its_own_rights(
    connect: Connect, login_role: LoginRole, database: str
) -> None:
    """Types, casts and functions of a writer's own are not reached from a definer function."""
    trader = connect(login_role("app_trading"), dbname=database)
    trader.execute(
        "create type pg_temp.evil as (x text);"
        "create function pg_temp.as_numeric(pg_temp.evil) returns numeric language plpgsql as"
        " $$ begin raise exception 'ran as %', current_user; end $$;"
        "create cast (pg_temp.evil as numeric) with function pg_temp.as_numeric as implicit;"
    )
    with pytest.raises(psycopg.Error) as caught:
        trader.execute("select record_signal('x', 'B', 'BUY', row('1')::pg_temp.evil, 1, '{}')")
    assert "ran as alpha_owner" not in str(caught.value)
    with pytest.raises(psycopg.Error) as caught:
        trader.execute(
            "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
            " values ('x', 'B', 'BUY', row('1')::pg_temp.evil::numeric, 1, '{}')"
        )
    assert f"ran as {trader.info.user}" in str(caught.value)


# ----------------------------------------------------------------------------------------------------
# A hostile member of alpha_owner, against the superuser whose event trigger watches him

TELLS = """
create function evil.tell() returns boolean immutable language plpgsql as $$
begin
  if (select rolsuper from pg_catalog.pg_roles where rolname = current_user) then
    raise exception 'EVIL ran as %', current_user using errcode = 'EVIL1';
  end if;
  return true;
end $$;
create function evil.tell_trigger() returns trigger language plpgsql as
  $$ begin perform evil.tell(); return coalesce(new, old); end $$;
"""
MAINTAIN = "set local alpha.maintenance = 'evil'; "
HOSTILE = {
    "cast from guard_states.facts": MAINTAIN
    + "create type evil.t as (j jsonb); create function evil.j(evil.t) returns jsonb language plpgsql as"
    " $$ begin perform evil.tell(); return ($1).j; end $$;"
    " create cast (evil.t as jsonb) with function evil.j as implicit;"
    " alter table public.guard_states alter column facts type evil.t using row(facts)::evil.t",
    "index predicate on guard_states": MAINTAIN + "create index evil on public.guard_states (id) where evil.tell()",
    "index expression on guard_states": MAINTAIN
    + "create index evil on public.guard_states ((case when evil.tell() then id end))",
    "statistics on guard_states": MAINTAIN
    + "create statistics evil.s on id, (case when evil.tell() then reason end) from public.guard_states",
    "_record_maintenance overloaded by a cast": MAINTAIN
    + "create type evil.t as (j text); create function evil.c(text) returns evil.t language plpgsql as"
    " $$ begin perform evil.tell(); return row($1); end $$;"
    " create cast (text as evil.t) with function evil.c as implicit;"
    " create function public._record_maintenance(evil.t, evil.t, evil.t) returns void language sql"
    " security definer as '';"
    " drop function public._record_maintenance(text, text, text)",
    "_record_maintenance with a default": MAINTAIN
    + "drop function public._record_maintenance(text, text, text);"
    " create function public._record_maintenance(text, text, text, boolean default evil.tell()) returns void"
    " language sql security definer as ''",
    "_record_maintenance with the caller's rights": MAINTAIN
    + "create or replace function public._record_maintenance(reason text, command_tag text, object_identity text)"
    " returns void language plpgsql as $$ begin perform evil.tell(); end $$",
    "guard_states a view": MAINTAIN
    + "alter table public.guard_states rename to evil; create view public.guard_states as"
    " select e.*, evil.tell() from public.evil as e",
    "row security on guard_states": MAINTAIN
    + "create policy evil on public.guard_states using (evil.tell());"
    " alter table public.guard_states force row level security",
    "trigger on maintenance_events": MAINTAIN
    + "create trigger aaa before insert on public.maintenance_events for each row execute function evil.tell_trigger()",
    "refuse with the caller's rights": MAINTAIN
    + "create or replace function public.refuse(code text, message text, detail text, hint text, table_name text,"
    " operation text, row_id bigint default null, column_name text default null) returns void language plpgsql as"
    " $$ begin perform evil.tell(); end $$",
}  # fmt: skip
# A deferred trigger runs at commit as whoever commits, before PostgreSQL 18 (which notes who queued it).
DEFERRED = (
    MAINTAIN + "create table evil.queue (a int);"
    " create constraint trigger later after insert on evil.queue deferrable initially deferred"
    " for each row execute function evil.tell_trigger();"
)
HOSTILE_DEFERRED = {
    "refuse": DEFERRED
    + " create or replace function public.refuse(code text, message text, detail text, hint text, table_name text,"
    " operation text, row_id bigint default null, column_name text default null) returns void language plpgsql"
    " security definer set search_path = public, pg_temp as $$ begin insert into evil.queue values (1); end $$",
    "_record_maintenance": DEFERRED
    + " create or replace function public._record_maintenance(reason text, command_tag text, object_identity text)"
    " returns void language sql security definer set search_path = public, pg_temp as"
    " $$ insert into evil.queue values (1) $$",
    "record_guards": DEFERRED
    + " create or replace function public.record_guards(reason text) returns bigint"
    " language sql security definer set search_path = public, pg_temp as"
    " $$ insert into evil.queue values (1) returning 1::bigint $$",
}  # fmt: skip


def _prepare(connect: Connect, login_role: LoginRole, dbname: str) -> tuple[Connection, Connection]:
    superuser = connect(dbname=dbname)
    superuser.execute("create schema evil authorization alpha_owner")
    evil = connect(login_role("alpha_owner"), dbname=dbname)
    evil.execute("set role alpha_owner")
    evil.execute(TELLS)
    return superuser, evil


def _try(connection: Connection, statement: str) -> None:
    """Run it; whatever is refused is refused, but nothing may run as a superuser."""
    said = None
    try:
        connection.execute(statement)
    except psycopg.Error as error:
        connection.rollback()
        said = error.sqlstate
    assert said != "EVIL1", statement


def _attack(evil: Connection, statement: str) -> None:
    """Try it in one transaction, and then piece by piece: what works, works."""
    _try(evil, f"begin; {statement}; commit")
    for part in statement.removeprefix(MAINTAIN).split("; "):
        _try(evil, f"begin; {MAINTAIN}{part}; commit")


def _superuser_works(server: Server, superuser: Connection, dbname: str) -> None:
    """What a superuser does without a thought of alpha-db, and what he does for it."""
    for statement in (
        "create table public.unrelated (a int)",
        "drop table public.unrelated",
        "create schema unrelated; drop schema unrelated",
        "alter table signals disable trigger user",
        f"begin; {MAINTAIN}comment on table signals is 'x'; commit",
    ):
        _try(superuser, statement)
    for file in ("ddl_guard.sql", "ddl_guard.rollback.sql"):
        run = psql_file(server, dbname, SUPERUSER / file, check=False)
        assert "EVIL" not in run.stderr


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_member_of_alpha_owner_does_not_become_superuser(
    server: Server, connect: Connect, login_role: LoginRole, guarded_database: str, attack: str
) -> None:
    superuser, evil = _prepare(connect, login_role, guarded_database)
    _attack(evil, HOSTILE[attack])
    _superuser_works(server, superuser, guarded_database)


@pytest.mark.parametrize("attack", HOSTILE_DEFERRED)
def test_nor_by_a_deferred_trigger(
    request: pytest.FixtureRequest,
    server: Server,
    connect: Connect,
    login_role: LoginRole,
    guarded_database: str,
    attack: str,
) -> None:
    if attack == "_record_maintenance" and server.major < 18:
        request.applymarker(
            pytest.mark.xfail(
                strict=True,
                reason="a superuser who sets alpha.maintenance runs what alpha_owner deferred: docs/threat-model.md",
            )
        )
    superuser, evil = _prepare(connect, login_role, guarded_database)
    _attack(evil, HOSTILE_DEFERRED[attack])
    _superuser_works(server, superuser, guarded_database)


def test_the_attack_would_be_seen(connect: Connect, login_role: LoginRole, guarded_database: str) -> None:
    """What the tests above rely on: code that does run as a superuser says so."""
    superuser, _ = _prepare(connect, login_role, guarded_database)
    with pytest.raises(psycopg.Error) as caught:
        superuser.execute("select evil.tell()")
    assert caught.value.sqlstate == "EVIL1"


def test_a_schema_made_beforehand_is_not_trusted(
    server: Server, connect: Connect, login_role: LoginRole, database: str, admin: Connection
) -> None:
    """Who may CREATE in the database could wait in alpha_db_guard for the superuser."""
    user = login_role()
    admin.execute(f"grant create on database {database} to {user}")
    stranger = connect(user, dbname=database)
    stranger.execute("create schema alpha_db_guard")
    stranger.execute(
        "create function alpha_db_guard.ddl_guard_public() returns event_trigger language plpgsql as"
        " $$ begin raise exception 'EVIL ran as %', current_user; end $$;"
        "create function alpha_db_guard.record_guards(home text, reason text) returns void language plpgsql as"
        " $$ begin raise exception 'EVIL ran as %', current_user; end $$"
    )
    run = psql_file(server, database, SUPERUSER / "ddl_guard.sql", check=False)
    assert run.returncode != 0
    assert "EVIL" not in run.stderr
    assert "alpha_db_guard" in run.stderr
    assert "HINT:" in run.stderr
    assert server.psql(database, "select count(*) from pg_event_trigger").stdout.strip() == "0"
    run = psql_file(server, database, SUPERUSER / "ddl_guard.rollback.sql", check=False)
    assert "EVIL" not in run.stderr


def test_the_guard_belongs_to_the_superuser(connect: Connect, guarded_shared: str) -> None:
    guarded = connect(dbname=guarded_shared)
    rows = query(
        guarded,
        "select r.rolsuper from pg_namespace as n join pg_roles as r on r.oid = n.nspowner"
        " where n.nspname = 'alpha_db_guard'"
        " union all select r.rolsuper from pg_proc as p join pg_roles as r on r.oid = p.proowner"
        " where p.pronamespace = 'alpha_db_guard'::regnamespace"
        " union all select r.rolsuper from pg_event_trigger as e join pg_roles as r on r.oid = e.evtowner",
    )
    assert len(rows) >= 4
    assert all(row["rolsuper"] for row in rows)
    assert one(
        guarded,
        "select bool_and(coalesce(nspacl, acldefault('n', nspowner)) = acldefault('n', nspowner))"
        " from pg_namespace where nspname = 'alpha_db_guard'",
    )
    assert not one(
        guarded,
        "select bool_or(has_function_privilege('alpha_owner', p.oid, 'execute')) from pg_proc as p"
        " where p.pronamespace = 'alpha_db_guard'::regnamespace",
    )


def test_an_installation_in_a_schema_that_others_may_create_in_is_refused(
    server: Server, connect: Connect, make_database: Callable[..., str]
) -> None:
    name = make_database()
    connect(dbname=name).execute(
        "create role security_other; grant create on schema public to security_other"
    )
    try:
        run = psql_file(server, name, MIGRATIONS[0], check=False)
        assert run.returncode != 0
        assert "security_other" in run.stderr
        assert "HINT:" in run.stderr
    finally:
        connect(dbname=name).execute("drop owned by security_other; drop role security_other")
