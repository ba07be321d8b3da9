-- Takes back 006_checkpoints. Built from sql/ by bin/build; change it there.

-- The frame of every rollback but the first migration's. As of a migration: sql/01_install/migrations.sql.

do $rollback$
declare
  home  pg_catalog.text := pg_catalog.current_schema();
begin
perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true),
        pg_catalog.set_config('quote_all_identifiers', 'off', true),
        pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
if not exists (select from pg_proc as p
               join pg_namespace as n on n.oid = p.pronamespace
               join pg_class as c on c.relnamespace = n.oid and c.relname = 'installed_migrations'
               join pg_roles as r on r.oid = p.proowner and r.oid = c.relowner
               where p.proname = '_begin_rollback' and n.nspname = home
                 and r.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
perform _begin_rollback('006_checkpoints');

-- Before 006_checkpoints is taken back: refuses while there are runs, then undoes what functions made.

do $rollback_first$
begin
  if exists (select from only checkpoint_runs) then
    raise exception 'alpha-db: 006_checkpoints is not rolled back, because checkpoint_runs holds rows'
      using errcode = '55000', hint = 'To delete the log and its checkpoints on purpose, drop the schema yourself.';
  end if;
end
$rollback_first$;
drop procedure seal_logs;
perform _chain_detach('checkpoint_runs'), _forget_attempts('checkpoint_runs'), _forget_attempts('log_nodes');

drop function row_to_prove;
drop function unsealed_rows;
drop function merkle_logs;
drop function record_checkpoint_run;
drop trigger _500_validate on checkpoint_runs;
drop function _fill_checkpoint_run;
drop table checkpoint_runs;
drop function verify_checkpoint;
drop function _compare_checkpoint;
drop function _acknowledged_if_released;
drop function checkpoint_facts;
drop function _log_root_if_any;
drop function wal_position;
drop function guards_hash;
drop function find_log_damage;
drop function verify_consistency;
drop function verify_inclusion;
drop function _is_hashes;
drop function consistency_proof;
drop function _consistency_ranges;
drop function inclusion_proof;
drop function recompute_block_roots;
drop function recompute_log_root;
drop function log_root;
drop function _check_log_size;
drop function seal_log;
drop function _seal_table;
drop function _log_next_node;
drop function _log_subtree;
drop function _log_level;
drop function _log_stored_nodes;
drop function _log_leaves;
drop function _log_row_hash;
drop function _refuse_leaves;
drop function _log_unbroken_to;
drop function _log_tail;
drop function _merkle_path;
drop function _merkle_root;
drop function _merkle_parents;
drop function _is_stray_node;
drop table log_nodes;

perform _finish_rollback('006_checkpoints');
end
$rollback$;
