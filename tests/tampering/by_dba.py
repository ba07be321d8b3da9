"""What a DBA tries who is no superuser: with CREATEROLE, as owner of the database, or of the schema."""

from __future__ import annotations

from tests.checkpoint.book import run
from tests.support import MIGRATIONS, SUPERUSER, make_signal, one, query, wait_until
from tests.tampering.catalogue import Section
from tests.tampering.outcomes import (
    chain,
    command,
    guards,
    harmless,
    in_vain,
    is_shut_again,
    refused,
    shown,
    told,
)
from tests.tampering.stage import Stage

dba = Section(
    "dba",
    "DBA without superuser",
    "A login with CREATEROLE, or that owns the database or the schema that alpha-db is installed in. On PostgreSQL 15"
    " CREATEROLE may grant any role but a superuser's; from 16 on only roles that it may administer.",
    "dba",
)
sql, does = dba.sql, dba.does

DENIED = refused("42501")
OWNS_DATABASE = (
    "do $$ begin execute format('alter database %I owner to tamper_dba', current_database()); end $$;"
    " select record_guards('the database has another owner')"
)
OWNS_SCHEMA = "alter schema public owner to tamper_dba; select record_guards('the schema has another owner')"
OLD, NEW = (15, 15), (16, 99)
UNGRANT = ("revoke {0} from tamper_dba",)

# ----------------------------------------------------------------------------------------------------
# CREATEROLE


def _grants(name: str, what: str, role: str, to: str, *outcomes: object) -> None:
    """A grant that 15 lets through and that is found, and later servers refuse."""
    statement, cleanup = f"grant {role} to {to}", f"revoke {role} from {to}"
    sql(f"{name}-on-15", f"On 15: {what}", statement, *outcomes, cleanup=cleanup, only=OLD)  # type: ignore[arg-type]
    sql(name, f"From 16 on: {what[0].lower()}{what[1:]}", statement, DENIED, only=NEW)


_grants(
    "grants-itself-the-owner",
    "Grants itself `alpha_owner`",
    "alpha_owner",
    "tamper_dba",
    guards("role", "alpha_owner", "member tamper_dba", "extra"),
)
_grants(
    "grants-an-application-the-owner",
    "Grants `alpha_owner` to `app_trading`",
    "alpha_owner",
    "app_trading",
    guards("role", "app_trading", "member of alpha_owner", "extra"),
)
_grants(
    "grants-an-application-all-data",
    "Grants `pg_write_all_data` to `app_trading`",
    "pg_write_all_data",
    "app_trading",
    guards("role", "app_trading", "member of pg_write_all_data", "extra"),
)
_grants(
    "grants-itself-programs",
    "Grants itself `pg_execute_server_program`, to be the server's user",
    "pg_execute_server_program",
    "tamper_dba",
    guards("role", "pg_execute_server_program", "member tamper_dba", "extra"),
)
_grants(
    "grants-itself-all-data",
    "Grants itself `pg_write_all_data`",
    "pg_write_all_data",
    "tamper_dba",
    guards("role", "pg_write_all_data", "member tamper_dba", "extra"),
)
_grants(
    "grants-itself-signals",
    "Grants itself `pg_signal_backend`, to end every verification",
    "pg_signal_backend",
    "tamper_dba",
    guards("role", "pg_signal_backend", "member tamper_dba", "extra"),
)
ALL_DATA = {
    "prepare": "grant pg_write_all_data to tamper_dba",
    "cleanup": "revoke pg_write_all_data from tamper_dba",
}
for table, values, code in (
    ("guard_states", "(reason, facts, state_hash) values ('x', '[]', 'x')", "AUD-011"),
    ("checkpoint_runs", "(heads) values ('{}')", "AUD-011"),
    (
        "chain_columns",
        "(table_name, from_id, column_names, older_values) values ('signals', 1, '{}', '{}')",
        "AUD-011",
    ),
    ("verification_runs", "(is_full, heads, rows_checked) values (true, '{}', 1)", "AUD-011"),
    (
        "chains",
        "(table_name, position, open_in_lockdown, is_internal) values ('x', 99, true, true)",
        "AUD-011",
    ),
    ("votes", "(decision) values ('APPROVE')", "RSK-002"),
):
    sql(
        f"with-all-data-writes-{table.replace('_', '-')}",
        f"With `pg_write_all_data`, writes a row of its own into `{table}`",
        f"insert into {table} {values}",
        refused(code),
        **ALL_DATA,  # type: ignore[arg-type]
    )
sql(
    "with-all-data-changes-rows",
    "With `pg_write_all_data`, changes a row",
    "update signals set symbol = 'X'",
    refused("AUD-002"),
    **ALL_DATA,  # type: ignore[arg-type]
)
sql(
    "with-all-data-writes-a-signal",
    "With `pg_write_all_data`, writes a signal, whose decimals are checked by a function that it may not call",
    "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
    " values ('all', 'B', 'BUY', 1, 1, '{}')",
    DENIED,
    **ALL_DATA,  # type: ignore[arg-type]
)
sql(
    "with-all-data-writes-an-order-event",
    "With `pg_write_all_data`, writes an order's event, even one without decimals",
    "insert into order_events (order_execution_id, event_type) values (1, 'CANCELLED')",
    DENIED,
    **ALL_DATA,  # type: ignore[arg-type]
)
sql(
    "with-all-data-sets-a-counter-back",
    "With `pg_write_all_data`, sets a counter of refused attempts back",
    "select setval('attempts_aud002_update_signals', 1, false)",
    guards("sequence", "attempts_aud002_update_signals", "value", "changed"),
    prepare=[
        ALL_DATA["prepare"],
        "select nextval('attempts_aud002_update_signals')",
        "select record_guards('x')",
    ],
    cleanup=ALL_DATA["cleanup"],
)
sql(
    "with-all-data-sets-the-alarm",
    "With `pg_write_all_data`, sets the alarm, to stop trading",
    "select setval('lockdown_alarm', 99)",
    told(
        "`lockdown_status()`",
        "engaged by an alarm that no event records",
        "select is_locked and reason like 'an alarm raised by %' from lockdown_status()",
    ),
    guards("role", "pg_write_all_data", "member tamper_dba", "extra"),
    **ALL_DATA,  # type: ignore[arg-type]
)


@does(
    "With `pg_write_all_data`, has writers take the alarm that stands for one that was lifted, and so lets them write",
    shown(
        "the next verification",
        "“lockdown_lifted was set by force”, lockdown again; the rows written meanwhile are younger than it",
        lambda stage: is_shut_again(stage, "lockdown_lifted was set by force, which let rows in"),
    ),
    begins="locked",
    **ALL_DATA,  # type: ignore[arg-type]
)
def with_all_data_sets_what_lifts(stage: Stage) -> None:
    alarm = one(stage.db, "select alarm from lockdown_events")
    query(stage.me, "select setval('lockdown_lifted', %s)", [alarm])
    query(stage.session("trader"), "select record_signal('late', 'B', 'BUY', 1, 1, '{}')")


@does(
    "As owner of the database, holds a chain by an ANALYZE of its lock in a transaction that stays open",
    told(
        "`lock_holders()`",
        "who, and since when",
        "select exists (select from lock_holders() as h where h.lock_name = 'lock_signals' and h.login like '%dba%')",
    ),
    prepare=OWNS_DATABASE,
)
def analyzes_a_lock(stage: Stage) -> None:
    stage.session("dba", autocommit=False).execute("analyze lock_signals")


sql(
    "lets-a-role-log-in-on-15",
    "On 15: lets `app_risk` log in",
    "alter role app_risk login",
    guards("role", "app_risk", "attributes", "changed"),
    cleanup="alter role app_risk nologin",
    only=OLD,
)
sql("lets-a-role-log-in", "From 16 on: lets `app_risk` log in", "alter role app_risk login", DENIED, only=NEW)
sql(
    "lets-a-role-pass-row-security",
    "Lets `app_trading` pass by row security",
    "alter role app_trading bypassrls",
    DENIED,
)
sql("makes-a-superuser", "Makes itself superuser", "alter role tamper_dba superuser", DENIED)
sql("drops-a-role-on-15", "On 15: drops `app_trading`", "drop role app_trading", refused("2BP01"), only=OLD)
sql("drops-a-role", "From 16 on: drops `app_trading`", "drop role app_trading", DENIED, only=NEW)
sql(
    "changes-rows",
    "Changes rows without being a member of `alpha_owner`",
    "update signals set price = 1",
    DENIED,
)

# ----------------------------------------------------------------------------------------------------
# The database's owner

sql(
    "sets-replica-mode",
    "Puts the whole database into replica mode",
    "do $$ begin execute format('alter database %I set session_replication_role = replica',"
    " current_database()); end $$",
    DENIED,
    prepare=OWNS_DATABASE,
)
sql(
    "writes-to-the-log",
    "Changes rows as owner of the database",
    "delete from signals",
    DENIED,
    prepare=OWNS_DATABASE,
)
sql(
    "drops-the-schema",
    "Drops the schema with everything in it",
    "drop schema public cascade",
    command("verify-chain", 3, "so monitoring must take 3 for an alarm"),
    prepare=OWNS_DATABASE,
)
sql(
    "drops-the-schema-under-the-guard",
    "Drops the schema where the DDL guard is installed",
    "drop schema public cascade",
    refused("AUD-011"),
    prepare=OWNS_DATABASE,
    begins="guarded",
)
sql(
    "makes-a-schema-in-front",
    "Makes a schema with functions and tables named as ours, and puts it in front by ALTER DATABASE",
    [
        "create schema evil",
        "create table evil.signals (a integer)",
        "create table evil.chains (a integer)",
        "create function evil.sha256(bytea) returns bytea language sql as 'select $1'",
        "grant usage on schema evil to public",
        "do $$ begin execute format('alter database %I set search_path = evil, public', current_database()); end $$",
    ],
    harmless(
        "every function of ours looks in its own schema",
        lambda stage: _writes_where_it_should(stage),
    ),
    prepare=OWNS_DATABASE,
)


def _writes_where_it_should(stage: Stage) -> None:
    trader = stage.session("trader")
    trader.execute("select public.record_signal('tv-000099', 'B', 'BUY', 1, 1, '{}')")
    assert trader.execute("show search_path").fetchone() == ("evil, public",)
    assert stage.db.execute("select max(id) from public.signals").fetchone() == (6,)


def _nothing_answers(stage: Stage) -> None:
    result = run("--dsn", stage.server.dsn(stage.dbname), "verify-chain", expect=3)
    assert "does not exist" in result.err


@does(
    "Drops the database",
    shown("`alpha-db verify-chain`", "exit 3, so monitoring must take 3 for an alarm", _nothing_answers),
    prepare=OWNS_DATABASE,
)
def drops_the_database(stage: Stage) -> None:
    stage.db.close()
    elsewhere = stage.connect(stage.logins["dba"], dbname="postgres")
    # A closed session takes a moment to leave, and a superuser's is not the DBA's to end.
    wait_until(elsewhere, "select count(*) = 0 from pg_stat_activity where datname = %s", [stage.dbname])
    elsewhere.execute(f"drop database {stage.dbname}")


def _auditor_gets_nowhere(stage: Stage) -> None:
    dsn = stage.server.dsn(stage.dbname, stage.logins["auditor"])
    run("--dsn", dsn, "verify-chain", expect=3)


@does(
    "Lets nobody connect any more",
    shown("`alpha-db verify-chain`", "exit 3", _auditor_gets_nowhere),
    prepare=OWNS_DATABASE,
)
def lets_nobody_connect(stage: Stage) -> None:
    stage.me.execute(f"alter database {stage.dbname} connection limit 0")


sql(
    "puts-a-schema-first",
    "Puts a schema of its own first on everybody's search_path, with tables named as ours",
    [
        "create schema evil",
        "create table evil.signals (a integer)",
        "create table evil.chains (a integer)",
        "create table evil.installation (a integer)",
        "grant usage on schema evil to public",
        "do $$ begin execute format('alter database %I set search_path = evil, public', current_database()); end $$",
    ],
    command("verify-chain", 3, "and the error names the schema", "evil"),
    prepare=OWNS_DATABASE,
)
EVIL = [
    OWNS_DATABASE,
    "create schema evil; grant usage on schema evil to public; create sequence evil.ran;"
    " grant all on sequence evil.ran to public;"
    " create function evil.run() returns boolean language plpgsql security definer as"
    " $$ begin perform nextval('evil.ran'); return true; end $$;"
    " create domain evil.text as pg_catalog.text check (evil.run());"
    " create domain evil.jsonb as pg_catalog.jsonb check (evil.run());"
    " create domain evil.bigint as pg_catalog.int8 check (evil.run());"
    " create domain evil.int8 as pg_catalog.int8 check (evil.run());"
    " create domain evil.bool as pg_catalog.bool check (evil.run());"
    " create function evil.format(pg_catalog.text, variadic pg_catalog.text[]) returns pg_catalog.text"
    " language plpgsql as"
    " $$ begin perform evil.run(); return null; end $$;"
    " create function evil.current_setting(pg_catalog.text) returns pg_catalog.text language plpgsql as"
    " $$ begin perform evil.run(); return null; end $$",
]


def _nothing_ran(stage: Stage) -> None:
    for login in ("superuser", "auditor"):
        user = None if login == "superuser" else stage.logins[login]
        run("--dsn", stage.server.dsn(stage.dbname, user), "--schema", "public", "verify-chain", expect=None)
    run("--dsn", stage.server.dsn(stage.dbname), "--schema", "public", "status", expect=None)
    stage.session("trader").execute("select public.record_signal('tv-000099', 'B', 'BUY', 1, 1, '{}')")
    for file in (*MIGRATIONS, SUPERUSER / "ddl_guard.sql"):
        stage.server.psql(stage.dbname, "-1", "-f", file, check=False)
    assert one(stage.db, "select last_value = 1 and not is_called from evil.ran")


sql(
    "puts-types-in-front",
    "Puts types and functions of its own in front of PostgreSQL's by ALTER DATABASE … SET search_path",
    "do $$ begin execute format('alter database %I set search_path = public, evil, pg_catalog',"
    " current_database()); end $$",
    guards("setting", "all roles", "search_path", "extra"),
    in_vain("no migration, no command and no function of ours runs any of them", _nothing_ran),
    prepare=EVIL,
)
sql(
    "makes-everything-read-only",
    "Makes every transaction read-only by ALTER DATABASE, so that no lockdown can be recorded",
    "do $$ begin execute format('alter database %I set default_transaction_read_only = on',"
    " current_database()); end $$",
    guards("setting", "all roles", "default_transaction_read_only", "extra"),
    in_vain("the commands set it off for themselves: the lockdown is engaged", lambda stage: _engages(stage)),
    prepare=OWNS_DATABASE,
)


def _engages(stage: Stage) -> None:
    stage.db.execute("set default_transaction_read_only = off")
    stage.damage()
    run("--dsn", stage.server.dsn(stage.dbname, stage.logins["auditor"]), "verify-chain", expect=1)
    assert stage.locked()


# ----------------------------------------------------------------------------------------------------
# The schema's owner

sql(
    "makes-a-function-beside-ours",
    "As owner of the schema, makes a function that a call of ours could pick",
    "create function public.setval(text, bigint) returns bigint language sql as 'select 1::bigint'",
    guards("function", "setval(text, bigint)", "owner", "extra"),
    prepare=OWNS_SCHEMA,
)
sql(
    "makes-an-operator",
    "As owner of the schema, makes an operator for text",
    "create operator public.= (leftarg = text, rightarg = text, function = starts_with)",
    guards("operator", "=(text, text)", "owner", "extra"),
    prepare=OWNS_SCHEMA,
)
sql(
    "lets-others-create",
    "As owner of the schema, lets everybody make objects in it",
    "grant create on schema public to public",
    guards("schema", "public", "grant to PUBLIC", "extra"),
    prepare=["revoke all on schema public from public", "select record_guards('x')", OWNS_SCHEMA],
)
sql(
    "shuts-the-application-out",
    "As owner of the schema, takes its use from the application",
    "revoke usage on schema public from app_trading",
    guards("schema", "public", "grant to app_trading", "missing"),
    prepare=OWNS_SCHEMA,
)
sql(
    "renames-the-schema",
    "As owner of the schema and the database, renames the schema",
    "alter schema public rename to moved",
    shown(
        "`verify_guards()`",
        "schema: renamed or gone",
        lambda stage: _is_renamed(stage),
    ),
    prepare=[OWNS_SCHEMA, OWNS_DATABASE],
)
sql(
    "drops-a-table",
    "As owner of the schema, drops one of alpha-db's tables",
    "drop table votes cascade",
    guards("relation", "votes", "kind", "missing"),
    chain("votes", "table_missing"),
    prepare=OWNS_SCHEMA,
)
sql(
    "drops-a-table-under-the-guard",
    "As owner of the database, drops a table where the DDL guard is installed",
    "drop table votes cascade",
    refused("AUD-011"),
    prepare=OWNS_DATABASE,
    begins="guarded",
)
sql(
    "changes-rows-of-the-schema",
    "As owner of the schema, changes rows in it",
    "update signals set price = 1",
    DENIED,
    prepare=OWNS_SCHEMA,
)


def _is_renamed(stage: Stage) -> None:
    rows = stage.db.execute("select object_kind, problem from moved.verify_guards()").fetchall()
    assert [row[0] for row in rows] == ["schema"]
    assert "renamed" in rows[0][1]


@does(
    "As owner of the schema, makes a temporary table of the log's name for others",
    harmless("temporary objects are its own session's", "select max(id) = 6 from signals"),
    prepare=OWNS_SCHEMA,
)
def makes_temporary_tables(stage: Stage) -> None:
    stage.me.execute("create temp table signals (a integer)")
    make_signal(stage.session("trader"), 99)
