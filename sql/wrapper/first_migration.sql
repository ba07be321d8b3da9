-- The frame of the first migration. Nothing of alpha-db is there yet, so it does itself what the others call: it sets
-- search_path, looks whether this place will do, waits for other installs, makes the roles, and becomes the owner. Its
-- last statement, _finish_migration, is one of the functions that it has made (sql/01_install/migrations.sql).

do $migration$
declare
  -- Types are looked up before the first statement runs, so they are named with their schema.
  install_schema  pg_catalog.text := pg_catalog.current_schema();
  previous_path   pg_catalog.text := pg_catalog.current_setting('search_path');
  previous_role   pg_catalog.text := pg_catalog.current_setting('role');
  prefix          pg_catalog.text;
  owner_role      pg_catalog.text;
  role_name       pg_catalog.text;
  obstacle        pg_catalog.text;
  cure            pg_catalog.text;
begin

-- Path and settings

-- Until this is set, somebody else's function or operator could stand in front of PostgreSQL's own.
perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
-- What else decides how the text below is read (docs/threat-model.md). Each holds until the transaction ends.
perform set_config(s.name, s.value, true)
from (values ('standard_conforming_strings', 'on'),
             ('backslash_quote',             'safe_encoding'),
             ('quote_all_identifiers',       'off'),
             ('transform_null_equals',       'off'),
             ('array_nulls',                 'on'),
             ('check_function_bodies',       'on')) as s(name, value);

-- Will this place do?

if install_schema is null then
  raise exception 'alpha-db: no schema to install into'
    using errcode = '3F000', hint = 'Create the schema and put it first on search_path.';
end if;
if exists (select from pg_class as c
           join pg_roles as r on r.oid = c.relowner and r.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$'
           where c.oid = to_regclass(format('%I.installed_migrations', install_schema))) then
  perform set_config('search_path', previous_path, true);
  return;
end if;
prefix := coalesce(current_setting('alpha.role_prefix', true), '');
owner_role := prefix || 'alpha_owner';
if install_schema ~ '^pg_' or install_schema = 'information_schema' then
  raise exception 'alpha-db: % is a system schema', install_schema
    using errcode = '42939', hint = 'Put a schema of your own first on search_path.';
end if;
if current_setting('server_version_num')::integer < 150000 then
  raise exception 'alpha-db needs PostgreSQL 15 or newer, this is %', current_setting('server_version')
    using errcode = '0A000';
end if;
if current_setting('server_encoding') <> 'UTF8' then
  raise exception 'alpha-db needs a database in UTF8, this one is %', current_setting('server_encoding')
    using errcode = '0A000', hint = 'create database … encoding ''UTF8'' template template0';
end if;
if prefix !~ '^([a-z][a-z0-9_]{0,39})?$' then
  raise exception 'alpha-db: alpha.role_prefix "%" is not a lower-case name of at most 40 characters', prefix
    using errcode = '22023';
end if;

-- Citus would send all of this to other nodes, too, or keep the rows there. _refuse_citus asks the same later.
if to_regclass('pg_catalog.pg_dist_partition') is not null then
  select string_agg(s.name || ' is on', ', '),
         string_agg(format('alter role %I set %s = off', session_user, s.name), '; ')
    into obstacle, cure
  from unnest(array['citus.enable_ddl_propagation', 'citus.enable_schema_based_sharding']) as s(name)
  where lower(current_setting(s.name, true)) in ('on', 'true', 'yes', '1');
  if has_table_privilege(to_regclass('pg_catalog.pg_dist_schema'), 'select') then
    -- plpgsql looks for the table only when it comes here.
    obstacle := concat_ws(', ', obstacle, (select format('schema %I is distributed', n.nspname)
                                           from pg_dist_schema as d join pg_namespace as n on n.oid = d.schemaid
                                           where n.nspname = install_schema));
  end if;
  if obstacle <> '' then
    raise exception 'alpha-db: Citus would distribute this installation: %', obstacle
      using errcode = '0A000',
            hint = concat_ws('. ', 'Connect again after: ' || cure,
                             case when obstacle ~ 'is distributed$' then
                               format('Make the schema local: select citus_schema_undistribute(%L)',
                                      quote_ident(install_schema)) end);
  end if;
end if;

-- One install at a time

-- Any login could hold an advisory lock; this name can be held only by a role that may create
-- objects here. The first transaction to make the table goes on, and the others wait at its name until that one has
-- ended.
begin
  if not has_schema_privilege(current_user, install_schema, 'create')
     and exists (select from pg_roles where rolname = prefix || 'alpha_owner') then
    perform set_config('role', prefix || 'alpha_owner', true);  -- an administrator has prepared everything for it
  end if;
  execute format('create table %I.lock_migrations ()', install_schema);
  perform set_config('role', previous_role, true);
exception
  when duplicate_table or unique_violation then
    if exists (select from pg_class as c
               join pg_roles as r on r.oid = c.relowner and r.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$'
               where c.oid = to_regclass(format('%I.installed_migrations', install_schema))) then
      perform set_config('search_path', previous_path, true);
      return;  -- somebody else has installed it meanwhile
    end if;
    raise exception 'alpha-db: schema % holds a table or a type lock_migrations, which is not ours', install_schema
      using errcode = '42P07', hint = 'Drop it, or install into a schema of its own.';
  when insufficient_privilege then null;  -- what is missing is said below
end;

-- The roles

-- Roles belong to the whole cluster: another database may create the same ones at the same moment.
foreach role_name in array array['alpha_owner', 'app_trading', 'app_auditor', 'app_risk'] loop
  if not exists (select from pg_roles where rolname = prefix || role_name) then
    begin
      execute format('create role %I nologin', prefix || role_name);
    exception
      when duplicate_object or unique_violation then null;
      when insufficient_privilege then
        raise exception 'alpha-db: role % does not exist and % may not create it', prefix || role_name, current_user
          using errcode = '42501',
                hint = 'Give the migrating role CREATEROLE, or let an administrator create the role.';
    end;
  end if;
end loop;

-- Everything is made as alpha_owner from the start, so the migrating role must be able to become it. An install
-- elsewhere that grants it at the same moment makes this one wait for it, and fail; so it looks again.
for attempt in 1 .. 3 loop
  exit when (select rolsuper from pg_roles where rolname = current_user)
         or pg_has_role(current_user, owner_role, 'usage')
            and (current_setting('server_version_num')::integer < 160000
                 or pg_has_role(current_user, owner_role, 'set'));
  begin
    execute format('grant %I to %I %s', owner_role, current_user,
                   case when current_setting('server_version_num')::integer >= 160000
                        then 'with inherit true, set true' end);
  exception
    when insufficient_privilege then
      raise exception 'alpha-db: % may not become %, which somebody else created', current_user, owner_role
        using errcode = '42501',
              hint = format('Let an administrator run: grant %I to %I; or set alpha.role_prefix for roles of your own.',
                            owner_role, current_user);
    when unique_violation or internal_error then null;  -- "tuple concurrently updated" is an internal error
  end;
end loop;

-- The schema

begin
  if not (has_schema_privilege(owner_role, install_schema, 'create')
          and has_schema_privilege(owner_role, install_schema, 'usage')) then
    execute format('grant usage, create on schema %I to %I', install_schema, owner_role);
  end if;
  execute format('grant usage on schema %I to %I, %I, %I', install_schema,
                 prefix || 'app_trading', prefix || 'app_auditor', prefix || 'app_risk');
exception when insufficient_privilege then null;  -- judged by its result, just below
end;
if not has_schema_privilege(owner_role, install_schema, 'create')
   or not has_schema_privilege(owner_role, install_schema, 'usage') then
  raise exception 'alpha-db: % may not create objects in schema %', owner_role, install_schema
    using errcode = '42501',
          hint = format('As the schema''s owner: grant usage, create on schema %I to %I with grant option',
                        install_schema, current_user);
end if;
-- Anyone who may create objects here could put a function in front of ours.
select string_agg(coalesce(quote_ident(r.rolname), 'PUBLIC'), ', ') into role_name
from pg_namespace n
cross join lateral aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) as a
left join pg_roles r on r.oid = a.grantee
where n.nspname = install_schema and a.privilege_type = 'CREATE' and a.grantee <> n.nspowner
  and (r.oid is null or not pg_has_role(r.oid, owner_role, 'member'));
if role_name is not null then
  raise exception 'alpha-db: in schema % others than its owner and % may create objects: %',
    install_schema, owner_role, role_name
    using errcode = '42501', hint = format('revoke create on schema %I from %s', install_schema, role_name);
end if;
-- And what somebody left here earlier would stand beside our own functions. The schema's owner may keep functions here,
-- but none that could be taken for one of PostgreSQL's own while this runs.
select string_agg(distinct format('%s of %I',
         coalesce((select 'extension ' || e.extname
                   from pg_depend as d join pg_extension as e on e.oid = d.refobjid
                   where d.refclassid = 'pg_extension'::regclass and d.deptype = 'e'
                     and d.classid = o.classid and d.objid = o.oid), o.name),
         pg_get_userbyid(o.owner)), ', ')
into role_name
from (select 'pg_proc'::regclass as classid, p.oid, p.oid::regprocedure::text as name,
             p.proowner as owner, p.pronamespace as namespace,
             exists (select from pg_proc as s
                     where s.proname = p.proname and s.pronamespace = 'pg_catalog'::regnamespace) as shadows
      from pg_proc as p
      union all
      select 'pg_operator'::regclass, q.oid, q.oid::regoperator::text, q.oprowner, q.oprnamespace, true
      from pg_operator as q) as o
join pg_namespace as n on n.oid = o.namespace and n.nspname = install_schema
where not pg_has_role(o.owner, owner_role, 'member')
  and (not pg_has_role(o.owner, n.nspowner, 'member')
       or o.shadows and o.owner <> (select r.oid from pg_roles as r where r.rolname = current_user));
if role_name is not null then
  raise exception 'alpha-db: schema % holds functions or operators of others: %', install_schema, role_name
    using errcode = '42501', hint = 'Drop them, or install into a schema of its own.';
end if;

-- Become the owner

-- The name lock_migrations stays ours until the end of the transaction.
if to_regclass(format('%I.lock_migrations', install_schema)) is not null then
  execute format('drop table %I.lock_migrations', install_schema);
end if;
-- _finish_migration gives these back.
perform set_config('alpha.previous_role', previous_role, true);
perform set_config('alpha.previous_search_path', previous_path, true);
perform set_config('role', owner_role, true);
-- "set search_path from current" below pins every function to this.
perform set_config('search_path', quote_ident(install_schema) || ', pg_temp', true);

{body}
perform _finish_migration('{name}');
end
$migration$;
