"""What a member of alpha_owner tries: changes that are refused, guards that it removes, rows that it changes then."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from alpha_db.errors import RiskTampered
from alpha_db.risk.config_manager import ConfigManager
from alpha_db.verify import chain as independent
from tests.chain.by_force import rehash
from tests.checkpoint.book import run
from tests.concurrency.background import Background
from tests.risk.council import CHAINED, LIMITS, agent_id, limits, private_key, public_hex
from tests.support import Connection, one, query, quote, verdicts
from tests.tampering.catalogue import Section
from tests.tampering.outcomes import (
    chain,
    checkpoint,
    command,
    config,
    counted,
    guardrail,
    guards,
    in_vain,
    is_shut_again,
    not_found,
    refused,
    shown,
    told,
)
from tests.tampering.stage import Stage, release

owner = Section(
    "owner",
    "Owner",
    "A login that may become `alpha_owner`, which owns every table and function of alpha-db.",
    "owner",
)
sql, does = owner.sql, owner.does

# ----------------------------------------------------------------------------------------------------
# Tables of the users that are under the chain

#: A table of the users with two rows, chained.
OWN = (
    "create table fees (ref text primary key, amount numeric)",
    "insert into fees values ('a', 1), ('b', 2)",
    "select chain_table('fees')",
)
sql(
    "updates-an-own-table",
    "Changes a row of a table that `chain_table` put under the chain",
    "update fees set amount = 9 where id = 1",
    refused("AUD-013"),
    prepare=OWN,
)
sql(
    "changes-an-own-table-by-force",
    "Switches off the trigger of such a table, changes a row that was taken in, and switches it on again",
    (
        "alter table fees disable trigger _100_reject_change",
        "update fees set amount = 9 where id = 1",
        "alter table fees enable always trigger _100_reject_change",
    ),
    chain("fees", "content_mismatch", 1),
    prepare=OWN,
)
sql(
    "fires-after-the-chain",
    "Makes a trigger on such a table that changes rows after they were hashed",
    "create trigger zzzz before insert on fees for each row execute function _reject_change('fees', 'a', 'b')",
    guards("trigger", "fees.zzzz", "function", "extra"),
    prepare=OWN,
)
sql(
    "disowns-an-own-table",
    "Says in the register that such a table is none",
    ("set alpha.maintenance = 'x'", "update chains set is_own = false where table_name = 'fees'"),
    guards("chain", "fees", "register", "changed"),
    prepare=OWN,
)
sql(
    "chains-the-code-of-a-stranger",
    "Chains a table whose CHECK calls a function of somebody else, who would then run code as `alpha_owner`",
    "select chain_table('fees')",
    refused("42501"),
    prepare=(
        "create schema theirs",
        "create function theirs.f(int) returns boolean language sql immutable as 'select true'",
        "alter function theirs.f(int) owner to tamper_stranger",
        "create table fees (a int check (theirs.f(a)))",
        "alter table fees owner to tamper_owner",
        "select record_guards('a table that is to be chained')",
    ),
)

# ----------------------------------------------------------------------------------------------------
# Changes that are refused while the triggers are there

CODES = {
    "webhook_deliveries": ("signature", "AUD-013", "AUD-014"),
    "signals": ("symbol", "AUD-002", "AUD-003"),
    "ai_debates": ("model_name", "AUD-004", "AUD-005"),
    "order_execution": ("status", "AUD-006", "AUD-007"),
    "order_events": ("event_type", "AUD-006", "AUD-007"),
}
for table, (column, of_update, of_delete) in CODES.items():
    sql(
        f"updates-{table.replace('_', '-')}",
        f"Changes a row of `{table}`",
        f"update {table} set {column} = 'X' where id = 1",
        refused(of_update),
    )
    sql(
        f"deletes-{table.replace('_', '-')}",
        f"Removes a row of `{table}`",
        f"delete from {table} where id = 1",
        refused(of_delete),
    )
    sql(
        f"truncates-{table.replace('_', '-')}",
        f"Empties `{table}`",
        f"truncate {table} cascade",
        refused(of_delete),
    )
for table in (
    "lockdown_events",
    "maintenance_events",
    "guard_states",
    "chain_columns",
    "verification_runs",
    "installation",
):
    sql(
        f"empties-{table.replace('_', '-')}",
        f"Empties `{table}`",
        f"truncate {table}",
        refused("AUD-011"),
    )
sql(
    "renames-the-installation",
    "Gives the installation another identity",
    "update installation set installation_id = gen_random_uuid()",
    refused("AUD-011"),
)
for table in (*CHAINED, *LIMITS):
    sql(
        f"deletes-{table.replace('_', '-')}",
        f"Removes a row of `{table}`",
        f"delete from {table}",
        refused("RSK-002"),
    )

SEGMENT = (
    "insert into archived_segments (table_name, first_id, through_id, last_hash, last_created_at, root, segment_sha256,"
    " proposal_id) select 'signals', 1, 256, row_hash, created_at, row_hash, row_hash, gen_random_uuid()"
    " from signals where id = 256"
)
START = "insert into chain_starts select 'signals', id, row_hash, created_at from signals where id = 256"
MORE_SIGNALS = (
    "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
    " select 'more-' || i, 'B', 'BUY', 1, 1, '{}' from generate_series(1, 300) as i"
)
sql(
    "says-that-rows-were-archived",
    "Says that rows were archived, without a proposal",
    f"{MORE_SIGNALS}; {SEGMENT}",
    refused("RSK-002"),
)
sql(
    "says-that-rows-were-removed",
    "Says that retention has removed rows that were not archived",
    f"{MORE_SIGNALS}; {START}",
    refused("AUD-011"),
)
sql(
    "prunes-without-approval",
    "Calls `prune_archived` for rows that nobody approved",
    "call prune_archived('signals')",
    refused("AUD-016"),
)
sql(
    "merges",
    "Changes rows by MERGE",
    "merge into signals as x using signals as y on x.id = y.id when matched then update set price = 1",
    refused("AUD-002"),
)
sql(
    "upserts",
    "Changes a row by INSERT … ON CONFLICT DO UPDATE",
    "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
    " values ('tv-000001', 'B', 'BUY', 1, 1, '{}') on conflict (signal_id) do update set price = 1",
    refused("AUD-002"),
)
sql(
    "uses-a-cursor",
    "Removes a row WHERE CURRENT OF a cursor",
    "begin; declare k cursor for select * from signals for update; fetch k; delete from signals where current of k",
    refused("AUD-003"),
)
sql(
    "uses-a-view",
    "Changes rows through an updatable view of its own",
    "create view pg_temp.v as select * from signals; update pg_temp.v set price = 1",
    refused("AUD-002"),
)
sql(
    "uses-a-function",
    "Changes rows in a function of its own",
    "create function pg_temp.f() returns void language sql as 'update signals set price = 1'; select pg_temp.f()",
    refused("AUD-002"),
)
sql(
    "changes-a-hash",
    "Changes a hash only",
    "update signals set row_hash = repeat('0', 64) where id = 3",
    refused("AUD-002"),
)


@does("Rolls a refused change back, so that no trace of it remains", counted("AUD-002", "signals", "UPDATE"))
def rolls_a_refusal_back(stage: Stage) -> None:
    stage.me.execute("begin")
    try:
        stage.me.execute("update signals set price = 1")
    except Exception:
        stage.me.execute("rollback")


sql(
    "swallows-a-refusal",
    "Catches a refusal in an EXCEPTION block",
    "do $$ begin delete from signals; exception when others then null; end $$",
    counted("AUD-003", "signals", "DELETE"),
)

# ----------------------------------------------------------------------------------------------------
# Consensus by force

sql(
    "changes-limits",
    "Changes the limits in force",
    "update risk_configurations set max_leverage_ratio = 99",
    refused("RSK-002"),
)
sql(
    "inserts-limits",
    "Inserts limits of its own",
    "insert into risk_configurations (max_leverage_ratio, reason_for_change, approved_by_agent_id, valid_from, version,"
    " proposal_id, state_hash) select 99, 'x', approved_by_agent_id, clock_timestamp(), 99, proposal_id, state_hash"
    " from risk_configurations where valid_to is null",
    refused("RSK-002"),
)
sql(
    "ends-limits",
    "Closes the limits in force",
    "update risk_configurations set valid_to = clock_timestamp() where valid_to is null",
    refused("RSK-002"),
)
sql(
    "inserts-a-threshold",
    "Inserts a kill threshold",
    "insert into risk_asset_kill_thresholds (asset, kill_loss_pct, reason_for_change, approved_by_agent_id, valid_from,"
    " version, proposal_id, state_hash) select 'ETH', 1, reason_for_change, approved_by_agent_id, valid_from, version,"
    " proposal_id, state_hash from risk_asset_kill_thresholds",
    refused("RSK-002"),
)
sql(
    "inserts-an-agent",
    "Inserts an agent",
    "insert into agents (agent_id, name, role, public_key)"
    f" values (gen_random_uuid(), 'x', 'x', decode('{public_hex(private_key('x'))}', 'hex'))",
    refused("RSK-002"),
)
sql(
    "inserts-a-revocation",
    "Revokes an agent without a proposal",
    "insert into agent_revocations (agent_id, proposal_id)"
    " select a.agent_id, p.proposal_id from agents as a cross join proposals as p where a.name = 'ben' limit 1",
    refused("RSK-002"),
)
sql(
    "inserts-a-change",
    "Applies a pending proposal by an entry of its own in the change log",
    "insert into risk_change_log (version, proposal_id, digest, kind, approved_by, approvals, previous,"
    " state_text, state_hash)"
    " select 9, p.proposal_id, p.digest, p.kind, p.proposer, '[]', p.previous,"
    " _next_state_text(_current_state_text(), p.kind, p.payload),"
    " _text_digest(_next_state_text(_current_state_text(), p.kind, p.payload)) from proposals as p order by"
    " p.id desc limit 1",
    refused("RSK-002"),
)
sql(
    "inserts-an-unsigned-proposal",
    "Inserts a copy of a proposal",
    "insert into proposals select * from proposals limit 1",
    refused("RSK-002"),
)
sql(
    "bootstraps-again", "Bootstraps agents a second time", "select bootstrap_agents('[]')", refused("RSK-002")
)
sql(
    "releases-by-hand",
    "Lifts the lockdown by a row of its own",
    "insert into lockdown_events (event_type, reason, damage) values ('RELEASED', 'please', '[]')",
    refused("AUD-009"),
    begins="locked",
)
sql(
    "writes-in-a-lockdown",
    "Writes a signal in a lockdown",
    "select record_signal('x', 'B', 'BUY', 1, 1, '{}')",
    refused("AUD-009"),
    begins="locked",
)

# ----------------------------------------------------------------------------------------------------
# The DDL guard, if it is installed

sql(
    "guarded-disables-a-trigger",
    "Where the DDL guard is installed, disables a trigger",
    "alter table signals disable trigger _100_reject_change",
    refused("AUD-011"),
    begins="guarded",
)
sql(
    "guarded-drops-a-trigger",
    "Where the DDL guard is installed, drops a trigger",
    "drop trigger zzz_chain on order_events",
    refused("AUD-011"),
    begins="guarded",
)
sql(
    "guarded-drops-a-table",
    "Where the DDL guard is installed, drops a table",
    "drop table signals cascade",
    refused("AUD-011"),
    begins="guarded",
)
sql(
    "guarded-replaces-a-function",
    "Where the DDL guard is installed, replaces a function",
    "create or replace function _reject_change() returns trigger language plpgsql as 'begin return new; end'",
    refused("AUD-011"),
    begins="guarded",
)
sql(
    "guarded-adds-a-rule",
    "Where the DDL guard is installed, adds a rule",
    "create rule swallow as on insert to signals do instead nothing",
    refused("AUD-011"),
    begins="guarded",
)
sql(
    "guarded-adds-an-index",
    "Where the DDL guard is installed, adds an index",
    "create index more on signals (symbol)",
    refused("AUD-011"),
    begins="guarded",
)
sql(
    "guarded-resets-a-counter",
    "Where the DDL guard is installed, restarts the sequence that counts refusals",
    "alter sequence attempts_aud002_update_signals restart",
    refused("AUD-011"),
    begins="guarded",
)
sql(
    "guarded-drops-a-domain",
    "Where the DDL guard is installed, drops a check of the decimals",
    "alter domain decimal_28_10 drop constraint decimal_28_10_is_exact",
    refused("AUD-011"),
    begins="guarded",
)
sql(
    "guarded-drops-everything",
    "Where the DDL guard is installed, drops everything that it owns",
    "drop owned by alpha_owner cascade",
    refused("AUD-011"),
    begins="guarded",
)
sql(
    "guarded-attaches-to-a-parent",
    "Where the DDL guard is installed, makes a table a partition of one elsewhere, to get at it from there",
    [
        "create schema elsewhere",
        "create table elsewhere.parent (like signals including defaults) partition by list (side)",
        "alter table elsewhere.parent attach partition signals default",
    ],
    refused("AUD-011"),
    begins="guarded",
    prepare="do $$ begin execute format('grant create on database %I to alpha_owner', current_database()); end $$",
)
sql(
    "guarded-replaces-a-view",
    "Where the DDL guard is installed, replaces a view",
    "create or replace view vw_rejected_attempts as select null::text as code, null::text as table_name,"
    " null::text as operation, null::bigint as attempts",
    refused("AUD-011"),
    begins="guarded",
)
sql(
    "guarded-moves-a-table",
    "Where the DDL guard is installed, renames a table",
    "alter table guard_states rename to x",
    refused("AUD-011"),
    begins="guarded",
)
sql(
    "guarded-gives-no-reason",
    "Where the DDL guard is installed, sets `alpha.maintenance` without a reason",
    ["set alpha.maintenance = ' '", "drop index signals_created_at_idx"],
    refused("AUD-011"),
    begins="guarded",
)
sql(
    "guarded-sets-maintenance",
    "Where the DDL guard is installed, passes it by `alpha.maintenance`",
    ["set alpha.maintenance = 'a faster index'", "drop index signals_created_at_idx"],
    told(
        "`maintenance_events`",
        "command, object, reason and login",
        "select (reason, command_tag, object_identity, recorded_by)"
        " = ('a faster index', 'DROP INDEX', 'public.signals_created_at_idx', 'tamper_owner')"
        " from maintenance_events order by id desc limit 1",
    ),
    guards("index", "signals_created_at_idx", "columns", "missing"),
    begins="guarded",
)

sql(
    "guarded-grants",
    "Where the DDL guard is installed, grants the application UPDATE, which the guard does not see",
    "grant update on signals to app_trading",
    guards("relation", "signals", "grant to app_trading", "changed"),
    begins="guarded",
)

# ----------------------------------------------------------------------------------------------------
# Guards: what it changes where there is no DDL guard

CHAIN = "trigger"
REJECT = "signals._100_reject_change"
REMADE = (
    "drop trigger _100_reject_change on signals; create trigger _100_reject_change {timing} on signals for each row"
    " {when} execute function _reject_change('signals', 'AUD-002', 'AUD-003');"
    " alter table signals enable always trigger _100_reject_change"
)
sql(
    "drops-a-trigger",
    "Drops the trigger that refuses changes",
    "drop trigger _100_reject_change on signals",
    guards("trigger", REJECT, "function", "missing"),
)
sql(
    "disables-a-trigger",
    "Disables a trigger",
    "alter table ai_debates disable trigger _100_reject_change",
    guards("trigger", "ai_debates._100_reject_change", "enabled", "changed"),
)
sql(
    "weakens-a-trigger",
    "Lets replica mode silence a trigger",
    "alter table order_events enable trigger _200_reject_truncate",
    guards("trigger", "order_events._200_reject_truncate", "enabled", "changed"),
)
sql(
    "narrows-a-trigger",
    "Replaces a trigger by one that fires for some rows only",
    REMADE.format(timing="before update or delete", when="when (old.id > 5)"),
    guards("trigger", REJECT, "timing", "changed"),
)
sql(
    "shortens-a-trigger",
    "Replaces a trigger by one that lets DELETE through",
    REMADE.format(timing="before update", when=""),
    guards("trigger", REJECT, "timing", "changed"),
)
sql(
    "renames-a-trigger",
    "Renames the chain's trigger, so that it fires before others that change the row",
    "alter trigger zzz_chain on signals rename to aaa_chain",
    guards("trigger", "signals.aaa_chain", "timing", "extra"),
)
sql(
    "adds-a-trigger",
    "Adds a trigger",
    "create trigger zzzz before insert on signals for each row execute function suppress_redundant_updates_trigger()",
    guards("trigger", "signals.zzzz", "function", "extra"),
)
sql(
    "adds-a-rule",
    "Adds a rule that swallows inserts",
    "create rule swallow as on insert to signals do instead nothing",
    guards("relation", "signals", "rule swallow", "extra"),
)
sql(
    "adds-a-policy",
    "Adds a row security policy that hides rows",
    "create policy hide on signals using (id > 5)",
    guards("relation", "signals", "policy hide", "extra"),
)
sql(
    "forces-row-security",
    "Turns row security on",
    "alter table signals force row level security",
    guards("relation", "signals", "row security", "changed"),
)
sql(
    "drops-a-chained-table",
    "Drops a table of the log",
    "drop table ai_debates cascade",
    chain("ai_debates", "table_missing"),
)
sql(
    "drops-a-hashed-column",
    "Drops a column that rows were hashed with",
    "alter table order_events drop column fill_price cascade",
    chain("order_events", "table_missing"),
)
sql(
    "drops-the-memory",
    "Drops the table that remembers verification runs",
    "drop table verification_runs cascade",
    chain("verification_runs", "table_missing"),
)
sql(
    "unlogs-a-table",
    "Makes a table unlogged, so that a crash empties it",
    "alter table order_events set unlogged",
    guards("relation", "order_events", "persistence", "changed"),
)
sql(
    "stops-vacuum",
    "Changes a storage option of a table",
    "alter table signals set (autovacuum_enabled = off)",
    guards("relation", "signals", "options", "changed"),
)
sql(
    "replaces-a-chain-trigger",
    "Replaces the function that hashes",
    "create or replace function _chain_signals() returns trigger language plpgsql as 'begin return new; end'",
    guards("function", "_chain_signals()", "body", "changed"),
)
sql(
    "replaces-the-refusal",
    "Replaces the function that refuses changes",
    "create or replace function _reject_change() returns trigger language plpgsql as 'begin return new; end'",
    guards("function", "_reject_change()", "body", "changed"),
)
sql(
    "replaces-the-verification",
    "Replaces the verification by one that finds nothing",
    "create or replace function verify_chain(table_name text, from_id bigint default null, to_id bigint"
    " default null) returns chain_verdict language sql as $$ select row(table_name, 1, 1, 1, true, null,"
    " 'intact', null, null, null, '')::chain_verdict $$",
    guards("function", "verify_chain(table_name text, from_id bigint, to_id bigint)", "body", "changed"),
)
sql(
    "unpins-a-function",
    "Takes the pinned search_path from a function",
    "alter function _reject_change() reset search_path",
    guards("function", "_reject_change()", "settings", "changed"),
)
sql(
    "quiets-a-function",
    "Gives the refusing function a setting that keeps it out of the log",
    "alter function _refuse(text, text, text, text, text, text, bigint, text) set lock_timeout = 1",
    guards(
        "function",
        "_refuse(code text, message text, detail text, hint text, table_name text, operation text, row_id bigint,"
        " column_name text)",
        "settings",
        "changed",
    ),
)
sql(
    "disarms-a-function",
    "Takes the owner's rights from a function",
    "alter function _reject_truncate() security invoker",
    guards("function", "_reject_truncate()", "attributes", "changed"),
)
sql(
    "overloads-a-function",
    "Adds a function that a call could pick instead of ours",
    "create function public._refuse(code text) returns void language sql as ''",
    guards("function", "_refuse(code text)", "body", "extra"),
)
sql(
    "drops-a-function",
    "Drops a function",
    "drop function chain_extend(text)",
    guards("function", "chain_extend(table_name text)", "body", "missing"),
)
sql(
    "grants-a-function",
    "Lets the application accept guards",
    "grant execute on function record_guards(text) to app_trading",
    guards("function", "record_guards(reason text)", "grant to app_trading", "extra"),
)
sql(
    "grants-an-update",
    "Grants the application UPDATE",
    "grant update on signals to app_trading",
    guards("relation", "signals", "grant to app_trading", "changed"),
)
sql(
    "grants-a-column",
    "Grants the application UPDATE of one column",
    "grant update (price) on signals to app_risk",
    guards("column", "signals.price", "grant to app_risk", "extra"),
)
sql(
    "grants-a-sequence",
    "Grants the application the writers' mark",
    "grant update on sequence writer_signals to app_trading",
    guards("relation", "writer_signals", "grant to app_trading", "extra"),
)
sql(
    "grants-to-everybody",
    "Lets everybody read the log",
    "grant select on signals to public",
    guards("relation", "signals", "grant to PUBLIC", "extra"),
)
sql(
    "grants-in-advance",
    "Grants rights on tables that will be made later",
    "alter default privileges for role alpha_owner in schema public grant update on tables to app_trading",
    guards("default rights", "public", "r to app_trading", "extra"),
)
sql(
    "revokes-from-the-auditor",
    "Takes a table from the auditor's sight",
    "revoke select on guard_states from app_auditor",
    guards("relation", "guard_states", "grant to app_auditor", "missing"),
)
sql(
    "drops-a-check",
    "Drops a CHECK",
    "alter table signals drop constraint signals_price_is_positive",
    guards("constraint", "signals.signals_price_is_positive", "definition", "missing"),
)
sql(
    "loosens-a-check",
    "Changes a CHECK under its name",
    "alter table signals drop constraint signals_price_is_positive, add constraint"
    " signals_price_is_positive check (price > -1)",
    guards("constraint", "signals.signals_price_is_positive", "definition", "changed"),
)
sql(
    "unvalidates-a-check",
    "Replaces a CHECK by one that was not validated",
    "alter table signals drop constraint signals_price_is_positive, add constraint"
    " signals_price_is_positive check (price > 0) not valid",
    guards("constraint", "signals.signals_price_is_positive", "enforced", "changed"),
)
sql(
    "defers-a-foreign-key",
    "Makes a foreign key deferrable",
    "alter table ai_debates alter constraint ai_debates_correlation_id_fkey deferrable",
    guards("constraint", "ai_debates.ai_debates_correlation_id_fkey", "enforced", "changed"),
)
sql(
    "drops-the-signature-check",
    "Drops the CHECK that verifies a proposal's signature",
    "alter table proposals drop constraint proposals_signature_is_valid",
    guards("constraint", "proposals.proposals_signature_is_valid", "definition", "missing"),
)
sql(
    "drops-a-primary-key",
    "Drops a primary key",
    "alter table order_events drop constraint order_events_pkey",
    guards("index", "order_events_pkey", "columns", "missing"),
)
sql(
    "loosens-a-domain",
    "Drops the check of a decimal's domain",
    "alter domain decimal_28_10 drop constraint decimal_28_10_is_exact",
    guards("type", "decimal_28_10", "checks", "changed"),
)
sql(
    "replaces-an-index",
    "Replaces an index by one that covers some rows only",
    "drop index signals_created_at_idx; create index signals_created_at_idx on signals (created_at) where id > 5",
    guards("index", "signals_created_at_idx", "properties", "changed"),
)
sql(
    "makes-a-column-nullable",
    "Lets a column be NULL",
    "alter table signals alter column raw_payload drop not null",
    guards("column", "signals.raw_payload", "not null", "changed"),
)
sql(
    "changes-a-default",
    "Changes a column's default",
    "alter table signals alter column hmac_verified set default true",
    guards("column", "signals.hmac_verified", "default", "changed"),
)
sql(
    "adds-a-column",
    "Adds a column that is not hashed",
    "alter table signals add column note text",
    guards("column", "signals.note", "type", "extra"),
)
sql(
    "redefines-a-view",
    "Redefines a view, so that it hides attempts",
    "create or replace view vw_rejected_attempts with (security_invoker = true) as select a.code,"
    " a.table_name, a.operation, 0::bigint as attempts from rejected_attempts() as a",
    guards("relation", "vw_rejected_attempts", "definition", "changed"),
)
sql(
    "lends-a-view-its-rights",
    "Lets a view read with its owner's rights",
    "alter view vw_trade_audit_full reset (security_invoker)",
    guards("relation", "vw_trade_audit_full", "options", "changed"),
)
for name, what, statement, fact in (
    (
        "opens-a-chain",
        "registers a closed table as open in a lockdown",
        "update chains set open_in_lockdown = true where table_name = 'signals'",
        guards("chain", "signals", "register", "changed"),
    ),
    (
        "unregisters-a-chain",
        "takes a chain out of the register, so that nobody verifies it",
        "delete from chains where table_name = 'order_events'",
        guards("chain", "order_events", "register", "missing"),
    ),
    (
        "forgets-a-counter",
        "takes a counter of refused attempts out of the register",
        "delete from attempt_counters where code = 'AUD-002'",
        guards("register", "attempt_counters", "AUD-002 UPDATE signals", "missing"),
    ),
    (
        "forgets-a-migration",
        "takes a migration out of the register, so that it runs again",
        "delete from installed_migrations where name like '003%'",
        guards("register", "installed_migrations", "003_attach_triggers", "missing"),
    ),
):
    sql(name, f"{what[0].upper()}{what[1:]}", statement, refused("AUD-011"))
    sql(
        f"{name}-in-maintenance",
        f"Under `alpha.maintenance`, {what}",
        ["set alpha.maintenance = 'why'", statement],
        fact,
    )

sql(
    "comments",
    "Changes what a comment says about a table",
    "comment on table signals is 'harmless'",
    not_found(
        "a comment protects nothing; the DDL guard refuses it",
        "select obj_description('signals'::regclass) = 'harmless'",
    ),
)


def _facts_differ(stage: Stage) -> None:
    assert query(stage.db, "select * from verify_guards()") == []
    assert one(
        stage.db,
        "select count(*) > 0 from guard_facts() as f where not exists ("
        " select from jsonb_array_elements((select facts from guard_states order by id desc limit 1)) as r"
        " where (r ->> 2, r ->> 3, r ->> 4) = (f.object_name, f.fact, f.value))",
    )


sql(
    "replaces-verify-guards",
    "Replaces `verify_guards()` by a function that finds nothing",
    "create or replace function verify_guards() returns table (object_kind text, object_name text, fact text,"
    " expected text, found text, problem text, table_name text) language sql as"
    " $$ select null, null, null, null, null, null, null where false $$",
    shown(
        "an auditor's own query", "`guard_facts()` differs from the last row of `guard_states`", _facts_differ
    ),
)
sql(
    "leaves-chains-out",
    "Replaces `verification_plan()` by a function that names one chain only",
    "create or replace function verification_plan(since_last boolean default false, full_every integer default 24,"
    " rows_per_range bigint default 50000) returns table (table_name text, from_id bigint, to_id bigint,"
    " is_full boolean, turn integer, after_run bigint) language sql as"
    " $$ select 'signals', null::bigint, null::bigint, true, null::integer, 0::bigint $$",
    command("verify-chain", 1, "and which chains were not read", "does not name it"),
)
sql(
    "accepts-its-change",
    "Changes a guard and accepts the change with `record_guards`",
    ["alter table signals drop constraint signals_price_is_positive", "select record_guards('ticket 42')"],
    told(
        "`guard_states`",
        "who accepted it, when and why; append-only and chained",
        "select (reason, recorded_by) = ('ticket 42', 'tamper_owner') from guard_states order by id desc limit 1",
    ),
)


@does(
    "Replaces a function, and waits until a superuser calls it",
    guards("function", "chain_genesis(table_name text)", "body", "changed"),
    told(
        "its effect",
        "it ran as a superuser: do not work as one on this schema",
        "select chain_genesis('signals') = 'as postgres'",
    ),
)
def waits_for_a_superuser(stage: Stage) -> None:
    stage.me.execute(
        "create or replace function chain_genesis(table_name text) returns text language sql"
        " as $$ select 'as ' || current_user $$"
    )


# ----------------------------------------------------------------------------------------------------
# Rows: a trigger is disabled, rows are changed, and the trigger is enabled again


def force(connection: Connection, table: str, statement: str, parameters: Any = ()) -> None:
    """Change rows of a table as its owner can: its triggers are off meanwhile, and on again afterwards."""
    with connection.transaction():
        triggers = query(
            connection,
            "select quote_ident(tgname) as name, tgenabled as state from pg_trigger"
            " where tgrelid = %s::regclass and not tgisinternal",
            [table],
        )
        connection.execute(f"alter table {quote(table)} disable trigger user")
        query(connection, statement, parameters)
        for trigger in triggers:
            always = {"A": "always ", "O": ""}[trigger["state"]]
            connection.execute(f"alter table {quote(table)} enable {always}trigger {trigger['name']}")


def edits(name: str, what: str, table: str, statement: str, verdict: str, at: int | None = None) -> None:
    """An attack that is one statement on rows, by force."""

    def attack(stage: Stage) -> None:
        force(stage.me, table, statement)

    attack.__name__ = name.replace("-", "_")
    does(what, chain(table, verdict, at))(attack)


COPY = (
    "insert into signals select (jsonb_populate_record(s, jsonb_build_object('id', {id}, 'row_hash', {hash},"
    " 'correlation_id', gen_random_uuid(), 'signal_id', 'forged'))).* from signals as s where id = {of}"
)
edits(
    "edits-a-row",
    "Disables the trigger, changes a row, enables it again",
    "signals",
    "update signals set price = 1 where id = 3",
    "content_mismatch",
    3,
)
edits(
    "edits-a-time",
    "Changes when an order was recorded",
    "order_execution",
    "update order_execution set created_at = created_at - interval '1 s' where id = 1",
    "content_mismatch",
    1,
)
edits(
    "edits-a-payload",
    "Changes a number in a payload from 1 to 1.0",
    "signals",
    """update signals set raw_payload = '{"n": 1.0, "ticker": "BTCUSD"}' where id = 1""",
    "content_mismatch",
    1,
)
edits(
    "edits-null",
    "Puts an empty string where NULL was",
    "order_execution",
    "update order_execution set exchange_order_id = '' where id = 2",
    "content_mismatch",
    2,
)
edits(
    "edits-a-debate",
    "Changes what a model said",
    "ai_debates",
    """update ai_debates set reasoning_json = '{"why": "another"}' where id = 1""",
    "content_mismatch",
    1,
)
edits(
    "edits-a-hash",
    "Changes a stored hash only",
    "signals",
    "update signals set row_hash = repeat('0', 64) where id = 3",
    "content_mismatch",
    3,
)
edits(
    "edits-an-order-event",
    "Changes the equity at a kill switch",
    "order_events",
    "update order_events set zar_equity = 1 where event_type = 'KILL_SWITCH'",
    "content_mismatch",
    4,
)
edits(
    "edits-a-guard-state",
    "Changes the recorded state of the guards",
    "guard_states",
    "update guard_states set reason = 'another' where id = 1",
    "content_mismatch",
    1,
)
edits(
    "deletes-a-row",
    "Removes a row in the middle",
    "order_events",
    "delete from order_events where id = 2",
    "missing_rows",
    2,
)
edits(
    "deletes-the-first-rows",
    "Removes the first rows",
    "order_events",
    "delete from order_events where id < 3",
    "missing_rows",
    1,
)
edits(
    "swaps-rows",
    "Exchanges two rows",
    "order_events",
    "update order_events set id = -2 where id = 2; update order_events set id = 2 where id = 3;"
    " update order_events set id = 3 where id = -2",
    "content_mismatch",
    2,
)
edits(
    "appends-a-row",
    "Appends a row with a hash of its own making",
    "signals",
    COPY.format(id=6, hash="repeat('f', 64)", of=5),
    "content_mismatch",
    6,
)
edits(
    "prepends-a-row",
    "Puts a row before the first",
    "signals",
    COPY.format(id=0, hash="row_hash", of=1),
    "content_mismatch",
    0,
)
edits(
    "appends-far-away",
    "Puts a row at the end of what an id can be",
    "signals",
    COPY.format(id=9223372036854775807, hash="row_hash", of=1),
    "missing_rows",
    6,
)
edits(
    "edits-a-vote",
    "Changes when a vote was recorded",
    "votes",
    "update votes set created_at = created_at - interval '1 s' where id = 1",
    "content_mismatch",
    1,
)
edits(
    "edits-the-change-log",
    "Changes by whose approval a change was applied",
    "risk_change_log",
    "update risk_change_log set approved_by = gen_random_uuid() where id = 1",
    "content_mismatch",
    1,
)
edits(
    "deletes-a-revocation",
    "Removes a revocation, so that an agent is back",
    "agent_revocations",
    "update agent_revocations set id = 7",
    "missing_rows",
    1,
)
edits(
    "edits-a-lockdown",
    "Changes what a lockdown was engaged over",
    "lockdown_events",
    "update lockdown_events set damage = '[]'",
    "content_mismatch",
    1,
)
owner.attacks[-1] = owner.attacks[-1].__class__(**{**owner.attacks[-1].__dict__, "begins": "locked"})


@does(
    "Moves a row's time back and computes every hash after it again", chain("signals", "order_violation", 3)
)
def moves_time_back(stage: Stage) -> None:
    with stage.me.transaction():
        stage.me.execute("alter table signals disable trigger user")
        query(stage.me, "update signals set created_at = created_at - interval '1 day' where id = 3")
        rehash(stage.me, "signals", 3)
        _enable(stage)


def _enable(stage: Stage, table: str = "signals") -> None:
    stage.me.execute(
        f"alter table {table} enable trigger user; alter table {table} enable always trigger _100_reject_change;"
        f" alter table {table} enable always trigger _200_reject_truncate"
    )


def _rewrite(stage: Stage, table: str, statement: str, first: int) -> None:
    with stage.me.transaction():
        stage.me.execute(f"alter table {table} disable trigger user")
        query(stage.me, statement)
        rehash(stage.me, table, first)
        _enable(stage, table)


@does(
    "Removes the oldest rows by force, and says by force that retention did it",
    chain("order_events", "missing_rows", 1),
)
def forges_a_segment(stage: Stage) -> None:
    """With a segment that names a proposal, and the start of the chain behind it."""
    kill_switch = (
        "insert into order_events (event_type, zar_equity, positions_closed) select 'KILL_SWITCH', 1, '[]'"
    )
    query(stage.me, f"{kill_switch} from generate_series(1, 300)")
    with stage.me.transaction():
        for table, statement in (("archived_segments", SEGMENT), ("chain_starts", START)):
            stage.me.execute(f"alter table {table} disable trigger _500_validate")
            query(stage.me, statement.replace("signals", "order_events"))
            stage.me.execute(f"alter table {table} enable trigger _500_validate")
        stage.me.execute("alter table order_events disable trigger user")
        query(stage.me, "delete from order_events where id <= 256")
        _enable(stage, "order_events")


@does("Changes a row and computes every hash after it again", checkpoint("signals", "checkpoint_mismatch"))
def rehashes(stage: Stage) -> None:
    _rewrite(stage, "signals", "update signals set price = 1 where id = 2", 2)


@does("Cuts the last rows off", checkpoint("order_events", "tail_missing"))
def cuts_the_tail(stage: Stage) -> None:
    force(stage.me, "order_events", "delete from order_events where id > 2")


@does("Removes all rows of a table", checkpoint("order_events", "tail_missing"))
def empties_a_table(stage: Stage) -> None:
    force(stage.me, "order_events", "delete from order_events")


@does(
    "Removes all rows and writes as many others through the chain",
    checkpoint("order_events", "checkpoint_mismatch"),
)
def replaces_a_table(stage: Stage) -> None:
    force(stage.me, "order_events", "delete from order_events")
    for order in (1, 2, 2, 1):
        query(stage.me, "select record_order_event(%s, 'CANCELLED')", [order])


@does(
    "Has every row hashed again, as a data-only restore does",
    checkpoint("order_events", "checkpoint_mismatch"),
)
def launders_a_table(stage: Stage) -> None:
    stage.me.execute("create temp table saved as select * from order_events")
    force(stage.me, "order_events", "delete from order_events")
    stage.me.execute("insert into order_events select * from saved order by id")


@does(
    "Cuts the last rows off and writes others in their place",
    checkpoint("order_events", "checkpoint_mismatch"),
)
def replaces_the_tail(stage: Stage) -> None:
    force(stage.me, "order_events", "delete from order_events where id > 3")
    query(stage.me, "select record_order_event(1, 'CANCELLED')")


REMEMBERED = (
    "select record_verification(true, (select jsonb_object_agg(table_name, last_id) from chain_status()"
    " where last_id is not null), 1)"
)


@does(
    "Cuts rows off that a verification run has read",
    chain("order_events", "tail_missing", 3),
    prepare=REMEMBERED,
)
def cuts_a_remembered_tail(stage: Stage) -> None:
    force(stage.me, "order_events", "delete from order_events where id > 2")


@does(
    "Computes hashes again that a verification run has read",
    chain("signals", "checkpoint_mismatch"),
    prepare=REMEMBERED,
)
def rehashes_what_is_remembered(stage: Stage) -> None:
    _rewrite(stage, "signals", "update signals set price = 1 where id = 2", 2)


@does(
    "Computes the hashes again, and those of the verification runs as well",
    checkpoint("signals", "checkpoint_mismatch"),
    prepare=REMEMBERED,
)
def rehashes_the_memory(stage: Stage) -> None:
    _rewrite(stage, "signals", "update signals set price = 1 where id = 2", 2)
    _rewrite(
        stage,
        "verification_runs",
        "update verification_runs set heads = jsonb_set(heads, '{signals,row_hash}',"
        " (select to_jsonb(row_hash::text) from signals order by id desc limit 1))",
        1,
    )


@does("Copies another chain's row with its hash", chain("signals", "content_mismatch", 6))
def borrows_a_hash(stage: Stage) -> None:
    force(stage.me, "signals", COPY.format(id=6, hash="(select row_hash from ai_debates where id = 5)", of=5))


@does(
    "Writes a row past the trigger, with the hash that the trigger would have given it",
    not_found(
        "it is a row as any other; whether it is true, no log can tell", "select max(id) = 6 from signals"
    ),
)
def writes_past_the_trigger(stage: Stage) -> None:
    _rewrite(stage, "signals", COPY.format(id=6, hash="''", of=5), 6)


@does(
    "Replaces verification and guards' verification, and changes a row",
    shown(
        "`alpha-db verify-export`, or any program that computes the hashes itself",
        "row 2 does not give its hash",
        lambda stage: _only_outside(stage),
    ),
)
def replaces_everything_that_looks(stage: Stage) -> None:
    force(stage.me, "signals", "update signals set price = 1 where id = 2")
    stage.me.execute(
        "create or replace function verify_guards() returns table (object_kind text, object_name text, fact text,"
        " expected text, found text, problem text, table_name text) language sql as"
        " $$ select null, null, null, null, null, null, null where false $$"
    )
    stage.me.execute(
        "create or replace function verify_chain(table_name text, from_id bigint default null, to_id"
        " bigint default null)"
        " returns chain_verdict language sql as"
        " $$ select row(table_name, 1, 1, 1, true, null, 'intact', null, null, null, '')::chain_verdict $$"
    )


def _only_outside(stage: Stage) -> None:
    assert stage.inside() == []
    broken = independent.recompute(stage.db, "signals").broken
    assert broken is not None
    assert broken.id == 2


# ----------------------------------------------------------------------------------------------------
# Limits, agents and votes by force


@does("Loosens a limit by force", config("stored", "recomputed"), guardrail())
def forces_a_limit(stage: Stage) -> None:
    force(
        stage.me,
        "risk_configurations",
        "update risk_configurations set max_leverage_ratio = 9 where valid_to is null",
    )


@does("Removes a kill threshold by force", config("stored", "recomputed"), guardrail())
def forces_a_threshold_out(stage: Stage) -> None:
    force(stage.me, "risk_asset_kill_thresholds", "delete from risk_asset_kill_thresholds")


@does("Removes the limits by force", config("stored", "recomputed"), guardrail())
def forces_the_limits_out(stage: Stage) -> None:
    force(stage.me, "risk_configurations", "delete from risk_configurations")


@does("Moves the beginning of the limits by force", guardrail("RSK-007"))
def forces_a_beginning(stage: Stage) -> None:
    force(
        stage.me,
        "risk_configurations",
        "update risk_configurations set valid_from = valid_from - interval '1 day' where valid_to is null",
    )


def _loosen_log(stage: Stage) -> None:
    stage.me.execute("alter table risk_change_log drop constraint risk_change_log_state_hash_is_of_text")
    force(
        stage.me,
        "risk_configurations",
        "update risk_configurations set max_leverage_ratio = 9 where valid_to is null",
    )
    force(
        stage.me,
        "risk_change_log",
        "update risk_change_log set state_text = replace(state_text, ':2.00', ':9.00'),"
        " state_hash = _text_digest(replace(state_text, ':2.00', ':9.00'))",
    )


@does("Loosens a limit and changes the change log to agree with it", config("replayed"), guardrail())
def forces_limit_and_log(stage: Stage) -> None:
    _loosen_log(stage)


@does("Exchanges two signatures in the change log", config("replayed"), guardrail())
def exchanges_signatures(stage: Stage) -> None:
    force(
        stage.me,
        "risk_change_log",
        "update risk_change_log set approvals = jsonb_set(approvals, '{0,signature}', approvals #> '{1,signature}')"
        " where jsonb_array_length(approvals) > 1",
    )


@does(
    "Removes an approval from the change log, so that its quorum is not complete",
    config("replayed"),
    guardrail(),
)
def removes_an_approval(stage: Stage) -> None:
    force(stage.me, "risk_change_log", "update risk_change_log set approvals = approvals - 0")


@does("Counts one approval twice in the change log", config("replayed"), guardrail())
def doubles_an_approval(stage: Stage) -> None:
    force(
        stage.me,
        "risk_change_log",
        "update risk_change_log set approvals = jsonb_build_array(approvals -> 0, approvals -> 0)"
        " where jsonb_array_length(approvals) > 1",
    )


@does(
    "Puts approvals into the change log that are signed with keys of its own", config("replayed"), guardrail()
)
def signs_with_its_own_keys(stage: Stage) -> None:
    mallory = private_key("mallory")
    entry = query(stage.db, "select digest, approvals from risk_change_log order by id limit 1")[0]
    origin = one(stage.db, "select installation_id from installation")

    def forged(approval: dict[str, Any]) -> dict[str, Any]:
        text = (
            f'alpha-db/approval/v1\norigin: "{origin}"\ndecision: "APPROVE"\ndigest: "{entry["digest"]}"\n'
            f'agent: "{approval["agent_id"]}"\nsigned_at: "{approval["signed_at"]}"\n'
        )
        return approval | {"public_key": public_hex(mallory), "signature": mallory.sign(text.encode()).hex()}

    force(
        stage.me,
        "risk_change_log",
        "update risk_change_log set approvals = %s where id = 1",
        [Jsonb([forged(approval) for approval in entry["approvals"]])],
    )


@does(
    "Replaces the function that reads the limits by one that lies",
    guards("function", "_stored_state_text()", "body", "changed"),
    guardrail(),
)
def replaces_the_state(stage: Stage) -> None:
    stage.me.execute(
        "create or replace function _stored_state_text() returns text language sql stable set search_path from current"
        " as $$ select replace(_current_state_text(), ':2.00', ':9.00') $$"
    )


def _nobody_signs(stage: Stage) -> None:
    (row,) = query(stage.db, "select proposal_id from vw_proposals where reason = 'for show'")
    with pytest.raises(RiskTampered, match="another change than the signed text"):
        ConfigManager(stage.db).ballot(row["proposal_id"], agent_id("ben"), "APPROVE")


@does(
    "Has approvers shown another change than the one that was signed",
    shown(
        "`alpha-db risk approve`, which derives it from the signed text",
        "RSK-007, and nobody signs",
        _nobody_signs,
    ),
    guards("function", "proposal_changes(proposal_id uuid)", "body", "changed"),
)
def shows_another_change(stage: Stage) -> None:
    stage.council.propose("risk_config", limits(leverage="9"), "ada", reason="for show")
    stage.me.execute(
        "create or replace function proposal_changes(proposal_id uuid) returns table (name text, old_value text,"
        " new_value text, direction text) language sql as"
        " $$ select 'max_leverage_ratio', '2.00', '1.00', 'tighten' $$"
    )


@does(
    "Replaces the function that verifies signatures by one that finds them all good",
    guards("function", "ed25519_verify(public_key bytea, message bytea, signature bytea)", "body", "changed"),
)
def replaces_the_signature_check(stage: Stage) -> None:
    stage.me.execute(
        "create or replace function ed25519_verify(public_key bytea, message bytea, signature bytea) returns boolean"
        " language sql immutable as 'select true'"
    )


@does(
    "Replaces the signature check, has a proposal applied that nobody signed, and puts the check back",
    config("replayed"),
    guardrail(),
)
def applies_an_unsigned_proposal(stage: Stage) -> None:
    honest = one(stage.db, "select pg_get_functiondef('ed25519_verify(bytea, bytea, bytea)'::regprocedure)")
    stage.me.execute(
        "create or replace function ed25519_verify(public_key bytea, message bytea, signature bytea) returns boolean"
        " language sql immutable as 'select true'"
    )
    row = stage.council.sign_proposal("risk_config", limits(leverage="9"), "ada") | {
        "signature": b"\x01" * 64
    }
    proposal_id = stage.council.send_proposal(row)
    for name in ("ben", "cyd"):
        vote = stage.council.sign_vote(proposal_id, name)
        stage.council.send_vote((*vote[:4], b"\x02" * 64))
    stage.me.execute(honest)


@does("Changes an agent's key by force", guardrail())
def replaces_a_key(stage: Stage) -> None:
    stage.me.execute("alter table votes drop constraint votes_agent_id_fkey")
    stage.me.execute("alter table proposals drop constraint proposals_proposer_fkey")
    force(
        stage.me,
        "agents",
        "update agents set public_key = %s where name = 'cyd'",
        [bytes.fromhex(public_hex(private_key("mallory")))],
    )


@does("Adds an agent of the bootstrap by force", guardrail(), chain("agents", "content_mismatch", 5))
def adds_an_agent(stage: Stage) -> None:
    force(
        stage.me,
        "agents",
        "insert into agents select (jsonb_populate_record(a, jsonb_build_object('id', 5, 'agent_id', %s::uuid,"
        " 'name', 'mallory', 'public_key', %s::bytea))).* from agents as a where id = 3",
        [agent_id("mallory"), bytes.fromhex(public_hex(private_key("mallory")))],
    )


# ----------------------------------------------------------------------------------------------------
# The lockdown by force

RELEASED = (
    "insert into lockdown_events (event_type, reason, damage, alarm, proposal_id) select 'RELEASED',"
    " 'forged', l.damage,"
    " l.alarm, {proposal} from lockdown_events as l order by l.id desc limit 1"
)
STILL = in_vain("the lockdown is engaged all the same", "select is_locked from lockdown_status()")


def _insert_by_force(stage: Stage, statement: str, trigger: str, table: str = "lockdown_events") -> None:
    """Disable one trigger, insert through the chain, enable it again."""
    stage.me.execute(f"alter table {table} disable trigger {trigger}")
    stage.me.execute(statement)
    stage.me.execute(f"alter table {table} enable trigger {trigger}")


@does(
    "Disables one trigger, lifts the lockdown by a row of its own, enables it again",
    chain("lockdown_events", "consensus_mismatch"),
    STILL,
    begins="locked",
)
def forges_a_release(stage: Stage) -> None:
    _insert_by_force(stage, RELEASED.format(proposal="null"), "_500_validate")


@does(
    "Lifts a second lockdown by the release that lifted the first",
    chain("lockdown_events", "consensus_mismatch"),
    STILL,
    begins="released",
)
def uses_a_release_again(stage: Stage) -> None:
    proposal_id = one(stage.db, "select proposal_id from lockdown_events order by id desc limit 1")
    stage.damage("ai_debates", 3)
    verdicts(stage.db)
    _insert_by_force(stage, RELEASED.format(proposal=f"'{proposal_id}'"), "_500_validate")


@does(
    "Changes an acknowledged row once more",
    chain("signals", "content_mismatch", 2),
    begins="released",
)
def changes_an_acknowledged_row(stage: Stage) -> None:
    assert verdicts(stage.db)["signals"].verdict == "acknowledged"
    force(stage.me, "signals", "update signals set price = 2 where id = 2")


@does(
    "Changes the row right behind a gap that a release acknowledged", chain("order_events", "missing_rows", 2)
)
def changes_the_row_behind_a_gap(stage: Stage) -> None:
    force(stage.me, "order_events", "delete from order_events where id = 2")
    verdicts(stage.db)
    release(stage.db)
    assert verdicts(stage.db)["order_events"].verdict == "acknowledged"
    force(stage.me, "order_events", "update order_events set rejection_reason = 'another' where id = 3")


@does(
    "Silences the alarm and writes in spite of the lockdown",
    refused("AUD-009"),
    begins="locked",
)
def silences_the_alarm(stage: Stage) -> None:
    query(stage.me, "select setval('lockdown_alarm', 1, false)")
    query(stage.me, "select record_signal('late', 'B', 'BUY', 1, 1, '{}')")


@does(
    "Sets the alarm of a lockdown to that of an earlier one, which was released, and writes",
    refused("AUD-009"),
    begins="released",
)
def sets_the_alarm_back(stage: Stage) -> None:
    alarm = one(stage.db, "select pg_sequence_last_value('lockdown_alarm')")
    stage.damage("ai_debates", 3)
    verdicts(stage.db)
    query(stage.me, "select setval('lockdown_alarm', %s)", [alarm])
    query(stage.me, "select record_signal('late', 'B', 'BUY', 1, 1, '{}')")


@does(
    "Sets the alarm and what lifts it back together, and so lets everybody write in a lockdown",
    shown(
        "the next verification",
        "“the alarm was set back by force”, lockdown again; the rows written meanwhile are younger than it",
        lambda stage: is_shut_again(stage, "the alarm was set back by force"),
    ),
    begins="locked",
)
def sets_the_alarm_and_what_lifts_it(stage: Stage) -> None:
    query(stage.me, "select setval('lockdown_alarm', 1, false), setval('lockdown_lifted', 1, false)")
    query(stage.me, "select record_signal('late', 'B', 'BUY', 1, 1, '{}')")


@does(
    "Sets only what lifts the alarm, and so lets everybody write in a lockdown",
    shown(
        "the next verification",
        "“lockdown_lifted was set by force”, lockdown again; the rows written meanwhile are younger than it",
        lambda stage: is_shut_again(stage, "lockdown_lifted was set by force, which let rows in"),
    ),
    begins="locked",
)
def sets_what_lifts_the_alarm(stage: Stage) -> None:
    query(stage.me, "select setval('lockdown_lifted', pg_sequence_last_value('lockdown_alarm'))")
    query(stage.me, "select record_signal('late', 'B', 'BUY', 1, 1, '{}')")


sql(
    "takes-its-own-rights",
    "Takes from itself the right to read the alarm, so that its own triggers see none",
    "revoke all on sequence lockdown_alarm, lockdown_lifted from alpha_owner",
    guards("relation", "lockdown_alarm", "rights that the owner lacks", "extra"),
)
sql(
    "takes-its-right-to-count",
    "Takes from itself the right to count refused attempts",
    "revoke all on sequence attempts_aud002_update_signals from alpha_owner",
    guards("relation", "attempts_aud002_update_signals", "rights that the owner lacks", "extra"),
)


@does(
    "Sets the mark of the last writer and writes in spite of the lockdown",
    refused("AUD-009"),
    begins="locked",
)
def sets_a_writers_mark(stage: Stage) -> None:
    query(stage.me, "select setval('writer_signals', txid_current())")
    query(stage.me, "select record_signal('late', 'B', 'BUY', 1, 1, '{}')")


@does(
    "Narrows the alarm's sequence, so that it takes no value",
    guards("relation", "lockdown_alarm", "sequence", "changed"),
    chain("signals", "content_mismatch"),
)
def narrows_the_alarm(stage: Stage) -> None:
    stage.me.execute("alter sequence lockdown_alarm minvalue -1 maxvalue 0 start 0 restart 0")
    stage.damage()


@does(
    "Makes a table of its own whose trigger is a chain's",
    refused("AUD-011"),
)
def borrows_a_chain_trigger(stage: Stage) -> None:
    stage.db.execute("create schema elsewhere authorization alpha_owner")
    stage.me.execute(
        "create table elsewhere.signals (like public.signals);"
        " create trigger zzz_chain before insert on elsewhere.signals for each row"
        " execute function public._chain_signals('signals')"
    )
    stage.me.execute("insert into elsewhere.signals select * from public.signals where id = 1")


# ----------------------------------------------------------------------------------------------------
# What stands elsewhere, counters, and who it was


@does(
    "Replaces a view by one over a table of another schema",
    guards("relation", "vw_rejected_attempts", "depends on", "changed"),
)
def reads_from_elsewhere(stage: Stage) -> None:
    stage.db.execute("create schema evil authorization alpha_owner")
    stage.me.execute(
        "create function evil.rejected_attempts() returns table (code text, table_name text, operation text,"
        " attempts bigint) language sql as $$ select null, null, null, null::bigint where false $$;"
        " create or replace view vw_rejected_attempts with (security_invoker = true) as"
        " select a.code, a.table_name, a.operation, a.attempts"
        " from evil.rejected_attempts() as a (code, table_name, operation, attempts)"
    )


@does(
    "Has a column's default come from a function of another schema",
    guards("column", "signals.hmac_verified", "default", "changed"),
)
def takes_a_default_from_elsewhere(stage: Stage) -> None:
    stage.db.execute("create schema evil authorization alpha_owner")
    stage.me.execute(
        "create function evil.yes() returns boolean language sql as 'select true';"
        " alter table signals alter column hmac_verified set default evil.yes()"
    )


sql(
    "counts-backwards",
    "Has a counter of refused attempts count backwards",
    "alter sequence attempts_aud002_update_signals increment -1 minvalue -9 maxvalue 9",
    guards("relation", "attempts_aud002_update_signals", "sequence", "changed"),
)
sql(
    "compares-otherwise",
    "Gives a column another collation",
    'alter table lockdown_events alter column reason type text collate "POSIX"',
    guards("column", "lockdown_events.reason", "collation", "extra"),
)


@does(
    "Sets a counter of refused attempts back",
    guards("sequence", "attempts_aud002_update_signals", "value", "changed"),
)
def sets_a_counter_back(stage: Stage) -> None:
    with pytest.raises(psycopg.Error):
        stage.me.execute("update signals set price = 1")
    query(stage.db, "select record_guards('as they are')")
    query(stage.me, "select setval('attempts_aud002_update_signals', 1, false)")


@does(
    "Says that somebody else did the maintenance",
    told(
        "`maintenance_events`",
        "`recorded_by` is set by the trigger",
        "select recorded_by = 'tamper_owner' from maintenance_events order by id desc limit 1",
    ),
)
def signs_for_another(stage: Stage) -> None:
    stage.me.execute(
        "insert into maintenance_events (reason, command_tag, object_identity, recorded_by)"
        " values ('x', 'x', 'x', 'mallory')"
    )


sql(
    "forges-a-guard-state",
    "Writes a state of the guards that is not theirs",
    "insert into guard_states (reason, facts, state_hash, counters) values ('x', '[]', 'x', '{}')",
    refused("AUD-011"),
)
sql(
    "forges-columns",
    "Writes into the record of hashed columns that fewer are hashed",
    "insert into chain_columns (table_name, from_id, column_names, older_values) values ('signals', 1, '{id}', '{}')",
    refused("AUD-011"),
)

# ----------------------------------------------------------------------------------------------------
# Agents and limits by force, consistently


@does("Changes limits that are closed", config("recomputed"))
def edits_closed_limits(stage: Stage) -> None:
    stage.honest.enact("risk_config", limits("0.04"), "ben", "ada")
    force(
        stage.me,
        "risk_configurations",
        "update risk_configurations set max_leverage_ratio = 9 where valid_to is not null",
    )


@does("Changes the key of an agent that never signed, and computes the hashes again", config("replayed"))
def replaces_an_unused_key(stage: Stage) -> None:
    key = public_hex(private_key("mallory"))
    _rewrite(stage, "agents", f"update agents set public_key = decode('{key}', 'hex') where name = 'dan'", 4)


@does("Adds an agent to the bootstrap, with a right hash", config("replayed"), guardrail())
def adds_an_agent_with_its_hash(stage: Stage) -> None:
    key = public_hex(private_key("mallory"))
    _rewrite(
        stage,
        "agents",
        "insert into agents select (jsonb_populate_record(a, jsonb_build_object('id', 5, 'name', 'mallory',"
        f" 'agent_id', '{agent_id('mallory')}', 'public_key', '\\x{key}'))).* from agents as a where id = 3",
        5,
    )


@does("Disables one trigger, revokes an agent, enables it again", config("replayed"), guardrail())
def forges_a_revocation(stage: Stage) -> None:
    _insert_by_force(
        stage,
        "insert into agent_revocations (agent_id, proposal_id) select a.agent_id, p.proposal_id"
        " from agents as a cross join proposals as p where a.name = 'ben' and p.kind = 'agent_revoke'",
        "_500_validate",
        "agent_revocations",
    )


@does(
    "Disables one trigger, has a pending proposal applied without its quorum, enables it again",
    config("replayed"),
)
def applies_without_a_quorum(stage: Stage) -> None:
    _insert_by_force(
        stage,
        "insert into risk_change_log (version, proposal_id, digest, kind, approved_by, approvals, previous, state_text,"
        " state_hash) select (t.text::jsonb ->> 'version')::bigint, p.proposal_id, p.digest, p.kind, p.proposer, '[]',"
        " p.previous, t.text, _text_digest(t.text) from proposals as p"
        " cross join _next_state_text(_current_state_text(), p.kind, p.payload) as t(text) order by p.id desc limit 1",
        "_500_validate",
        "risk_change_log",
    )


@does("Begins a statement before the bootstrap that adds agents after it", refused("RSK-002"), begins="empty")
def adds_agents_late(stage: Stage) -> None:
    gate = stage.session("superuser")
    query(gate, "select pg_advisory_lock(1)")
    key, signature = public_hex(private_key("mallory")), "ab" * 64
    waiting = Background(
        stage.me,
        "insert into agents (agent_id, name, role, public_key, signature)"
        f" select '{agent_id('mallory')}', 'mallory', 'risk', decode('{key}', 'hex'), decode('{signature}', 'hex')"
        " where pg_advisory_xact_lock(1) is not null",
    ).blocked(stage.db)
    stage.honest.bootstrap("ada", "ben", "cyd")
    query(gate, "select pg_advisory_unlock(1)")
    error = waiting.error()
    assert error is not None
    raise error


@does(
    "Puts a vote into the table with a time that no client can read",
    shown(
        "`alpha-db risk proposals`",
        "it is shown as text, and hides no other row",
        lambda stage: _all_are_shown(stage),
    ),
    chain("votes", "content_mismatch"),
)
def writes_an_unreadable_time(stage: Stage) -> None:
    for name in ("votes_signed_at_is_readable", "votes_signed_text_is_exact"):
        stage.me.execute(f"alter table votes drop constraint {name}")
    force(stage.me, "votes", "update votes set signed_at = '0044-03-15 00:00:00+00 BC' where id = 8")


def _all_are_shown(stage: Stage) -> None:
    dsn = stage.server.dsn(stage.dbname)
    proposals = run("--dsn", dsn, "risk", "proposals", "--json").json
    assert proposals
    assert "44" in run("--dsn", dsn, "risk", "history", expect=None).out or proposals
