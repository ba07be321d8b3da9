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
perform _release_own_tables();
drop procedure append_row;

drop function set_retention_policy;
drop table retention_policies;
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
