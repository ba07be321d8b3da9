-- How a migration begins and ends
--
-- A migration is one DO block (sql/wrapper/migration.sql), and so is its rollback:
--
--   _begin_migration(name)   takes the lock of all migrations and becomes alpha_owner; false if it is installed already
--   … the statements …
--   _finish_migration(name)  leaves others nothing, records the migration and the guards, gives role and path back
--
-- _begin_rollback and _finish_rollback are the same for a rollback, which refuses while an audit table holds rows.
--
-- All of these functions but _sign_migration cannot pin search_path as all others do: the role, the path and the
-- settings that they set must outlast them. That is safe for two reasons. A migration first sets search_path to
-- pg_catalog, looks whether _begin_migration and installed_migrations in this schema belong to one role named
-- …alpha_owner (the name is all that is checked: nobody else may create in this schema), and only then sets the path
-- to this schema. And whatever runs before that names every function, type and operator with its schema. Only
-- migrations call them.
--
-- They call record_guards (06_guards/states.sql), verify_guards (06_guards/verify.sql), _revoke_from_public and
-- _take_back_additions (06_guards/attach.sql). _begin_rollback looks for rows in the tables of 07_audit.

create function _take_migration_lock() returns void
language plpgsql
as $function$
declare
  home      pg_catalog.text := pg_catalog.current_schema();
  pinned    pg_catalog.text := pg_catalog.concat_ws(', ', pg_catalog.quote_ident(home), 'pg_temp');
  owned_by  pg_catalog.text;
begin
  -- A migration that has pinned the path has saved the one before, too.
  perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true)
  where pg_catalog.current_setting('search_path') operator(pg_catalog.<>) pinned;
  perform pg_catalog.set_config('search_path', pinned, true);
  perform set_config('alpha.previous_role', current_setting('role'), true);
  -- What else decides how SQL is read, and how names are written.
  perform set_config(s.name, s.value, true)
  from (values ('standard_conforming_strings', 'on'),
               ('backslash_quote',             'safe_encoding'),
               ('quote_all_identifiers',       'off'),
               ('transform_null_equals',       'off'),
               ('array_nulls',                 'on'),
               ('check_function_bodies',       'on')) as s(name, value);
  select r.rolname into owned_by
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace and n.nspname = home
  join pg_roles as r on r.oid = c.relowner
  where c.relname = 'installed_migrations';
  if not found then
    raise exception 'alpha-db is not installed in schema %, which is first on search_path', home
      using errcode = '3F000';
  end if;
  perform set_config('role', owned_by, true);
  lock table only lock_migrations in share update exclusive mode;
end
$function$;
comment on function _take_migration_lock is
  'Pins search_path and the settings that decide how SQL is read, becomes the owner role, and waits for every other '
  'migration of this schema.';

-- Citus sends what a session makes to its other nodes while citus.enable_ddl_propagation is on, and keeps the rows of a
-- distributed schema there. Triggers would then ask other nodes for the tail of the chain.
create function _refuse_citus() returns void
language plpgsql
set search_path from current
as $function$
declare
  obstacles  text[];
  cures      text[];
  is_tenant  boolean := false;
begin
  if to_regclass('pg_catalog.pg_dist_partition') is null then
    return;
  end if;
  select array_agg(s.name || ' is on'), array_agg(format('alter role %I set %s = off', session_user, s.name))
    into obstacles, cures
  from unnest(array['citus.enable_ddl_propagation', 'citus.enable_schema_based_sharding']) as s(name)
  where lower(current_setting(s.name, true)) in ('on', 'true', 'yes', '1');
  if has_table_privilege(to_regclass('pg_catalog.pg_dist_schema'), 'select') then
    execute 'select exists (select from pg_catalog.pg_dist_schema as d where d.schemaid = $1)'
      into is_tenant using quote_ident(current_schema())::regnamespace::oid;
  end if;
  if is_tenant then
    obstacles := obstacles || format('schema %I is distributed', current_schema());
  end if;
  if obstacles is not null then
    raise exception 'alpha-db: Citus would distribute this installation: %', array_to_string(obstacles, ', ')
      using errcode = '0A000',
            hint = concat_ws('. ', 'Connect again after: ' || array_to_string(cures, '; '),
                             case when is_tenant then
                               format('Make the schema local: select citus_schema_undistribute(%L)',
                                      quote_ident(current_schema())) end);
  end if;
end
$function$;
comment on function _refuse_citus is
  'Raises 0A000 if Citus would send what this session makes to other nodes, or keep the rows of this schema there.';

create function _begin_migration(name text) returns boolean
language plpgsql
as $function$
declare
  problem  pg_catalog.text;
begin
  execute pg_catalog.format('select %I._take_migration_lock()', pg_catalog.current_schema());
  perform set_config('alpha.maintenance', 'migration ' || _begin_migration.name, true);
  if exists (select from only installed_migrations as m where m.name = _begin_migration.name) then
    perform _end_migration();
    return false;
  end if;
  perform _refuse_citus();
  -- A migration records the guards as it leaves them, so it must not accept what somebody changed before it.
  select format('%s %s: %s %s', g.object_kind, g.object_name, g.fact, g.problem) into problem
  from verify_guards() as g limit 1;
  if found then
    raise exception 'AUD-011: % cannot be applied, because the guards are not as installed: %',
      _begin_migration.name, problem
      using errcode = 'AUD11',
            hint = 'List the changes: select * from verify_guards(). '
                   'Undo them, or accept them: select record_guards(''reason'').';
  end if;
  return true;
end
$function$;
comment on function _begin_migration is
  'First statement of a migration, once search_path is pinned: becomes the owner role and takes the migration lock. '
  'False if it is installed already. Raises AUD-011 if guards were changed.';

create function _end_migration() returns void
language plpgsql
as $function$
begin
  perform pg_catalog.set_config('alpha.maintenance', '', true);
  perform pg_catalog.set_config('search_path', pg_catalog.current_setting('alpha.previous_search_path'), true)
  where pg_catalog.current_setting('alpha.previous_search_path', true) operator(pg_catalog.<>) '';
  perform pg_catalog.set_config('alpha.previous_search_path', '', true);
  perform pg_catalog.set_config('role', pg_catalog.current_setting('alpha.previous_role'), true);
end
$function$;
comment on function _end_migration is 'Gives back the role and the search_path that the migration found.';

create function _finish_migration(name text) returns void
language plpgsql
as $function$
begin
  perform pg_catalog.set_config(
    'search_path', pg_catalog.concat_ws(', ', pg_catalog.quote_ident(pg_catalog.current_schema()), 'pg_temp'), true);
  perform _revoke_from_public(), _take_back_additions();
  insert into installed_migrations (name, checksum) values (_finish_migration.name, _running_migration_checksum());
  -- Small tables that verify_guards joins a lot. Autovacuum never gets to them.
  analyze installation, chains;
  perform record_guards('migration ' || _finish_migration.name);
  perform _end_migration();
end
$function$;
comment on function _finish_migration is
  'Last statement of a migration: leaves others nothing, records the migration and the guards as installed.';

create function _begin_rollback(name text) returns void
language plpgsql
as $function$
declare
  audit_table  pg_catalog.text;
  filled       pg_catalog.bool;
  later        pg_catalog.text;
begin
  execute pg_catalog.format('select %I._take_migration_lock()', pg_catalog.current_schema());
  if not exists (select from only installed_migrations as m where m.name = _begin_rollback.name) then
    raise exception 'alpha-db: % is not installed here', _begin_rollback.name using errcode = '55000';
  end if;
  -- By number: 100_x is later than 23_y.
  select m.name into later from only installed_migrations as m
  where (substring(m.name from '^[0-9]{1,18}')::bigint, m.name)
      > (substring(_begin_rollback.name from '^[0-9]{1,18}')::bigint, _begin_rollback.name)
  order by substring(m.name from '^[0-9]{1,18}')::bigint desc, m.name desc limit 1;
  if found then
    raise exception 'alpha-db: % must be rolled back before %', later, _begin_rollback.name using errcode = '55000';
  end if;
  -- By name: once 003 is rolled back, the register of chains no longer knows them.
  foreach audit_table in array array['webhook_deliveries', 'signals', 'ai_debates', 'order_execution',
                                     'order_events'] loop
    continue when to_regclass(quote_ident(audit_table)) is null;
    execute format('lock table only %I in access exclusive mode', audit_table);
    execute format('select exists (select from only %I)', audit_table) into filled;
    if filled then
      raise exception 'alpha-db: % is not rolled back, because % holds rows', _begin_rollback.name, audit_table
        using errcode = '55000',
              hint = 'An audit log is not thrown away by a rollback. '
                     'To delete it on purpose, export it and drop the schema.';
    end if;
  end loop;
  perform set_config('alpha.maintenance', 'rollback of ' || _begin_rollback.name, true);
  delete from only installed_migrations as m where m.name = _begin_rollback.name;
end
$function$;
comment on function _begin_rollback is
  'First statement of a rollback, once search_path is pinned: refuses while a later migration is installed or an '
  'audit table holds rows.';

create function _finish_rollback(name text) returns void
language plpgsql
as $function$
begin
  perform pg_catalog.set_config(
    'search_path', pg_catalog.concat_ws(', ', pg_catalog.quote_ident(pg_catalog.current_schema()), 'pg_temp'), true);
  perform record_guards('rollback of ' || _finish_rollback.name);
  perform _end_migration();
end
$function$;
comment on function _finish_rollback is 'Last statement of a rollback: records the guards as it leaves them.';

create function _sign_migration() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  new.applied_at := clock_timestamp();
  new.applied_by := session_user;
  new.server_version := current_setting('server_version');
  return new;
end
$function$;
comment on function _sign_migration is
  'Row trigger of installed_migrations: sets who applied it, when, and on which version.';
