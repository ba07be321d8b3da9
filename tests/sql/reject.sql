-- What stands in a log is not changed: UPDATE, DELETE and TRUNCATE are refused to everybody, and counted.

select id from record_signal('tv-1', 'BTCUSD', 'BUY', 1, 1, '{}');

--
-- The application has no right to; the superuser runs into a trigger, even with replication's rights.
--
set role app_trading;
update signals set side = 'SELL';
reset role;
update signals set side = 'SELL';
delete from signals;
truncate signals cascade;
set session_replication_role = replica;
delete from signals;
reset session_replication_role;

--
-- Columns that the chain sets are set by the chain, whatever the writer says.
--
insert into signals (id, signal_id, symbol, side, price, quantity, raw_payload, row_hash, created_at, recorded_by)
values (77, 'tv-2', 'BTCUSD', 'BUY', 1, 1, '{}', repeat('0', 64), '2000-01-01', 'somebody');
select id, row_hash = repeat('0', 64) as has_own_hash, created_at > '2026-01-01' as has_own_time, recorded_by from signals where id > 1;

--
-- Every refusal was counted, although its transaction was rolled back.
--
select code, table_name, operation, attempts from rejected_attempts() where attempts > 0 order by code, table_name, operation;
select * from vw_rejected_attempts where attempts > 0;
