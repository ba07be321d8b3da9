-- Takes the DDL guard away again, as superuser; the guards are recorded as they then are.

do $guard$
declare
  home           text := pg_catalog.current_schema();
  previous_path  text := pg_catalog.current_setting('search_path');
begin
-- First of all: until this is set, a function or an operator of somebody else could stand in front of PostgreSQL's own.
perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
set local client_min_messages = warning;
execute format('drop event trigger if exists %I', 'alpha_ddl_guard_end_' || home);
execute format('drop event trigger if exists %I', 'alpha_ddl_guard_drop_' || home);
if to_regnamespace('alpha_db_guard') is not null then
  execute format('drop function if exists alpha_db_guard.%I()', 'ddl_guard_' || home);
  if to_regclass(format('%I.guard_states', home)) is not null then
    begin
      perform alpha_db_guard.record_guards(home, 'superuser step ddl_guard taken back');
    exception when sqlstate 'AUD11' then
      raise warning '%', sqlerrm;
    end;
  end if;
  if not exists (select from pg_event_trigger as e where e.evtname like 'alpha\_ddl\_guard\_drop\_%') then
    drop schema alpha_db_guard cascade;
  end if;
end if;
perform set_config('search_path', previous_path, true);
end
$guard$;
