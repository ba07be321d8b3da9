"""verify_guards() names what a promise depends on, also where the text of the guard does not say it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.cluster import Server
from tests.security.refusals import Connection, undone
from tests.security.test_verify_guards import (
    BY_MIGRATION,
    Found,
    Mutation,
    changed,
    extra,
    found,
    missing,
)
from tests.support import changed_guards, fill, one, query

EVIL = "create schema evil; "
# A function of somebody else behind a cast that no text shows.
CAST = (
    EVIL + "create type evil.t as (t text);"
    " create function evil.as_text(varchar) returns evil.t language sql immutable as 'select row($1)::evil.t';"
    " create function evil.is_true(evil.t) returns boolean language sql immutable as 'select true';"
    " create cast (varchar as evil.t) with function evil.as_text(varchar) as implicit; "
)
DEPENDS = ("depends on",)

MUTATIONS = [
    # views: S6 and its sisters
    Mutation(
        "view over somebody else's table of the same name",
        EVIL + "create table evil.signals (like public.signals);"
        " create or replace view vw_kill_switch_events with (security_invoker = true) as {evil view}",
        changed("relation", "vw_kill_switch_events", "definition", "depends on"),
    ),
    Mutation(
        "view over somebody else's function of the same name",
        EVIL
        + "create function evil.rejected_attempts() returns table (code text, table_name text, operation text,"
        " attempts bigint) language sql as 'select * from public.rejected_attempts() where false';"
        " create or replace view vw_rejected_attempts with (security_invoker = true) as select a.code, a.table_name,"
        " a.operation, a.attempts from evil.rejected_attempts() as a (code, table_name, operation, attempts)",
        changed("relation", "vw_rejected_attempts", "depends on"),
        at_least=True,
    ),
    Mutation(
        "view with two columns of one type exchanged",
        "create or replace view vw_kill_switch_events with (security_invoker = true) as {swapped view}",
        changed("relation", "vw_kill_switch_events", "definition"),
    ),
    Mutation(
        "view with other brackets",
        "create or replace view vw_kill_switch_events with (security_invoker = true) as"
        " {vw_kill_switch_events} and o.id > 0 or s.id > 0;"
        " select record_guards('one way');"
        " create or replace view vw_kill_switch_events with (security_invoker = true) as"
        " {vw_kill_switch_events} and (o.id > 0 or s.id > 0)",
        changed("relation", "vw_kill_switch_events", "definition"),
    ),
    Mutation(
        "view with a blank in a literal",
        "create or replace view vw_kill_switch_events with (security_invoker = true) as {blank view}",
        changed("relation", "vw_kill_switch_events", "definition"),
    ),
    Mutation(
        "view with somebody else's operator",
        EVIL + "create operator evil.= (leftarg = text, rightarg = text, function = starts_with);"
        " create or replace view vw_kill_switch_events with (security_invoker = true) as {operator view}",
        changed("relation", "vw_kill_switch_events", "definition", "depends on"),
    ),
    Mutation(
        "view with a cast that it does not show",
        CAST + "create or replace view vw_kill_switch_events with (security_invoker = true) as"
        " {vw_kill_switch_events} and evil.is_true(o.symbol)",
        changed("relation", "vw_kill_switch_events", "definition", "depends on"),
    ),
    # what else takes something from elsewhere
    Mutation(
        "CHECK with a cast that it does not show",
        CAST
        + "alter table signals drop constraint signals_symbol_is_given, add constraint signals_symbol_is_given"
        " check (btrim(symbol::text) <> ''::text or evil.is_true(symbol))",
        changed("constraint", "signals.signals_symbol_is_given", "definition")
        | extra("table constraint", "signals_symbol_is_given on signals", *DEPENDS),
    ),
    Mutation(
        "default of somebody else's function",
        EVIL + "create function evil.f() returns boolean language sql as 'select true';"
        " alter table signals alter column hmac_verified set default evil.f()",
        changed("column", "signals.hmac_verified", "default")
        | extra("default value", "for signals.hmac_verified", *DEPENDS),
    ),
    Mutation(
        "domain's CHECK of somebody else's function",
        EVIL + "create function evil.f(numeric) returns boolean language sql immutable as 'select true';"
        " alter domain decimal_5_4 drop constraint decimal_5_4_is_exact;"
        " alter domain decimal_5_4 add constraint decimal_5_4_is_exact check (evil.f(value))",
        changed("type", "decimal_5_4", "checks")
        | extra("domain constraint", "decimal_5_4_is_exact on decimal_5_4", *DEPENDS),
    ),
    Mutation(
        "trigger whose WHEN changed",
        "drop trigger _050_owner_only on guard_states; create trigger _050_owner_only before insert on guard_states"
        " for each row when (current_user <> 'postgres')"
        " execute function _refuse_foreign_row('guard_states', 'AUD-011')",
        changed("trigger", "guard_states._050_owner_only", "timing"),
    ),
    Mutation(
        "trigger of other columns",
        "drop trigger _100_reject_change on signals; create trigger _100_reject_change"
        " before delete or update of price on signals for each row"
        " execute function _reject_change('signals', 'AUD-002', 'AUD-003');"
        " alter table signals enable always trigger _100_reject_change; select record_guards('one way');"
        " drop trigger _100_reject_change on signals; create trigger _100_reject_change"
        " before delete or update of symbol on signals for each row"
        " execute function _reject_change('signals', 'AUD-002', 'AUD-003');"
        " alter table signals enable always trigger _100_reject_change",
        changed("trigger", "signals._100_reject_change", "timing"),
    ),
    Mutation(
        "function whose body is no text",
        "drop function chain_genesis(text); set local role alpha_owner; create function chain_genesis(table_name text)"
        " returns text language sql immutable strict set search_path = public, pg_temp begin atomic select 'a'; end;"
        " revoke all on function chain_genesis(text) from public;"
        " grant execute on function chain_genesis(text) to app_auditor; reset role;"
        " select record_guards('one way'); create or replace function chain_genesis(table_name text)"
        " returns text language sql immutable strict set search_path = public, pg_temp begin atomic select 'b'; end",
        changed("function", "chain_genesis(table_name text)", "body"),
    ),
    # keys: collations, operator classes, predicates, expressions
    Mutation(
        "key in another collation",
        "drop view vw_trade_audit_full, vw_kill_switch_events;"
        ' alter table signals alter column signal_id type varchar(64) collate "C"',
        extra("column", "signals.signal_id", "collation"),
        at_least=True,
    ),
    Mutation(
        "index in another collation",
        "drop index signals_created_at_idx;"
        ' create index signals_created_at_idx on signals (created_at, symbol collate "C")',
        changed("index", "signals_created_at_idx", "columns", "properties"),
    ),
    Mutation(
        "index with another operator class",
        "create index more on signals (symbol); select record_guards('a new index');"
        " drop index more; create index more on signals (symbol varchar_pattern_ops)",
        changed("index", "more", "properties"),
    ),
    Mutation(
        "index with another predicate",
        "create index more on signals (symbol) where id > 5; select record_guards('a new index');"
        " drop index more; create index more on signals (symbol) where id > 6",
        changed("index", "more", "properties"),
    ),
    Mutation(
        "index of another expression",
        "create index more on signals (lower(symbol)); select record_guards('a new index');"
        " drop index more; create index more on signals (upper(symbol))",
        changed("index", "more", "properties"),
    ),
    Mutation(
        "index hidden in the catalogue",
        "update pg_class set relhasindex = false where oid = 'signals'::regclass",
        extra("relation", "signals", "indexes are seen"),
    ),
    Mutation(
        "CHECKs hidden in the catalogue",
        "update pg_class set relchecks = 0 where oid = 'signals'::regclass",
        extra("relation", "signals", "checks are seen"),
    ),
    # sequences: S14 and its sisters
    Mutation(
        "alarm without room",
        "alter sequence lockdown_alarm maxvalue 5",
        changed("relation", "lockdown_alarm", "sequence"),
    ),
    Mutation(
        "attempts that count by two",
        "alter sequence attempts_aud002_update_signals increment 2",
        changed("relation", "attempts_aud002_update_signals", "sequence"),
    ),
    Mutation(
        "attempts that begin again",
        "alter sequence attempts_aud002_update_signals maxvalue 5 cycle",
        changed("relation", "attempts_aud002_update_signals", "sequence"),
    ),
    Mutation(
        "sequence that forgets its column",
        "alter sequence signals_id_seq owned by none",
        changed("relation", "signals_id_seq", "sequence"),
    ),
    # registers
    Mutation(
        "counter unregistered",
        BY_MIGRATION
        + "delete from attempt_counters where table_name = 'signals' and code = 'AUD-002'; reset role",
        missing("register", "attempt_counters", "AUD-002 UPDATE signals"),
    ),
    Mutation(
        "counter that counts elsewhere",
        BY_MIGRATION + "update attempt_counters set sequence_name = 'signals_id_seq'"
        " where table_name = 'signals' and code = 'AUD-002'; reset role",
        changed("register", "attempt_counters", "AUD-002 UPDATE signals"),
    ),
    Mutation(
        "migration whose checksum changed",
        BY_MIGRATION + "update installed_migrations set checksum = repeat('0', 64)"
        " where name = '002_audit_tables'; reset role",
        changed("register", "installed_migrations", "002_audit_tables"),
    ),
    Mutation(
        "installation of another identity",
        "alter table installation disable trigger _100_reject_change; set local role alpha_owner;"
        " update installation set installation_id = gen_random_uuid(); reset role;"
        " alter table installation enable always trigger _100_reject_change",
        changed("register", "installation", "installation_id"),
    ),
    # roles: S10 and its sisters
    *(
        Mutation(
            f"somebody is made {power}",
            f"create role security_other; grant {power} to security_other",
            extra("role", power, "member security_other"),
        )
        for power in (
            "pg_write_all_data",
            "pg_execute_server_program",
            "pg_read_server_files",
            "pg_write_server_files",
            "pg_signal_backend",
        )
    ),
    Mutation(
        "power by another role",
        "create role security_other; create role security_third; grant pg_write_all_data to security_other;"
        " grant security_other to security_third",
        extra("role", "pg_write_all_data", "member security_other", "member security_third"),
    ),
    Mutation(
        "a new superuser",
        "create role security_other superuser",
        extra("role", "security_other", "superuser"),
    ),
    Mutation(
        "admin of a role of ours",
        "create role security_other; grant app_trading to security_other with admin option",
        extra("role", "app_trading", "admin security_other"),
    ),
    Mutation(
        "admin of a role of ours by another role",
        "create role security_other; create role security_third;"
        " grant app_trading to security_other with admin option; grant security_other to security_third",
        extra("role", "app_trading", "admin security_other", "admin security_third"),
    ),
    *(
        Mutation(
            f"a trader with {attribute}",
            f"create role security_other {attribute}; grant app_trading to security_other",
            extra("role", "security_other", "attributes"),
        )
        for attribute in ("createrole", "bypassrls", "replication")
    ),
    Mutation(
        "database owner, where the schema is the database owner's",
        "create role security_other; do $$ begin execute format('alter database %I owner to security_other',"
        " current_database()); end $$",
        changed("schema", "public", "owner of the database"),
    ),
    # settings: S14 and its sisters
    *(
        Mutation(
            f"{setting} by database",
            f"do $$ begin execute format('alter database %I set {setting}', current_database()); end $$",
            extra("setting", "all roles", setting.split(" ")[0]),
        )
        for setting in (
            "default_transaction_read_only = on",
            "row_security = off",
            "standard_conforming_strings = off",
            "log_min_messages = panic",
            "search_path = public, evil, pg_catalog",
        )
    ),
    Mutation(
        "read only by role and database",
        "do $$ begin execute format('alter role app_auditor in database %I set default_transaction_read_only = on',"
        " current_database()); end $$",
        extra("setting", "app_auditor in this database", "default_transaction_read_only"),
    ),
    Mutation(
        "replica for all roles of all databases",
        "alter role all set session_replication_role = replica",
        extra("setting", "all roles in every database", "session_replication_role"),
    ),
]


@pytest.fixture(scope="module")
def session(server: Server, admin: Connection, template: str) -> Iterator[Connection]:
    """A filled database; every test rolls back what it does."""
    admin.execute(f"create database security_depend template {template}")
    with psycopg.connect(server.dsn("security_depend"), autocommit=True) as connection:
        fill(connection)
        connection.execute("set allow_system_table_mods = on")
        assert found(connection) == set()
        yield connection
        # Whatever a test left would be one fact too many in the next one; here, what the last one left.
        assert found(connection) == set()
        connection.execute("reset all")


def view(connection: Connection, *changes: tuple[str, str]) -> str:
    """vw_kill_switch_events as it is, with changes that must each apply."""
    text = str(one(connection, "select pg_get_viewdef('vw_kill_switch_events'::regclass)")).rstrip("; \n")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_mutation_is_reported_and_nothing_else(session: Connection, mutation: Mutation) -> None:
    texts = {
        "vw_kill_switch_events": view(session),
        "evil view": view(session, ("ONLY signals s", "ONLY evil.signals s")),
        "swapped view": view(
            session,
            ("(o.symbol)::text AS order_symbol", "(s.symbol)::text AS order_symbol"),
            ("(s.symbol)::text AS symbol", "(o.symbol)::text AS symbol"),
        ),
        "blank view": view(session, ("'KILL_SWITCH'", "'KILL_SWITCH '")),
        "operator view": view(session, (" = 'KILL_SWITCH'", " operator(evil.=) 'KILL_SWITCH'")),
    }
    statement = mutation.sql
    for name, text in texts.items():
        statement = statement.replace(f"{{{name}}}", text)
    with undone(session):
        session.execute(statement)
        reported = found(session)
        if mutation.at_least:
            assert reported >= mutation.expected
        else:
            assert reported == mutation.expected


PARAMETERS = ["session_replication_role", "log_min_messages", "session_preload_libraries"]


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_leave_to_switch_the_triggers_off_is_reported(session: Connection, parameter: str) -> None:
    with undone(session):
        session.execute(f"create role security_other; grant set on parameter {parameter} to security_other")
        assert found(session) == extra("setting", parameter, "grant to security_other")


LATER = [
    (16, "create role security_other; grant pg_create_subscription to security_other",
     extra("role", "pg_create_subscription", "member security_other")),
    (17, "create role security_other; grant pg_maintain to security_other",
     extra("role", "pg_maintain", "member security_other")),
    (17, "alter role all set event_triggers = off",
     extra("setting", "all roles in every database", "event_triggers")),
]  # fmt: skip


@pytest.mark.parametrize(("since", "statement", "expected"), LATER, ids=["16", "17 role", "17 setting"])
def test_what_later_versions_have_is_reported(
    server: Server, session: Connection, since: int, statement: str, expected: Found
) -> None:
    if server.major < since:
        pytest.skip(f"PostgreSQL {since} and later")
    with undone(session):
        session.execute(statement)
        assert found(session) == expected


HARMLESS = [
    "do $$ begin execute format('alter database %I set search_path = desk, public', current_database()); end $$",
    "do $$ begin execute format('alter database %I set default_transaction_read_only = off',"
    " current_database()); end $$",
    "alter role app_auditor set statement_timeout = '1h'",
    "alter role app_trading set search_path = '\"$user\"', public",
    "create role security_other; grant pg_read_all_data, pg_monitor, pg_checkpoint to security_other",
    "create role security_other login; grant app_trading to security_other",
    "create role security_other createdb createrole",
]


@pytest.mark.parametrize("statement", HARMLESS)
def test_what_an_operator_may_do_is_no_alarm(session: Connection, statement: str) -> None:
    with undone(session):
        session.execute(statement)
        assert found(session) == set()


def test_the_session_s_own_settings_are_no_alarm(server: Server, session: Connection) -> None:
    options = "-c default_transaction_read_only=on -c session_replication_role=replica -c row_security=off"
    with psycopg.connect(server.dsn(session.info.dbname, options=options)) as other:
        assert found(other) == set()


def test_the_server_s_file_is_a_guard(server: Server, admin: Connection, session: Connection) -> None:
    admin.execute("alter system set default_transaction_read_only = on")
    try:
        admin.execute("select pg_reload_conf()")
        for _ in range(1000):
            with psycopg.connect(server.dsn(session.info.dbname)) as other:
                reported = found(other)
            if reported:
                break
        assert reported == extra("setting", "server", "default_transaction_read_only")
    finally:
        admin.execute("set default_transaction_read_only = off")
        admin.execute("alter system reset default_transaction_read_only")
        admin.execute("select pg_reload_conf()")


@pytest.mark.parametrize(
    "sequence", ["attempts_aud002_update_signals", "attempts_aud011_insert_guard_states"]
)
def test_a_counter_that_went_back_is_told(session: Connection, sequence: str) -> None:
    with undone(session):
        session.execute("select setval(%s::text::regclass, 7)", [sequence])
        session.execute("select record_guards('counted')")
        session.execute("select setval(%s::text::regclass, 6)", [sequence])
        assert found(session) == changed("sequence", sequence, "value")
        row = changed_guards(session)[0]
        assert (row["expected"], row["found"]) == ("7", "6")
        session.execute("select setval(%s::text::regclass, 39)", [sequence])
        assert found(session) == set(), "after a crash a counter may read higher"


def test_what_a_verification_run_recorded_counts_too(session: Connection) -> None:
    sequence = "attempts_aud003_delete_signals"
    with undone(session):
        session.execute(f"select setval('{sequence}', 3)")
        session.execute("select record_verification(true, '{}', 0)")
        session.execute(f"select setval('{sequence}', 1, false)")
        assert found(session) == changed("sequence", sequence, "value")
        session.execute("select record_verification(true, '{}', 0)")
        assert found(session) == changed("sequence", sequence, "value"), "a run accepts nothing"
        session.execute("select record_guards('the counter was reset')")
        assert found(session) == set()


def test_an_alarm_that_lost_its_value_is_told(session: Connection) -> None:
    with undone(session):
        session.execute("select _engage_lockdown('a test', '[]')")
        session.execute("select record_guards('engaged')")
        session.execute("select setval('lockdown_alarm', 1, false)")
        assert ("sequence", "lockdown_alarm", "value", "changed") in found(session)
    session.execute("select setval('lockdown_alarm', 1, false)")


def test_a_subscription_that_writes_our_table_is_a_guard(session: Connection) -> None:
    with undone(session):
        session.execute(
            "insert into pg_subscription (oid, subdbid, subskiplsn, subname, subowner, subenabled, subbinary,"
            " substream, subtwophasestate, subdisableonerr, subconninfo, subsynccommit, subpublications{more})"
            " select 99999, d.oid, '0/0', 'feed', 10, true, false, {stream}, 'd', false, '', 'off', '{{}}'{values}"
            " from pg_database as d where datname = current_database()".format(
                **subscription_columns(session)
            )
        )
        session.execute("insert into pg_subscription_rel values (99999, 'signals'::regclass, 'r', null)")
        assert found(session) == extra("relation", "signals", "subscription feed")


def subscription_columns(connection: Connection) -> dict[str, str]:
    """What versions after 15 add to pg_subscription."""
    columns = {
        row["name"]: row["type"]
        for row in query(
            connection,
            "select attname as name, atttypid::regtype::text as type from pg_attribute"
            " where attrelid = 'pg_subscription'::regclass and attnum > 0",
        )
    }
    later = [name for name in ("subpasswordrequired", "subrunasowner", "subfailover") if name in columns]
    return {
        "more": "".join(f", {name}" for name in later) + (", suborigin" if "suborigin" in columns else ""),
        "values": ", false" * len(later) + (", 'any'" if "suborigin" in columns else ""),
        "stream": "false" if columns["substream"] == "boolean" else "'f'",
    }
