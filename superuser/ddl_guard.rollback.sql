-- Takes the DDL guard of a schema away again, as superuser.
-- Then, as the role that migrates, record it:  select record_guards('DDL guard taken away');

do $guard$
declare
  -- Types are looked up before the first statement runs: they are named with their schema, too.
  desk           pg_catalog.text := pg_catalog.current_schema();
  previous_path  pg_catalog.text := pg_catalog.current_setting('search_path');
begin
-- First of all: until this is set, a function or an operator of somebody else could stand in front of PostgreSQL's own.
perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
lock table pg_event_trigger in share row exclusive mode;  -- the steps of other schemas, which share alpha_db_guard
set local client_min_messages = warning;
execute format('drop event trigger if exists %I', 'alpha_ddl_guard_end_' || desk);
execute format('drop event trigger if exists %I', 'alpha_ddl_guard_drop_' || desk);
if to_regclass('alpha_db_guard.desks') is not null then
  execute format('drop function if exists alpha_db_guard.%I()', 'ddl_guard_' || desk);
  delete from alpha_db_guard.protected_names as n where n.home = desk;
  delete from alpha_db_guard.desks as d where d.home = desk;
  if not exists (select from alpha_db_guard.desks) then
    drop schema alpha_db_guard cascade;
  end if;
end if;
perform set_config('search_path', previous_path, true);
end
$guard$;
