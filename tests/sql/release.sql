-- lockdown_release: the way out of a lockdown. Approvers name the damage that is there, and it stays marked as acknowledged.

\set ada '''a0a0a0a0-0000-4000-8000-000000000001'''
\set ben '''b0b0b0b0-0000-4000-8000-000000000002'''
\set cyd '''c0c0c0c0-0000-4000-8000-000000000003'''
\set ada_key `$SIGN ada public`
\set ben_key `$SIGN ben public`
\set cyd_key `$SIGN cyd public`

--
-- Three agents are enrolled, as consensus.sql has it step by step.
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

--
-- A superuser changes a row, and the auditor finds it.
--
insert into signals (signal_id, symbol, side, price, quantity, raw_payload)
select 'tv-' || n, 'BTCUSD', 'BUY', n, 1, '{}' from generate_series(1, 3) as n;
set session_replication_role = replica;
alter table signals disable trigger _100_reject_change;
update signals set price = 1000 where id = 2;
alter table signals enable always trigger _100_reject_change;
reset session_replication_role;
select verdict, broken_id, detail from verify_chain_integrity('signals');

--
-- Ada proposes a release. It has to list exactly the damage that is there.
--
set role app_risk;
select "table", id, verdict, row_data::json ->> 'price' as price from damaged_rows();
select jsonb_build_object('damage', jsonb_agg(to_jsonb(d) - 'row_data')) as damage from damaged_rows() as d \gset
\set release '''11111111-1111-4111-8111-111111111111'''
\set expires '''2999-01-01T00:00:00Z'''
select proposal_message(:release, 'lockdown_release', '{"damage": []}', 'nothing happened', :ada, :expires) as text \gset
\setenv TEXT :text
\set signature `$SIGN ada`
select kind from propose(:release, 'lockdown_release', '{"damage": []}', 'nothing happened', :ada, :expires, decode(:'signature', 'hex'));
select proposal_message(:release, 'lockdown_release', :'damage', 'row 2 was edited by hand', :ada, :expires) as text \gset
\setenv TEXT :text
\set signature `$SIGN ada`
select kind from propose(:release, 'lockdown_release', :'damage', 'row 2 was edited by hand', :ada, :expires, decode(:'signature', 'hex'));

--
-- Ben and Cyd look at the same rows, and approve.
--
select "table", id, verdict from damaged_rows(:release);
\set at '''2026-01-25T12:30:00.000000Z'''
select approval_message(:release, :ben, 'APPROVE', :at) as text \gset
\setenv TEXT :text
\set signature `$SIGN ben`
select vote(:release, :ben, 'APPROVE', :at, decode(:'signature', 'hex'));
select approval_message(:release, :cyd, 'APPROVE', :at) as text \gset
\setenv TEXT :text
\set signature `$SIGN cyd`
select vote(:release, :cyd, 'APPROVE', :at, decode(:'signature', 'hex'));
reset role;

--
-- Rows are written again. The damage is shown as acknowledged; the same row edited once more would be new damage.
--
select is_locked from lockdown_status();
select event_type, reason from lockdown_events order by id;
select id from record_signal('tv-4', 'BTCUSD', 'BUY', 4, 1, '{}');
select is_valid, verdict, detail from verify_chain_integrity('signals');
select table_name, id, verdict, release_id from acknowledged_damage();
select count(*) as open_damage from open_damage();
