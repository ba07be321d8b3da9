-- Takes back 007_own_tables. Built from sql/ by bin/build; change it there.

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
perform _begin_rollback('007_own_tables');

-- Before 007_own_tables is taken back: undoes what functions made.

perform _forget_attempts('retention_policies');
do $rollback_first$
begin
  if exists (select from only table_changes) then
    raise exception 'alpha-db: 007_own_tables is not rolled back, because table_changes holds rows'
      using errcode = '55000', hint = 'To delete the log and its histories on purpose, drop the schema yourself.';
  end if;
end
$rollback_first$;
perform _chain_detach('table_changes'), _forget_attempts('table_changes');

drop function set_retention_policy;
drop table retention_policies;
drop function table_as_of;
drop function table_history;
drop function untrack_table;
drop function _require_guards;
drop function _end_tracking;
drop function track_table;
drop function _take_snapshot;
drop function _begin_tracking;
drop function _refuse_untrackable;
drop function _compare_with_histories;
drop function verify_tracked;
drop function _verify_tracked_table;
drop function _tracking_problems;
drop function _complete_entry;
drop function _replayed;
drop function _tracked_or_error;
drop function _history_name;
drop function _history_needed_from;
drop function _tracked_tables;
drop type tracked_table;
drop function _history_generate;
drop function _history_function;
drop function _record_truncate;
drop function _record_change;
drop function _refuse_unchained;
drop function _refuse_renamed;
drop function _take_history_lock;
drop function _print_row;
drop function _sha256_text;
drop function _row_sql;
drop function _has_columns;
drop function _printed_columns;
drop function _qualified_name;
drop table table_changes;

perform _finish_rollback('007_own_tables');
end
$rollback$;
