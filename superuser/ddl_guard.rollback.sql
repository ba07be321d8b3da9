-- Takes the DDL guard away again, as superuser; the guards are recorded as they then are.

do $guard$
declare
  home      text := current_schema();
  previous  text := current_setting('role');
begin
set local client_min_messages = warning;
execute format('drop event trigger if exists %I', 'alpha_ddl_guard_end_' || home);
execute format('drop event trigger if exists %I', 'alpha_ddl_guard_drop_' || home);
execute format('drop function if exists alpha_db_guard.%I()', 'ddl_guard_' || home);
if not exists (select from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace where n.nspname = 'alpha_db_guard') then
  drop schema if exists alpha_db_guard;
end if;
if to_regclass(format('%I.guard_states', home)) is not null then
  -- As the owner, for its functions must not run with a superuser's rights.
  perform set_config('role', (select pg_get_userbyid(c.relowner)::text from pg_class as c where c.oid = to_regclass(format('%I.guard_states', home))), true);
  perform record_guards('superuser step ddl_guard taken back');
  perform set_config('role', previous, true);
end if;
end
$guard$;
