-- Retention: the oldest rows leave a chain by an approved proposal, and what stays verifies as before.

\set ada '''a0a0a0a0-0000-4000-8000-000000000001'''
\set ben '''b0b0b0b0-0000-4000-8000-000000000002'''
\set cyd '''c0c0c0c0-0000-4000-8000-000000000003'''
\set ada_key `$SIGN ada public`
\set ben_key `$SIGN ben public`
\set cyd_key `$SIGN cyd public`

--
-- Three agents are enrolled, as consensus.sql has it step by step, and there are some signals.
--
select jsonb_agg(jsonb_build_object('agent_id', id, 'name', name, 'role', 'risk', 'public_key', key)) as agents
from (values (:ada, 'ada', :'ada_key'), (:ben, 'ben', :'ben_key'), (:cyd, 'cyd', :'cyd_key')) as a(id, name, key) \gset
select bootstrap_message(:'agents') as text \gset
\setenv TEXT :text
\set ada_signature `$SIGN ada`
\set ben_signature `$SIGN ben`
\set cyd_signature `$SIGN cyd`
select count(*) from bootstrap_agents(jsonb_set(jsonb_set(jsonb_set(:'agents'::jsonb,
  '{0, signature}', to_jsonb(:'ada_signature'::text)), '{1, signature}', to_jsonb(:'ben_signature'::text)), '{2, signature}', to_jsonb(:'cyd_signature'::text)));
insert into signals (signal_id, symbol, side, price, quantity, raw_payload)
select 'tv-' || n, 'BTCUSD', 'BUY', n, 1, '{}' from generate_series(1, 600) as n;

--
-- The DBA says how long rows are kept. That removes nothing.
--
begin;
set local role alpha_owner;
set local alpha.maintenance = 'seven years, as the law says';
select set_retention_policy('signals', '7 years');
commit;
select * from retention_policies;
set role app_auditor;
select planned_table, through_id, limited_by from retention_plan(table_name => 'signals');

--
-- Which rows are older than a date, and may go? Whole blocks of 256, and the last row stays.
--
select planned_table, first_id, through_id, row_count, limited_by from retention_plan(now(), 'signals');
select planned_table from retention_plan('2999-01-01');

--
-- Ada proposes it. The rows stand in a file by then; the proposal names its SHA-256.
--
select seal_log('signals') is not null as sealed;
select jsonb_build_object('table', 'signals', 'through_id', id, 'row_hash', row_hash,
                          'root', encode(log_root('signals', id), 'hex'), 'segment_sha256', repeat('5e', 32)) as segment
from signals where id = 512 \gset
reset role;
set role app_risk;
\set archive '''11111111-1111-4111-8111-111111111111'''
\set expires '''2999-01-01T00:00:00Z'''
select proposal_message(:archive, 'archive', :'segment', 'older than seven years', :ada, :expires) as text \gset
\setenv TEXT :text
\set signature `$SIGN ada`
select kind from propose(:archive, 'archive', :'segment', 'older than seven years', :ada, :expires, decode(:'signature', 'hex'));

--
-- Nothing leaves before two others have approved it.
--
reset role;
set role app_auditor;
call prune_archived('signals');
reset role;
set role app_risk;
\set at '''2026-01-25T12:30:00.000000Z'''
select approval_message(:archive, :ben, 'APPROVE', :at) as text \gset
\setenv TEXT :text
\set signature `$SIGN ben`
select vote(:archive, :ben, 'APPROVE', :at, decode(:'signature', 'hex'));
select approval_message(:archive, :cyd, 'APPROVE', :at) as text \gset
\setenv TEXT :text
\set signature `$SIGN cyd`
select vote(:archive, :cyd, 'APPROVE', :at, decode(:'signature', 'hex'));

--
-- A legal hold stops it even now; one approval is enough for that.
--
\set hold '''22222222-2222-4222-8222-222222222222'''
select proposal_message(:hold, 'hold', '{"table": "signals", "from_id": 300}', 'case 4711', :ada, :expires) as text \gset
\setenv TEXT :text
\set signature `$SIGN ada`
select kind from propose(:hold, 'hold', '{"table": "signals", "from_id": 300}', 'case 4711', :ada, :expires, decode(:'signature', 'hex'));
select approval_message(:hold, :ben, 'APPROVE', :at) as text \gset
\setenv TEXT :text
\set signature `$SIGN ben`
select vote(:hold, :ben, 'APPROVE', :at, decode(:'signature', 'hex'));
reset role;
set role app_auditor;
select table_name, from_id, reason from legal_holds();
call prune_archived('signals');
select min(id) from signals;
reset role;

--
-- What stays verifies; row 257 is linked to the row that has gone.
--
select verdict, rows_checked, first_id, detail from verify_chain_integrity('signals');
select table_name, id from chain_starts;
select table_name, first_id, through_id from archived_segments;
