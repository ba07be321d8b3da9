-- The Merkle log: seal_log, roots, proofs, and verify_checkpoint against a root that was written down before.

insert into signals (signal_id, symbol, side, price, quantity, raw_payload)
select 'tv-' || n, 'BTCUSD', 'BUY', n, 1, '{}' from generate_series(1, 300) as n;

-- The nodes over each complete block of 256 rows are stored; sealing again finds nothing to do.
select * from seal_log('signals');
select * from seal_log('signals');
call seal_logs('signals');
select size, root = log_root('signals', 300) as root_is_right from checkpoint_facts() where table_name = 'signals';
select log_root('signals', 300) = recompute_log_root('signals', 300) as stored_is_recomputed;
select recompute_block_roots('signals', 1, 256) = log_root('signals', 256) as block_is_a_subtree,
       length(recompute_block_roots('signals', 1, 300)) / 32 as blocks;
select table_name, last_id, problem from merkle_logs() where table_name in ('signals', 'votes');
select unsealed_rows('signals');
select timeline, wal_lsn > '0/0' as is_somewhere from wal_position();

--
-- A row is proved to be in the log by nine hashes; the proof fits no other row and no other root.
--
select log_root('signals', 300) as root, log_root('signals', 256) as old_root \gset
select cardinality(inclusion_proof('signals', 3, 300)) as hashes;
select id, verify_inclusion(sha256('\x00'::bytea || decode(row_hash, 'hex')), id - 1, 300, inclusion_proof('signals', 3, 300), :'root')
from chain_rows('signals', 3, 4);
-- All that such a proof consists of, in one row:
select p.row_data::jsonb ->> 'signal_id' as signal_id, p.proof = inclusion_proof('signals', 3, 300) as proof_is_the_same,
       p.row_hash = encode(sha256(decode(p.previous_hash, 'hex') || convert_to(p.row_data, 'UTF8')), 'hex') as link_holds
from row_to_prove('signals', 3, 300) as p;
select verify_inclusion(sha256('\x00'::bytea || decode(row_hash, 'hex')), 2, 300, inclusion_proof('signals', 3, 300), :'old_root')
from chain_rows('signals', 3, 3);

--
-- The log of 256 rows is the beginning of the log of 300.
--
select verify_consistency(256, 300, :'old_root', :'root', consistency_proof('signals', 256, 300));
select verify_consistency(256, 300, :'root', :'old_root', consistency_proof('signals', 256, 300));

--
-- A run names the head of every other log. What a checkpoint signs is the root of the log of runs.
--
select id, heads -> 'signals' ->> 'size' as signals, heads -> 'signals' ->> 'root' = encode(:'root', 'hex') as root_is_right
from record_checkpoint_run();
select length(log_root('checkpoint_runs', 1)) as bytes;

--
-- Anyone who kept the root of 300 rows finds a tail that was cut, which the chain alone cannot show.
--
select verdict, broken_id from verify_checkpoint('signals', 300, :'root');
set session_replication_role = replica;
alter table signals disable trigger _100_reject_change;
delete from signals where id = 300;
alter table signals enable always trigger _100_reject_change;
reset session_replication_role;
select verdict, error_code, broken_id, detail from verify_checkpoint('signals', 300, :'root', false);
select * from find_log_damage('signals');
select verdict, broken_id from verify_checkpoint('signals', 256, :'old_root', false);
select verdict, broken_id from verify_checkpoint('signals', 256, :'root', false);
select * from seal_log('no_such_table');
