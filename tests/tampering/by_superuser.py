"""What a superuser tries, for whom PostgreSQL refuses nothing."""

from __future__ import annotations

from tests.chain.by_force import rehash
from tests.risk.council import limits
from tests.risk.test_clock import be_set_back
from tests.support import one, query
from tests.tampering.by_owner import force
from tests.tampering.catalogue import Section
from tests.tampering.outcomes import chain, checkpoint, guards, harmless, not_found, refused
from tests.tampering.stage import Stage

superuser = Section(
    "superuser", "Superuser", "A superuser of the server: PostgreSQL itself refuses it nothing.", "superuser"
)
sql, does = superuser.sql, superuser.does

REPLICA = "set session_replication_role = replica"
SYSTEM = "set allow_system_table_mods = on"

sql(
    "updates-as-a-replica",
    "Changes a row in replica mode, in which ordinary triggers are silent",
    [REPLICA, "update signals set price = 1"],
    refused("AUD-002"),
)
sql(
    "deletes-as-a-replica",
    "Removes rows in replica mode",
    [REPLICA, "delete from order_events"],
    refused("AUD-007"),
)
sql(
    "truncates-as-a-replica",
    "Empties a table in replica mode",
    [REPLICA, "truncate signals cascade"],
    refused("AUD-003"),
)
sql(
    "changes-limits-as-a-replica",
    "Changes limits in replica mode",
    [REPLICA, "update risk_configurations set max_leverage_ratio = 9"],
    refused("RSK-002"),
)
sql(
    "inserts-as-a-replica",
    "Writes a row in replica mode without a hash",
    [
        REPLICA,
        "insert into ai_debates (id, correlation_id, model_name, reasoning_json, confidence_score,"
        " elapsed_ms, created_at)"
        " select 6, correlation_id, 'm', '{}', 0.5, 1, now() from signals where id = 1",
    ],
    refused("23502"),
)
sql(
    "forges-as-a-replica",
    "Writes a row in replica mode with a hash of its own making",
    [
        REPLICA,
        "insert into ai_debates (id, correlation_id, model_name, reasoning_json, confidence_score,"
        " elapsed_ms, row_hash, created_at, recorded_by)"
        " select 6, correlation_id, 'm', '{}', 0.5, 1, repeat('0', 64), now(), 'x' from signals where id = 1",
    ],
    chain("ai_debates", "content_mismatch", 6),
)

sql(
    "drops-the-ddl-guard",
    "Drops the DDL guard's event trigger",
    "drop event trigger alpha_ddl_guard_end_public",
    guards("event trigger", "alpha_ddl_guard_end_public", "enabled", "missing"),
    begins="guarded",
)
sql(
    "disables-the-ddl-guard",
    "Disables the DDL guard's event trigger",
    "alter event trigger alpha_ddl_guard_drop_public disable",
    guards("event trigger", "alpha_ddl_guard_drop_public", "enabled", "changed"),
    begins="guarded",
)
sql(
    "replaces-the-ddl-guard",
    "Replaces the DDL guard's function",
    "create or replace function alpha_db_guard.ddl_guard_public() returns event_trigger language plpgsql"
    " as 'begin end'",
    guards("event trigger", "alpha_ddl_guard_end_public", "function", "changed"),
    begins="guarded",
)
sql(
    "hides-a-trigger",
    "Marks a trigger as internal in the catalogue",
    [
        SYSTEM,
        "update pg_trigger set tgisinternal = true where tgname = 'zzz_chain' and tgrelid = 'signals'::regclass",
    ],
    guards("trigger", "signals.zzz_chain", "function", "missing"),
)
sql(
    "hides-all-triggers",
    "Says in the catalogue that a table has no triggers",
    [SYSTEM, "update pg_class set relhastriggers = false where relname = 'signals'"],
    guards("relation", "signals", "triggers are seen", "changed"),
)
sql(
    "edits-a-function",
    "Changes a function's body in the catalogue",
    [SYSTEM, "update pg_proc set prosrc = 'begin return new; end' where proname = '_reject_change'"],
    guards("function", "_reject_change()", "body", "changed"),
)
sql(
    "invalidates-an-index",
    "Marks an index as invalid in the catalogue",
    [SYSTEM, "update pg_index set indisvalid = false where indexrelid = 'signals_created_at_idx'::regclass"],
    guards("index", "signals_created_at_idx", "properties", "changed"),
)

sql(
    "disables-foreign-keys",
    "Disables the triggers of a foreign key",
    "do $$ begin execute (select format('alter table ai_debates disable trigger %I', t.tgname) from pg_trigger as t"
    " join pg_constraint as c on c.oid = t.tgconstraint where c.conname = 'ai_debates_correlation_id_fkey'"
    " and t.tgrelid = 'ai_debates'::regclass order by t.tgname limit 1); end $$",
    guards("constraint", "ai_debates.ai_debates_correlation_id_fkey", "triggers", "changed"),
)
sql(
    "sets-replica-mode-for-all",
    "Puts the whole database into replica mode",
    "do $$ begin execute format('alter database %I set session_replication_role = replica',"
    " current_database()); end $$",
    guards("setting", "all roles", "session_replication_role", "extra"),
)
sql(
    "sets-replica-mode-for-a-role",
    "Puts a login of the application into replica mode",
    "alter role app_trading set session_replication_role = replica",
    guards("setting", "app_trading", "session_replication_role", "extra"),
    cleanup="alter role app_trading reset session_replication_role",
)
sql(
    "grants-replica-mode",
    "Grants a login of the application the right to put its own sessions into replica mode",
    "grant set on parameter session_replication_role to app_trading",
    guards("setting", "session_replication_role", "grant to app_trading", "extra"),
    cleanup="revoke set on parameter session_replication_role from app_trading",
)
sql(
    "makes-the-owner-superuser",
    "Makes `alpha_owner` a superuser",
    "alter role alpha_owner superuser",
    guards("role", "alpha_owner", "attributes", "changed"),
    cleanup="alter role alpha_owner nosuperuser",
)
sql(
    "lets-the-application-pass-row-security",
    "Lets `app_trading` pass by row security",
    "alter role app_trading bypassrls",
    guards("role", "app_trading", "attributes", "changed"),
    cleanup="alter role app_trading nobypassrls",
)
sql(
    "makes-the-application-owner",
    "Makes `app_trading` a member of `alpha_owner`",
    "grant alpha_owner to app_trading",
    guards("role", "app_trading", "member of alpha_owner", "extra"),
    cleanup="revoke alpha_owner from app_trading",
)
sql(
    "gives-a-table-away",
    "Gives a table to another owner",
    "alter table signals owner to tamper_dba",
    guards("relation", "signals", "owner", "changed"),
)
sql(
    "gives-a-function-away",
    "Gives a function to another owner",
    "alter function _reject_change() owner to tamper_dba",
    guards("function", "_reject_change()", "owner", "extra"),
)
sql(
    "gives-the-schema-away",
    "Gives the schema to another owner",
    "alter schema public owner to tamper_dba",
    guards("schema", "public", "owner", "changed"),
)
sql(
    "adds-a-child",
    "Adds a child table from another schema, whose rows show in the log",
    "create schema elsewhere; create table elsewhere.child () inherits (public.signals)",
    guards("relation", "signals", "child elsewhere.child", "extra"),
)
sql(
    "adds-a-cast",
    "Adds an implicit cast of a type of ours",
    "create function public.f(chain_verdict) returns jsonb language sql as 'select null::jsonb';"
    " create cast (chain_verdict as jsonb) with function public.f as implicit",
    guards("cast", "chain_verdict as jsonb", "context", "extra"),
)


@does(
    "By hand in the catalogue, puts a row beside the primary key's index",
    not_found(
        "queries may show it, verification reads by the index; a count without index scans differs",
        lambda stage: _seen_by_a_scan_only(stage),
    ),
)
def hides_a_row_from_the_index(stage: Stage) -> None:
    me = stage.me
    me.execute("set allow_system_table_mods = on")
    ready = "update pg_index set indisready = {} where indrelid = 'order_events'::regclass"
    me.execute(ready.format("false"))
    force(
        me,
        "order_events",
        "insert into order_events select (jsonb_populate_record(e, '{\"id\": 99}')).* from order_events as e"
        " where id = 1",
    )
    me.execute(ready.format("true"))


def _seen_by_a_scan_only(stage: Stage) -> None:
    counts = []
    for scan in ("indexscan", "seqscan"):
        with stage.db.transaction():
            stage.db.execute("set local enable_bitmapscan = off")
            stage.db.execute(f"set local enable_{scan} = off")
            if scan == "indexscan":
                stage.db.execute("set local enable_indexonlyscan = off")
            counts.append(one(stage.db, "select count(*) from order_events where id > 0"))
    assert counts == [5, 4]


@does(
    "Changes a row with all triggers off, foreign keys' too, and computes every hash after it again",
    checkpoint("ai_debates", "checkpoint_mismatch"),
)
def rehashes_in_replica_mode(stage: Stage) -> None:
    with stage.me.transaction():
        stage.me.execute("alter table ai_debates disable trigger all")
        query(stage.me, "update ai_debates set elapsed_ms = 1 where id = 2")
        rehash(stage.me, "ai_debates", 2)
        stage.me.execute(
            "alter table ai_debates enable trigger all;"
            " alter table ai_debates enable always trigger _100_reject_change;"
            " alter table ai_debates enable always trigger _200_reject_truncate"
        )


sql(
    "inserts-a-guard-state",
    "Writes into `guard_states` by hand",
    "insert into guard_states (reason, facts, state_hash) values ('x', '[]', 'x')",
    refused("AUD-011"),
)
sql(
    "inserts-a-lockdown-event",
    "Writes into `lockdown_events` by hand",
    "insert into lockdown_events (event_type, reason, damage, alarm) values ('ENGAGED', 'x', '[]', 1)",
    refused("AUD-011"),
)
sql(
    "inserts-an-agent",
    "Writes into `agents` by hand",
    "insert into agents (name) values ('x')",
    refused("RSK-002"),
)
sql(
    "silences-the-log-for-a-role",
    "Keeps the refusals of a login out of the server's log",
    "alter role app_trading set log_min_messages = panic",
    guards("setting", "app_trading", "log_min_messages", "extra"),
    cleanup="alter role app_trading reset log_min_messages",
)


@does(
    "Sets the server's clock ahead for the changes of limits, and back, so that none can be made until it has passed",
    harmless(
        "limits are tightened all the same",
        "select max_position_size_pct = 0.01 from risk_configurations where valid_to is null",
    ),
)
def sets_the_clock_back(stage: Stage) -> None:
    be_set_back(stage.db)
    stage.honest.enact("risk_config", limits("0.01"), "ada", "ben")
