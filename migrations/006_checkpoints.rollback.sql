-- Takes back 006_checkpoints. Built from sql/ by bin/build; change it there.

do $rollback$
declare
  home  pg_catalog.text := pg_catalog.current_schema();
begin
perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true),
        pg_catalog.set_config('quote_all_identifiers', 'off', true),
        pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
if not exists (select from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace join pg_roles as r on r.oid = p.proowner
               where p.proname = 'begin_rollback' and n.nspname = home and r.rolname like '%alpha_owner') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
perform begin_rollback('006_checkpoints');

-- Before 006_checkpoints is taken back.

perform forget_attempts('log_nodes');

drop function verify_checkpoint;
drop function compare_checkpoint;
drop function checkpoint_facts;
drop function log_root_if_any;
drop function wal_position;
drop function guards_hash;
drop function find_log_damage;
drop function verify_consistency;
drop function verify_inclusion;
drop function is_hashes;
drop function consistency_proof;
drop function consistency_ranges;
drop function inclusion_proof;
drop function recompute_log_root;
drop function log_root;
drop function check_log_size;
drop function seal_log;
drop function seal_table;
drop function log_next_node;
drop function log_subtree;
drop function log_level;
drop function log_leaves;
drop function log_row_hash;
drop function refuse_leaves;
drop function log_unbroken_to;
drop function log_tail;
drop function merkle_path;
drop function merkle_root;
drop function merkle_parents;
drop table log_nodes;

perform finish_rollback('006_checkpoints');
end
$rollback$;
