-- Verifying: are the rows of a chain still what was written?
--
-- The chapter in the order in which a verification goes through it:
--
--   verdict.sql    what is said of one chain
--   links.sql      the queries that recompute a chain; explains how verification stays set-based
--   parts.sql      the same for a long range, by several processes
--   damage.sql     every broken place, and which of them a lockdown release acknowledged
--   chain.sql      verify_chain: the verdict on a chain or a range of it; reads only
--   runs.sql       what a recorded run remembers: how far each chain was read, and the hash that stood there
--   compare.sql    compares with the last recorded run, because a chain alone cannot show that its end was cut off
--   judge.sql      all of these together, and never an error instead of a verdict
--   integrity.sql  what users call: judges, adds the guards, and engages the lockdown over damage
--   plan.sql       which ranges a regular run reads
--   record.sql     records such a run
--
-- Called here, but made in later chapters: changed_guards, _lowered_counters (06_guards); the sequences lockdown_alarm
-- and lockdown_lifted, acknowledged_damage, _attend_alarm and _engage_lockdown (08_lockdown); _compare_with_consensus
-- (08_lockdown, which asks 12_consensus); _compare_with_histories (15_history). An installation without them, or one
-- where somebody dropped them, still gets verdicts: see judge.sql. docs/chain-format.md lists the verdicts.

create type chain_verdict as (
  table_name     text,
  rows_checked   bigint,
  first_id       bigint,
  last_id        bigint,
  is_valid       boolean,
  error_code     text,
  verdict        text,
  broken_id      bigint,
  expected_hash  text,
  actual_hash    text,
  detail         text
);
comment on type chain_verdict is 'What verify_chain_integrity found in one table.';
comment on column chain_verdict.table_name    is 'The chained table.';
comment on column chain_verdict.rows_checked  is 'How many rows were read and recomputed.';
comment on column chain_verdict.first_id      is 'First row that was checked.';
comment on column chain_verdict.last_id       is 'Last row that was checked.';
comment on column chain_verdict.is_valid      is
  'True: intact, archived or acknowledged. False: damage or changed guards. Null: could not be checked, or is not '
  'there.';
comment on column chain_verdict.error_code    is
  'AUD-009 for damage, RSK-007 for what does not follow from the signed proposals, AUD-015 for tracked tables that '
  'differ from their history, AUD-011 for changed guards, otherwise null.';
comment on column chain_verdict.verdict       is
  'intact, content_mismatch, missing_rows, tail_missing, order_violation, table_missing, checkpoint_mismatch, '
  'consensus_mismatch, history_mismatch, guard_changed, archived, acknowledged, not_there or not_run.';
comment on column chain_verdict.broken_id     is
  'First damaged or missing row; null if the table itself is gone.';
comment on column chain_verdict.expected_hash is
  'The hash that the row''s content and its predecessor give; of the row after missing ones the hash of its content '
  'alone; null if there is no row.';
comment on column chain_verdict.actual_hash   is
  'The hash that is stored; for missing rows that of the row after the gap.';
comment on column chain_verdict.detail        is 'What was found, in words.';

create function _with_verdict(result chain_verdict, verdict text, detail text, error_code text default 'AUD-009')
returns chain_verdict
language sql immutable
set search_path from current
as $function$
  select row(result.table_name, result.rows_checked, result.first_id, result.last_id,
             v.is_valid, case when not v.is_valid then error_code end, verdict,
             result.broken_id, result.expected_hash, result.actual_hash, detail)::chain_verdict
  from (select case when verdict in ('intact', 'archived', 'acknowledged') then true
                    when verdict in ('not_there', 'not_run') then null
                    else false end as is_valid) as v;
$function$;
comment on function _with_verdict is
  'The same result with another verdict: is_valid follows from it; error_code is kept only for one that is not valid.';

create function _verdict(table_name text, verdict text, detail text) returns chain_verdict
language sql immutable
set search_path from current
as $function$
  select _with_verdict(row(table_name, 0, null, null, null, null, null, null, null, null, null)::chain_verdict,
                       verdict, detail);
$function$;
comment on function _verdict is 'A verdict on a table of which no row has been read.';
