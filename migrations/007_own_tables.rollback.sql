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

-- Before 007_own_tables is taken back: refuses while rows were archived, then undoes what functions made.

do $rollback_first$
begin
  if exists (select from only archived_segments) then
    raise exception 'alpha-db: 007_own_tables is not rolled back, because archived_segments holds rows'
      using errcode = '55000', hint = 'To delete the log and its segments on purpose, drop the schema yourself.';
  end if;
end
$rollback_first$;
perform _release_own_tables();
drop procedure append_row;
drop procedure prune_archived;
do $rollback_second$
begin
  if exists (select from only table_changes) then
    raise exception 'alpha-db: 007_own_tables is not rolled back, because table_changes holds rows'
      using errcode = '55000', hint = 'To delete the log and its histories on purpose, drop the schema yourself.';
  end if;
end
$rollback_second$;
perform _chain_detach('archived_segments'), _forget_attempts('archived_segments'),
       _forget_attempts('retention_policies'), _forget_attempts('retention'),
       _chain_detach('table_changes'), _forget_attempts('table_changes');

drop function headroom;
drop function _vacuum_due;
drop function _freezing_due;
drop function _ids_left;
drop function _storage_setting;
drop function _sequences_used;
drop function growth;
drop function _growth_of_chains;
drop function _growth_of;
drop function retention_plan;
drop function _archivable_by_age;
drop function _last_id_before;
drop function _prune_batch;
drop function _prune_rows;
drop function _require_root;
drop function _refuse_referred;
drop function _next_to_prune;
drop trigger _500_validate on chain_starts;
drop function _validate_chain_start;
drop function _refuse_archive;
drop function _refuse_other_rows;
drop function _refuse_held;
drop function _refuse_retention;
drop function _check_archive;
drop function _check_segment;
drop function _lowest_reference;
drop function _rows_stay_from;
drop function _check_unhold;
drop function _check_hold;
drop function _check_retained_table;
drop function _check_row_id;
drop function _held_from;
drop function legal_holds;
create or replace function _segment_problems(changes replayed_change[])
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
as $function$
  select null::text, null::bigint, null::text where false;
$function$;
comment on function _segment_problems is
  'Archived segments that the applied proposals do not say. None, until 007_own_tables brings the table.';
create or replace function _archive_proposal(table_name text, through_id bigint, row_hash text) returns uuid
language sql stable
set search_path from current
as $function$
  select null::uuid;
$function$;
comment on function _archive_proposal is
  'The applied, signed proposal that archived the rows of a chain up to an id with this hash. None, until '
  '007_own_tables replaces this.';
drop trigger _500_validate on archived_segments;
drop function _validate_segment;
drop function _record_segments;
drop function _last_segment_end;
drop function _block_end;
drop function _archive_items;
drop table archived_segments;
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
drop function _release_own_tables;
drop function chained_tables;
drop function record_row;
drop function _find_by_key;
drop function _require_exact;
drop function _refuse_inexact;
drop function _given_members;
drop function _require_own_table;
drop function extend_table;
drop function chain_table;
drop function _chain_own_table;
drop function _own_relation;
drop function _complete_chain_columns;
drop function _take_in_rows;
drop function _rows_to_take_in_sql;
drop function _add_chain_columns;
drop function _revoke_changes;
drop function _why_not_its_code;
drop function _foreign_code;
drop function _refuse_to_chain;
drop function _why_not_its_name;
drop function _why_not_its_columns;
drop function _why_not_chained;

perform _finish_rollback('007_own_tables');
end
$rollback$;
