"""The optional superuser step: DDL on protected objects is refused with AUD-011 (docs/operations.md)."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.cluster import Server
from tests.fix_database import Connect, LoginRole
from tests.security.refusals import Connection, attempts, denied, install_guard, refused, undone
from tests.support import (
    MIGRATIONS,
    ROLLBACKS,
    SUPERUSER,
    changed_guards,
    fill,
    migrate_with_psql,
    one,
    psql_file,
    query,
    quote,
    verdicts,
)

GUARD = SUPERUSER / "ddl_guard.sql"
UNGUARD = SUPERUSER / "ddl_guard.rollback.sql"

REFUSE = "_refuse(text, text, text, text, text, text, bigint, text)"
REFUSED = [
    # triggers
    "alter table signals disable trigger _100_reject_change",
    "alter table signals disable trigger user",
    "alter table signals enable replica trigger _100_reject_change",
    "drop trigger _100_reject_change on signals",
    "drop trigger zzz_chain on order_events",
    "alter trigger zzz_chain on signals rename to aaa",
    "create trigger aaa before insert on signals for each row execute function _chain_signals('signals')",
    "create or replace trigger zzz_chain before insert on signals for each row"
    " execute function _chain_signals('signals')",
    # through a parent elsewhere, whose triggers and columns its partitions get
    "create table only_mine.parent (like public.signals including defaults) partition by list (side);"
    " alter table only_mine.parent attach partition public.signals default",
    # drops
    "drop table signals cascade",
    "drop table only_mine.mine, lock_signals",
    "drop table guard_states cascade",
    "drop table maintenance_events cascade",
    "drop view vw_trade_audit_full",
    "drop sequence attempts_aud002_update_signals",
    "drop index signals_created_at_idx",
    "drop function _reject_change() cascade",
    "drop function chain_genesis(text)",
    f"drop function {REFUSE}",
    "drop function _record_maintenance(text, text, text)",
    "drop domain decimal_28_10 cascade",
    "drop type chain_verdict cascade",
    "drop owned by alpha_owner cascade",
    # functions
    "create or replace function _reject_change() returns trigger language plpgsql as 'begin return new; end'",
    "alter function _reject_change() security invoker",
    "alter function _reject_change() reset all",
    f"alter function {REFUSE} set lock_timeout = 1",
    "alter function chain_genesis(text) rename to genesis",
    # tables, views, domains
    "alter table signals rename to signal",
    "alter table signals rename column price to amount",
    "alter table signals add column more text",
    "alter table signals drop column source_ip cascade",
    "alter table signals alter column raw_payload drop not null",
    "alter table signals drop constraint signals_price_is_positive",
    "alter table signals rename constraint signals_price_is_positive to x",
    "alter table order_events set unlogged",
    "alter table signals enable row level security",
    "alter table lock_signals add column x int",
    "alter sequence writer_signals restart",
    "alter index signals_created_at_idx rename to x",
    "alter view vw_trade_audit_full set (security_invoker = false)",
    "create or replace view vw_rejected_attempts as select null::text as code, null::text as table_name,"
    " null::text as operation, null::bigint as attempts",
    "create rule swallow as on insert to signals do instead nothing",
    "create policy hide on signals",
    "create index more on signals (symbol)",
    "alter domain decimal_28_10 drop constraint decimal_28_10_is_exact",
    "alter domain decimal_28_10 add constraint x check (value > 0) not valid",
    "alter domain decimal_28_10 set default 1",
    "alter type chain_verdict add attribute more text",
    "comment on table signals is 'harmless'",
    # elsewhere
    "alter table signals set schema only_mine",
    "alter function _reject_change() set schema only_mine",
    "alter domain decimal_28_10 set schema only_mine",
    "alter table guard_states set schema only_mine",
    "alter table guard_states rename to x",
    "create statistics only_mine.s on id, created_at from signals",
]  # fmt: skip
SUPERUSERS_ONLY = [
    "alter table signals disable trigger all",
    "alter schema public rename to elsewhere",
    "drop schema public cascade",
    "alter table signals owner to postgres",
    "alter function _reject_change() owner to postgres",
    "alter domain decimal_28_10 owner to postgres",
    "alter view vw_trade_audit_full owner to postgres",
]
OTHERS = [
    "create table only_mine.signals (id int); alter table only_mine.signals add column x int;"
    " create index on only_mine.signals (x); drop table only_mine.signals",
    "create temp table signals (id int); alter table pg_temp.signals add column x int; drop table pg_temp.signals",
    "create function only_mine.refuse() returns int language sql as 'select 1'; drop function only_mine.refuse()",
    "create function pg_temp.refuse() returns int language sql as 'select 1'; drop function pg_temp.refuse()",
    "create domain only_mine.decimal_28_10 as numeric; drop domain only_mine.decimal_28_10",
    "create schema mine2; alter schema mine2 rename to mine3; drop schema mine3",
    "create view only_mine.v as select * from public.signals; drop view only_mine.v",
    "select 1 as a into only_mine.t; drop table only_mine.t",
    "drop schema only_mine cascade",
    "analyze signals",
    "reindex table signals",
]
SUPERUSERS_OTHERS = [
    # In the same schema, but nobody's of ours.
    "create table public.theirs (id int primary key); alter table public.theirs add column x int;"
    " drop table public.theirs",
    "create function public.theirs() returns int language sql as 'select 1'; drop function public.theirs()",
    "create table public.theirs (c uuid references public.signals (correlation_id)); drop table public.theirs",
    "create role security_other; grant select on signals to security_other; drop owned by security_other;"
    " drop role security_other",
    "create extension plpgsql_check",
]


@pytest.fixture(params=["alpha_owner", "superuser", "replica"])
def actor(
    request: pytest.FixtureRequest, server: Server, guarded_shared: str, login_role: LoginRole
) -> Iterator[Connection]:
    """Who could do it without the guard, with a schema of his own."""
    with psycopg.connect(server.dsn(guarded_shared), autocommit=True) as superuser:
        user = login_role("alpha_owner") if request.param == "alpha_owner" else None
        superuser.execute("create schema only_mine; create table only_mine.mine ()")
        if user:
            superuser.execute(
                "grant all on schema only_mine to alpha_owner; alter table only_mine.mine owner to alpha_owner"
            )
            superuser.execute(f"alter schema only_mine owner to {user}")
            superuser.execute(f"grant create on database {guarded_shared} to {user}")
        with psycopg.connect(server.dsn(guarded_shared, user), autocommit=True) as connection:
            if user:
                connection.execute("set role alpha_owner")
            elif request.param == "replica":
                connection.execute("set session_replication_role = replica")
            yield connection
        superuser.execute("drop schema only_mine cascade")


def test_refused(actor: Connection) -> None:
    everything = list(REFUSED)
    if one(actor, "select current_setting('is_superuser') = 'on'"):
        everything += SUPERUSERS_ONLY
    kind = ("AUD-011", "protected object", "DDL")
    for statement in everything:
        before = attempts(actor).get(kind, 0)
        try:
            with undone(actor), refused("AUD-011"):
                actor.execute(statement)
        except BaseException as problem:
            problem.add_note(statement)
            raise
        # What takes the counter itself away is refused and logged, but not counted.
        counted = 0 if statement.startswith(("drop owned", "drop schema", "alter schema")) else 1
        assert attempts(actor)[kind] == before + counted, statement
    with undone(actor):
        actor.execute("set local alpha.maintenance = ' '")
        with refused("AUD-011"):
            actor.execute("drop index signals_created_at_idx")


def test_others_ddl_is_not_touched(actor: Connection) -> None:
    before = attempts(actor)
    everything = list(OTHERS)
    if one(actor, "select current_setting('is_superuser') = 'on'"):
        everything += SUPERUSERS_OTHERS
    else:
        actor.execute("reset role")
    for statement in everything:
        if "plpgsql_check" in statement and not one(
            actor, "select count(*) from pg_available_extensions where name = 'plpgsql_check'"
        ):
            continue
        try:
            with undone(actor):
                actor.execute(statement)
        except BaseException as problem:
            problem.add_note(statement)
            raise
    assert attempts(actor) == before


def test_somebody_elses_ddl(
    guarded_shared: str, connect: Connect, login_role: LoginRole, admin: Connection
) -> None:
    """A role that has nothing to do with the kit works in a schema of its own as ever."""
    user = login_role()
    admin.execute(f"grant create on database {guarded_shared} to {user}")
    stranger = connect(user, dbname=guarded_shared)
    stranger.execute("create schema theirs; create table theirs.signals (id serial primary key)")
    stranger.execute("create function theirs.refuse_ddl(text, text) returns void language sql as ''")
    stranger.execute("alter table theirs.signals add column x int; drop schema theirs cascade")


def test_no_protected_statement_was_forgotten() -> None:
    assert len(REFUSED) > 50


def test_maintenance_lets_through_and_is_recorded(
    connect: Connect, guarded_database: str, login_role: LoginRole
) -> None:
    user = login_role("alpha_owner")
    guarded = connect(dbname=guarded_database)
    owner = connect(user, dbname=guarded_database)
    with owner.transaction():
        owner.execute("set local role alpha_owner")
        owner.execute("set local alpha.maintenance = 'a larger index'")
        owner.execute("create index more on signals (symbol)")
        owner.execute("drop index signals_created_at_idx")
    events = query(
        guarded, "select id, reason, command_tag, object_identity, recorded_by from maintenance_events"
    )
    assert events == [
        {"id": 1, "reason": "a larger index", "command_tag": "CREATE INDEX", "object_identity": "public.more",
         "recorded_by": user},
        {"id": 2, "reason": "a larger index", "command_tag": "DROP INDEX",
         "object_identity": "public.signals_created_at_idx", "recorded_by": user},
    ]  # fmt: skip
    with refused("AUD-011"):
        owner.execute("drop index ai_debates_created_at_idx")  # the setting ended with the transaction
    # The change itself is reported all the same, and the record is chained.
    assert {row["object_name"] for row in changed_guards(guarded)} >= {"more", "signals_created_at_idx"}
    assert verdicts(guarded)["maintenance_events"].verdict == "intact"
    with refused("AUD-011", "maintenance_events"):
        guarded.execute("delete from maintenance_events")


def test_maintenance_is_recorded_for_a_superuser_too(connect: Connect, guarded_database: str) -> None:
    guarded = connect(dbname=guarded_database)
    with guarded.transaction():
        guarded.execute("set local alpha.maintenance = 'why'")
        guarded.execute("alter table signals disable trigger user")
        guarded.execute("alter table signals enable trigger user")
    rows = query(guarded, "select reason, command_tag, recorded_by from maintenance_events")
    assert rows == [{"reason": "why", "command_tag": "ALTER TABLE", "recorded_by": "postgres"}] * 2
    # In replica mode nothing would chain the record, and what cannot be recorded is not let through.
    with undone(guarded), refused("AUD-011"):
        guarded.execute("set local alpha.maintenance = 'why'; set local session_replication_role = replica")
        guarded.execute("alter table signals disable trigger user")


def test_what_could_not_be_recorded_is_never_let_through(connect: Connect, guarded_database: str) -> None:
    guarded = connect(dbname=guarded_database)
    for statement in (
        "drop schema public cascade",
        "alter schema public rename to elsewhere",
        "drop table maintenance_events cascade",
        "drop function _record_maintenance(text, text, text)",
        "alter function _record_maintenance(text, text, text) security invoker",
    ):
        with undone(guarded), refused("AUD-011"):
            guarded.execute("set local alpha.maintenance = 'why'")
            guarded.execute(statement)


def test_applied_twice_is_as_once(server: Server, connect: Connect, guarded_database: str) -> None:
    install_guard(server, guarded_database)
    guarded = connect(dbname=guarded_database)
    assert changed_guards(guarded) == []
    assert one(guarded, "select count(*) from pg_event_trigger where evtenabled = 'A'") == 2
    with refused("AUD-011"):
        guarded.execute("drop view vw_rejected_attempts")


def test_taken_back(server: Server, connect: Connect, guarded_database: str) -> None:
    for _ in range(2):  # and taken back twice
        install_guard(server, guarded_database, file=UNGUARD.name)
    guarded = connect(dbname=guarded_database)
    assert one(guarded, "select count(*) from pg_event_trigger") == 0
    assert one(guarded, "select to_regnamespace('alpha_db_guard')") is None
    assert changed_guards(guarded) == []
    guarded.execute("create index more on signals (symbol)")


def test_needs_a_superuser(server: Server, database: str, login_role: LoginRole) -> None:
    user = login_role("alpha_owner", attributes="createrole createdb")
    for file in (GUARD, UNGUARD):
        run = psql_file(server, database, file, user=user, check=False)
        if file == GUARD:
            assert run.returncode != 0
            assert "needs a superuser" in run.stderr
            assert "HINT:" in run.stderr
    assert server.psql(database, "select count(*) from pg_event_trigger").stdout.strip() == "0"


def test_needs_an_installation(server: Server, empty_database: str) -> None:
    run = psql_file(server, empty_database, GUARD, check=False)
    assert run.returncode != 0
    assert "not installed" in run.stderr
    assert "HINT:" in run.stderr


ODD = 'Desk "A", b\'s'


# Under the guard of the first, each statement that makes the second costs four times as much.
@pytest.mark.any_server
@pytest.mark.parametrize("begins", ["unguarded", pytest.param("guarded", marks=pytest.mark.long)])
def test_two_installations(
    server: Server, connect: Connect, request: pytest.FixtureRequest, begins: str
) -> None:
    """Each guards its own schema, and one can go without the other."""
    name = request.getfixturevalue("guarded_database" if begins == "guarded" else "database")
    both = connect(dbname=name)
    both.execute(f"create schema {quote(ODD)}")
    migrate_with_psql(server, name, schema=ODD)
    for schema in (ODD,) if begins == "guarded" else (ODD, "public"):
        install_guard(server, name, schema)
    for schema in (ODD, "public"):
        both.execute(f"set search_path = {quote(schema)}")
        assert changed_guards(both) == []
        with refused("AUD-011") as caught:
            both.execute("create index more on signals (symbol)")
        assert caught.value.diag.schema_name == schema
        assert attempts(both) == {("AUD-011", "protected object", "DDL"): 1}
    assert one(both, "select count(*) from pg_event_trigger") == 4
    facts = query(both, "select * from guard_facts()")
    install_guard(server, name, ODD, UNGUARD.name)
    assert query(both, "select * from guard_facts()") == facts, "of public"
    both.execute(f"set search_path = {quote(ODD)}")
    assert changed_guards(both) == []
    both.execute("create index more on signals (symbol)")
    assert changed_guards(both)
    with refused("AUD-011"):
        both.execute("create index more on public.signals (symbol)")
    both.execute(f"drop schema {quote(ODD)} cascade")
    with refused("AUD-011"):
        both.execute("drop schema public cascade")
    install_guard(server, name, "public", UNGUARD.name)
    assert one(both, "select count(*) from pg_event_trigger") == 0


# ----------------------------------------------------------------------------------------------------
# Migrations under the guard

LATER = """
do $migration$
begin
if not _begin_migration('900_later') then return; end if;
create table later (id bigserial not null, note text null, row_hash char(64) not null,
  created_at timestamptz not null, constraint later_pkey primary key (id));
create index later_note_idx on later (note);
create or replace function _owner_role() returns text language sql stable set search_path from current as
$function$ select i.role_prefix || 'alpha_owner' from only installation as i $function$;
perform _protect_table('later', 'AUD-011', 'AUD-011');
perform _chain_attach('later');
alter table signals add column venue text null;
perform chain_extend('signals');
perform _finish_migration('900_later');
end
$migration$;
"""


def test_migrations_run_under_the_guard(server: Server, connect: Connect, guarded_database: str) -> None:
    guarded = connect(dbname=guarded_database)
    fill(guarded)
    before = one(guarded, "select count(*) from maintenance_events")
    for file in MIGRATIONS:
        psql_file(server, guarded_database, file)  # recorded, so nothing happens
    assert one(guarded, "select count(*) from maintenance_events") == before
    guarded.execute(LATER)
    events = query(guarded, "select distinct reason from maintenance_events")
    assert {"reason": "migration 900_later"} in events
    objects = {
        row["object_identity"] for row in query(guarded, "select object_identity from maintenance_events")
    }
    assert {"public.later", "public.signals", "public._owner_role()"} <= objects
    assert changed_guards(guarded) == []
    assert {v.verdict for v in verdicts(guarded).values()} == {"intact"}
    with refused("AUD-011"):
        guarded.execute("drop table later")
    with refused("AUD-011"):
        guarded.execute("create index on signals (venue)")


# What the guard refuses is tried on each server above; that a rollback looks for it, on one.
@pytest.mark.any_server
def test_rollbacks_ask_for_the_guard_to_go_first(
    server: Server, connect: Connect, guarded_database: str
) -> None:
    hardening = next(number for number, file in enumerate(ROLLBACKS) if file.name.startswith("004"))
    for file in ROLLBACKS[:hardening]:
        psql_file(server, guarded_database, file)
    run = psql_file(server, guarded_database, ROLLBACKS[hardening], check=False)
    assert run.returncode != 0
    assert "ddl_guard.rollback.sql" in run.stderr
    guarded = connect(dbname=guarded_database)
    assert changed_guards(guarded) == []
    psql_file(server, guarded_database, UNGUARD)
    query(guarded, "select record_guards('DDL guard taken away')")
    for file in ROLLBACKS[hardening:]:
        psql_file(server, guarded_database, file)
    assert one(guarded, "select count(*) from pg_class where relnamespace = 'public'::regnamespace") == 0


def test_a_dropped_guard_is_seen(connect: Connect, guarded_database: str) -> None:
    """A superuser can always take the event triggers away; verify_guards() tells."""
    guarded = connect(dbname=guarded_database)
    guarded.execute("drop event trigger alpha_ddl_guard_end_public")
    guarded.execute("create index more on signals (symbol)")
    kinds = {(row["object_kind"], row["object_name"]) for row in changed_guards(guarded)}
    assert kinds == {("event trigger", "alpha_ddl_guard_end_public"), ("index", "more")}


@pytest.mark.parametrize("role", ["app_trading", "app_auditor", "app_risk"])
def test_an_application_role_is_stopped_before(
    guarded_shared: str, connect: Connect, login_role: LoginRole, role: str
) -> None:
    user = connect(login_role(role), dbname=guarded_shared)
    for statement in (
        "drop view vw_rejected_attempts",
        "alter event trigger alpha_ddl_guard_end_public disable",
        "drop event trigger alpha_ddl_guard_end_public",
        "drop schema alpha_db_guard cascade",
        "create or replace function alpha_db_guard.ddl_guard_public() returns event_trigger language plpgsql as ''",
    ):
        with denied():
            user.execute(statement)
    # Their own temporary tables are theirs, whatever they are called; the setting needs no right, and gives none.
    user.execute(
        "set alpha.maintenance = 'x'; create temp table signals (id int); drop table pg_temp.signals"
    )
    with denied():
        user.execute("drop table public.signals")
