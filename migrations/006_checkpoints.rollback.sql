-- Takes back 006_checkpoints. Refuses while an audit table holds rows. The stored nodes go with it: they are derived.

do $rollback$
declare
  home  pg_catalog.text := pg_catalog.current_schema();
  item  pg_catalog.text;
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

for item in
  select p.oid::regprocedure::text from pg_proc as p
  where p.pronamespace = quote_ident(current_schema())::regnamespace and p.proowner = quote_ident(owner_role())::regrole
    and p.proname in (
      'verify_checkpoint', 'compare_checkpoint', 'checkpoint_facts', 'wal_position', 'guards_hash',
      'find_log_damage', 'verify_consistency', 'verify_inclusion', 'is_hashes', 'consistency_proof', 'consistency_ranges', 'inclusion_proof',
      'recompute_log_root', 'log_root_if_any', 'log_root', 'log_row_hash', 'check_log_size', 'seal_log', 'seal_table', 'log_next_node', 'log_subtree', 'log_level',
      'log_leaves', 'refuse_leaves', 'log_unbroken_to', 'log_tail', 'merkle_path', 'merkle_root', 'merkle_parents')
loop
  execute format('drop function %s', item);
end loop;
drop table log_nodes;
perform forget_attempts('log_nodes');

perform finish_rollback('006_checkpoints');
end
$rollback$;
