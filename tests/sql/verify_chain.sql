-- verify_chain_integrity and what stands around it: one chain of four rows, a tail that is cut, a row that is changed.

insert into signals (signal_id, symbol, side, price, quantity, raw_payload)
select 'tv-' || n, 'BTCUSD', 'BUY', n, 1, '{}' from generate_series(1, 4) as n;

--
-- The auditor sees where each chain ends, the text that is hashed, and the verdicts.
--
set role app_auditor;
select table_name, last_id, head_hash from chain_status() where table_name in ('signals', 'ai_debates');
select id, encode(sha256(decode(lag(row_hash, 1, chain_genesis('signals')) over (order by id), 'hex')
                         || convert_to(row_data, 'UTF8')), 'hex') = row_hash as hash_is_right
from chain_rows('signals') order by id;
select chain_rows_sql('signals') as rows \gset
select id, older_values_hold from (:rows) as r order by id;
select table_name, rows_checked, first_id, last_id, is_valid, verdict, broken_id, detail from verify_chain_integrity('signals');
select table_name, rows_checked, verdict from verify_range('signals', 2, 3);
select (verify_chain('signals', 4, 4)).verdict;
select * from verify_chain_integrity('no_such_table');

--
-- A plan splits the work into ranges, and the run is recorded: from then on a shorter chain is damage.
--
select * from verification_plan(rows_per_range => 3) where table_name = 'signals';
reset role;
select record_verification(true, '{"signals": 4}', 4);
select * from verification_plan(since_last => true, full_every => 2) where table_name = 'signals';
select record_verification(false, '{"signals": 4}', 0, full_every => 2, turn => 0, after_run => 1);
select record_verification(false, '{"signals": 4}', 0, full_every => 2, turn => 0, after_run => 1);  -- an overlapping run
select record_verification(false, '{"signals": 4}', 0, full_every => 2, turn => 0);
select * from verification_plan(since_last => true, full_every => 2) where table_name = 'signals';

--
-- An intruder with a superuser's rights deletes the last row. The chain alone would not show it; the recorded run does.
--
\set off 'set session_replication_role = replica; alter table signals disable trigger _100_reject_change;'
\set on 'alter table signals enable always trigger _100_reject_change; reset session_replication_role;'
:off
delete from signals where id = 4;
:on
select verdict, error_code, broken_id, detail from verify_chain_integrity('signals', engage_lockdown => false);

--
-- A changed row no longer gives its hash. A range that does not hold it is intact.
--
:off
update signals set price = 1000 where id = 2;
:on
select id, verdict from find_chain_damage('signals');
select verdict, error_code, broken_id, expected_hash <> actual_hash as hashes_differ, detail
from verify_chain_integrity('signals', 1, 3, engage_lockdown => false);
select verdict, broken_id, detail from verify_chain_integrity('signals', 3, 3, engage_lockdown => false);
select is_locked from lockdown_status();

--
-- Without `engage_lockdown => false` damage engages the lockdown. It stays listed until a release acknowledges it.
--
set role app_auditor;
select verdict, detail from verify_chain_integrity('signals');
select is_locked, event_id, reason, jsonb_pretty(damage) as damage from lockdown_status();
select * from open_damage();
select "table", id, verdict, row_data is null as is_missing from damaged_rows();
select * from acknowledged_damage();
