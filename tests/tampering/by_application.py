"""What a login in app_trading tries."""

from __future__ import annotations

import psycopg
import pytest

from tests.checkpoint.book import run
from tests.concurrency.background import Background
from tests.security.refusals import copy_in
from tests.support import Connection, make_signal, one, query, verdicts
from tests.tampering.catalogue import Section
from tests.tampering.outcomes import chain, harmless, in_vain, not_found, refused, shown, told
from tests.tampering.stage import Stage

application = Section(
    "application", "Application", "A login in `app_trading`: it may read the log and append to it.", "trader"
)
sql, does = application.sql, application.does

DENIED = refused("42501")
SIGNAL = "insert into signals (signal_id, symbol, side, price, quantity, raw_payload) values "

# ----------------------------------------------------------------------------------------------------
# Changing what is there

sql("updates-a-row", "Changes a row with UPDATE", "update signals set price = 1 where id = 1", DENIED)
sql("deletes-a-row", "Removes a row with DELETE", "delete from order_events where id = 1", DENIED)
sql("truncates-a-table", "Empties a table with TRUNCATE", "truncate signals cascade", DENIED)
sql(
    "merges",
    "Changes rows by MERGE",
    "merge into signals as x using signals as y on x.id = y.id when matched then update set price = 1",
    DENIED,
)
sql(
    "upserts",
    "Changes a row by INSERT … ON CONFLICT DO UPDATE",
    SIGNAL + "('tv-000001', 'B', 'BUY', 1, 1, '{}') on conflict (signal_id) do update set price = 1",
    DENIED,
)
sql("locks-rows", "Locks rows with SELECT … FOR UPDATE", "select * from signals for update", DENIED)
sql(
    "locks-a-table",
    "Locks a table against all writers",
    "begin; lock table signals in exclusive mode",
    DENIED,
)
sql(
    "locks-a-chain",
    "Takes the lock that serialises a chain's writers",
    "begin; lock table lock_signals in exclusive mode",
    DENIED,
)

# ----------------------------------------------------------------------------------------------------
# Getting rid of what protects it

sql(
    "disables-a-trigger",
    "Disables the triggers of a table",
    "alter table signals disable trigger user",
    DENIED,
)
sql(
    "adds-a-trigger",
    "Adds a trigger that changes rows before they are hashed",
    "create trigger x before insert on signals for each row execute function suppress_redundant_updates_trigger()",
    DENIED,
)
sql(
    "adds-a-rule",
    "Adds a rule that swallows inserts",
    "create rule x as on insert to signals do instead nothing",
    DENIED,
)
sql(
    "enters-replica-mode",
    "Enters replica mode, in which ordinary triggers are silent",
    "set session_replication_role = replica",
    DENIED,
)
sql("silences-the-log", "Keeps its refusals out of the server's log", "set log_min_messages = panic", DENIED)
sql("becomes-the-owner", "Becomes `alpha_owner`", "set role alpha_owner", DENIED)
sql(
    "grants-itself-more",
    "Grants itself UPDATE",
    "grant update on signals to tamper_trader",
    harmless(
        "PostgreSQL grants nothing", "select not has_table_privilege('tamper_trader', 'signals', 'update')"
    ),
)
sql("drops-a-view", "Drops a view of the log", "drop view vw_trade_audit_full", DENIED)
sql(
    "inherits-a-table",
    "Makes a child table whose rows would show in the log",
    "create temp table mine () inherits (signals)",
    DENIED,
)
sql(
    "reads-a-file-into-the-log",
    "Fills the log from a file of the server",
    "copy signals from '/etc/hostname'",
    DENIED,
)

# ----------------------------------------------------------------------------------------------------
# The machinery

sql("sets-a-sequence", "Sets the ids' sequence back", "select setval('signals_id_seq', 1)", DENIED)
sql("sets-a-writers-mark", "Sets the mark of the last writer", "select setval('writer_signals', 1)", DENIED)
sql("sets-the-alarm", "Sets the lockdown's alarm", "select setval('lockdown_alarm', 1)", DENIED)
sql(
    "resets-a-counter",
    "Sets a counter of refused attempts back",
    "select setval('attempts_aud002_update_signals', 1, false)",
    DENIED,
)
sql(
    "zeroes-the-counters",
    "Changes the view of refused attempts",
    "update vw_rejected_attempts set attempts = 0",
    refused("55000"),
)
sql(
    "unregisters-a-chain",
    "Takes a chain out of the register",
    "delete from chains where table_name = 'signals'",
    DENIED,
)
sql(
    "forges-columns",
    "Writes into the record of which columns were hashed",
    "insert into chain_columns (table_name, from_id, column_names, older_values) values ('signals', 1, '{}', '{}')",
    DENIED,
)
sql("accepts-guards", "Accepts changed guards", "select record_guards('x')", DENIED)
sql(
    "engages-the-lockdown",
    "Stops trading by engaging the lockdown",
    "select _engage_lockdown('x', '[]')",
    DENIED,
)
sql(
    "releases-the-lockdown",
    "Lifts the lockdown by a row of its own",
    "insert into lockdown_events (event_type, reason, damage) values ('RELEASED', 'x', '[]')",
    DENIED,
    begins="locked",
)
sql(
    "says-it-verified",
    "Says that a verification found nothing wrong",
    "select record_verification(true, '{}', 1)",
    DENIED,
)
sql(
    "changes-a-limit",
    "Changes a risk limit",
    "update risk_configurations set max_leverage_ratio = 99",
    DENIED,
)
sql(
    "proposes",
    "Proposes a change of limits",
    "select propose(null, null, null, null, null, null, null)",
    DENIED,
)
sql("votes", "Votes", "select vote(null, null, null, null, null)", DENIED)

# ----------------------------------------------------------------------------------------------------
# Writing what must not be written

sql(
    "loses-digits",
    "Writes a price with more digits than the column holds",
    SIGNAL + "('x', 'B', 'BUY', 1.00000000001, 1, '{}')",
    refused("AUD-001"),
)
sql("writes-nan", "Writes NaN as a price", SIGNAL + "('x', 'B', 'BUY', 'NaN', 1, '{}')", refused("AUD-001"))
sql(
    "writes-infinity",
    "Writes infinity as a quantity",
    SIGNAL + "('x', 'B', 'BUY', 1, 'Infinity', '{}')",
    refused("AUD-001"),
)
sql(
    "passes-a-float",
    "Passes a binary float to a writing function",
    "select record_signal('x', 'B', 'BUY', 1.5::float8, 1, '{}')",
    refused("AUD-001"),
)
sql(
    "rounds-the-payload",
    "Writes a price that lost the payload's last digits",
    """select record_signal('x', 'B', 'BUY', 64123.55::float4::float8::numeric, 1,
                            '{\"price\": 64123.55}')""",
    refused("AUD-001"),
)
sql(
    "writes-a-negative-price",
    "Writes a negative price",
    SIGNAL + "('x', 'B', 'BUY', -1, 1, '{}')",
    refused("23514"),
)
sql(
    "debates-nothing",
    "Records a debate about a signal that does not exist",
    "select record_ai_debate('99999999-9999-4999-8999-999999999999', 'm', '{}', 0.5, 1)",
    refused("AUD-008"),
)
sql(
    "orders-for-nothing",
    "Records an order for a signal that does not exist",
    "select record_order('99999999-9999-4999-8999-999999999999', 'MARKET', 'B', 'BUY', 1)",
    refused("AUD-008"),
)
sql(
    "fills-nothing",
    "Records what became of an order that does not exist",
    "select record_order_event(999, 'CANCELLED')",
    refused("AUD-008"),
)
sql(
    "reuses-a-key",
    "Uses a signal_id again with another price",
    """select record_signal('tv-000001', 'BTCUSD', 'BUY', 1, 0.25, '{"ticker": "BTCUSD", "n": 1}')""",
    refused("AUD-010"),
)
sql(
    "writes-in-a-lockdown",
    "Writes a signal in a lockdown",
    "select record_signal('x', 'B', 'BUY', 1, 1, '{}')",
    refused("AUD-009"),
    begins="locked",
)
sql(
    "orders-in-a-lockdown",
    "Records an order in a lockdown",
    "select record_order((select correlation_id from signals where id = 1), 'MARKET', 'B', 'BUY', 1)",
    refused("AUD-009"),
    begins="locked",
)


@does("Writes in a lockdown by COPY", refused("AUD-009"), begins="locked")
def copies_in_a_lockdown(stage: Stage) -> None:
    copy_in(
        stage.me, "signals (signal_id, symbol, side, price, quantity, raw_payload)", "x\tB\tBUY\t1\t1\t{}"
    )


@does(
    "Supplies an id, a time and a hash of its own",
    harmless(
        "the database assigns all three",
        "select id = 6 and row_hash <> repeat('0', 64) and created_at > now() - interval '1 hour' from signals"
        " where signal_id = 'mine'",
    ),
)
def supplies_its_own_hash(stage: Stage) -> None:
    stage.me.execute(
        "insert into signals (id, signal_id, symbol, side, price, quantity, raw_payload, row_hash, created_at)"
        " values (-5, 'mine', 'B', 'BUY', 1, 1, '{}', repeat('0', 64), '1999-01-01')"
    )


@does(
    "Draws ids from the sequence, to leave a gap",
    harmless("ids are assigned under the chain's lock", "select max(id) = 6 from signals"),
)
def burns_ids(stage: Stage) -> None:
    stage.me.execute("select nextval('signals_id_seq') from generate_series(1, 100)")
    make_signal(stage.me, 99)


@does(
    "Undoes rows by savepoints and rollbacks, to break the chain",
    harmless("ids and hashes follow on one another", "select count(*) = 7 and max(id) = 7 from signals"),
)
def rolls_back(stage: Stage) -> None:
    with stage.me.transaction():
        make_signal(stage.me, 50)
        stage.me.execute("savepoint s")
        make_signal(stage.me, 51)
        stage.me.execute("rollback to s")
        make_signal(stage.me, 52)
    with stage.me.transaction(force_rollback=True):
        make_signal(stage.me, 53)


@does(
    "Puts temporary tables named as ours in front of them",
    harmless(
        "the functions' search_path is pinned",
        "select count(*) = 1 from public.signals where signal_id = 'tv-000099'",
    ),
)
def shadows_tables(stage: Stage) -> None:
    for name in ("signals", "lockdown_events", "chains", "text"):
        stage.me.execute(f"create temp table {name} (a integer)")
    stage.me.execute("set search_path = pg_temp, public")
    query(stage.me, "select public.record_signal('tv-000099', 'B', 'BUY', 1, 1, '{}')")


@does(
    "Passes a value whose cast is a function of its own, to run it as `alpha_owner`",
    harmless("it runs with the caller's rights", "select count(*) = 5 from signals"),
)
def casts_with_its_own_function(stage: Stage) -> None:
    stage.me.execute(
        "create type pg_temp.evil as (x text);"
        "create function pg_temp.as_numeric(pg_temp.evil) returns numeric language plpgsql as"
        " $$ begin raise exception 'ran as %', current_user; end $$;"
        "create cast (pg_temp.evil as numeric) with function pg_temp.as_numeric as implicit;"
    )
    for call in (
        "select record_signal('x', 'B', 'BUY', row('1')::pg_temp.evil, 1, '{}')",
        SIGNAL + "('x', 'B', 'BUY', row('1')::pg_temp.evil::numeric, 1, '{}')",
    ):
        with pytest.raises(psycopg.Error) as caught:
            stage.me.execute(call)
        assert "ran as alpha_owner" not in str(caught.value)


@does(
    "Writes at REPEATABLE READ with a snapshot older than the chain's tail, to fork the chain",
    refused("40001"),
)
def writes_with_an_old_snapshot(stage: Stage) -> None:
    old = stage.session("trader", autocommit=False)
    old.execute("set transaction isolation level repeatable read")
    query(old, "select 1")
    make_signal(stage.me, 60)
    make_signal(old, 61)


# ----------------------------------------------------------------------------------------------------
# Writing on while the lockdown is engaged

LATE = "select record_signal('late', 'B', 'BUY', 1, 1, '{}')"


def _open(stage: Stage, level: str = "read committed") -> Connection:
    """A transaction of the attacker that has a snapshot, and holds the chain of signals with a row of its own."""
    writer = stage.session("trader", autocommit=False)
    writer.execute(f"set transaction isolation level {level}")
    make_signal(writer, 50)
    return writer


@does("Writes on in a transaction that was open when the lockdown was engaged", refused("AUD-009"))
def writes_on(stage: Stage) -> None:
    writer = _open(stage)
    stage.lock_down()
    writer.execute(LATE)


@does("Writes on at REPEATABLE READ, where it cannot see the lockdown's event", refused("40001"))
def writes_on_at_repeatable_read(stage: Stage) -> None:
    writer = _open(stage, "repeatable read")
    stage.lock_down()
    writer.execute(LATE)


@does("Writes on while the event of the lockdown is not committed yet", refused("AUD-009"))
def writes_on_before_the_event(stage: Stage) -> None:
    writer, engager = _open(stage), stage.session("owner", autocommit=False)
    query(engager, "select _engage_lockdown('a test', '[]')")
    writer.execute(LATE)


@does(
    "Catches each refusal in a loop and tries again, while the lockdown is engaged",
    in_vain("no row is written", "select count(*) = 6 and max(signal_id) < 'w' from signals"),
)
def writes_on_in_a_loop(stage: Stage) -> None:
    writer, engager = _open(stage), stage.session("owner", autocommit=False)
    query(engager, "select _engage_lockdown('a test', '[]')")
    loop = (
        "do $$ begin for n in 1..20 loop begin perform record_signal('while ' || n, 'B', 'BUY', 1, 1, '{}');"
        " exception when others then null; end; end loop; end $$"
    )
    writer.execute(loop)
    engager.commit()
    writer.execute(loop)
    writer.commit()


@does("Goes back to a savepoint from before the lockdown and writes", refused("AUD-009"))
def writes_on_from_a_savepoint(stage: Stage) -> None:
    writer = _open(stage)
    writer.execute("savepoint s")
    stage.lock_down()
    writer.execute("rollback to s")
    writer.execute(LATE)


@does("Begins a statement of many rows before the lockdown", refused("AUD-009"))
def writes_many_rows(stage: Stage) -> None:
    _through_the_gate(
        stage,
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " select 'n' || n, 'B', 'BUY', 1, 1, '{}' from generate_series(1, 20) as n"
        " where n <> 10 or pg_advisory_xact_lock(1) is not null",
    )


@does("Has a row stored before the lockdown, by a statement that ends after it", refused("AUD-009"))
def writes_a_row_that_waits(stage: Stage) -> None:
    _through_the_gate(
        stage,
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " values ('n', 'B', 'BUY', 1, 1, '{}') returning pg_advisory_xact_lock(1)",
    )


def _through_the_gate(stage: Stage, statement: str) -> None:
    """Run a statement that waits in its middle until the lockdown is engaged."""
    gate = stage.session("superuser")
    query(gate, "select pg_advisory_lock(1)")
    waiting = Background(stage.me, statement).blocked(stage.db)
    stage.lock_down()
    query(gate, "select pg_advisory_unlock(1)")
    error = waiting.error()
    assert error is not None
    raise error


@does(
    "Prepares a transaction before the lockdown and commits it in it",
    told(
        "the row itself",
        "it was written before the lockdown; the transaction can write no more",
        "select created_at < (select since from lockdown_status()) from signals where signal_id = 'tv-000050'",
    ),
)
def commits_a_prepared_transaction(stage: Stage) -> None:
    writer, gid = _open(stage), f"prepared in {stage.dbname}"
    writer.execute(f"prepare transaction '{gid}'")
    stage.lock_down()
    stage.db.execute(f"commit prepared '{gid}'")


@does(
    "Holds the locks of three chains, to keep the lockdown from being engaged",
    chain("signals", "content_mismatch"),
    in_vain("its next row is refused all the same", lambda stage: _next_is_refused(stage)),
)
def holds_three_chains(stage: Stage) -> None:
    stage.damage()
    holder = stage.session("trader", autocommit=False)
    correlation = make_signal(holder, 50)["correlation_id"]
    query(holder, "select record_ai_debate(%s, 'm', '{}', 0.5, 1)", [correlation])
    query(holder, "select record_order(%s, 'MARKET', 'B', 'BUY', 1)", [correlation])
    stage.notes["holder"] = holder


def _next_is_refused(stage: Stage) -> None:
    with pytest.raises(psycopg.Error) as caught:
        stage.notes["holder"].execute(LATE)
    assert caught.value.sqlstate == "AUD09"


@does(
    "Says that somebody else recorded its rows",
    harmless(
        "`recorded_by` is set by the database",
        "select recorded_by = 'tamper_trader' from signals where signal_id = 'mine'",
    ),
)
def signs_for_another(stage: Stage) -> None:
    stage.me.execute(
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload, recorded_by)"
        " values ('mine', 'B', 'BUY', 1, 1, '{}', 'mallory')"
    )


@does(
    "Leaves a prepared transaction behind that holds a chain",
    shown(
        "`alpha-db status`",
        "whose it is, what it holds, and how to end it",
        lambda stage: _status_warns(stage),
    ),
)
def leaves_a_prepared_transaction(stage: Stage) -> None:
    writer = _open(stage)
    stage.notes["gid"] = f"left in {stage.dbname}"
    writer.execute(f"prepare transaction '{stage.notes['gid']}'")


def _status_warns(stage: Stage) -> None:
    said = run("--dsn", stage.server.dsn(stage.dbname), "status").out
    stage.db.execute(f"rollback prepared '{stage.notes['gid']}'")
    assert "prepared transaction" in said
    assert "tamper_trader" in said
    assert "lock_signals" in said


# ----------------------------------------------------------------------------------------------------
# What nobody can find

sql(
    "records-something-false",
    "Records a signal that never came",
    "select record_signal('invented', 'BTCUSD', 'BUY', 1, 1, '{}')",
    not_found(
        "the log records what it is told",
        "select count(*) = 1 from signals where signal_id = 'invented'",
    ),
)
sql(
    "records-another-body",
    "Records another body than the one that arrived",
    "select record_webhook(convert_to('{\"side\": \"SELL\"}', 'UTF8'), signature => 'of another body')",
    not_found(
        "the log records what it is told. Somebody outside who has the secret can check the HMAC again",
        "select count(*) = 1 from webhook_deliveries where signature = 'of another body'",
    ),
)
sql(
    "passes-credentials",
    "Passes all headers on, with cookies and authorization",
    'select record_webhook(\'\', headers => \'{"Cookie": "c", "AUTHORIZATION": "a", "Host": "h"}\')',
    harmless(
        "the trigger removes them before the row is hashed",
        'select headers = \'{"Host": "h"}\' from webhook_deliveries order by id desc limit 1',
    ),
)
sql(
    "says-it-verified-the-hmac",
    "Records `hmac_verified = true` for a body that it never verified",
    "select record_signal('unverified', 'BTCUSD', 'BUY', 1, 1, '{}', hmac_verified => true)",
    not_found(
        "`hmac_verified` is the application's word",
        "select hmac_verified from signals where signal_id = 'unverified'",
    ),
)
sql(
    "inserts-a-float",
    "Inserts a binary float with a plain INSERT",
    SIGNAL + "('float', 'B', 'BUY', 0.1::float8 + 0.2::float8, 1, '{}')",
    not_found(
        "PostgreSQL casts it to 15 digits before any code of ours runs; the stored functions see it and refuse",
        "select price = 0.3 from signals where signal_id = 'float'",
    ),
)


@does(
    "Keeps back a signal that it should have recorded",
    not_found("a row that was never written leaves no gap", "select max(id) = 5 from signals"),
)
def keeps_a_signal_back(stage: Stage) -> None:
    with stage.me.transaction(force_rollback=True):
        make_signal(stage.me, 99)
    assert verdicts(stage.db)["signals"].verdict == "intact"
    assert one(stage.db, "select count(*) from signals") == 5
