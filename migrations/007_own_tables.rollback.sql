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

drop function headroom;
drop function _vacuum_due;
drop function _freezing_due;
drop function _ids_left;
drop function _storage_setting;
drop function _sequences_used;
drop function growth;
drop function _growth_of_chains;
drop function _growth_of;
drop function _first_id_since;
drop function set_retention_policy;
drop table retention_policies;

perform _finish_rollback('007_own_tables');
end
$rollback$;
