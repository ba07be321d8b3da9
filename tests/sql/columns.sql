-- chain_extend, chain_limit, widen_column: a chained table gets another column, another limit for the size of a row,
-- and room for longer texts.

select id from record_signal('tv-1', 'BTCUSD', 'BUY', 1, 1, '{}');

--
-- A column that a migration adds at the end. Rows from before stay verifiable, and newer ones cover it.
--
begin;
set local role alpha_owner;
set local alpha.maintenance = 'signals get a venue';
alter table signals add column venue text null;
select chain_extend('signals');
select record_guards('signals get a venue') > 1 as is_recorded;
commit;
insert into signals (signal_id, symbol, side, price, quantity, raw_payload, venue) values ('tv-2', 'BTCUSD', 'BUY', 1, 1, '{}', 'XNAS');
select id, row_data::json -> 'venue' as hashed_venue from chain_rows('signals');
select from_id, column_names[array_upper(column_names, 1)] as last_column from chain_columns where table_name = 'signals' order by from_id;
select verdict, detail from verify_chain_integrity('signals');

--
-- A column with another value in each older row has no place in what those rows were hashed with.
--
begin;
set local role alpha_owner;
set local alpha.maintenance = 'a mistake';
alter table signals add column token uuid not null default gen_random_uuid();
select chain_extend('signals');
rollback;

--
-- A row whose values print to more bytes than the limit is refused. The limit is a guard.
--
select id from record_signal('tv-3', 'BTCUSD', 'BUY', 1, 1, jsonb_build_object('text', repeat('x', 100000)));
begin;
set local role alpha_owner;
select chain_limit('signals', 1);
rollback;
begin;
set local role alpha_owner;
set local alpha.maintenance = 'smaller documents';
select chain_limit('signals', 65536);
select record_guards('smaller documents') > 1 as is_recorded;
commit;
select id from record_signal('tv-4', 'BTCUSD', 'BUY', 1, 1, jsonb_build_object('text', repeat('x', 100000)));
select * from verify_guards();

--
-- An exchange lists a symbol that is longer than its column. The owner makes room, and says why.
--
select record_signal('tv-6', 'BTC_USDC-27NOV26-120000-C', 'BUY', 1, 1, '{}');
set role alpha_owner;
select widen_column('signals', 'symbol', 40);
begin;
set local alpha.maintenance = 'options in USDC';
select widen_column('signals', 'symbol', 40) as before;
commit;
-- Never shorter, and only a varchar of the audit log.
begin;
set local alpha.maintenance = 'a test';
savepoint here;
select widen_column('signals', 'symbol', 30);
rollback to here;
select widen_column('signals', 'symbol', 1000);
rollback to here;
select widen_column('signals', 'raw_payload', 40);
rollback to here;
select widen_column('proposals', 'kind', 40);
rollback;
reset role;
select symbol from record_signal('tv-6', 'BTC_USDC-27NOV26-120000-C', 'BUY', 1, 1, '{}');
select reason, command_tag, object_identity from maintenance_events;
select reason from guard_states order by id desc limit 1;
select * from verify_guards();
select table_name, verdict from verify_chain_integrity('signals', engage_lockdown => false);
