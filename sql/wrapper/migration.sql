-- The frame of every migration but the first: one DO block, so one transaction and one checksum however it is applied.
-- Somebody else's function could stand in front of PostgreSQL's own until search_path is set, so everything before that
-- is named with its schema. sql/01_install/migrations.sql explains the rest.

do $migration$
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
               where p.proname = '_begin_migration' and n.nspname = home
                 and r.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
if not _begin_migration('{name}') then return; end if;

{body}
perform _finish_migration('{name}');
end
$migration$;
