"""What a login with no rights at all tries."""

from __future__ import annotations

import psycopg
import pytest

from tests.concurrency.background import Background
from tests.risk.council import limits
from tests.support import MIGRATIONS, make_signal, query
from tests.tampering.catalogue import Section
from tests.tampering.outcomes import chain, harmless, in_vain, refused, told
from tests.tampering.stage import Stage

stranger = Section(
    "stranger", "Stranger", "A login without any right but to connect to the database.", "stranger"
)
sql, does = stranger.sql, stranger.does

DENIED = refused("42501")

sql("reads-the-log", "Reads the log", "select * from signals", DENIED)
sql("reads-a-view", "Reads a view of the log", "select * from vw_rejected_attempts", DENIED)
sql(
    "writes",
    "Writes a signal by the stored function",
    "select record_signal('x', 'B', 'BUY', 1, 1, '{}')",
    DENIED,
)
sql("inserts", "Writes a signal by INSERT", "insert into signals default values", DENIED)
sql("verifies", "Verifies, to have the lockdown engaged", "select * from verify_chain_integrity()", DENIED)
sql("asks-for-limits", "Asks for the risk limits", "select * from active_risk_state()", DENIED)
sql("becomes-an-application", "Becomes `app_trading`", "set role app_trading", DENIED)
sql("makes-a-table", "Makes a table beside ours", "create table public.mine (a integer)", DENIED)
sql(
    "makes-a-function",
    "Makes a function in our schema that a call of ours could pick",
    "create function public.setval(text, bigint) returns bigint language sql as 'select 1::bigint'",
    DENIED,
)
sql("makes-a-schema", "Makes a schema to put in front of ours", "create schema mine", DENIED)
sql("locks-a-table", "Locks a table", "begin; lock table signals in access share mode", DENIED)
sql("drops-a-table", "Drops a table", "drop table votes", DENIED)
sql(
    "ends-sessions",
    "Ends the sessions of a verification",
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'postgres' and datname ="
    " current_database()",
    DENIED,
)


@does(
    "Calls every function of alpha-db",
    harmless(
        "PUBLIC may call none of them",
        "select not bool_or(has_function_privilege('tamper_stranger', p.oid, 'execute')) from pg_proc as p"
        " where p.pronamespace = 'public'::regnamespace and p.proowner = 'alpha_owner'::regrole",
    ),
)
def calls_everything(stage: Stage) -> None:
    query(stage.me, "select count(*) from pg_proc")


@does(
    "Takes thousands of advisory locks, to stop the writers",
    harmless("a stranger cannot take a chain's lock", "select max(id) = 6 from signals"),
)
def takes_advisory_locks(stage: Stage) -> None:
    query(stage.me, "select count(pg_advisory_lock(n)) from generate_series(-1000, 1000) as n")
    writer = stage.session("trader", lock_timeout="5s")
    make_signal(writer, 99)


@does(
    "Where everybody may use the schema, waits for a lock before PostgreSQL checks its right (as CREATE RULE does),"
    " behind a slow reader: writers queue behind it",
    told(
        "`lock_holders()`",
        "who waits, for what, and since when",
        "select exists (select from lock_holders() as h where h.lock_name = 'signals' and not h.granted"
        " and h.mode = 'AccessExclusiveLock' and h.login like '%stranger%')",
    ),
)
def waits_before_it_is_refused(stage: Stage) -> None:
    reader = stage.session("auditor", autocommit=False)
    reader.execute("select from signals")
    rule = "create rule mine as on insert to signals do nothing"
    Background(stage.session("stranger", lock_timeout="10s"), rule).blocked(stage.db)
    with pytest.raises(psycopg.errors.LockNotAvailable):
        make_signal(stage.session("trader", lock_timeout="100ms"), 99)


@does(
    "The same where only our roles may use the schema",
    DENIED,
    prepare="revoke usage on schema public from public; select record_guards('x')",
)
def waits_without_the_schema(stage: Stage) -> None:
    reader = stage.session("auditor", autocommit=False)
    reader.execute("select from public.signals")
    stage.me.execute("set lock_timeout = '10s'")
    stage.me.execute("create rule mine as on insert to public.signals do nothing")


@does(
    "Sends forged notifications to the guardrails",
    harmless("a notification only makes them read again", lambda stage: _stays_normal(stage)),
)
def forges_notifications(stage: Stage) -> None:
    for channel in ("alpha_risk", "alpha_lockdown"):
        query(stage.me, "select pg_notify(%s, %s)", [channel, '{"max_position_size_pct": 1}'])


def _stays_normal(stage: Stage) -> None:
    state = stage.guardrail().state
    assert state.is_normal, state
    assert str(state.max_position_size_pct) == "0.0500"


@does(
    "Makes temporary tables, types and functions named as ours",
    harmless(
        "no other session sees them, and no function of ours looks there", "select max(id) = 6 from signals"
    ),
)
def makes_temporary_objects(stage: Stage) -> None:
    stage.me.execute(
        "create temp table signals (a integer); create temp table lockdown_events (a integer);"
        " create function pg_temp.sha256(bytea) returns bytea language sql as 'select $1'"
    )
    make_signal(stage.session("trader"), 99)


@does(
    "Keeps the notification queue from being emptied and fills it, so that NOTIFY fails",
    in_vain(
        "nothing in the database notifies: the lockdown is engaged and limits are tightened all the same",
        "select count(*) = 0 from pg_proc where pronamespace = 'public'::regnamespace and prosrc ~*"
        " '\\m(pg_)?notify\\M'",
        lambda stage: _tightens(stage),
    ),
    chain("signals", "content_mismatch"),
)
def fills_the_notification_queue(stage: Stage) -> None:
    listener = stage.session("stranger", autocommit=False)
    listener.execute("listen alpha_lockdown")
    listener.commit()
    query(listener, "select 1")
    stage.me.execute("select pg_notify('x', repeat('x', 7000) || n) from generate_series(1, 50) as n")
    stage.damage()


def _tightens(stage: Stage) -> None:
    stage.honest.enact("risk_config", limits("0.01"), "ada", "ben")


@does(
    "Takes the advisory locks of the migrations, so that every migration waits",
    in_vain("migrations take a lock that only `alpha_owner` can hold", lambda stage: _migrates(stage)),
)
def takes_the_migrations_lock(stage: Stage) -> None:
    query(stage.me, "select pg_advisory_lock(hashtextextended('alpha-db/migrate', 0))")


def _migrates(stage: Stage) -> None:
    dsn = stage.server.dsn(stage.dbname, options="-c statement_timeout=10s")
    for file in MIGRATIONS:
        stage.server.program("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-1", "-f", file)


@does(
    "Prints a line in the server's log that looks like that of a refused attempt",
    told(
        "`vw_rejected_attempts`",
        "no attempt is counted; the number in a true line is one that its counter gave",
        "select sum(attempts) = 0 from vw_rejected_attempts",
    ),
)
def forges_a_log_line(stage: Stage) -> None:
    stage.me.execute(
        'do $$ begin raise log \'alpha-db attempt {"code": "AUD-002", "session_user": "mallory"}\'; end $$'
    )
