-- 001_core_functions: what every later migration stands on. Roles, the register of this installation, refusals that
-- leave a trace, exact decimals, the hash chain, its verification, and the guards over all of it.
-- Installs into the first schema on search_path. Needs CREATEROLE and CREATE (with grant option) on that schema.
-- Built from sql/ by bin/build; change it there.

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

-- sql/01_install/register.sql

-- The register of this installation
--
-- installation says who this installation is, and what its roles are called; installed_migrations what was applied to
-- it, when and by whom. Only migrations and rollbacks write them (06_guards/attach.sql attaches the triggers). Several
-- installations of one cluster may have roles of their own: alpha.role_prefix, set when the first migration is applied,
-- stands before each name. So all others ask _owner_role() and _app_role() for the names.

-- Locks. They are tables, because anyone could hold an advisory lock, and LOCK TABLE in this mode needs a right to
-- change the table.

create table lock_migrations ();
comment on table lock_migrations is
  'Empty. A migration or a rollback holds its SHARE UPDATE EXCLUSIVE lock until its transaction ends.';
create table lock_migrate_sessions ();
comment on table lock_migrate_sessions is
  'Empty. "alpha-db migrate" holds its SHARE UPDATE EXCLUSIVE lock as long as it runs: through several '
  'migrations, and their marks for yoyo.';
create table installation (
  singleton        boolean      not null  default true,
  installation_id  uuid         not null  default gen_random_uuid(),
  role_prefix      text         not null,
  installed_at     timestamptz  not null  default clock_timestamp(),
  constraint installation_pkey primary key (singleton),
  constraint installation_is_one_row check (singleton)
);
comment on table  installation                 is 'One row: the identity of this installation.';
comment on column installation.singleton       is 'Always true; keeps the table at one row.';
comment on column installation.installation_id is
  'Identity of this installation, signed into checkpoints and proposals.';
comment on column installation.role_prefix is
  'What stands before the names of alpha_owner, app_trading, app_auditor and app_risk.';
comment on column installation.installed_at    is 'When 001_core_functions was applied.';
insert into installation (role_prefix) values (coalesce(current_setting('alpha.role_prefix', true), ''));
create table installed_migrations (
  name            text         not null,
  checksum        char(64)     null,
  applied_at      timestamptz  not null,
  applied_by      text         not null,
  server_version  text         not null,
  constraint installed_migrations_pkey primary key (name)
);
comment on table installed_migrations is
  'The migrations that are installed, each recorded in its own transaction.';
comment on column installed_migrations.name           is 'File name without .sql.';
comment on column installed_migrations.checksum is
  'SHA-256 of the migration''s text from the first "do $migration" to the last tag; null if it could not be seen.';
comment on column installed_migrations.applied_at     is 'When the migration ran.';
comment on column installed_migrations.applied_by     is 'The login that ran it.';
comment on column installed_migrations.server_version is 'PostgreSQL version it ran on.';
create function _running_migration_checksum() returns text
language sql volatile
set search_path from current
set standard_conforming_strings = on
as $function$
  -- current_query() is the text that psql, yoyo or a driver sent, so every way of applying records the same.
  select encode(sha256(convert_to(
           substring(current_query() from '(do [$]migration[$].*[$]migration[$])'), 'UTF8')), 'hex');
$function$;
comment on function _running_migration_checksum is
  'SHA-256 of the migration that is running, in hex; null outside a migration.';
create function _owner_role() returns text
language sql stable
set search_path from current
as $function$
  select i.role_prefix || 'alpha_owner' from only installation as i;
$function$;
comment on function _owner_role is 'Name of the role that owns every object of this installation.';
create function _app_role(name text) returns text
language sql stable
set search_path from current
as $function$
  select i.role_prefix || _app_role.name from only installation as i;
$function$;
comment on function _app_role is
  'Name of an application role of this installation: its prefix and app_trading, app_auditor or app_risk.';
-- Only for the text of migrations: privilege is SQL as it stands. A routine is named without its arguments, so it must
-- not be overloaded.
create function _grant(privilege text, objects text[], roles text[]) returns void
language plpgsql
set search_path from current
as $function$
begin
  execute format('grant %s %s to %s', privilege,
                 (select string_agg(quote_ident(o.name), ', ') from unnest(objects) as o(name)),
                 (select string_agg(quote_ident(_app_role(r.name)), ', ') from unnest(roles) as r(name)));
end
$function$;
comment on function _grant is
  'Grants a privilege, such as "select on" or "execute on routine", on objects of this schema to application roles.';

-- sql/01_install/fill.sql

-- Templates with names
--
-- Some SQL is written once for each table: the chain triggers, the queries that verify a chain. Such a text is a
-- template that reads as the SQL it becomes, and _fill puts the names and values in:
--
--   execute _fill($query$
--     select t.row_hash from only {table:I} as t where t.id >= {first:L} and {condition:s}
--   $query$, 'table', table_name, 'first', first_id::text, 'condition', 'true');
--
--   {name:I}  an identifier, quoted where it must be
--   {name:L}  a literal; NULL for null
--   {name:s}  SQL as it stands: only for text that the code has made itself
--
-- What a value contains is never read as a placeholder. Other braces ('{a,b}', {64}, {}) and % stay as they are, so a
-- template may call format() itself. Short statements with one or two values use format() and need no names.

create function _fill(template text, variadic names_and_values text[]) returns text
language plpgsql immutable
set search_path from current
as $function$
declare
  filled  text := replace(template, '%', '%%');
  before  text;
begin
  -- {table:I} becomes %2$I, if its value is the second element: then format() does the rest in one pass.
  for place in 1 .. cardinality(names_and_values) by 2 loop
    before := filled;
    filled := regexp_replace(filled, format('[{]%s:([ILs])[}]', names_and_values[place]),
                             E'%' || place + 1 || E'$\\1', 'g');
    if filled = before then
      raise exception 'the template has no placeholder {%}', names_and_values[place] using errcode = '22023';
    end if;
  end loop;
  if filled ~ '[{][a-z_]+:[ILs][}]' then
    raise exception 'the template lacks a value: %', substring(filled from '[{][a-z_]+:[ILs][}]')
      using errcode = '22023';
  end if;
  return format(filled, variadic names_and_values);
end
$function$;
comment on function _fill is
  'The template with its placeholders filled in: {name:I} an identifier, {name:L} a literal, {name:s} SQL as it '
  'stands.';
-- A procedure that commits can pin no search_path: each name in it is qualified.
create function _create_at_home(template text) returns void
language plpgsql
set search_path from current
as $function$
begin
  execute _fill(template, 'home', current_schema());
end
$function$;
comment on function _create_at_home is
  'Creates what a template says, with {home:I} filled in: the schema of this installation.';

-- sql/01_install/migrations.sql

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

-- sql/02_refusals/refuse.sql

-- Refusals
--
-- Everything that alpha-db refuses on purpose goes through _refuse(), which leaves three traces:
--
-- 1. the exception, with an SQLSTATE of its own (AUD-001 is AUD01), DETAIL, HINT, schema, table and column;
-- 2. a line in the server's log, "alpha-db attempt {json}", which says who tried what. A rollback does not undo it;
-- 3. a count, which a rollback does not undo either, because it is a sequence: nextval is never undone.
--    attempt_counters says which sequence counts which kind of attempt, and rejected_attempts() reads them all. An
--    attempt without a counter is not counted.

create table attempt_counters (
  code           text  not null,
  table_name     text  not null,
  operation      text  not null,
  sequence_name  text  not null,
  constraint attempt_counters_pkey primary key (code, table_name, operation)
);
comment on table attempt_counters is
  'Which sequence counts which kind of rejected attempt. A sequence, because a rollback does not undo nextval.';
comment on column attempt_counters.code          is 'Error code, AUD-001 and so on.';
comment on column attempt_counters.table_name is
  'The table that was protected; the domain if a domain found AUD-001.';
comment on column attempt_counters.operation     is 'INSERT, UPDATE, DELETE, TRUNCATE, CAST or DDL.';
comment on column attempt_counters.sequence_name is 'The sequence, in the install schema.';
create function _count_attempts(code text, table_name text, operation text) returns void
language plpgsql
set search_path from current
as $function$
declare
  sequence_name text := format('attempts_%s_%s_%s', lower(replace(code, '-', '')), lower(operation), table_name);
begin
  if exists (select from only attempt_counters as a
             where (a.code, a.table_name, a.operation)
                 = (_count_attempts.code, _count_attempts.table_name, _count_attempts.operation)) then
    return;
  end if;
  execute format('create sequence %I', sequence_name);
  execute format('comment on sequence %I is %L', sequence_name,
                 format('Counts %s refused with %s on %s.', operation, code, table_name));
  insert into attempt_counters values (code, table_name, operation, sequence_name);
end
$function$;
comment on function _count_attempts is 'Makes the counter for a kind of rejected attempt. Migrations call it.';
create function _forget_attempts(table_name text) returns void
language plpgsql
set search_path from current
as $function$
declare
  counter record;
begin
  for counter in
    delete from only attempt_counters as a where a.table_name = _forget_attempts.table_name returning a.sequence_name
  loop
    execute format('drop sequence %I', counter.sequence_name);
  end loop;
end
$function$;
comment on function _forget_attempts is 'Drops the counters of a table. Rollbacks call it.';
create function rejected_attempts()
returns table (code text, table_name text, operation text, attempts bigint)
language sql stable security definer
set search_path from current
as $function$
  select a.code, a.table_name, a.operation,
         coalesce(pg_sequence_last_value(format('%I.%I', n.nspname, a.sequence_name)::regclass), 0)
  from only attempt_counters as a
  join pg_class as c on c.oid = a.tableoid
  join pg_namespace as n on n.oid = c.relnamespace
  order by a.code, a.table_name, a.operation;
$function$;
comment on function rejected_attempts is
  'How often each kind of attempt was refused, rolled back or not. After a server crash a count may read up to 32 '
  'high.';
create function _refuse(
  code         text,
  message      text,
  detail       text,
  hint         text,
  table_name   text,
  operation    text,
  row_id       bigint  default null,
  column_name  text    default null
) returns void
language plpgsql
set search_path from current
as $function$
declare
  sequence_name  text;
  number         bigint;
begin
  if current_setting('transaction_read_only') = 'off' then
    select a.sequence_name into sequence_name from only attempt_counters as a
    where (a.code, a.table_name, a.operation) = (_refuse.code, _refuse.table_name, _refuse.operation);
    if found then
      begin
        number := nextval(format('%I.%I', current_schema(), sequence_name)::regclass);
      exception when others then null;  -- a broken counter is a changed guard; the refusal counts more than the count
      end;
    end if;
  end if;
  -- In our SECURITY DEFINER triggers current_user is the owner, so the setting "role" says who acts.
  -- Anyone can print such a line. A number that the counter gave shows that a refusal ran, not that a row was really
  -- tried: app_trading may call the _refuse_… functions of 09_write itself.
  raise log 'alpha-db attempt %', jsonb_build_object(
    'code', code, 'schema', current_schema(), 'table', table_name, 'operation', operation, 'row_id', row_id,
    'number', number,
    'session_user', session_user,
    'current_user', coalesce(nullif(current_setting('role'), 'none'), session_user),
    'client_address', host(inet_client_addr()), 'application', current_setting('application_name'));
  raise exception using
    errcode = left(code, 3) || right(code, 2),
    message = code || ': ' || message,
    detail  = coalesce(detail, ''),
    hint    = coalesce(hint, ''),
    schema  = current_schema(),
    table   = table_name,
    column  = coalesce(column_name, '');
end
$function$;
comment on function _refuse is
  'Writes the log line "alpha-db attempt {json}", counts the attempt, and raises the code. Never returns.';
create function _require_primary(what text) returns void
language plpgsql stable
set search_path from current
as $function$
begin
  if pg_is_in_recovery() then
    raise exception '% writes, and this server is a standby, where nothing can be written', what
      using errcode = '25006', hint = 'Connect to the primary, and call it there.';
  elsif current_setting('transaction_read_only') = 'on' then
    raise exception '% writes, and this transaction is read-only', what
      using errcode = '25006', hint = 'Call it in a transaction that may write.';
  end if;
end
$function$;
comment on function _require_primary is
  'Raises 25006 on a standby and in a read-only transaction. What takes a lock before it writes calls it first, or '
  'PostgreSQL would complain about LOCK TABLE. What inserts at once does without: PostgreSQL''s own error is clear.';

-- sql/02_refusals/protect.sql

-- Tables that refuse changes
--
-- What each table refuses is a matter of triggers. PostgreSQL fires them by name, so their numbers are the
-- order:
--
--   _050_owner_only          refuses rows that alpha-db's own functions, which write as the owner, did not make
--   _100_reject_change       refuses UPDATE and DELETE; of a register, only outside of a migration
--   _200_reject_truncate     refuses TRUNCATE
--   _400_raise_alarm         raises the alarm of a replicated lockdown event (07_audit/attach.sql)
--   _500_validate            refuses rows of internal tables that cannot be right: each table has a function of its
--                            own, in its chapter
--   _500_sign                says who applied a migration, and when (06_guards/attach.sql)
--   zzz_chain                validates rows of the audit log, and links every row into the hash chain
--                            (04_chain/trigger.sql); last before the row is stored, because a later trigger could
--                            change what was hashed
--   _600_check_bootstrap     after the row, on agents: the bootstrap as a whole (12_consensus/validate.sql)
--   _900_refuse_in_lockdown  after the statement: compares the alarm once more (04_chain/attach.sql)
--
-- _100 and _200 are ENABLE ALWAYS: session_replication_role = replica must not switch them off. _050 is not, because
-- rows that are replicated or restored must pass. No trigger stops the owner from dropping a trigger; verify_guards()
-- reports that (06_guards).

-- The functions that triggers call

-- It calls _was_removed (04_chain/starts.sql) and _is_stray_node (13_merkle/nodes.sql).
create function _may_leave(table_name text, old_row jsonb) returns boolean
language plpgsql stable
set search_path from current
as $function$
begin
  -- A deletion is rare, so what it asks for may cost more than it saves.
  if table_name = 'log_nodes' then
    return _is_stray_node(old_row);
  end if;
  return old_row ->> 'id' ~ '^[0-9]{1,18}$' and _was_removed(table_name, (old_row ->> 'id')::bigint);
end
$function$;
comment on function _may_leave is
  'Whether a row may be deleted: one that retention removes, or a stored node that belongs to no row.';
create function _reject_change() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if tg_op = 'DELETE' and _may_leave(tg_argv[0], to_jsonb(old)) then
    return old;
  end if;
  perform _refuse(
    tg_argv[case tg_op when 'UPDATE' then 1 else 2 end],
    format('%s on %s refused', tg_op, tg_argv[0]),
    format('%s of %s would be changed by %s.',
           coalesce('Row ' || (to_jsonb(old) ->> 'id'), 'A row'), tg_argv[0], session_user),
    'Rows of this table are never changed or removed. To correct one, record a new row.',
    tg_argv[0], tg_op, (to_jsonb(old) ->> 'id')::bigint);
  return null;
end
$function$;
comment on function _reject_change is
  'Row trigger: refuses every UPDATE, and every DELETE but of what may leave. Arguments: table, code for UPDATE, code '
  'for DELETE.';
create function _reject_truncate() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  perform _refuse(
    tg_argv[1], format('TRUNCATE on %s refused', tg_argv[0]),
    format('All rows of %s would be removed by %s.', tg_argv[0], session_user),
    'Rows of this table are never changed or removed.',
    tg_argv[0], 'TRUNCATE');
  return null;
end
$function$;
comment on function _reject_truncate is 'Statement trigger: refuses TRUNCATE. Arguments: table, code.';
create function _refuse_foreign_row() returns trigger
language plpgsql security definer
set search_path from current
as $function$
declare
  is_risk  boolean := tg_argv[1] ~ '^RSK';
  id       text := to_jsonb(case tg_op when 'DELETE' then old else new end) ->> 'id';
begin
  perform _refuse(
    tg_argv[1],
    format(case when is_risk then '%s on %s was not made by an approved proposal'
                else '%s on %s did not come from alpha-db itself' end, tg_op, tg_argv[0]),
    format('%s tried it, directly%s.', session_user, ': row ' || id),
    case when is_risk then 'select propose(…), then vote(…): docs/risk.md.'
         else 'Only the functions of alpha-db write this table.' end,
    tg_argv[0], tg_op, case when id ~ '^-?[0-9]{1,18}$' then id::bigint end);
  return null;
end
$function$;
comment on function _refuse_foreign_row is
  'Row trigger: refuses rows that alpha-db''s own functions, which write as the owner, did not make. Arguments: '
  'table, code.';
-- Attaching them

create function _reject_changes(table_name text, update_code text, delete_code text, condition text) returns void
language plpgsql
set search_path from current
as $function$
begin
  execute _fill($create$
    create trigger _100_reject_change before update or delete on {table:I}
      for each row {condition:s} execute function _reject_change({table:L}, {update_code:L}, {delete_code:L});
    create trigger _200_reject_truncate before truncate on {table:I}
      for each statement execute function _reject_truncate({table:L}, {delete_code:L});
    alter table {table:I} enable always trigger _100_reject_change, enable always trigger _200_reject_truncate;
    $create$, 'table', table_name, 'condition', condition, 'update_code', update_code, 'delete_code', delete_code);
  execute format('comment on trigger _200_reject_truncate on %I is %L', table_name,
                 'Refuses TRUNCATE, even if session_replication_role is replica.');
end
$function$;
comment on function _reject_changes is
  'Attaches the triggers that refuse UPDATE and DELETE, if a condition holds, and TRUNCATE. Called by the two '
  'functions below it.';
create function _protect_table(table_name text, update_code text, delete_code text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _count_attempts(update_code, table_name, 'UPDATE');
  perform _count_attempts(delete_code, table_name, 'DELETE');
  perform _count_attempts(delete_code, table_name, 'TRUNCATE');
  perform _reject_changes(table_name, update_code, delete_code, '');
  execute format('comment on trigger _100_reject_change on %I is %L', table_name,
                 'Refuses UPDATE and DELETE, even if session_replication_role is replica.');
end
$function$;
comment on function _protect_table is
  'Makes a table append-only: rejecting triggers, ENABLE ALWAYS, and their counters. Codes for UPDATE, and for '
  'DELETE and TRUNCATE.';
create function _owner_only(table_name text, code text, operations text[] default '{INSERT}') returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _count_attempts(code, table_name, o.name) from unnest(operations) as o(name);
  -- The condition is judged as whoever runs the statement: in our SECURITY DEFINER functions that is the owner. A
  -- role that may write all data, or a superuser, gets no further than anybody else.
  execute _fill($create$
    create trigger _050_owner_only before {operations:s} on {table:I}
      for each row when (current_user <> {owner:L}) execute function _refuse_foreign_row({table:L}, {code:L})
    $create$,
    'operations', lower(array_to_string(operations, ' or ')), 'table', table_name, 'owner', _owner_role(),
    'code', code);
  execute format('comment on trigger _050_owner_only on %I is %L', table_name,
                 'Refuses rows that alpha-db''s own functions did not make.');
end
$function$;
comment on function _owner_only is
  'Closes a table to everyone but alpha-db''s functions. Where _protect_table refuses UPDATE and DELETE, INSERT '
  'is enough.';
create function _protect_register(table_name text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _count_attempts('AUD-011', table_name, 'TRUNCATE');
  perform _reject_changes(table_name, 'AUD-011', 'AUD-011',
                          $$when (coalesce(current_setting('alpha.maintenance', true), '') = '')$$);
  execute format(
    'comment on trigger _100_reject_change on %I is %L', table_name,
    'Refuses UPDATE and DELETE except by a migration or a rollback, even if session_replication_role is replica.');
  perform _owner_only(table_name, 'AUD-011', '{INSERT,UPDATE,DELETE}');
end
$function$;
comment on function _protect_register is
  'Protects a register, which has no chain: only migrations and rollbacks change its rows, as the owner with '
  'alpha.maintenance set.';

-- sql/03_values/decimals.sql

-- Values that a column cannot hold exactly
--
-- 1. Exact decimals. A column of type numeric(28,10) rounds before any trigger sees the value. A domain does not
--    round, so money has domains over plain numeric whose CHECK refuses (AUD-001, and RSK-001 for limits) what the
--    column would round, NaN and infinities. The name of a domain says its digits and its scale: decimal_28_10.
--    17_risk/decimals.sql makes those of the limits.
-- 2. Binary floats, which have lost digits before they arrive (AUD-001). The functions of 09_write ask.
-- 3. Texts that are too long for their varchar (AUD-012). The functions of 09_write ask, because PostgreSQL's own
--    error names no column, and because a cast to varchar(n) silently cuts blanks off.

-- Exact decimals

create function _shortened(value numeric) returns text
language sql immutable
set search_path from current
as $function$
  select case when char_length(v.digits) <= 60 then v.digits
              else format('%s… (%s characters)', left(v.digits, 40), char_length(v.digits)) end
  from (select value::text as digits) as v;
$function$;
comment on function _shortened is 'A number as text; of a long one, the beginning and its length.';
create function _refuse_decimal(value numeric, domain_name text) returns boolean
language plpgsql security definer
set search_path from current
as $function$
declare
  is_limit  boolean := split_part(domain_name, '_', 1) = 'risk';
  code      text    := case when is_limit then 'RSK-001' else 'AUD-001' end;
  digits    integer := split_part(domain_name, '_', 2)::integer;
  scale     integer := split_part(domain_name, '_', 3)::integer;
begin
  perform _refuse(
    code, format('decimal(%s,%s) cannot hold %s exactly', digits, scale, _shortened(value)),
    case when value::text in ('NaN', 'Infinity', '-Infinity')
         then format('%s is not %s.', value, case when is_limit then 'a limit' else 'an amount' end)
         else format('It has room for %s digits before the point and %s after it.', digits - scale, scale) end,
    case when is_limit then 'Propose a value with fewer digits.'
         when value::text in ('NaN', 'Infinity', '-Infinity') then 'Reject the value in the application.'
         else 'Keep the exact number as text in the payload, and round or convert it for the column: '
              'the database never drops a digit silently.' end,
    domain_name, 'CAST');
  return false;
end
$function$;
comment on function _refuse_decimal is
  'Raises AUD-001, or RSK-001 for a limit: the value has more digits than the domain allows, or is NaN or infinite.';
create domain decimal_28_10 as numeric
  constraint decimal_28_10_is_exact check (
    case when value is null then true
         when min_scale(value) <= 10 and abs(value) < 1000000000000000000 then true
         else _refuse_decimal(value, 'decimal_28_10') end);
create domain decimal_28_2 as numeric
  constraint decimal_28_2_is_exact check (
    case when value is null then true
         when min_scale(value) <= 2 and abs(value) < 100000000000000000000000000::numeric then true
         else _refuse_decimal(value, 'decimal_28_2') end);
create domain decimal_5_4 as numeric
  constraint decimal_5_4_is_exact check (
    case when value is null then true
         when min_scale(value) <= 4 and abs(value) < 10 then true
         else _refuse_decimal(value, 'decimal_5_4') end);
comment on domain decimal_28_10 is
  'decimal(28,10) that refuses (AUD-001) where numeric(28,10) would round: prices and quantities.';
comment on domain decimal_28_2  is
  'decimal(28,2) that refuses (AUD-001) where numeric(28,2) would round: equity in rand.';
comment on domain decimal_5_4   is
  'decimal(5,4) that refuses (AUD-001) where numeric(5,4) would round: shares and scores.';
perform _count_attempts('AUD-001', 'decimal_28_10', 'CAST');
perform _count_attempts('AUD-001', 'decimal_28_2',  'CAST');
perform _count_attempts('AUD-001', 'decimal_5_4',   'CAST');
-- Binary floats, and texts that are too long

create function _refuse_float(argument text, argument_type regtype) returns void
language plpgsql security definer
set search_path from current
as $function$
declare
  base_type regtype := argument_type;
begin
  while (select t.typtype from pg_type as t where t.oid = base_type) = 'd' loop
    base_type := (select t.typbasetype from pg_type as t where t.oid = base_type);
  end loop;
  if base_type not in ('double precision'::regtype, 'real'::regtype) then
    return;
  end if;
  perform _refuse(
    'AUD-001', format('%s came as %s, a binary float', argument, argument_type),
    'Binary floats cannot hold most decimal fractions, so digits are lost before the database sees them.',
    'Pass numeric, or an untyped literal: 64123.55::numeric or ''64123.55''.', 'float', 'CAST');
end
$function$;
comment on function _refuse_float is
  'Raises AUD-001 if an amount came as double precision or real, or as a domain over one of them.';
perform _count_attempts('AUD-001', 'float', 'CAST');
create function _refuse_too_long(table_name text, column_names text[], given text[]) returns void
language plpgsql security definer
set search_path from current
as $function$
declare
  item record;
begin
  select n.column_name, char_length(n.value) as length, left(n.value, 40) as beginning, a.atttypmod - 4 as longest,
         a.atttypid = 'varchar'::regtype as is_varchar
  into item
  from unnest(column_names, given) with ordinality as n(column_name, value, place)
  join pg_attribute as a
    on a.attrelid = format('%I.%I', current_schema(), table_name)::regclass and a.attname = n.column_name
  where a.atttypid in ('varchar'::regtype, 'bpchar'::regtype) and char_length(n.value) > a.atttypmod - 4
    and a.atttypmod >= 4
  order by n.place limit 1;
  if found then
    perform _refuse(
      'AUD-012', format('%s of %s is too long', item.column_name, table_name),
      format('It has %s characters, blanks at its end included, and the column takes %s. It begins with %s.',
             item.length, item.longest, to_json(item.beginning)),
      'Send a shorter value: the database never cuts one silently.'
      || case when item.is_varchar and item.length <= 500 then format(
        ' Or have the owner of the database make room: select widen_column(%L, %L, %s), with alpha.maintenance set.',
        table_name, item.column_name, item.length) else '' end,
      table_name, 'INSERT', column_name => item.column_name);
  end if;
end
$function$;
comment on function _refuse_too_long is
  'Raises AUD-012 if one of these values is longer than its column. PostgreSQL would refuse it without naming '
  'the column, or cut it if it ends in blanks.';

-- sql/04_chain/register.sql

-- The hash chains: which tables are chained, and with which columns their rows were hashed
--
-- A chained table has id (1, 2, 3, without a gap), created_at and row_hash. Its chain is named after it. This chapter
-- stands in the order in which it is needed: the two registers; what a chain must have (condition.sql); which columns
-- are hashed (columns.sql); what the trigger checks and raises (checks.sql); how a row enters the chain (trigger.sql);
-- how a table becomes a chain (attach.sql), grows columns (extend.sql) and gets longer ones (widen.sql); its rows as
-- they were hashed (rows.sql) and its head (status.sql). The format is described in docs/chain-format.md.

create table chains (
  table_name        text     not null,
  position          integer  not null,
  is_internal       boolean  not null,
  is_own            boolean  not null  default false,
  open_in_lockdown  boolean  not null,
  row_limit         bigint   not null  default 16777216,
  validation        text     not null  default '',
  constraint chains_pkey primary key (table_name),
  constraint chains_position_key unique (position),
  constraint chains_row_limit_is_sane check (row_limit between 65536 and 134217728)
);
comment on table chains is
  'The chained tables. Transactions that write several take them in the order of position.';
comment on column chains.table_name       is 'Name of the table, and identity of its chain.';
comment on column chains.position         is 'Place in the lock order.';
comment on column chains.is_internal      is 'True for alpha-db''s own tables; false for the audit log.';
comment on column chains.is_own           is 'True for a table of the users, which chain_table put under the chain.';
comment on column chains.open_in_lockdown is 'Whether rows are accepted while the lockdown is engaged.';
comment on column chains.row_limit is
  'How many bytes the long values of a row may print to: a row that is longer is refused (AUD-012).';
comment on column chains.validation is
  'Statements of the chain trigger that complete a row, or refuse one that cannot be right.';
create table chain_columns (
  id            bigserial    not null,
  table_name    text         not null,
  from_id       bigint       not null,
  column_names  text[]       not null,
  older_values  jsonb        not null,
  row_hash      char(64)     not null,
  created_at    timestamptz  not null,
  recorded_by   text         not null,
  constraint chain_columns_pkey primary key (id),
  constraint chain_columns_from_id_is_positive check (from_id >= 1)
);
comment on table chain_columns is
  'With which columns the rows of a chain were hashed. Append-only and chained itself.';
comment on column chain_columns.id           is 'Position in the chain.';
comment on column chain_columns.table_name   is 'The chained table.';
comment on column chain_columns.from_id is
  'First row that was hashed with these columns; a later entry for the same row wins.';
comment on column chain_columns.column_names is 'The hashed columns, in the order in which row_data prints them.';
comment on column chain_columns.older_values is
  'What every older row holds in the columns that this entry added: edits there are found too.';
comment on column chain_columns.row_hash     is 'SHA-256 of the previous row_hash and this row.';
comment on column chain_columns.created_at   is 'When the entry was made.';
comment on column chain_columns.recorded_by  is 'The login that made it.';
-- It calls _chain_or_error (condition.sql) and _hashed_columns (columns.sql). 06_guards/attach.sql attaches it.
create function _check_chain_columns() returns trigger
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  present  text[];
  known    text[];
  added    text[];
  tail_id  bigint;
  differs  boolean := false;
  item     record;
begin
  perform _chain_or_error(new.table_name);
  select array_agg(h.column_name order by h.place) into present from _hashed_columns(new.table_name) as h;
  select c.column_names into known from only chain_columns as c
  where c.table_name = new.table_name order by c.id desc limit 1;
  execute format('select coalesce(max(t.id), 0) from only %I as t', new.table_name) into tail_id;
  added := case when known is null then '{}' else present[cardinality(known) + 1:] end;
  if new.column_names is distinct from present or new.from_id is distinct from tail_id + 1
     or known is not distinct from present
     or array(select jsonb_object_keys(new.older_values) order by 1)
        is distinct from array(select a.name from unnest(added) as a(name) order by 1) then
    differs := true;
  else
    for item in select o.key, o.value from jsonb_each(new.older_values) as o loop
      execute format('select exists (select from only %I as t'
                     ' where coalesce(to_jsonb(t.%I), ''null'') is distinct from $1)', new.table_name, item.key)
        into differs using item.value;
      exit when differs;
    end loop;
  end if;
  if differs then
    perform _refuse(
      'AUD-011', format('an entry for %s was refused, because the table is not so', new.table_name),
      format('It has the columns %s, and %s rows.', array_to_string(present, ', '), tail_id),
      format('select chain_extend(%L) records what was added.', new.table_name), tg_argv[0], tg_op);
  end if;
  return new;
end
$function$;
comment on function _check_chain_columns is
  'Row trigger of chain_columns: refuses (AUD-011) an entry that is not what the table is like now. Argument: table.';

-- sql/04_chain/condition.sql

-- What a chain must have before anything is read from it
--
-- A chain that is gone is no empty chain. Whatever reads a chain looks here first, and gets the chain's entry or an
-- error:
--
--   chain_genesis      what stands in the place of a previous hash in row 1
--   _require_register  the register itself, the table chains
--   _chain_or_error    the entry of a chain; 42P01 if there is none
--   _missing_part      what of the table is gone, in words
--   _require_chain     the entry; AUD-009 if the table or a hashed column is gone
--   _sees_every_row    no row-level security hides rows
--   _ahead_of_clock    whether the last row's time has not come yet
--
-- _missing_part reads guard_states (06_guards/states.sql), once that is there.

create function chain_genesis(table_name text) returns text
language sql immutable strict
set search_path from current
as $function$
  select encode(sha256(convert_to('alpha-db/chain/v1/' || chain_genesis.table_name, 'UTF8')), 'hex');
$function$;
comment on function chain_genesis is 'The previous hash of a table''s row 1, in hex.';
create function _require_register() returns void
language plpgsql stable
set search_path from current
as $function$
begin
  if to_regclass(format('%I.chains', current_schema())) is null then
    raise exception 'AUD-009: the register of the chains is gone: there is no table chains in schema %',
      current_schema()
      using errcode = 'AUD09', detail = 'It says which tables are chained, so nothing can be verified without it.',
            hint = 'Restore schema and data from a dump: docs/operations.md.';
  end if;
end
$function$;
comment on function _require_register is 'Raises AUD-009 if the table chains itself was dropped or renamed.';
create function _chain_or_error(table_name text) returns chains
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  chain chains;
begin
  select * into chain from only chains as c where c.table_name = _chain_or_error.table_name;
  if not found then
    raise exception '% is not a chained table', coalesce(quote_ident(table_name), 'NULL')
      using errcode = '42P01',
            hint = format('The chained tables are: %s.',
                          (select string_agg(c.table_name, ', ' order by c.position) from only chains as c));
  end if;
  return chain;
end
$function$;
comment on function _chain_or_error is 'The entry of a chained table; raises 42P01 if there is none.';
create function _missing_part(table_name text) returns text
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  relation  regclass := to_regclass(format('%I.%I', current_schema(), table_name));
  kind      text := (select c.relkind from pg_class as c where c.oid = relation);
  needed    text[] := '{id,created_at,row_hash}';
  lost      text[];
begin
  if relation is null then
    return format('the table %s is not there: it was dropped, renamed or moved to another schema', table_name);
  elsif kind <> 'r' then
    return format('%s is not an ordinary table any more, but %s', table_name,
                  case kind when 'v' then 'a view'
                            when 'm' then 'a materialized view'
                            when 'p' then 'a partitioned table'
                            when 'f' then 'a foreign table'
                            else 'something else' end);
  end if;
  if to_regclass(format('%I.chain_columns', current_schema())) is not null then
    needed := needed || array(select distinct u.name
                              from only chain_columns as c cross join lateral unnest(c.column_names) as u(name)
                              where c.table_name = _missing_part.table_name);
  end if;
  lost := array(select n.name from unnest(needed) as n(name)
                where not exists (select from pg_attribute as a
                                  where a.attrelid = relation and a.attname = n.name
                                    and a.attnum > 0 and not a.attisdropped));
  -- An entry of chain_columns may be forged: only what some state of the guards saw was ever there.
  if lost <> '{}' and not lost && '{id,created_at,row_hash}'
     and to_regclass(format('%I.guard_states', current_schema())) is not null then
    lost := array(select l.name from unnest(lost) as l(name)
                  where exists (select from only guard_states as g
                                where g.facts @> jsonb_build_array(
                                                   jsonb_build_array('column', table_name || '.' || l.name, 'type'))));
  end if;
  if lost <> '{}' then
    return format('%s has lost what its rows were hashed with: %s', table_name, array_to_string(lost, ', '));
  end if;
  return null;
end
$function$;
comment on function _missing_part is
  'What of a chained table is gone, in words: the table itself, or columns that its rows were hashed with. Null if '
  'nothing is.';
create function _require_chain(table_name text) returns chains
language plpgsql stable
set search_path from current
as $function$
declare
  chain    chains := _chain_or_error(table_name);
  missing  text := _missing_part(table_name);
begin
  if missing is not null then
    raise exception 'AUD-009: %', missing
      using errcode = 'AUD09', table = table_name, detail = 'Evidence is read from it, so none can be given.',
            hint = 'Restore the table from a dump: docs/operations.md. alpha-db verify-chain verifies all others.';
  end if;
  return chain;
end
$function$;
comment on function _require_chain is
  'The entry of a chained table; raises 42P01 if there is none, and AUD-009 if the table or a column of it is gone.';
create function _sees_every_row(table_names text[]) returns boolean
language plpgsql immutable
set search_path from current
as $function$
declare
  name text;
begin
  -- IMMUTABLE, so that it is asked when a query is planned: a policy that lets no row through makes a plan that asks
  -- nothing any more. What could change the answer (ALTER TABLE, SET ROLE, row_security) makes PostgreSQL plan again.
  foreach name in array table_names loop
    if row_security_active(quote_ident(name)) then
      raise exception 'row-level security of % would hide rows from %', name, current_user
        using errcode = '42501', table = name,
              detail = 'The audit log is read whole or not at all.',
              hint = format('Let its owner run: alter table %I disable row level security', name);
    end if;
  end loop;
  return true;
end
$function$;
comment on function _sees_every_row is
  'True, or raises 42501 if row-level security would hide rows of one of these tables from the caller. Views ask it, '
  'which can pin no setting.';
create function _ahead_of_clock(moment timestamptz) returns text
language sql volatile
set search_path from current
set intervalstyle = 'postgres'
as $function$
  -- Ten seconds are what two servers, one after the other, may differ by.
  select format('the last row is %s ahead of the server''s clock', date_trunc('second', moment - c.now)::text)
  from (select clock_timestamp() as now) as c
  where isfinite(moment) and moment > c.now + interval '10 seconds';
$function$;
comment on function _ahead_of_clock is
  'Says that the last row of a chain bears a time that has not come: a clock was wrong. Null within ten seconds. '
  'Later rows get that time, too, until the clock has passed it.';

-- sql/04_chain/starts.sql

-- Where a chain starts: at row 1, or behind the rows that retention has removed
--
-- Old rows may leave a chain as a contiguous prefix, by consensus (16_retention). What stays must verify as before. So
-- whatever reads a chain from its beginning asks here for its start: the last row that was removed, with its hash and
-- time; for a chain that lost no row id 0, the genesis, and the beginning of time. Row start + 1 follows it.
--
-- _chain_start believes the table below. Verification asks _proven_start, which believes signatures: rows that no
-- applied, signed proposal archived are missing, whatever the table says.
--
-- Rows leave in whole blocks of 256, because the Merkle log stores one node for each (13_merkle/nodes.sql): those nodes
-- stay, so every later root and proof stays what it was.

create table chain_starts (
  table_name  text         not null,
  id          bigint       not null,
  row_hash    char(64)     not null,
  created_at  timestamptz  not null,
  constraint chain_starts_pkey primary key (table_name, id),
  constraint chain_starts_id_ends_a_block check (id > 0 and id % 256 = 0)
);
comment on table  chain_starts            is
  'How far retention has removed the rows of each chain, a row for each step; the highest id counts. Append-only.';
comment on column chain_starts.table_name is 'The chained table.';
comment on column chain_starts.id         is 'The last row that was removed: the rows 1 to id are archived.';
comment on column chain_starts.row_hash   is 'Its row_hash, to which the first row that stays is linked.';
comment on column chain_starts.created_at is 'Its created_at, or that of the step if it was later.';
create function _chain_start(table_name text, out id bigint, out row_hash text, out created_at timestamptz)
language plpgsql stable
set search_path from current
set row_security = off
as $function$
begin
  select s.id, s.row_hash, s.created_at into id, row_hash, created_at
  from only chain_starts as s where s.table_name = _chain_start.table_name order by s.id desc limit 1;
  if not found then
    id := 0;
    row_hash := chain_genesis(table_name);
    created_at := '-infinity';
  end if;
end
$function$;
comment on function _chain_start is
  'The last row of a chain that retention has removed: id, row_hash, created_at. For a chain that lost none 0, the '
  'genesis and -infinity.';
-- A placeholder: 16_retention/archive.sql replaces it.
create function _archive_proposal(table_name text, through_id bigint, row_hash text) returns uuid
language sql stable
set search_path from current
as $function$
  select null::uuid;
$function$;
comment on function _archive_proposal is
  'The applied, signed proposal that archived the rows of a chain up to an id with this hash. None, until '
  '007_own_tables replaces this.';
create function _proven_start(
  table_name text, from_id bigint default null,
  out id bigint, out row_hash text, out created_at timestamptz, out proposal_id uuid)
language plpgsql stable
set search_path from current
as $function$
begin
  begin
    select s.id, s.row_hash, s.created_at into id, row_hash, created_at from _chain_start(table_name) as s;
    if id = 0 or from_id > id + 1 then
      return;
    end if;
    proposal_id := _archive_proposal(table_name, id, row_hash);
  exception when undefined_table or undefined_function or undefined_column then null;  -- then nothing is proven
  end;
  if proposal_id is null then
    id := 0;
    row_hash := chain_genesis(table_name);
    created_at := '-infinity';
  end if;
end
$function$;
comment on function _proven_start is
  'As _chain_start, with the proposal that archived the rows. Where no applied, signed proposal did, the start of a '
  'chain that lost no row. A range that begins later follows a row that is there: for it nothing is proven.';
create function _was_removed(table_name text, id bigint) returns boolean
language plpgsql stable
set search_path from current
set row_security = off
as $function$
begin
  return exists (select from only chain_starts as s
                 where s.table_name = _was_removed.table_name and s.id >= _was_removed.id);
end
$function$;
comment on function _was_removed is
  'Whether a row of a chain is one of those that retention removes.';

-- sql/04_chain/columns.sql

-- Which columns of a row are hashed, and as what
--
-- All but row_hash, in column order. What is hashed is what is stored. A value goes into the hashed row as it is, under
-- the type below all domains and without its length, because a cast to varchar(20) cuts without a word. A value that
-- may be long (a text, a document, an array) goes in as JSON that was printed before. Only types whose JSON text
-- depends on nothing, on TimeZone, or on settings that the chain trigger pins, can be hashed.

create function _hashed_columns(table_name text)
returns table (
  column_name    text,
  declared_type  regtype,
  base_type      text,
  type_name      text,
  decimal_scale  integer,
  is_bounded     boolean,
  place          bigint
)
language sql stable
set search_path from current
as $function$
  with recursive columns as (
    select a.attnum, a.attname, t.typname, t.oid as type_oid, a.atttypmod as typmod
    from pg_class as registry
    join pg_class as c on c.relnamespace = registry.relnamespace and c.relname = _hashed_columns.table_name
    join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attname <> 'row_hash'
    join pg_type as t on t.oid = a.atttypid
    where registry.oid = 'chains'::regclass
  ), unwrapped as (  -- a domain may be one over another domain
    select c.attnum, c.type_oid, c.typmod from columns as c
    union all
    select u.attnum, t.typbasetype, t.typtypmod
    from unwrapped as u join pg_type as t on t.oid = u.type_oid and t.typtype = 'd'
  )
  select c.attname::text, c.type_oid::regtype, format_type(b.oid, -1), coalesce(e.typname, b.typname)::text,
         (regexp_match(c.typname, '^decimal_[0-9]+_([0-9]+)$'))[1]::integer,
         e.oid is null and (b.typname in ('int2', 'int4', 'int8', 'float4', 'float8', 'bool', 'uuid', 'inet', 'cidr',
                                          'date', 'timestamp', 'timestamptz', 'interval')
                            or b.typname in ('varchar', 'bpchar') and u.typmod between 4 and 1004
                            or c.typname ~ '^decimal_[0-9]+_[0-9]+$'
                            or c.attname = 'recorded_by'),
         row_number() over (order by c.attnum)
  from columns as c
  join unwrapped as u on u.attnum = c.attnum
  join pg_type as b on b.oid = u.type_oid and b.typtype <> 'd'
  left join pg_type as e on e.oid = b.typelem and b.typcategory = 'A'
  order by c.attnum;
$function$;
comment on function _hashed_columns is
  'The columns that a chained table''s rows are hashed with now: all but row_hash, in column order. base_type is the '
  'type below all domains, without its length; type_name that one or the type of an array''s elements; is_bounded says '
  'that no value prints to more than a few kB; place counts from 1, in column order.';
create function _columns_without_stable_text(table_name text) returns text
language sql stable
set search_path from current
as $function$
  select string_agg(h.column_name || ' ' || h.type_name, ', ' order by h.place)
  from _hashed_columns(table_name) as h
  where h.type_name not in ('int2', 'int4', 'int8', 'numeric', 'float4', 'float8', 'bool', 'text', 'varchar', 'bpchar',
                            'bytea', 'uuid', 'json', 'jsonb', 'inet', 'cidr', 'date', 'timestamp', 'timestamptz',
                            'interval');
$function$;
comment on function _columns_without_stable_text is
  'The columns of a table, with their types, whose values may be printed differently another day; null if there are '
  'none.';
create function _make_hashed_type(table_name text) returns void
language plpgsql
set search_path from current
as $function$
declare
  unhashed    text := _columns_without_stable_text(table_name);
  attributes  text;
  comments    text;
begin
  if unhashed is not null then
    raise exception 'chain of %: no stable text for %', table_name, unhashed
      using errcode = '0A000', table = table_name, hint = 'Use text, numeric, jsonb or another plain type.';
  end if;
  if to_regtype(quote_ident('hashed_' || table_name)) is not null then
    execute format('drop type %I', 'hashed_' || table_name);
  end if;
  select string_agg(format('%I %s', h.column_name,
                           case when h.is_bounded and h.type_name <> 'timestamptz' then h.base_type else 'json' end),
                    ', ' order by h.place),
         string_agg(format('comment on column %I.%I is %L;', 'hashed_' || table_name, h.column_name,
                           format('As %s.%s.', table_name, h.column_name)), E'\n' order by h.place)
    into attributes, comments
  from _hashed_columns(table_name) as h;
  execute _fill($create$
    create type {type:I} as ({attributes:s});
    comment on type {type:I} is {comment:L};
    {comments:s}
    $create$, 'type', 'hashed_' || table_name, 'attributes', attributes, 'comments', comments, 'comment',
    format('The columns of %s that its row_hash covers, in the order in which row_data prints them.', table_name));
end
$function$;
comment on function _make_hashed_type is
  'Makes the row type hashed_… of a chained table. A type with a name makes row_to_json a plain expression, which '
  'costs half of a query. Raises 0A000 for a column whose type has no stable text.';
create function _utc_json_of_any(value timestamptz) returns json
language sql stable
set search_path from current
set timezone = 'UTC'
as $function$
  select to_json(value);
$function$;
comment on function _utc_json_of_any is 'As _utc_json, also for a time before the year 1 and for infinity.';
create function _utc_json(value timestamptz) returns json
language sql stable parallel safe
-- RETURN, because PostgreSQL resolves its names now, and puts it into the expression that calls it.
return case
  when value >= to_timestamp(-62135596800) and value < 'infinity'  -- from the year 1 on
    then (rtrim(to_json(value at time zone 'UTC')::text, '"') || '+00:00"')::json
  else _utc_json_of_any(value) end;
comment on function _utc_json is
  'What to_json gives of a time when TimeZone is UTC. Setting TimeZone for one row costs more than hashing it.';

-- sql/04_chain/checks.sql

-- What a chain trigger checks and raises
--
-- trigger.sql explains the mark and the lock that these functions are about.

-- A snapshot that does not see the tail: 40001

create function _snapshot_sees(mark bigint) returns boolean
language plpgsql
set search_path from current
as $function$
declare
  writer xid8 := mark::text::xid8;
begin
  if mark is null then
    return null;
  elsif writer = pg_current_xact_id() or pg_visible_in_snapshot(writer, pg_current_snapshot()) then
    return true;
  end if;
  begin
    perform pg_xact_status(writer);
  exception when invalid_parameter_value then
    return true;  -- an id that this cluster has not reached: it came with a dump
  end;
  return false;
end
$function$;
comment on function _snapshot_sees is
  'Whether this transaction''s snapshot is newer than the writer of a chain''s mark; null for no mark, which a crash '
  'leaves. Last writers are ordered by the chain''s lock, so if it sees the last, it sees all.';
create function _refuse_stale_snapshot(table_name text) returns void
language plpgsql
set search_path from current
as $function$
begin
  raise exception 'could not serialize access: % has rows that are newer than this transaction''s snapshot', table_name
    using errcode = '40001', hint = 'Run the transaction again.', table = table_name;
end
$function$;
comment on function _refuse_stale_snapshot is
  'Raises 40001 for a REPEATABLE READ or SERIALIZABLE writer that cannot see the chain''s tail.';
create function _admit_writer(table_name text, mark regclass) returns bigint
language plpgsql
set search_path from current
as $function$
begin
  if _snapshot_sees(pg_sequence_last_value(mark)) is not true then
    if pg_sequence_last_value(mark) is null then
      -- After a crash, a prepared transaction may have written since this snapshot. Under the chain's lock none can.
      perform setval(mark, txid_current());
    end if;
    perform _refuse_stale_snapshot(table_name);
  end if;
  return setval(mark, txid_current());
end
$function$;
comment on function _admit_writer is
  'Sets a chain''s mark. Raises 40001 for a REPEATABLE READ or SERIALIZABLE transaction that has the chain''s lock and '
  'whose snapshot does not see the writer of the mark.';
-- A row that would not be hashed as it is stored, or not be found: AUD-011

create function _refuse_other_relation(table_name text, relation regclass) returns void
language plpgsql
set search_path from current
as $function$
begin
  -- As _refuse does, but not counted.
  raise log 'alpha-db attempt %', jsonb_build_object(
    'code', 'AUD-011', 'schema', current_schema(), 'table', table_name, 'operation', 'INSERT', 'row_id', null,
    'session_user', session_user, 'current_user', coalesce(nullif(current_setting('role'), 'none'), session_user),
    'client_address', host(inet_client_addr()), 'application', current_setting('application_name'));
  raise exception 'AUD-011: a row of % would be stored in %', table_name, relation
    using errcode = 'AUD11', table = table_name, schema = current_schema(),
          detail = format('%s reads its rows from the table itself: '
                          'a row in a partition, a chunk or a child table would be lost to it.', table_name),
          hint = 'Chained tables cannot be partitioned, distributed or made hypertables. Undo that.';
end
$function$;
comment on function _refuse_other_relation is
  'Raises AUD-011: the chain trigger fired for a relation that is not the chain''s own table. Never returns.';
-- IMMUTABLE, although it reads catalogues, so that the planner calls it when it plans the expression that it stands in,
-- and puts the answer there. Any change of the table makes PostgreSQL plan that expression again, because it names the
-- table in a constant of type regclass. So the question costs a row nothing.
create function _has_known_types(relation regclass, known_types regtype[]) returns boolean
language sql immutable
set search_path from current
as $function$
  -- In the order of _hashed_columns, which needs the register: lockdown_events must take a row without it. A column
  -- that may be long is printed as what it is, so it may change, but not to a type whose text depends on a setting.
  select not exists (
    select from (select t.oid as declared_type, coalesce(nullif(t.typbasetype, 0), t.oid) as base_type,
                        row_number() over (order by a.attnum) as place
                 from pg_attribute as a join pg_type as t on t.oid = a.atttypid
                 where a.attrelid = relation and a.attnum > 0 and not a.attisdropped and a.attname <> 'row_hash') as c
    where c.place <= cardinality(known_types)  -- a later column is not hashed before chain_extend
      and case when known_types[c.place] <> 0 then c.declared_type <> known_types[c.place]
               else format_type(c.base_type, null) ~ '^(bytea|real|double|interval|timestamp with time zone)' end);
$function$;
comment on function _has_known_types is
  'Whether the columns of a chained table still have types that its chain trigger prints as it should.';
create function _refuse_other_types(table_name text, known_types regtype[]) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse(
    'AUD-011', format('%s was altered: its rows would not be hashed as they are stored', table_name),
    (select string_agg(format('Column %s is of type %s; its chain was made for %s.',
                              h.column_name, h.declared_type, k.known_type), ' ' order by k.place)
     from unnest(known_types) with ordinality as k(known_type, place)
     join _hashed_columns(table_name) as h on h.place = k.place
     where case when k.known_type <> 0 then h.declared_type <> k.known_type
                else h.type_name in ('timestamptz', 'bytea', 'float4', 'float8', 'interval') end),
    'Give the column its type back. A varchar may be made longer.', table_name, 'INSERT');
end
$function$;
comment on function _refuse_other_types is
  'Raises AUD-011: columns of a chained table have other types than its chain trigger was made for.';
-- A row that is too large: AUD-012

create function _refuse_large_row(table_name text, row_bytes bigint, row_limit bigint) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse(
    'AUD-012', format('the row of %s is too large', table_name),
    format('Its long values print to %s bytes; the limit is %s. '
           'A short number can have a long text: 1e100000 prints 100,001 digits.',
           coalesce(row_bytes::text, 'more than 1,073,741,823'), row_limit),
    'Store the document elsewhere, and record its SHA-256 here.', table_name, 'INSERT');
end
$function$;
comment on function _refuse_large_row is 'Raises AUD-012: the row''s text would be longer than its chain takes.';
create function _print_large(value anyelement, table_name text, row_limit bigint) returns json
language plpgsql
set search_path from current
as $function$
begin
  return to_json(value);
exception when program_limit_exceeded or out_of_memory then  -- text ends at 1 GB
  perform _refuse_large_row(table_name, null, row_limit);
  return null;
end
$function$;
comment on function _print_large is
  'What to_json gives of a value that may print to more than PostgreSQL can hold; raises AUD-012 then.';

-- sql/04_chain/trigger.sql

-- How a row enters the chain
--
-- Each row of a chained table holds row_hash, the SHA-256 of the row before it (its row_hash, 32 raw bytes) and of its
-- own text (row_data: the row as JSON, docs/chain-format.md). The first row follows chain_genesis(table). So one writer
-- at a time must read the tail, the last row, and add the next one. The trigger zzz_chain does that for each row.
-- _chain_generate writes its function, _chain_signals() for signals, from the template at the end of this file, because
-- a function written for one table needs neither dynamic SQL nor a look-up in the catalogues for each row. What the
-- template calls when something is wrong is in checks.sql.
--
-- The trigger's steps:
--
--   1. It refuses (AUD-011) a row of another relation than the chain's own table, or with a column whose type is
--      another than the chain was made for. What may be long may change from one document or text to another.
--   2. It validates the row, by the statements that the table's chapter gave to _chain_attach.
--   3. It gives decimals their full scale, and recorded_by the login. It prints what may be long now, before it takes
--      the lock, and refuses (AUD-012) a row whose text is too long.
--   4. It takes the chain's *lock*.
--   5. It compares the chain's *mark* with its own transaction, and sets it.
--   6. In a table that a lockdown closes, it checks whether the alarm is raised (AUD-009).
--   7. It reads the tail, with a *hint* where that is.
--   8. It assigns id, created_at and row_hash.
--
-- PostgreSQL then stores the row and checks its constraints. In a table that a lockdown closes, _900_refuse_in_lockdown
-- checks the alarm once more when the rows of the statement are stored.
--
-- zzz_chain sorts last among the BEFORE triggers, because a later one could change what was hashed. It is not ENABLE
-- ALWAYS, because rows that are replicated (session_replication_role = replica) or restored keep the hash that they
-- had.
--
-- What a row costs
--
-- Every writer pays for each row, and most of it while it holds the lock. So the function sets nothing but search_path:
-- setting TimeZone for one row costs more than hashing it. It prints times in UTC by itself (_utc_json), and needs no
-- planner setting (step 7). It validates the row, too, because a second trigger costs a tenth of a row. Expressions are
-- prepared again in each transaction, so what almost never fails is one expression.
--
-- The lock
--
-- It is the SHARE UPDATE EXCLUSIVE lock of an empty table, lock_signals for signals. Of the modes that exclude
-- themselves it is the weakest: it does not meet the ACCESS SHARE locks of a query or of pg_dump. An advisory lock
-- could be held by any login, this one only by the owner, as whom the trigger runs (and by a member of pg_maintain).
-- Readers never wait for it.
--
-- The transaction keeps the lock until it ends. So rows of one chain become visible in the order of their ids, the tail
-- that the next writer reads is committed, and ids have no gaps: the id of a row that is rolled back is given again.
--
-- A transaction that writes several chains takes their locks in the order of its INSERTs. chains.position is the order
-- that all should keep; two that do not may deadlock, and then PostgreSQL cancels one of them.
--
-- The mark
--
-- In READ COMMITTED every query of the trigger has a snapshot of its own, taken after the lock: it sees the tail. In
-- REPEATABLE READ and SERIALIZABLE the transaction has one snapshot for good, and the tail may be newer. A writer that
-- linked its row to an older tail would fork the chain; the primary key would refuse that, with an error that no client
-- retries. The mark prevents it. It is a sequence, writer_signals, that holds the id of the transaction that had the
-- lock last. If the snapshot sees that transaction, it sees all before it, because the lock orders them. If not, the
-- writer gets 40001 (_admit_writer): run the transaction again.
--
-- Every row sets the mark. In the two strict levels it is compared before, whenever it is not the transaction's own:
-- others have had the lock since. It is a sequence, because all see setval at once and no rollback takes it back.
--
-- The hint
--
-- It is a sequence, tail_signals, that holds the last id that was given. "The last row at or after the hint" is one
-- entry of the primary key's index; "the last row" reads a page of some 360 entries for one. Nothing depends on the
-- hint being right. If it is too low, the query reads a few more entries. If no row is at or after it, the last row of
-- all is read. That query is planned anew each time, because a plan that was made while the table was small would read
-- all of it later. The one for the usual case is made once there are 1024 rows, when no planner prefers that.
--
-- What happens in …
--
--   ROLLBACK, a cancelled or killed session
--       The rows are gone, and the lock is free. Mark and hint stay. The hint may be beyond the tail; then the last row
--       of all is read. A REPEATABLE READ writer whose snapshot is from before the rollback gets a needless 40001,
--       once.
--   ROLLBACK TO a savepoint before the transaction's first row
--       The lock is free, and others may write. At its next row the transaction takes the lock again. If others have
--       written, the mark is not its own: in READ COMMITTED it reads the new tail, in the others it gets 40001.
--   a crash, or a promoted standby
--       Mark and hint are unlogged sequences, so both are empty (null) after it. An empty hint finds nothing, and the
--       last row of all is read. At an empty mark the first REPEATABLE READ writer sets it and gets one 40001, because
--       a prepared transaction may have been committed since its snapshot. Its second try has a snapshot that sees the
--       mark.
--   PREPARE TRANSACTION
--       The prepared transaction keeps the lock, through a crash too, until COMMIT PREPARED or ROLLBACK PREPARED. All
--       other writers of the chain wait; lock_holders() shows for whom.
--   pg_dump, pg_restore
--       A dump holds the rows with their hashes, and pg_restore loads them before it makes the triggers. Mark and hint
--       come along. The mark is then a transaction id of another cluster. Most such ids are old here, and every
--       snapshot sees them. One that this cluster has not reached yet is ignored (_snapshot_sees).
--   a wrong clock
--       If the clock goes back, rows get the time of the row before them, until the clock has passed it.
--
-- Tests: concurrency/test_isolation.py, migration/test_dump_and_restore.py, chain/test_replication.py.

create function _chain_parts(
  chain             chains,
  out settings      text,  -- SET clauses without which the text of a column would depend on the session
  out declarations  text,  -- printed_3 json; for each column whose values may be long
  out known_types   text,  -- an array literal of regtype, - for one that may change (_has_known_types)
  out assignments   text,  -- what the trigger sets before it prints: decimals at full scale, recorded_by
  out printing      text,  -- prints the columns that may be long
  out printed_bytes text,  -- how long they are together; null if there are none
  out columns       text   -- the hashed row: new.id, printed_3 …
) language sql stable
set search_path from current
as $function$
  select concat(case when bool_or(h.type_name = 'timestamptz' and not h.is_bounded)
                     then E'set timezone = ''UTC''\n' end,
                case when bool_or(h.type_name = 'bytea') then E'set bytea_output = ''hex''\n' end,
                case when bool_or(h.type_name in ('float4', 'float8')) then E'set extra_float_digits = 1\n' end,
                case when bool_or(h.type_name = 'interval') then E'set intervalstyle = ''postgres''\n' end),
         string_agg(format(E'  printed_%s json;\n', h.place), '' order by h.place) filter (where not h.is_bounded),
         array_agg(case when h.is_bounded or h.type_name in ('timestamptz', 'bytea', 'float4', 'float8', 'interval')
                        then h.declared_type else '-'::regtype end order by h.place)::text,
         concat(E'  if ' || string_agg(format('scale(new.%I) <> %s', h.column_name, h.decimal_scale), E'\n     or '
                                       order by h.place) filter (where h.decimal_scale is not null) || E' then\n'
                || string_agg(format(E'    new.%1$I := round(new.%1$I, %2$s);\n', h.column_name, h.decimal_scale), ''
                              order by h.place) filter (where h.decimal_scale is not null) || E'  end if;\n',
                case when bool_or(h.column_name = 'recorded_by')
                     then E'  new.recorded_by := session_user::text;\n' end),
         -- A jsonb value of 100 kB may print to more than PostgreSQL can hold, one of less than 64 kB cannot.
         string_agg(_fill($part$
  {printed:s} := case
    when pg_column_size(new.{column:I}) < 65536 and pg_column_compression(new.{column:I}) is null
      then to_json(new.{column:I})
    when new.{column:I} is not null then _print_large(new.{column:I}, tg_argv[0], {row_limit:s}) end;$part$,
           'column', h.column_name, 'printed', 'printed_' || h.place, 'row_limit', chain.row_limit::text), ''
                    order by h.place) filter (where not h.is_bounded),
         string_agg(format('coalesce(pg_column_size(printed_%s), 0)', h.place), ' + ' order by h.place)
           filter (where not h.is_bounded),
         string_agg(case when not h.is_bounded then format('printed_%s', h.place)
                         when h.type_name = 'timestamptz' then format('_utc_json(new.%I)', h.column_name)
                         else format('new.%I', h.column_name) end, ', ' order by h.place)
  from _hashed_columns(chain.table_name) as h;
$function$;
comment on function _chain_parts is
  'The parts of a chain trigger''s function that depend on the columns of its table.';
-- Longer than 60 lines, because the function that it writes stands in it as one text. That function calls
-- _alarm_is_raised and _refuse_in_lockdown, which 08_lockdown/writers.sql makes, and what checks.sql makes.
create function _chain_generate(table_name text) returns void
language plpgsql
set search_path from current
as $function$
declare
  chain  chains := _chain_or_error(table_name);
  part   record;
begin
  perform _make_hashed_type(table_name);
  select * into part from _chain_parts(chain);
  execute _fill($template$
create or replace function {function:I}() returns trigger
language plpgsql security definer
set search_path = {schema:I}, pg_temp
{settings:s}as {quote:s}
#variable_conflict use_variable
declare
  hint             bigint;
  mark             bigint;
  tail_id          bigint;
  tail_hash        text;
  tail_created_at  timestamptz;
{declarations:s}begin
  -- 1. The table
  if tg_relid <> {relation:L}::regclass then
    perform _refuse_other_relation(tg_argv[0], tg_relid);
  end if;
  if not _has_known_types({relation:L}::regclass, {known_types:L}) then
    perform _refuse_other_types(tg_argv[0], {known_types:L});
  end if;

  -- 2. The row
{validation:s}
  -- 3. The text of what may be long
{assignments:s}{printing:s}{refusal_of_large_rows:s}

  -- 4. The lock
  lock table only {lock:I} in share update exclusive mode;

  -- 5. The mark. Assigned, because that is cheaper than PERFORM.
  mark := case
    when current_setting('transaction_isolation') in ('repeatable read', 'serializable')
         and pg_sequence_last_value({mark:L}::regclass) is distinct from txid_current()
      then _admit_writer(tg_argv[0], {mark:L})
    else setval({mark:L}::regclass, txid_current()) end;
{lockdown:s}
  -- 7. The tail
  hint := pg_sequence_last_value({hint:L}::regclass);
  if hint >= 1024 then
    select t.id, t.row_hash, t.created_at into tail_id, tail_hash, tail_created_at
    from only {table:I} as t where t.id >= hint order by t.id desc limit 1;
  end if;
  if tail_id is null then
    execute {last_row:L} into tail_id, tail_hash, tail_created_at;
    if tail_id is null then
      tail_id := 0;
      tail_hash := chain_genesis(tg_argv[0]);
    end if;
  end if;

  -- 8. The link
  new.id := setval({hint:L}::regclass, tail_id + 1);
  new.created_at := greatest(clock_timestamp(), tail_created_at);
  new.row_hash := encode(sha256(decode(tail_hash, 'hex') || convert_to(
    row_to_json(row({columns:s})::{hashed_type:I})::text, 'UTF8')), 'hex');
  return new;
end
{quote:s}
$template$,
    -- Nobody can give a column a name that ends the function's text.
    'quote', format('$q%s$', replace(gen_random_uuid()::text, '-', '')),
    'function', '_chain_' || table_name, 'schema', current_schema(), 'table', table_name,
    'relation', quote_ident(table_name), 'lock', 'lock_' || table_name, 'mark', quote_ident('writer_' || table_name),
    'hint', quote_ident('tail_' || table_name), 'hashed_type', 'hashed_' || table_name,
    'validation', chain.validation, 'settings', part.settings, 'declarations', part.declarations,
    'known_types', part.known_types, 'assignments', part.assignments, 'printing', part.printing,
    'columns', part.columns,
    'last_row', format('select t.id, t.row_hash, t.created_at from only %I as t order by t.id desc limit 1',
                       table_name),
    'refusal_of_large_rows', case when part.printed_bytes is null then '' else _fill($part$
  if {bytes:s} > {row_limit:s} then
    perform _refuse_large_row(tg_argv[0], {bytes:s}, {row_limit:s});
  end if;$part$, 'bytes', part.printed_bytes, 'row_limit', chain.row_limit::text) end,
    'lockdown', case when chain.open_in_lockdown then '' else $part$
  -- 6. The alarm, which may be raised at any moment
  if _alarm_is_raised() then
    perform _refuse_in_lockdown(tg_argv[0]);
  end if;
$part$ end);
  -- With (), because a table may be named so that its function overloads one of ours.
  execute format('comment on function %I() is %L', '_chain_' || table_name,
                 format('Row trigger of %s: validates the row, takes the chain''s lock, assigns id, created_at and '
                        'row_hash. Made by _chain_generate.', table_name));
  execute format('revoke all on function %I() from public', '_chain_' || table_name);
end
$function$;
comment on function _chain_generate is
  'Writes the chain trigger function of a table for the columns that it has now.';

-- sql/04_chain/attach.sql

-- Making a table a chain, and undoing it
--
-- _chain_attach makes, for signals: an entry in chains, the lock (lock_signals), the mark (writer_signals), the hint
-- (tail_signals), the row type of what is hashed (hashed_signals), the trigger zzz_chain with its function
-- (_chain_signals), and, for a table that a lockdown closes, the trigger _900_refuse_in_lockdown. trigger.sql explains
-- each of them. It has autovacuum freeze the rows early. Migrations call it, and chain_table (14_own_tables) for a
-- table of the users.
--
-- It calls _chain_generate (trigger.sql) and chain_extend (extend.sql). The function of _900 is made by
-- 08_lockdown/writers.sql.

create function _chain_attach(
  table_name        text,
  open_in_lockdown  boolean default true,
  is_internal       boolean default true,
  validation        text    default '', -- plpgsql statements: new is the row, tg_argv[0] the table
  is_own            boolean default false
) returns void
language plpgsql
set search_path from current
as $function$
begin
  insert into chains (table_name, position, is_internal, open_in_lockdown, validation, is_own)
  select _chain_attach.table_name,
         coalesce(max(c.position), case when _chain_attach.is_own then 1000
                                        when _chain_attach.is_internal then 100 else 0 end) + 1,
         _chain_attach.is_internal, _chain_attach.open_in_lockdown, _chain_attach.validation, _chain_attach.is_own
  from only chains as c
  where (c.is_internal, c.is_own) = (_chain_attach.is_internal, _chain_attach.is_own);
  execute _fill($create$
    create table {lock:I} ();
    comment on table {lock:I} is {about_lock:L};
    create unlogged sequence {mark:I};
    comment on sequence {mark:I} is {about_mark:L};
    create unlogged sequence {hint:I};
    comment on sequence {hint:I} is {about_hint:L};
    $create$,
    'lock', 'lock_' || table_name, 'mark', 'writer_' || table_name, 'hint', 'tail_' || table_name,
    'about_lock', format('Empty. Its SHARE UPDATE EXCLUSIVE lock, the weakest that excludes itself, is the lock of the '
                         'chain of %s, held until the end of the transaction.', table_name),
    'about_mark', format('Id of the transaction that last took the chain lock of %s.', table_name),
    'about_hint', format('A hint where the tail of %s is; nothing depends on its being right.', table_name));
  perform setval(format('%I.%I', current_schema(), 'writer_' || table_name)::regclass, txid_current());
  perform _chain_generate(table_name);
  execute _fill($create$
    create trigger zzz_chain before insert on {table:I} for each row execute function {function:I}({table:L});
    comment on trigger zzz_chain on {table:I} is 'Links the row into the hash chain.';
    $create$, 'table', table_name, 'function', '_chain_' || table_name);
  if not open_in_lockdown then
    perform _close_in_lockdown(table_name);
  end if;
  if not is_internal then
    perform _count_attempts('AUD-011', table_name, 'INSERT'), _count_attempts('AUD-012', table_name, 'INSERT');
  end if;
  perform chain_extend(table_name), _freeze_early(table_name);
  if not is_own then
    perform _fill_index_pages(table_name);
  end if;
end
$function$;
comment on function _chain_attach is
  'Registers a table that has id, row_hash and created_at as a hash chain, and attaches its chain trigger. Migrations '
  'call it.';
-- Rows never change, so a vacuum freezes each page once, soon after it was filled and while it is still in memory. By
-- default a table of a billion rows gets a vacuum every 200 million inserts, which freezes nothing, until one has to
-- read and write all of it. Long values stand in the table's TOAST table, which has settings of its own.
create function _freeze_early(table_name text) returns void
language plpgsql
set search_path from current
as $function$
begin
  execute format('alter table %I set (autovacuum_vacuum_insert_threshold = 10000,'
                 ' autovacuum_vacuum_insert_scale_factor = 0, autovacuum_freeze_min_age = 0,'
                 ' autovacuum_multixact_freeze_min_age = 0)', table_name);
  if exists (select from pg_class as c
             where c.oid = format('%I.%I', current_schema(), table_name)::regclass and c.reltoastrelid <> 0) then
    execute format('alter table %I set (toast.autovacuum_vacuum_insert_threshold = 10000,'
                   ' toast.autovacuum_vacuum_insert_scale_factor = 0, toast.autovacuum_freeze_min_age = 0,'
                   ' toast.autovacuum_multixact_freeze_min_age = 0)', table_name);
  end if;
end
$function$;
comment on function _freeze_early is
  'Has autovacuum freeze the rows of an append-only table after every 10,000 inserts, and so the long values.';
-- Ids and times ascend, so what is on an index page stays alone there: the tenth that is kept free for later is wasted.
create function _fill_index_pages(table_name text) returns void
language plpgsql
set search_path from current
as $function$
declare
  index_name text;
begin
  for index_name in
    select c.relname
    from pg_index as i
    join pg_class as c on c.oid = i.indexrelid
    join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = format('%I.%I', current_schema(), table_name)::regclass and a.attname in ('id', 'created_at')
  loop
    execute format('alter index %I set (fillfactor = 100)', index_name);
  end loop;
end
$function$;
comment on function _fill_index_pages is
  'Has the indexes of a chained table on id and created_at fill their pages to the end.';
-- From PostgreSQL 18 on, new uuids ascend. They are 28 to 32 bytes a row in an index instead of 39, and neighbours
-- stand on one page: so after a checkpoint of the server not each row has a whole page copied into the WAL.
create function _uuid_generator() returns text
language sql stable
set search_path from current
as $function$
  select case when to_regprocedure('pg_catalog.uuidv7()') is null then 'gen_random_uuid()' else 'uuidv7()' end;
$function$;
comment on function _uuid_generator is
  'The call that makes a uuid on this version of PostgreSQL: uuidv7() from 18 on. Migrations write it into a default '
  'and a trigger.';
create function _default_uuid(table_name text, column_name text) returns void
language plpgsql
set search_path from current
as $function$
begin
  execute format('alter table %I alter %I set default %s', table_name, column_name, _uuid_generator());
end
$function$;
comment on function _default_uuid is 'Gives a column of a table a new uuid as its default.';
create function _close_in_lockdown(table_name text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _count_attempts('AUD-009', table_name, 'INSERT');
  -- zzz_chain has looked at the alarm at each row. This looks again when the rows are stored: an alarm that was raised
  -- meanwhile is seen here. Without WHEN, which PostgreSQL would read from its text at each statement, and judge with
  -- the writer's rights.
  execute _fill($create$
    create trigger _900_refuse_in_lockdown after insert on {table:I}
      for each statement execute function _refuse_statement_in_lockdown({table:L});
    comment on trigger _900_refuse_in_lockdown on {table:I} is
      'Refuses (AUD-009) rows that were written while the lockdown was being engaged.';
    $create$, 'table', table_name);
end
$function$;
comment on function _close_in_lockdown is
  'Attaches the trigger that looks at the alarm when the rows of a statement are stored. Its function is made in 003.';
create function _chain_detach(table_name text) returns void
language plpgsql
set search_path from current
as $function$
begin
  if exists (select from pg_trigger as t
             where t.tgrelid = format('%I.%I', current_schema(), table_name)::regclass
               and t.tgname = '_050_owner_only') then
    execute format('drop trigger _050_owner_only on %I', table_name);
  end if;
  execute _fill($drop$
    drop trigger zzz_chain on {table:I};
    drop trigger if exists _900_refuse_in_lockdown on {table:I};
    drop trigger _100_reject_change on {table:I};
    drop trigger _200_reject_truncate on {table:I};
    alter table {table:I} reset (
      autovacuum_vacuum_insert_threshold, autovacuum_vacuum_insert_scale_factor, autovacuum_freeze_min_age,
      autovacuum_multixact_freeze_min_age, toast.autovacuum_vacuum_insert_threshold,
      toast.autovacuum_vacuum_insert_scale_factor, toast.autovacuum_freeze_min_age,
      toast.autovacuum_multixact_freeze_min_age);
    drop function {function:I}();
    drop table {lock:I};
    drop sequence {mark:I}, {hint:I};
    drop type {hashed_type:I};
    $drop$,
    'table', table_name, 'function', '_chain_' || table_name, 'lock', 'lock_' || table_name,
    'mark', 'writer_' || table_name, 'hint', 'tail_' || table_name, 'hashed_type', 'hashed_' || table_name);
  delete from only chains as c where c.table_name = _chain_detach.table_name;
end
$function$;
comment on function _chain_detach is
  'Undoes _chain_attach, _protect_table and _owner_only. Rollbacks call it, which refuse while the audit tables hold '
  'rows.';

-- sql/04_chain/extend.sql

-- A chained table that changes
--
-- A migration may add columns at the end of a chained table, and calls chain_extend then. Older rows stay as they were
-- hashed. chain_columns records with which columns a range of rows was hashed, and what every older row holds in a
-- column that came later, so that an edit there is found too. rows.sql reads rows by it. chain_limit changes how long a
-- row may be.

-- SECURITY DEFINER, so that a superuser may call it, although _050_owner_only admits only the owner.
create function chain_extend(table_name text) returns void
language plpgsql security definer
set search_path from current
set row_security = off
set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres'
as $function$
declare
  known    text[];
  present  text[];
  tail_id  bigint;
begin
  perform _require_primary('chain_extend');
  perform _chain_or_error(table_name);
  execute format('lock table only %I in share update exclusive mode', 'lock_' || table_name);
  select array_agg(h.column_name order by h.place) into present from _hashed_columns(table_name) as h;
  select c.column_names into known from only chain_columns as c
  where c.table_name = chain_extend.table_name order by c.id desc limit 1;
  if present = known then
    return;
  end if;
  if present[1:cardinality(known)] <> known then
    raise exception 'chain of %: columns may only be added at the end', table_name
      using errcode = '55000', table = table_name,
            detail = format('Hashed so far: %s. Present: %s.',
                            array_to_string(known, ', '), array_to_string(present, ', '));
  end if;
  if exists (select from pg_attribute as a
             where a.attrelid = format('%I.%I', current_schema(), table_name)::regclass and a.attgenerated <> '') then
    raise exception 'chain of %: a generated column is computed after the row was hashed', table_name
      using errcode = '0A000', table = table_name, hint = 'Make it an ordinary column, and let the writer compute it.';
  end if;
  execute format('select coalesce(max(t.id), 0) from only %I as t', table_name) into tail_id;
  perform _chain_generate(table_name);
  insert into chain_columns (table_name, from_id, column_names, older_values)
  values (table_name, tail_id + 1, present, _older_values(table_name, present[cardinality(known) + 1:]));
end
$function$;
comment on function chain_extend is
  'Covers the columns that a migration added to a chained table: newer rows are hashed with them, older ones stay '
  'verifiable. No effect if there are none.';
create function _older_values(table_name text, added text[]) returns jsonb
language plpgsql
set search_path from current
set row_security = off
as $function$
declare
  older         jsonb := '{}';
  added_column  text;
  variants      bigint;
  sample        jsonb;
begin
  foreach added_column in array coalesce(added, '{}') loop
    execute _fill($query$
      select count(distinct v.printed), min(v.printed)::jsonb
      from only {table:I} as t cross join lateral (select coalesce(to_jsonb(t.{column:I}), 'null')::text) as v(printed)
      $query$, 'table', table_name, 'column', added_column)
      into variants, sample;
    if variants > 1 then
      raise exception 'chain of %: older rows hold different values in the new column %', table_name, added_column
        using errcode = '55000', table = table_name,
              detail = 'What older rows hold in a new column is recorded once for all of them.',
              hint = 'Add the column without a default, or with a constant one.';
    end if;
    older := older || jsonb_build_object(added_column, coalesce(sample, 'null'));
  end loop;
  return older;
end
$function$;
comment on function _older_values is
  'What all rows of a table hold in the columns that were added: {column: value}. Raises 55000 if they differ. Empty '
  'for a new chain. Prints as its caller, chain_extend, has set.';
-- SECURITY DEFINER for the same reason as chain_extend.
create function chain_limit(table_name text, row_limit bigint) returns void
language plpgsql security definer
set search_path from current
as $function$
begin
  perform _require_primary('chain_limit');
  perform _chain_or_error(table_name);
  if row_limit is null or row_limit not between 65536 and 134217728 then
    raise exception 'a row may print to 65,536 bytes at least and 134,217,728 at most, not to %',
      coalesce(row_limit::text, 'NULL')
      using errcode = '22023', hint = 'Give a number between them. The default is 16777216 (16 MiB).';
  end if;
  execute format('lock table only %I in share update exclusive mode', 'lock_' || table_name);
  update only chains as c set row_limit = chain_limit.row_limit where c.table_name = chain_limit.table_name;
  perform _chain_generate(table_name);
end
$function$;
comment on function chain_limit is
  'Sets how many bytes the long values of a table''s row may print to before AUD-012 refuses it. A changed guard until '
  'record_guards accepts it. Only the owner may, with alpha.maintenance set.';

-- sql/04_chain/widen.sql

-- A text column that must take longer values
--
-- An exchange lists a longer symbol, and from then on every signal about it is refused (AUD-012). widen_column makes
-- the column longer, and nothing else: it records the state of the guards itself, so it must not bless what anybody
-- changed. It compares the guards before, and afterwards exactly one fact may differ, the type of that column.
--
-- What hangs on the column needs no change. A row's text does not contain the length (columns.sql). The types of
-- 09_write/results.sql have none. PostgreSQL keeps indexes, because a longer varchar is stored as before, and checks
-- constraints again. Our views show text. But PostgreSQL changes no column that a view reads, so each view of ours
-- says for a moment that it is empty, and then again what it said. It stays the same object all the time, with its
-- rights, its comments and the views that others made of it.
--
-- A lockdown does not refuse it, because no row changes, and because an order event must still be recorded then.
--
-- It calls what later chapters make: verify_guards, guards_since and record_guards (06_guards), and _record_maintenance
-- (08_lockdown/events.sql).

create function _refuse_users_of_column(relation regclass, column_number smallint) returns void
language plpgsql
set search_path from current
as $function$
declare
  users  text;
begin
  -- What PostgreSQL refuses, too, but one at a time and with its internal name.
  select string_agg(u.name, ', ' order by u.name) into users
  from (
    select distinct case when w.rulename = '_RETURN' then format('view %s', w.ev_class::regclass)
                         else pg_describe_object(d.classid, d.objid, d.objsubid) end as name
    from pg_depend as d
    join pg_class as t on t.oid = d.refobjid
    left join pg_rewrite as w on d.classid = 'pg_rewrite'::regclass and w.oid = d.objid
    where d.refclassid = 'pg_class'::regclass and d.refobjid = relation and d.refobjsubid = column_number
      and d.classid in ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_proc'::regclass,
                        'pg_publication_rel'::regclass)
      and not exists (select from pg_class as v
                      where v.oid = w.ev_class and v.relkind = 'v' and w.rulename = '_RETURN'
                        and v.relnamespace = t.relnamespace and v.relowner = t.relowner)) as u;
  if users is not null then
    raise exception 'the column is used by %', users
      using errcode = '2BP01',
            detail = 'PostgreSQL does not change the type of a column that these use.',
            hint = 'Drop them, call widen_column again, and make them again, all in one transaction.';
  end if;
end
$function$;
comment on function _refuse_users_of_column is
  'Raises 2BP01 if something that is not ours keeps the type of a column: a view, a rule, a policy, a function.';
create function _set_column_length(table_name text, relation regclass, column_name text, length integer) returns void
language plpgsql
set search_path from current
as $function$
declare
  item     record;
  restore  text := '';
begin
  -- The views are locked before the table, as whoever reads one locks them.
  for item in
    select v.oid, v.relname, pg_get_viewdef(v.oid) as query,
           coalesce(format('with (%s)', array_to_string(v.reloptions, ', ')), '') as options,
           (select string_agg(format('null::%s as %I', format_type(a.atttypid, a.atttypmod), a.attname), ', '
                              order by a.attnum)
            from pg_attribute as a where a.attrelid = v.oid and a.attnum > 0 and not a.attisdropped) as nothing
    from pg_class as v
    where v.relkind = 'v'
      and exists (select from pg_rewrite as w
                  join pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
                  join pg_attribute as c on c.attrelid = d.refobjid and c.attnum = d.refobjsubid
                  where w.ev_class = v.oid and d.refclassid = 'pg_class'::regclass and d.refobjid = relation
                    and c.attname = column_name)
    order by v.relname
  loop
    execute format('create or replace view %I %s as select %s where false', item.relname, item.options, item.nothing);
    restore := restore || format('create or replace view %I %s as %s;', item.relname, item.options,
                                 rtrim(item.query, ';'));
  end loop;
  execute format('alter table %I alter column %I type varchar(%s)', table_name, column_name, length);
  execute restore;
  execute format('analyze %I (%I)', table_name, column_name);  -- another type has no statistics
end
$function$;
comment on function _set_column_length is
  'Gives a varchar column another length, and takes the views of ours that show it out of the way meanwhile.';
-- SECURITY DEFINER for the same reason as chain_extend.
create function widen_column(table_name text, column_name text, length integer) returns integer
language plpgsql security definer
set search_path from current
set quote_all_identifiers = off set standard_conforming_strings = on
as $function$
declare
  -- 500 characters of 4 bytes fit an index, whose entries end at 2,704 bytes. A longer one would be taken here, and
  -- refused when the row arrives.
  longest   constant integer := 500;
  reason    text := btrim(coalesce(current_setting('alpha.maintenance', true), ''));
  place     text := table_name || '.' || column_name;
  relation  regclass;
  stored  record;
  change    text;
  problem   text;
begin
  perform _require_primary('widen_column');
  if table_name is null or column_name is null or length is null then
    raise exception 'widen_column needs a table, a column and a length'
      using errcode = '22023', hint = 'For example: select widen_column(''signals'', ''symbol'', 40).';
  end if;
  -- A kill threshold names what a signal names, so its asset becomes as long as a symbol.
  if table_name <> 'risk_asset_kill_thresholds' and (_chain_or_error(table_name)).is_internal then
    raise exception '% is a table of alpha-db itself', table_name
      using errcode = '22023', detail = 'Its texts keep their lengths.',
            hint = format('Choose one of %s.', (select string_agg(c.table_name, ', ' order by c.position)
                                                from only chains as c where not c.is_internal));
  end if;
  if reason = '' then
    perform _refuse(
      'AUD-011', format('widen_column on %s refused', place), 'alpha.maintenance gives no reason.',
      'Say why, in the same transaction: begin; set local alpha.maintenance = ''the reason''; … commit. '
      'maintenance_events records it.', 'protected object', 'DDL');
  end if;
  lock table only lock_migrations in share update exclusive mode;
  relation := format('%I.%I', current_schema(), table_name)::regclass;
  select a.attnum, a.atttypid, a.atttypmod - 4 as length, format_type(a.atttypid, a.atttypmod) as type into stored
  from pg_attribute as a
  where a.attrelid = relation and a.attname = column_name and a.attnum > 0 and not a.attisdropped;
  if not found then
    raise exception '% has no column %', table_name, quote_ident(column_name)
      using errcode = '42703', hint = 'Give the column that AUD-012 names.';
  elsif stored.atttypid <> 'varchar'::regtype or stored.length < 0 then
    raise exception '% is %, not a varchar with a length', place, stored.type
      using errcode = '42804', hint = 'Only a varchar can be widened. A text takes any length.';
  elsif length <= stored.length or length > longest then
    raise exception '% is %, and cannot become varchar(%)', place, stored.type, length
      using errcode = '22023',
            hint = case when stored.length >= longest then 'It is as long as a column may be. '
                                                             'Keep the value outside, and record its hash.'
                        else format('Give a length from %s to %s.', stored.length + 1, longest) end;
  end if;

  select format('%s %s: %s %s', g.object_kind, g.object_name, g.fact, g.problem) into problem
  from verify_guards() as g limit 1;
  if found then
    raise exception 'AUD-011: % cannot be widened, because the guards are not as installed: %', place, problem
      using errcode = 'AUD11',
            hint = 'List the changes: select * from verify_guards(). '
                   'Undo them, or accept them: select record_guards(''reason'').';
  end if;
  perform _refuse_users_of_column(relation, stored.attnum);
  perform _set_column_length(table_name, relation, column_name, length);
  -- What else differs was changed meanwhile, by somebody or by what was done here.
  select format('%s %s: %s %s', g.object_kind, g.object_name, g.fact, g.problem) into problem
  from guards_since((select max(s.id) from only guard_states as s)) as g
  where (g.object_kind, g.object_name, g.fact, g.found)
        is distinct from ('column', place, 'type', format('character varying(%s)', length))
  limit 1;
  if found then
    raise exception 'AUD-011: % was not widened, because that would change another guard: %', place, problem
      using errcode = 'AUD11', hint = 'Call widen_column again. If it says the same, the change is not safe here.';
  end if;

  change := format('%s from varchar(%s) to varchar(%s)', place, stored.length, length);
  perform _record_maintenance(reason, 'widen_column', change);
  perform record_guards(format('widen_column: %s', change));
  return stored.length;
end
$function$;
comment on function widen_column is
  'Makes a varchar column of the audit log longer, records that in maintenance_events, and accepts the new length as '
  'the guard. Returns the length before. Only the owner may, with a reason in alpha.maintenance.';

-- sql/04_chain/rows.sql

-- The rows of a chain as they were hashed
--
-- Rows of one table may have been hashed with different columns (extend.sql). For each entry of chain_columns the query
-- below has a row type e1, e2 … with the columns of that time, and a row is printed with the last entry that is not
-- above its id. What a row holds in a column that came later must be what chain_columns says.
--
-- Verification (05_verify) builds on chain_rows_sql; chain_rows is for auditors who check a log without our code.

create function chain_rows_sql(table_name text) returns text
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  epoch      record;
  laterals   text := '';
  branches   text := '';
  unchanged  text := 'true';
begin
  for epoch in
    select row_number() over (order by e.from_id, e.id)::text as number, e.from_id::text as from_id, e.older_values,
           (select string_agg(format('c.%I', n.name), ', ' order by n.place)
            from unnest(e.column_names) with ordinality as n(name, place)) as columns
    from only chain_columns as e
    where e.table_name = chain_rows_sql.table_name
    order by e.from_id desc, e.id desc
  loop
    laterals := laterals || format(E'cross join lateral (select %s) as e%s\n', epoch.columns, epoch.number);
    branches := branches || format(E'  when c.id >= %s then row_to_json(e%s.*)\n', epoch.from_id, epoch.number);
    unchanged := unchanged || coalesce(
      (select string_agg(format(' and (c.id >= %s or coalesce(to_jsonb(c.%I), ''null'')::text = %L)',
                                epoch.from_id, o.key, o.value), '')
       from jsonb_each(epoch.older_values) as o), '');
  end loop;
  -- A row below the first entry, which only force can make, is hashed like the oldest ones.
  return _fill($query$select c.id, c.created_at, c.row_hash::text as row_hash, j.row_json::text as row_data, j.row_json,
  {unchanged:s} as older_values_hold,
  case when not ({unchanged:s}) then to_jsonb(c.*)::text end as altered
from only {table:I} as c
{laterals:s}cross join lateral (select case
{branches:s}  else row_to_json(e1.*) end as row_json) as j$query$,
    'branches', branches, 'unchanged', unchanged, 'table', table_name, 'laterals', laterals);
end
$function$;
comment on function chain_rows_sql is
  'Text of a query for the rows of a chain with their row_data (row_json is the same as a json), each with the columns '
  'that it was hashed with; altered is the whole row where a column that was added later does not hold what it should.';
create function chain_rows(table_name text, from_id bigint default null, to_id bigint default null)
returns table (id bigint, row_data text, row_hash text)
language plpgsql stable
set search_path from current
set row_security = off
set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres'
as $function$
begin
  perform _require_chain(table_name);
  return query execute format(
    'select r.id, r.row_data, r.row_hash from (%s) as r where r.id between $1 and $2 order by r.id',
    chain_rows_sql(table_name))
    using coalesce(from_id, -9223372036854775808), coalesce(to_id, 9223372036854775807);
end
$function$;
comment on function chain_rows is
  'Rows of a chain as they were hashed: row_hash is the SHA-256 of the previous row_hash (32 raw bytes) and the '
  'UTF-8 bytes of row_data.';

-- sql/04_chain/status.sql

-- The head of every chain: the last id, its hash and its time
--
-- jit = off, here and in other functions that read with enable_seqscan off: before 18 a look at a small table without
-- an index is then so dear on paper that PostgreSQL would compile the query, which takes longer than the query.
--
-- chain_status() never fails because of one table: what is gone, locked or unreadable is reported in that table's row.
-- _known_heads() is for what will be signed (checkpoints, runs): there, no table may be left out.

create function chain_status()
returns table (
  table_name       text,
  last_id          bigint,
  head_hash        text,
  last_created_at  timestamptz,
  error_code       text,
  problem          text
)
language plpgsql stable
set search_path from current
set enable_seqscan = off set jit = off set row_security = off
as $function$
declare
  chain    record;
  timeout  text := current_setting('lock_timeout');
begin
  perform _require_register();
  for chain in select c.table_name from only chains as c order by c.position loop
    table_name := chain.table_name;
    last_id := null;
    head_hash := null;
    last_created_at := null;
    error_code := null;
    problem := null;
    begin
      problem := _missing_part(table_name);
      if problem is not null then
        error_code := 'AUD-009';
      else
        execute format('select t.id, t.row_hash::text, t.created_at from only %I as t order by t.id desc limit 1',
                       table_name)
          into last_id, head_hash, last_created_at;
        problem := _ahead_of_clock(last_created_at);
      end if;
    exception when others then
      error_code := sqlstate;
      problem := 'could not be read: ' || sqlerrm;
    end;
    if error_code = '55P03' then
      perform set_config('lock_timeout', '100ms', true);  -- has waited long enough; the next one may be locked as well
    end if;
    return next;
  end loop;
  perform set_config('lock_timeout', timeout, true);
end
$function$;
comment on function chain_status is
  'The head of every chain: last id, its hash, its time; nulls for an empty one. problem says what is wrong with it, '
  'error_code of which kind: AUD-009 for a table that is gone, another SQLSTATE for one that cannot be read, null '
  'for a last row that is ahead of the clock.';
create function _known_heads()
returns table (table_name text, last_id bigint, head_hash text, "position" bigint)
language plpgsql stable
set search_path from current
as $function$
declare
  chain record;
begin
  for chain in
    select s.*
    from chain_status() with ordinality as s(name, last_id, head_hash, last_created_at, error_code, problem, place)
  loop
    if chain.error_code = 'AUD-009' then
      perform _require_chain(chain.name);
    elsif chain.error_code is not null then
      raise exception '%: %', chain.name, chain.problem using errcode = chain.error_code, table = chain.name;
    end if;
    table_name := chain.name;
    last_id := coalesce(chain.last_id, 0);
    head_hash := chain.head_hash;
    "position" := chain.place;
    return next;
  end loop;
end
$function$;
comment on function _known_heads is
  'As chain_status, for what is going to be signed: raises if a table is gone (AUD-009) or cannot be read, instead '
  'of giving no rows for it.';

-- sql/05_verify/verdict.sql

-- Verifying: are the rows of a chain still what was written?
--
-- The chapter in the order in which a verification goes through it:
--
--   verdict.sql    what is said of one chain
--   links.sql      the queries that recompute a chain; explains how verification stays set-based
--   parts.sql      the same for a long range, by several processes
--   damage.sql     every broken place, and which of them a lockdown release acknowledged
--   chain.sql      verify_chain: the verdict on a chain or a range of it; reads only
--   runs.sql       what a recorded run remembers: how far each chain was read, and the hash that stood there
--   compare.sql    compares with the last recorded run, because a chain alone cannot show that its end was cut off
--   judge.sql      all of these together, and never an error instead of a verdict
--   integrity.sql  what users call: judges, adds the guards, and engages the lockdown over damage
--   plan.sql       which ranges a regular run reads
--   record.sql     records such a run
--
-- Called here, but made in later chapters: changed_guards, _lowered_counters (06_guards); the sequences lockdown_alarm
-- and lockdown_lifted, acknowledged_damage, _attend_alarm and _engage_lockdown (08_lockdown); _compare_with_consensus
-- (08_lockdown, which asks 12_consensus); _compare_with_histories (15_history). An installation without them, or one
-- where somebody dropped them, still gets verdicts: see judge.sql. docs/chain-format.md lists the verdicts.

create type chain_verdict as (
  table_name     text,
  rows_checked   bigint,
  first_id       bigint,
  last_id        bigint,
  is_valid       boolean,
  error_code     text,
  verdict        text,
  broken_id      bigint,
  expected_hash  text,
  actual_hash    text,
  detail         text
);
comment on type chain_verdict is 'What verify_chain_integrity found in one table.';
comment on column chain_verdict.table_name    is 'The chained table.';
comment on column chain_verdict.rows_checked  is 'How many rows were read and recomputed.';
comment on column chain_verdict.first_id      is 'First row that was checked.';
comment on column chain_verdict.last_id       is 'Last row that was checked.';
comment on column chain_verdict.is_valid      is
  'True: intact, archived or acknowledged. False: damage or changed guards. Null: could not be checked, or is not '
  'there.';
comment on column chain_verdict.error_code    is
  'AUD-009 for damage, RSK-007 for what does not follow from the signed proposals, AUD-015 for tracked tables that '
  'differ from their history, AUD-011 for changed guards, otherwise null.';
comment on column chain_verdict.verdict       is
  'intact, content_mismatch, missing_rows, tail_missing, order_violation, table_missing, checkpoint_mismatch, '
  'consensus_mismatch, history_mismatch, guard_changed, archived, acknowledged, not_there or not_run.';
comment on column chain_verdict.broken_id     is
  'First damaged or missing row; null if the table itself is gone.';
comment on column chain_verdict.expected_hash is
  'The hash that the row''s content and its predecessor give; of the row after missing ones the hash of its content '
  'alone; null if there is no row.';
comment on column chain_verdict.actual_hash   is
  'The hash that is stored; for missing rows that of the row after the gap.';
comment on column chain_verdict.detail        is 'What was found, in words.';
create function _with_verdict(result chain_verdict, verdict text, detail text, error_code text default 'AUD-009')
returns chain_verdict
language sql immutable
set search_path from current
as $function$
  select row(result.table_name, result.rows_checked, result.first_id, result.last_id,
             v.is_valid, case when not v.is_valid then error_code end, verdict,
             result.broken_id, result.expected_hash, result.actual_hash, detail)::chain_verdict
  from (select case when verdict in ('intact', 'archived', 'acknowledged') then true
                    when verdict in ('not_there', 'not_run') then null
                    else false end as is_valid) as v;
$function$;
comment on function _with_verdict is
  'The same result with another verdict: is_valid follows from it; error_code is kept only for one that is not valid.';
create function _verdict(table_name text, verdict text, detail text) returns chain_verdict
language sql immutable
set search_path from current
as $function$
  select _with_verdict(row(table_name, 0, null, null, null, null, null, null, null, null, null)::chain_verdict,
                       verdict, detail);
$function$;
comment on function _verdict is 'A verdict on a table of which no row has been read.';

-- sql/05_verify/links.sql

-- How verification stays set-based
--
-- A row holds if three things fit. Its row_hash is SHA-256 over the row_hash that the row before it stores and its own
-- row_data. Its id is one more than that of the row before. Its time is not earlier. All three compare *stored* values
-- of two neighbours; no hash that was computed on the way is needed further on. So no loop carries a value from row to
-- row: one query with lag() over the primary key reads the rows in id order, hashes each once, and keeps nothing. A
-- range can be verified by itself, from the stored hash of the row before it, and many ranges at the same time. A row
-- that was edited does not give its stored hash any more; the row after it still fits to that stored hash.
--
-- Three queries, each a text made for the table, because its columns differ:
--
--   _chain_check_sql   one pass that only counts the rows and those that do not hold: all that an intact chain costs
--   _chain_links_sql   for each row the stored hash, the hash that it should have, and what its predecessor holds
--   _chain_places_sql  on top of it, for each row the verdict; read only when the first pass counted something
--
-- All take row_data from chain_rows_sql (04_chain), which prints each row with the columns that it was hashed with.
-- Functions that run them pin the settings by which PostgreSQL prints values (TimeZone and so on), and switch off the
-- plans that would read the table in another order and sort it on disk.
--
-- What verification sees of work that is going on. Each pass has one snapshot. Rows are committed in the order of their
-- ids, because a writer holds the chain's lock until its transaction ends. So a snapshot shows a chain without gaps up
-- to some row, and is verified as that; rows of an open or prepared transaction are not in it yet. A rollback, also to
-- a savepoint, leaves no gap: the id of the next row is the last stored one plus one. A crash leaves the rows that were
-- committed. On a standby, or after a dump, the rows print the same text, so the same hashes fit.
--
-- What no recomputation shows: an end that was cut off, and a chain that was hashed again to its end. Recorded runs
-- (compare.sql) and checkpoints (13_merkle) find those.

create function _chain_check_sql(table_name text) returns text
language sql stable
set search_path from current
as $function$
  -- $1 and $2 bound the ids; $3, $4 and $5 are hash, id and time of the row before the first.
  -- It fails (22023) on a hash that is not hex; then _chain_places_sql looks closer.
  -- "limit all" has a row printed before the window keeps it, so that it keeps one value instead of all columns. If
  -- client_encoding is UTF8, json_send gives what convert_to(row_data, 'UTF8') gives, and saves three copies.
  select _fill($query$
    select count(*), min(l.id), max(l.id), count(*) filter (where l.holds is not true), max(l.created_at)
    from (
      select r.id, r.created_at,
        r.row_hash = encode(sha256(decode(lag(r.row_hash, 1, $3) over w, 'hex') || r.row_bytes), 'hex')
        and r.id = lag(r.id, 1, $4) over w + 1
        and r.created_at >= lag(r.created_at, 1, $5) over w and isfinite(r.created_at)
        and r.older_values_hold as holds
      from (
        select n.id, n.created_at, n.row_hash, n.older_values_hold, json_send(n.row_json) as row_bytes
        from ({rows:s}) as n
        where n.id between $1 and $2
        order by n.id limit all
      ) as r
      window w as (order by r.id)
    ) as l
  $query$, 'rows', chain_rows_sql(_chain_check_sql.table_name));
$function$;
comment on function _chain_check_sql is
  'Text of the query that counts the rows of a chain and those among them that do not hold, and finds the latest time; '
  'it needs client_encoding UTF8.';
create function _chain_links_sql(table_name text) returns text
language sql stable
set search_path from current
as $function$
  -- $1 and $2 bound the ids; $3, $4 and $5 are hash, id and time of what the chain starts behind (_proven_start).
  -- A forged hash need not be hex: decode must not fail on it. Where no hash covers a row (its predecessor is not
  -- there, or a column that was added later was edited), expected_hash is that of its content alone. That fits no
  -- stored hash, but it tells a later edit from what a release acknowledged.
  select _fill($query$
    select l.id, l.previous_id, l.row_hash as actual_hash,
      case when l.altered is null and (l.id = $4 + 1 or l.id > $4 + 1 and l.previous_id = l.id - 1) then
        encode(sha256(
          case when l.id = $4 + 1 and coalesce(l.previous_id, $4) <= $4 then decode($3, 'hex')
               when l.previous_hash ~ '^[0-9a-f]{64}$' then decode(l.previous_hash, 'hex')
               else convert_to(coalesce(l.previous_hash, ''), 'UTF8') end
          || convert_to(l.row_data, 'UTF8')), 'hex')
        else encode(sha256(convert_to(coalesce(l.altered, l.row_data), 'UTF8')), 'hex') end as expected_hash,
      coalesce(l.created_at < l.previous_created_at or not isfinite(l.created_at), l.created_at is null) as goes_back,
      l.older_values_hold
    from (
      select r.*, lag(r.id) over w as previous_id, lag(r.row_hash) over w as previous_hash,
             lag(r.created_at, 1, $5) over w as previous_created_at
      from ({rows:s}) as r
      -- from the row before the range, whatever its id
      where r.id >= coalesce((select max(b.id) from only {table:I} as b where b.id < $1), $1) and r.id <= $2
      window w as (order by r.id)
    ) as l
    where l.id >= $1
  $query$, 'rows', chain_rows_sql(_chain_links_sql.table_name), 'table', _chain_links_sql.table_name);
$function$;
comment on function _chain_links_sql is
  'Text of the query that recomputes every hash of a chain from the row and its predecessor.';
create function _chain_places_sql(table_name text) returns text
language sql stable
set search_path from current
as $function$
  select _fill($query$
    select k.id as at_id,
      case when k.verdict = 'missing_rows' then k.missing_from else k.id end as id,
      k.verdict,
      -- Of missing rows, those of the row after the gap, so that a gap that grows is another place.
      k.expected_hash, k.actual_hash,
      case k.verdict
        when 'missing_rows' then format('rows %s to %s are missing', k.missing_from, k.id - 1)
        when 'order_violation' then format('row %s is older than the row before it, or has no time', k.id)
        when 'content_mismatch' then case
          when k.id <= $4 then format('row %s stands before the first', k.id)
          when k.previous_id >= k.id then format('id %s stands twice', k.id)
          when not k.older_values_hold then format('row %s was changed in a column that was added after it', k.id)
          else format('row %s or its link does not give its hash', k.id) end end as detail
    from (
      select n.*, greatest(n.previous_id, $4) + 1 as missing_from, case
        when n.id <= $4 or n.previous_id >= n.id then 'content_mismatch'
        when n.id > $4 + 1 and n.previous_id is distinct from n.id - 1 then 'missing_rows'
        when n.actual_hash is distinct from n.expected_hash or not n.older_values_hold then 'content_mismatch'
        when n.goes_back then 'order_violation' end as verdict
      from ({links:s}) as n
    ) as k
  $query$, 'links', _chain_links_sql(_chain_places_sql.table_name));
$function$;
comment on function _chain_places_sql is
  'Text of the query that judges every row of a chain; verdict is null where nothing is wrong.';

-- sql/05_verify/parts.sql

-- A long range in parts, for several processes
--
-- PostgreSQL shares a query out to parallel workers only if it has no window, so a long range gets a query of another
-- shape: a union of parts, and each process takes the next part that nobody has taken. A part reads its rows twice. The
-- first time it collects, in id order, what each row gives to the one after it: id, time and hash, 48 bytes a row. The
-- second time each row is compared with what its predecessor left at its place.
--
-- The answer is only whether all rows hold. If one does not, _check_range_of_chain reads the range by _chain_check_sql
-- as it reads a short one, so a verdict on damage never comes from here. Without free workers the parts are read one
-- after the other.

create function _chain_parts_sql(
  table_name text, first_id bigint, last_id bigint, rows_per_part integer, starts_behind bigint, start_hash text,
  start_time timestamptz) returns text
language sql stable
set search_path from current
as $function$
  -- All of a part's rows hold if as many hold as there are ids: then each id has the one before it, so none is missing,
  -- and none stands twice. b also bounds the second reading: that is why every plan does it after the first.
  select _fill($query$
    select sum(p.rows_read)::bigint, sum(p.rows_that_hold)::bigint, max(p.latest) from ({parts:s}) as p
    $query$, 'parts', string_agg(_fill($part$
      select count(*) as rows_read, max(n.created_at) as latest, count(*) filter (where
          n.row_hash = encode(sha256(substring(b.hashes, 32 * (n.id - b.first_id)::integer + 1, 32)
                                     || json_send(n.row_json)), 'hex')
          and n.id = b.ids[(n.id - b.first_id)::integer + 1] + 1
          and n.created_at >= b.times[(n.id - b.first_id)::integer + 1] and isfinite(n.created_at)
          and n.older_values_hold
          and octet_length(b.hashes) = 32 * cardinality(b.ids)) as rows_that_hold
      from (
        select {first:L}::bigint as first_id, {last:L}::bigint as last_id,
               {start_id:L}::bigint[] || array_agg(p.id) as ids,
               {start_time:L}::timestamptz[] || array_agg(p.created_at) as times,
               decode({start_hash:L}, 'hex') || coalesce(string_agg(decode(p.row_hash, 'hex'), ''), '') as hashes
        from (select t.id, t.created_at, t.row_hash::text as row_hash from only {table:I} as t
              where t.id between {first:L}::bigint - 1 and {last:L}::bigint - 1 order by t.id) as p
      ) as b
      join ({rows:s}) as n on n.id between b.first_id and b.last_id
      $part$, 'table', _chain_parts_sql.table_name, 'rows', r.rows_sql, 'first', s.first_id::text,
      'last', least(s.first_id + rows_per_part - 1, _chain_parts_sql.last_id)::text,
      'start_id', array(select starts_behind where s.first_id = starts_behind + 1)::text,
      'start_time', array(select start_time where s.first_id = starts_behind + 1)::text,
      'start_hash', case when s.first_id = starts_behind + 1 then start_hash else '' end), 'union all'))
  from (select chain_rows_sql(_chain_parts_sql.table_name) as rows_sql) as r
  cross join generate_series(_chain_parts_sql.first_id, _chain_parts_sql.last_id, rows_per_part::bigint) as s(first_id);
$function$;
comment on function _chain_parts_sql is
  'Text of the query that counts the rows of a range and those among them that hold, in parts that parallel workers '
  'can read, of a chain that starts behind a row with this id, hash and time; it needs client_encoding UTF8.';
create function _check_in_parts(
  table_name text, first_id bigint, last_id bigint, rows_per_part integer default 10000,
  starts_behind bigint default 0, start_hash text default null, start_time timestamptz default '-infinity',
  out holds boolean, out latest timestamptz)
language plpgsql stable
set search_path from current
set client_encoding = 'UTF8'  -- _chain_parts_sql needs it
-- Whole parts are shared out, not the pages of one: their rows must come in id order.
set min_parallel_table_scan_size = 715827882 set min_parallel_index_scan_size = 715827882
set parallel_setup_cost = 0 set parallel_tuple_cost = 0 set enable_indexscan = on
as $function$
declare
  parts_per_query  constant bigint := 32;  -- some 80 MB in all processes together
  starts_at        bigint := first_id;
  ends_at          bigint;
  rows_read        bigint;
  rows_that_hold   bigint;
  latest_of_query  timestamptz;
begin
  holds := true;
  while holds and starts_at <= last_id loop
    ends_at := least(last_id, starts_at + parts_per_query * rows_per_part - 1);
    execute _chain_parts_sql(table_name, starts_at, ends_at, rows_per_part, starts_behind,
                             coalesce(start_hash, chain_genesis(table_name)), start_time)
      into rows_read, rows_that_hold, latest_of_query;
    -- A forged id, which can make a range of any length, ends the loop here, because rows are missing before it.
    holds := rows_read = ends_at - starts_at + 1 and rows_that_hold = rows_read;
    latest := greatest(latest, latest_of_query);
    starts_at := ends_at + 1;
  end loop;
exception when invalid_parameter_value then  -- a stored hash is not hex
  holds := false;
end
$function$;
comment on function _check_in_parts is
  'Whether all rows from first_id to last_id are there and hold, and the latest time; several processes read them if '
  'they are free. verify_chain pins the settings.';

-- sql/05_verify/damage.sql

-- Every broken place of a chain, and which of them a lockdown release acknowledged. acknowledged_damage and the
-- sequences lockdown_alarm and lockdown_lifted are made in 08_lockdown.

create function _gap_at_end_sql(table_name text) returns text
language sql stable
set search_path from current
as $function$
  -- $1 and $2 bound the ids, $3 is the table, $4 the row behind which it starts. Of the row after the gap, the hash of
  -- its content alone.
  select _fill($query$
    select $3::text, coalesce(b.id, $4) + 1, 'missing_rows',
           encode(sha256(convert_to(coalesce(r.altered, r.row_data), 'UTF8')), 'hex'), r.row_hash,
           format('rows %s to %s are missing', coalesce(b.id, $4) + 1, a.id - 1)
    from (select n.id from only {table:I} as n where n.id > $2 order by n.id limit 1) as a
    join ({rows:s}) as r on r.id = a.id
    left join lateral (select p.id from only {table:I} as p where p.id <= $2 order by p.id desc limit 1) as b on true
    where coalesce((select max(t.id) from only {table:I} as t
                    where t.id between coalesce($1, -9223372036854775808) and $2),
                   greatest(coalesce($1, 1) - 1, $4)) < $2
    limit 1
  $query$, 'table', _gap_at_end_sql.table_name, 'rows', chain_rows_sql(_gap_at_end_sql.table_name));
$function$;
comment on function _gap_at_end_sql is
  'Text of the query for the rows that are missing at the end of a range, though rows stand after it; no row if none '
  'are.';
create function find_chain_damage(table_name text, from_id bigint default null, to_id bigint default null)
returns table (damaged_table text, id bigint, verdict text, expected_hash text, actual_hash text, detail text)
language plpgsql stable
set search_path from current
set row_security = off
set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres'
set enable_seqscan = off set enable_sort = off set enable_bitmapscan = off set jit = off
as $function$
declare
  start record;
begin
  perform _chain_or_error(table_name);
  detail := _missing_part(table_name);
  if detail is not null then
    damaged_table := table_name;
    verdict := 'table_missing';
    return next;
    return;
  end if;
  select s.* into start from _proven_start(table_name, from_id) as s;
  return query execute format(
    'select $6::text, p.id, p.verdict, p.expected_hash, p.actual_hash, p.detail'
    ' from (%s) as p where p.verdict is not null order by p.at_id', _chain_places_sql(table_name))
    using coalesce(from_id, -9223372036854775808), coalesce(to_id, 9223372036854775807), start.row_hash, start.id,
          start.created_at, table_name;
  -- A gap at the end of the range has no row in the range to show it.
  if to_id is not null then
    return query execute _gap_at_end_sql(table_name) using from_id, to_id, table_name, start.id;
  end if;
end
$function$;
comment on function find_chain_damage is
  'Every broken place of a chain, or of a range of it, in id order; no row if there is none. Acknowledged damage is '
  'listed too.';
create function _acknowledged_if_known()
returns table (table_name text, id text, verdict text, actual_hash text, expected_hash text, release_id bigint)
language plpgsql stable
set search_path from current
as $function$
begin
  return query select a.* from acknowledged_damage() as a;
exception
  when undefined_table or undefined_function or undefined_object or undefined_column then
    return;  -- without lockdown_events there are no releases, and damage is damage
  when lock_not_available then
    -- Without an alarm nothing was ever released; while one stands, another one harms nobody. On a standby, and after
    -- a crash, it is not known whether it stands.
    if coalesce(pg_sequence_last_value('lockdown_alarm'::regclass)
                  = pg_sequence_last_value('lockdown_lifted'::regclass),
                pg_sequence_last_value('lockdown_alarm'::regclass) is not null) then
      raise;
    end if;
end
$function$;
comment on function _acknowledged_if_known is
  'The rows of acknowledged_damage() (08_lockdown); none if what it reads was dropped, or is locked while no release '
  'can count.';
create function _damage_item(table_name text, id bigint, verdict text, actual_hash text, expected_hash text)
returns jsonb
language sql immutable
set search_path from current
as $function$
  select jsonb_build_object('table', _damage_item.table_name, 'id', _damage_item.id, 'verdict', _damage_item.verdict,
                            'actual_hash', _damage_item.actual_hash, 'expected_hash', _damage_item.expected_hash);
$function$;
comment on function _damage_item is
  'A damaged place as it stands in lockdown_events.damage and in the payload of a release.';
create function _damage_of(verdict chain_verdict) returns jsonb
language sql immutable
set search_path from current
as $function$
  select _damage_item(verdict.table_name, verdict.broken_id, verdict.verdict, verdict.actual_hash,
                      verdict.expected_hash);
$function$;
comment on function _damage_of is 'A verdict as an item of lockdown_events.damage.';
create function _weigh_damage(
  table_name text, from_id bigint, to_id bigint, out known bigint, out unknown bigint, out first_unknown jsonb)
language sql stable
set search_path from current
as $function$
  with
  acknowledged as materialized (select a.* from _acknowledged_if_known() as a),
  damage as (
    select f.id,
           _damage_item(f.damaged_table, f.id, f.verdict, f.actual_hash, f.expected_hash)
             || jsonb_build_object('detail', f.detail) as place,
           exists (select from acknowledged as a
                   where a.table_name = f.damaged_table and a.id = f.id::text and a.verdict = f.verdict
                     and a.actual_hash is not distinct from f.actual_hash
                     and a.expected_hash is not distinct from f.expected_hash) as is_known
    from find_chain_damage(_weigh_damage.table_name, _weigh_damage.from_id, _weigh_damage.to_id) as f)
  select count(*) filter (where d.is_known), count(*) filter (where not d.is_known),
         (array_agg(d.place order by d.id) filter (where not d.is_known))[1]
  from damage as d;
$function$;
comment on function _weigh_damage is
  'How many broken places of a range a lockdown release acknowledged, how many it did not, and the first of these.';

-- sql/05_verify/chain.sql

-- The verdict on one chain, or on a range of its ids. Reads only.

create function _check_range_of_chain(
  table_name text, from_id bigint, to_id bigint, starts_behind bigint, start_hash text, start_time timestamptz,
  out rows_checked bigint, out first_id bigint, out last_id bigint, out broken bigint, out latest timestamptz)
language plpgsql stable
set search_path from current
set client_encoding = 'UTF8'  -- _chain_check_sql needs it
as $function$
declare
  begins_at    constant bigint := coalesce(from_id, -9223372036854775808);
  ends_at      constant bigint := coalesce(to_id, 9223372036854775807);
  before_id    bigint;
  before_hash  text;
  before_time  timestamptz;
  in_parts     record;
begin
  execute format('select t.id, t.row_hash::text, t.created_at'
                 ' from only %I as t where t.id < $1 order by t.id desc limit 1', table_name)
    into before_id, before_hash, before_time using begins_at;
  -- For less than 100,000 rows, and so for the ranges of a verification_plan, starting processes costs more than they
  -- gain. A table of under 8 MB has fewer.
  if pg_relation_size(to_regclass(quote_ident(table_name))) >= 8388608 then
    execute format('select (select t.id from only %1$I as t where t.id between $1 and $2 order by t.id limit 1),'
                   ' (select t.id from only %1$I as t where t.id between $1 and $2 order by t.id desc limit 1)',
                   table_name) into first_id, last_id using begins_at, ends_at;
  end if;
  if first_id > starts_behind and first_id <= 4611686018427387904 and last_id >= first_id + 100000
     and current_setting('max_parallel_workers_per_gather')::integer > 0
     -- without the index each part would read the whole table
     and exists (select from pg_index as i
                 join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0] and a.attname = 'id'
                 where i.indrelid = to_regclass(quote_ident(table_name)) and i.indisunique
                   and i.indisvalid and i.indpred is null) then
    select p.* into in_parts from _check_in_parts(
      table_name, first_id, last_id, starts_behind => starts_behind, start_hash => start_hash, start_time => start_time
    ) as p;
    if in_parts.holds then
      rows_checked := last_id - first_id + 1;
      broken := 0;
      latest := in_parts.latest;
      return;
    end if;
  end if;
  execute _chain_check_sql(table_name)
    into rows_checked, first_id, last_id, broken, latest
    using begins_at, ends_at, coalesce(before_hash, start_hash), coalesce(before_id, starts_behind),
          coalesce(before_time, start_time);
exception when invalid_parameter_value then  -- a stored hash is not hex
  execute format('select count(*), min(p.at_id), max(p.at_id), count(p.verdict) from (%s) as p',
                 _chain_places_sql(table_name))
    into rows_checked, first_id, last_id, broken
    using begins_at, ends_at, start_hash, starts_behind, start_time;
end
$function$;
comment on function _check_range_of_chain is
  'How many rows a range has, how many of them do not hold, and the latest time (null if a stored hash is not hex), of '
  'a chain that starts behind a row with this id, hash and time. Several processes read a long range. verify_chain '
  'pins the settings.';
create function _missing_end_text(table_name text, from_id bigint, to_id bigint, tail_id bigint) returns text
language sql immutable
set search_path from current
as $function$
  select format('%s not there: %s',
    case when to_id is null then format('rows from %s on are', r.first_id)
         when to_id = r.first_id then format('row %s is', to_id)
         else format('rows %s to %s are', r.first_id, to_id) end,
    case when tail_id is null then format('%s is empty', table_name)
         else format('%s ends with row %s', table_name, tail_id) end)
  from (select greatest(coalesce(tail_id, 0) + 1, from_id) as first_id) as r;
$function$;
comment on function _missing_end_text is 'Which rows of a range are after the end of the chain, in words.';
create function verify_chain(table_name text, from_id bigint default null, to_id bigint default null)
returns chain_verdict
language plpgsql
set search_path from current
set row_security = off
set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres'
set enable_seqscan = off set enable_sort = off set enable_bitmapscan = off set jit = off
as $function$
declare
  result     chain_verdict;
  start      record;
  checked    record;
  damage     record;
  tail_id    bigint;
  tail_time  timestamptz;
  ahead      text;
  summary    text;
begin
  perform _chain_or_error(table_name);
  if _missing_part(table_name) is not null then
    return _verdict(table_name, 'table_missing', _missing_part(table_name));
  end if;
  select s.* into start from _proven_start(table_name, from_id) as s;
  select c.* into checked
  from _check_range_of_chain(table_name, from_id, to_id, start.id, start.row_hash, start.created_at) as c;
  tail_id := checked.last_id;
  tail_time := checked.latest;
  if tail_time is null or tail_id < to_id then
    execute format('select t.id, t.created_at from only %I as t order by t.id desc limit 1', table_name)
      into tail_id, tail_time;
  end if;
  ahead := case when to_id is null then _ahead_of_clock(tail_time) end;
  summary := concat_ws('; ', format('%s rows', checked.rows_checked), case when start.proposal_id is not null then
    format('rows 1 to %s archived by proposal %s', start.id, start.proposal_id) end);
  result := _verdict(table_name, 'intact', concat_ws('; ', summary, ahead));
  result.rows_checked := checked.rows_checked;
  result.first_id := checked.first_id;
  result.last_id := checked.last_id;
  -- A run may begin with the row after the last one: there is nothing yet, and nothing is missing.
  if start.id > 0 and tail_id is null then
    result := _with_verdict(result, 'tail_missing', concat_ws('; ', summary,
      'no row is left, but the last ones are never archived'));
    result.broken_id := start.id + 1;
    return result;
  end if;
  -- What is archived is not missing, either.
  if checked.broken = 0 and (case when to_id is null then coalesce(from_id <= coalesce(tail_id, start.id) + 1, true)
                                  else coalesce(checked.last_id, start.id) >= to_id end) then
    return result;
  end if;
  -- Damage is rare, so only then is the range read a second time.
  select d.* into damage from _weigh_damage(table_name, from_id, to_id) as d;
  if damage.unknown > 0 then
    result := _with_verdict(result, damage.first_unknown ->> 'verdict', concat(damage.first_unknown ->> 'detail',
      case when damage.unknown > 1 then format(' (first of %s places)', damage.unknown) end));
    result.broken_id := (damage.first_unknown ->> 'id')::bigint;
    result.expected_hash := damage.first_unknown ->> 'expected_hash';
    result.actual_hash := damage.first_unknown ->> 'actual_hash';
    return result;
  end if;
  if damage.known > 0 then
    result := _with_verdict(result, 'acknowledged', concat_ws('; ', summary,
      format('damage at %s places, acknowledged by a lockdown release', damage.known), ahead));
  end if;
  if coalesce(tail_id, start.id) < coalesce(to_id, from_id - 1) then
    result := _with_verdict(result, 'not_there', concat_ws('; ', result.detail,
      _missing_end_text(table_name, from_id, to_id, tail_id)));
  end if;
  return result;
end
$function$;
comment on function verify_chain is
  'Recomputes one chain, or a range of it, and gives the verdict. Changes nothing.';

-- sql/05_verify/runs.sql

-- What a verification run remembers: which rows it read (plan.sql), how far it read each chain, the hash that stood
-- there, and where the counters stood, that of lockdown_alarm (08_lockdown/events.sql), too, once it is there.

create table verification_runs (
  id            bigserial    not null,
  is_full       boolean      not null,
  full_every    integer      null,
  turn          integer      null,
  heads         jsonb        not null,
  rows_checked  bigint       not null,
  recorded_by   text         not null,
  counters      jsonb        not null,
  row_hash      char(64)     not null,
  created_at    timestamptz  not null,
  constraint verification_runs_pkey primary key (id),
  constraint verification_runs_turn_is_one_of_full_every
    check ((full_every is null) = (turn is null) and (turn is null or not is_full and turn >= 0 and turn < full_every))
);
comment on table  verification_runs              is
  'Verification runs that found nothing wrong: what the next one need not read again. Append-only and chained.';
comment on column verification_runs.id           is 'Position in the chain.';
comment on column verification_runs.is_full      is 'Whether it read every row.';
comment on column verification_runs.full_every   is
  'In how many runs every row is read; null if this one read every row, or it is not known.';
comment on column verification_runs.turn         is
  'Which of them this is, from 0. The last one, full_every - 1, ends a sweep: every row has been read since it began.';
comment on column verification_runs.heads        is
  'For each table the last row that was read: {"signals": {"id": 5, "row_hash": "…"}}.';
comment on column verification_runs.rows_checked is 'How many rows it read.';
comment on column verification_runs.recorded_by  is 'The login that recorded it.';
comment on column verification_runs.counters     is
  'Where the sequences stood that never go back: {"attempts_…": 3}.';
comment on column verification_runs.row_hash     is 'SHA-256 of the previous row_hash and this row.';
comment on column verification_runs.created_at   is 'When the run was recorded.';
create function _counters() returns jsonb
language sql volatile security definer
set search_path from current
as $function$
  -- Until 17, a right that is missing is an error.
  select coalesce(jsonb_object_agg(c.name, case when has_sequence_privilege(c.sequence, 'usage, select')
                                                then pg_sequence_last_value(c.sequence) end)
                  filter (where c.sequence is not null), '{}')
  from (select s.name, to_regclass(format('%I.%I', current_schema(), s.name)) as sequence
        from (select a.sequence_name from only attempt_counters as a
              union all
              select 'lockdown_alarm') as s(name)) as c;
$function$;
comment on function _counters is
  'Where the sequences stand that never go back; null for one that never had a value. After a crash one may read 32 '
  'high.';
create function _verified_heads()
returns table (table_name text, last_id bigint, row_hash text, run_id bigint, lockdown_event bigint)
language sql stable
set search_path from current
set row_security = off
as $function$
  select h.key, (h.value ->> 'id')::bigint, h.value ->> 'row_hash', r.id,
         coalesce((r.heads -> 'lockdown_events' ->> 'id')::bigint, 0)
  from (select v.id, v.heads from only verification_runs as v order by v.id desc limit 1) as r
  cross join lateral jsonb_each(r.heads) as h
  where h.value ->> 'id' is not null;
$function$;
comment on function _verified_heads is
  'How far the last recorded verification run read each chain, the hash that stood there, and the last lockdown event '
  'that it knew.';

-- sql/05_verify/compare.sql

-- Comparing with the last recorded run: a chain alone shows neither that its end was cut off nor that it was hashed
-- again to its end. A run recorded the last row of each chain, and that row must still be there.

create function _compare_with_last_run(result chain_verdict) returns chain_verdict
language plpgsql stable
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
declare
  head     record;
  stored   text;
  tail_id  bigint;
begin
  begin
    select h.* into strict head from _verified_heads() as h where h.table_name = result.table_name;
  exception
    when no_data_found then
      return result;
    when others then
      -- verification_runs has a verdict of its own, and does not take away this one.
      result.detail := format('%s; not compared with the last verification run: %s (%s)',
                             result.detail, sqlerrm, sqlstate);
      return result;
  end;
  execute format('select (select t.row_hash::text from only %1$I as t where t.id = $1),'
                 ' (select max(t.id) from only %1$I as t)', result.table_name)
    into stored, tail_id using head.last_id;
  if stored = head.row_hash or head.last_id <= (_proven_start(result.table_name)).id then
    return result;
  end if;
  result.expected_hash := head.row_hash;
  result.actual_hash := stored;
  if stored is not null then
    result.broken_id := head.last_id;
    result := _with_verdict(result, 'checkpoint_mismatch',
      format('row %s is not the one that verification run %s read there', head.last_id, head.run_id));
  else
    result.broken_id := least(coalesce(tail_id, 0) + 1, head.last_id);
    result := _with_verdict(result, 'tail_missing',
      format('rows %s to %s, which verification run %s read, are missing',
             result.broken_id, head.last_id, head.run_id));
  end if;
  -- By a release since that run. New rows may by now stand where the chain had lost its end.
  if exists (
    select from _acknowledged_if_known() as a
    where a.table_name = result.table_name and a.release_id > head.lockdown_event
      and (a.id = result.broken_id::text and a.actual_hash is not distinct from result.actual_hash
           or a.verdict = 'tail_missing' and a.actual_hash is null
              and case when a.id ~ '^[0-9]{1,18}$' then a.id::bigint <= result.broken_id end)) then
    return _with_verdict(result, 'acknowledged',
                         format('%s: %s; acknowledged by a lockdown release', result.verdict, result.detail));
  end if;
  return result;
end
$function$;
comment on function _compare_with_last_run is
  'Turns a good verdict into tail_missing or checkpoint_mismatch if the row that ended the last verification run is '
  'gone or another.';

-- sql/05_verify/judge.sql

-- A verdict in every case. What cannot be checked is "not_run": neither reported as fine nor as tampered.
--
-- Verification has to work best when somebody damaged the installation, so it must not depend on all of it. Each call
-- that may fail because a table or a function is gone stands in a block of its own: _judge_range catches what
-- verify_chain and the comparisons raise, _judge_range_if_possible what the absence of _judge_range raises.

create function _judge_range(table_name text, from_id bigint, to_id bigint) returns chain_verdict
language plpgsql
set search_path from current
set row_security = off
as $function$
declare
  result    chain_verdict;
  compared  chain_verdict;
begin
  result := verify_chain(table_name, from_id, to_id);
  if result.is_valid and to_id is null then
    result := _compare_with_last_run(result);
  elsif result.verdict = 'not_there' then
    -- What the last run read, and is not there now, is missing.
    compared := result;
    compared.is_valid := true;
    compared := _compare_with_last_run(compared);
    if not compared.is_valid then
      result := compared;
    end if;
  end if;
  if result.is_valid and to_id is null and table_name in ('lockdown_events', 'risk_change_log') then
    result := _compare_with_consensus(result);  -- 08_lockdown/damage.sql
  end if;
  if result.is_valid and to_id is null and table_name = 'table_changes' then
    result := _compare_with_histories(result);  -- 15_history/verify.sql, which makes that table, too
  end if;
  return result;
exception when others then
  return _verdict(table_name, 'not_run', format('%s (%s)', sqlerrm, sqlstate));
end
$function$;
comment on function _judge_range is
  'The verdict on one chain or a range of it; not_run if it cannot be checked. A range without an end is compared with '
  'the last verification run, too.';
create function _is_registered() returns boolean
language sql stable
set search_path from current
as $function$
  select to_regclass(format('%I.chains', current_schema())) is not null;
$function$;
comment on function _is_registered is 'Whether the table chains, which says what is chained, is there.';
create function _judge_range_if_possible(table_name text, from_id bigint, to_id bigint) returns chain_verdict
language plpgsql
set search_path from current
as $function$
begin
  if not _is_registered() then
    return _verdict('chains', 'table_missing', 'the register of the chains is gone: it says which tables are chained, '
                                               'so nothing can be verified without it');
  end if;
  return _judge_range(table_name, from_id, to_id);
exception when others then
  return _verdict(table_name, 'not_run', format('%s (%s)', sqlerrm, sqlstate));
end
$function$;
comment on function _judge_range_if_possible is
  'As _judge_range; not_run if that function was dropped, and damage of the table chains if that was.';

-- sql/05_verify/integrity.sql

-- What users call: a verdict for each chain, the guards beside it, and the lockdown over damage.
--
-- Damage engages the lockdown before the verdict is returned, so the caller's detail says what came of it. The lockdown
-- itself is explained at the top of 08_lockdown/engage.sql.

create function _check_range(from_id bigint, to_id bigint) returns void
language plpgsql immutable
set search_path from current
as $function$
begin
  if from_id < 1 or to_id < coalesce(from_id, 1) then
    raise exception 'not a range of ids: % to %', from_id, to_id using errcode = '22023';
  end if;
end
$function$;
comment on function _check_range is 'Raises 22023 for what is no range of ids.';
create function _attend_alarm_if_possible(wanted boolean) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _attend_alarm(wanted);  -- 08_lockdown/attend.sql
exception when others then
  null;  -- lockdown_events or its alarm was dropped: that gets a verdict, and must hide no other one
end
$function$;
comment on function _attend_alarm_if_possible is 'As _attend_alarm; nothing if what it needs was dropped.';
create function _lockdown_over(damage jsonb, wanted boolean) returns text
language plpgsql
set search_path from current
as $function$
begin
  if not coalesce(wanted, true) then
    return 'lockdown not asked for';
  elsif pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' then
    return 'this session cannot write, so the lockdown is NOT engaged';
  end if;
  return _engage_lockdown(  -- 08_lockdown/engage.sql
    concat_ws(' ', damage -> 0 ->> 'verdict', 'at', damage -> 0 ->> 'table', damage -> 0 ->> 'id'), damage);
exception when others then
  return format('the lockdown is NOT engaged: %s (%s)', sqlerrm, sqlstate);
end
$function$;
comment on function _lockdown_over is
  'Engages the lockdown over proven damage, if it is wanted and this session can write, and says what came of it.';
create function verify_range(
  table_name text, from_id bigint default null, to_id bigint default null, engage_lockdown boolean default true
) returns chain_verdict
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  result chain_verdict;
begin
  if _is_registered() then
    perform _chain_or_error(table_name);
  end if;
  perform _check_range(from_id, to_id);
  if to_id is null then
    perform _attend_alarm_if_possible(engage_lockdown);
  end if;
  result := _judge_range_if_possible(table_name, from_id, to_id);
  if result.error_code = 'AUD-009' then
    result.detail := result.detail || '; ' || _lockdown_over(jsonb_build_array(_damage_of(result)), engage_lockdown);
  end if;
  return result;
end
$function$;
comment on function verify_range is
  'Verifies one chain or a range of ids of it, without the guards; ranges can be verified side by side. Proven damage '
  'engages the lockdown unless engage_lockdown is false.';
create function _guards_if_known(out problems jsonb, out unknown text)
language plpgsql stable
set search_path from current
as $function$
begin
  select coalesce(jsonb_object_agg(g.table_name, g.problems), '{}') into problems from changed_guards() as g;
exception
  when undefined_table or undefined_function or undefined_object or undefined_column then
    problems := jsonb_build_object('guard_states', format('what compares the guards is gone: %s', sqlerrm));
  when others then
    unknown := format('the guards could not be compared: %s (%s)', sqlerrm, sqlstate);
end
$function$;
comment on function _guards_if_known is
  'The rows of changed_guards() as {table: problems}; or why they could not be compared.';
create function _judge_guards(result chain_verdict, problems text, unknown text) returns chain_verdict
language sql immutable
set search_path from current
as $function$
  -- What cannot be read because somebody changed its guards is reported as that.
  select case
    when problems is not null and (result.is_valid or result.verdict = 'not_run') then
      _with_verdict(result, 'guard_changed', concat_ws('; ', problems,
                    case when result.verdict = 'not_run' then 'not verified: ' || result.detail end), 'AUD-011')
    when unknown is not null and result.is_valid then _with_verdict(result, 'not_run', unknown)
    else result end;
$function$;
comment on function _judge_guards is
  'Turns a verdict into guard_changed if the guards of its table are not as recorded, a good one into not_run if that '
  'is not known.';
create function verify_chain_integrity(
  table_name text default null, from_id bigint default null, to_id bigint default null,
  engage_lockdown boolean default true
) returns setof chain_verdict
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  chain    record;
  guards   record;
  result   chain_verdict;
  results  chain_verdict[] := '{}';
  damage   jsonb := '[]';
  outcome  text;
begin
  if not _is_registered() then
    return next verify_range(table_name, from_id, to_id, engage_lockdown);
    return;
  end if;
  perform _chain_or_error(table_name) where table_name is not null;
  perform _check_range(from_id, to_id);
  perform _attend_alarm_if_possible(engage_lockdown);
  -- Guards belong to the whole, not to a range of rows.
  select g.* into guards from _guards_if_known() as g where from_id is null and to_id is null;
  for chain in
    select c.table_name from only chains as c
    where verify_chain_integrity.table_name is null or c.table_name = verify_chain_integrity.table_name
    order by c.position
  loop
    result := _judge_range_if_possible(chain.table_name, from_id, to_id);
    if result.error_code = 'AUD-009' then
      damage := damage || _damage_of(result);
    elsif result.verdict = 'intact' and from_id > 1 and result.rows_checked = 0 then
      result := _with_verdict(result, 'not_there', format('0 rows; rows from %s on are not there: %s ends before',
                                                          from_id, chain.table_name));
    else
      -- What nobody knows of the guards is said once: with guard_states, or with the one table that was asked for.
      result := _judge_guards(result, guards.problems ->> chain.table_name,
        case when chain.table_name = 'guard_states' or table_name is not null then guards.unknown end);
    end if;
    results := results || result;
  end loop;
  if damage <> '[]' then
    outcome := _lockdown_over(damage, engage_lockdown);
  end if;
  foreach result in array results loop
    if result.error_code = 'AUD-009' then
      result.detail := result.detail || '; ' || outcome;
    end if;
    return next result;
  end loop;
end
$function$;
comment on function verify_chain_integrity is
  'Verifies all chains, one, or a range of ids, a row for each table. Proven damage engages the lockdown unless '
  'engage_lockdown is false.';

-- sql/05_verify/plan.sql

-- Which ranges a verification run reads. A run that reads only what is new costs little; so that an edit of an old row
-- is found too, each run also reads a turn of the older rows.
--
-- The older rows are divided by their ids: blocks of 16,384 are dealt out to the turns 0 to full_every - 1, like cards.
-- A block keeps its turn, however the log grows or is archived, and a run takes the turn after that of the run before.
-- So any full_every recorded runs in a row read every row that was there at the first of them, and none of them is
-- long. Of runs that overlap only one is recorded (record.sql). Only a run that cannot say whose turn it is reads every
-- row: the first one, and one with another full_every than the run before. Most chains have one block, so the first
-- block of each chain has another turn than that of the next chain.

create function _split_range(first_id bigint, last_id bigint, rows_per_range bigint)
returns table (from_id bigint, to_id bigint)
language sql immutable
set search_path from current
as $function$
  -- At most ten thousand, because a forged id must not make a plan without end.
  select s.start, least(s.start + w.width - 1, last_id)
  from (select greatest(rows_per_range, (last_id - first_id) / 10000 + 1) as width) as w
  cross join lateral generate_series(first_id, last_id, w.width) as s(start);
$function$;
comment on function _split_range is 'A range of ids in parts of so many; none if it is empty.';
create function _recorded_turn(full_every integer, out run_id bigint, out last_heads jsonb, out turn integer)
language plpgsql stable
set search_path from current
as $function$
begin
  select r.id, r.heads,
         case when r.is_full then 0
              when r.full_every = _recorded_turn.full_every then (r.turn + 1) % r.full_every end
    into run_id, last_heads, turn
  from only verification_runs as r order by r.id desc limit 1;
  run_id := coalesce(run_id, 0);
exception when others then
  run_id := null;
  turn := null;  -- verification_runs has a verdict of its own; without it every row is read
end
$function$;
comment on function _recorded_turn is
  'The last recorded run (0: none yet), how far it read each chain, and whose turn it is after it; turn is null if '
  'that is not known, so that every row is to be read.';
create function _ranges_of_turn(
  starts_behind bigint, known_to bigint, place integer, turn integer, full_every integer, rows_per_range bigint)
returns table (from_id bigint, to_id bigint)
language sql immutable
set search_path from current
as $function$
  -- Block b has the ids b * 16384 + 1 to (b + 1) * 16384, and the turn (b + place) % full_every.
  select r.from_id, r.to_id
  from (select starts_behind >> 14 as index) as f
  cross join lateral generate_series(
    f.index + (((turn - place - f.index) % full_every) + full_every) % full_every, (known_to - 1) >> 14,
    full_every) as b(index)
  cross join lateral _split_range(greatest(b.index << 14, starts_behind) + 1, least((b.index + 1) << 14, known_to),
                                  rows_per_range) as r
  where known_to > starts_behind
  order by r.from_id;
$function$;
comment on function _ranges_of_turn is
  'The ranges of the older rows of a chain, those after starts_behind up to known_to, that a turn reads. place shifts '
  'the turns of a chain against those of others.';
create function _chains_to_read(last_heads jsonb)
returns table (table_name text, last_id bigint, known_to bigint, starts_behind bigint, place integer)
language sql stable
set search_path from current
as $function$
  -- A forged id must not overflow what is added to it. Of a chain without rows there is nothing to read.
  select n.table_name, least(coalesce(n.last_id, n.start), 4611686018427387904),
         greatest(least(coalesce(n.known_to, 0), coalesce(n.last_id, 0), 4611686018427387904), n.start),
         n.start, n.position
  from (select c.table_name, c.place, k.position, (_proven_start(c.table_name)).id as start,
               (last_heads -> c.table_name ->> 'id')::bigint as known_to,
               -- of a table that cannot be read now, what is known of it
               coalesce(c.last_id, case when c.error_code is not null
                                        then (last_heads -> c.table_name ->> 'id')::bigint end) as last_id
        from chain_status() with ordinality
             as c(table_name, last_id, head_hash, last_created_at, error_code, problem, place)
        left join only chains as k on k.table_name = c.table_name) as n
  order by n.place;
$function$;
comment on function _chains_to_read is
  'Each chain with its last row, how far the last run read it, behind which row it starts, and its place in the '
  'register.';
create function verification_plan(
  since_last boolean default false, full_every integer default 24, rows_per_range bigint default 50000)
returns table (table_name text, from_id bigint, to_id bigint, is_full boolean, turn integer, after_run bigint)
language plpgsql stable security definer
set search_path from current
set row_security = off
as $function$
declare
  recorded  record;
  chain     record;
begin
  if since_last is null then
    raise exception 'since_last is true or false, not NULL'
      using errcode = '22023', hint = 'Give true to read what is due, or false to read all rows.';
  end if;
  if (full_every >= 1 and rows_per_range between 1 and 1000000000) is not true then
    raise exception 'full_every is at least 1 and rows_per_range from 1 to 1000000000, not % and %',
      coalesce(full_every::text, 'NULL'), coalesce(rows_per_range::text, 'NULL')
      using errcode = '22023', hint = 'Leave a parameter out to take its default.';
  end if;
  if not _is_registered() then
    return query select 'chains', null::bigint, null::bigint, true, null::integer, null::bigint;
    return;
  end if;
  select r.* into recorded from _recorded_turn(full_every) as r;
  is_full := not since_last or full_every = 1 or recorded.turn is null;
  turn := case when not is_full then recorded.turn end;
  after_run := recorded.run_id;
  for chain in select c.* from _chains_to_read(recorded.last_heads) as c loop
    -- A forged id that a run recorded must not make a plan without end, either.
    if is_full or (chain.known_to - chain.starts_behind) / 16384 / full_every > 100000 then
      chain.known_to := chain.starts_behind;
    end if;
    -- The first range has no beginning, so that rows before the first are found. The last has no end, so that rows
    -- written meanwhile are read.
    return query
      select chain.table_name, nullif(r.from_id, chain.starts_behind + 1), r.to_id, verification_plan.is_full,
             verification_plan.turn, verification_plan.after_run
      from _ranges_of_turn(chain.starts_behind, chain.known_to, chain.place, verification_plan.turn, full_every,
                           rows_per_range) as r
      union all
      select chain.table_name, nullif(r.from_id, chain.starts_behind + 1),
             case when r.to_id < chain.last_id then r.to_id end, verification_plan.is_full, verification_plan.turn,
             verification_plan.after_run
      from _split_range(chain.known_to + 1, greatest(chain.last_id, chain.known_to + 1), rows_per_range) as r;
  end loop;
end
$function$;
comment on function verification_plan is
  'The ranges that a verification run reads, each for verify_range: all rows, or with since_last those that no '
  'recorded run has read and a turn of the older ones; any full_every recorded runs in a row read all of them. turn is '
  'null if all rows are read. after_run is the last recorded run, 0 before the first; give it to record_verification.';

-- sql/05_verify/record.sql

-- Recording a run that found nothing wrong. What app_auditor records here is believed by the next run, except for what
-- the trigger checks: each row that it names is there, none that an earlier run read is forgotten, and a turn follows
-- that of the run before. The trigger's function calls _lowered_counters (06_guards/verify.sql), and
-- 06_guards/attach.sql attaches it.
--
-- Of two runs that overlap only one is recorded. Both were planned after the same run, so they read the same turn, and
-- the rows of the turn that a second record would stand for are not read.

create function _require_run(
  is_full boolean, last_ids jsonb, rows_checked bigint, full_every integer, turn integer)
returns void
language plpgsql stable
set search_path from current
as $function$
begin
  if is_full is null or rows_checked >= 0 is not true then
    raise exception 'is_full is true or false and rows_checked at least 0, not % and %',
      coalesce(is_full::text, 'NULL'), coalesce(rows_checked::text, 'NULL')
      using errcode = '22023', hint = 'Give is_full as verification_plan does, and how many rows were read.';
  end if;
  if jsonb_typeof(last_ids) <> 'object' or exists (
    select from jsonb_each(case when jsonb_typeof(last_ids) = 'object' then last_ids end) as e
    where e.value <> 'null' and (jsonb_typeof(e.value) <> 'number' or e.value::text !~ '^-?[0-9]{1,18}$')) then
    raise exception 'last_ids does not name an id for each table: %', left(last_ids::text, 200)
      using errcode = '22023', hint = 'Give an object such as {"signals": 5000}.';
  end if;
  if turn is not null and (is_full or (full_every > 1 and turn between 0 and full_every - 1) is not true) then
    raise exception 'turn % of % is none', turn, coalesce(full_every::text, 'NULL')
      using errcode = '22023', hint = 'Give turn as verification_plan does, with the full_every that it was given.';
  end if;
end
$function$;
comment on function _require_run is 'Raises 22023 for what record_verification was given and cannot be a run.';
create function _require_next_run(full_every integer, turn integer, after_run bigint) returns void
language plpgsql
set search_path from current
as $function$
declare
  recorded  record;
begin
  select r.* into recorded from _recorded_turn(full_every) as r;
  if after_run <> recorded.run_id then
    raise exception 'another verification run was recorded meanwhile'
      using errcode = '40001', column = 'after_run',
            detail = format('This one was planned after run %s, and run %s is the last.', after_run, recorded.run_id),
            hint = 'Make another plan with verification_plan, and record the run that reads it.';
  end if;
  if turn is not null and turn is distinct from recorded.turn then
    raise exception 'turn % of % does not follow run %', turn, full_every, recorded.run_id
      using errcode = '22023',
            hint = format('Record the turn that verification_plan(true, %s) says.', full_every);
  end if;
end
$function$;
comment on function _require_next_run is
  'Raises 40001 if another run was recorded since the plan was made, and 22023 for a turn that is not the next one. To '
  'be called under the lock of verification_runs.';
create function record_verification(
  is_full boolean, last_ids jsonb, rows_checked bigint, full_every integer default null, turn integer default null,
  after_run bigint default null)
returns bigint
language plpgsql security definer
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
declare
  item      record;
  stored    text;
  heads     jsonb := '{}';
  event_id  bigint;
  compared  chain_verdict;
begin
  perform _require_run(is_full, last_ids, rows_checked, full_every, turn);
  perform _require_primary('record_verification');
  perform _commit_locally();  -- 08_lockdown/engage.sql
  if turn is null then
    full_every := null;
  end if;
  lock table only lock_verification_runs in share update exclusive mode;
  perform _require_next_run(full_every, turn, after_run);
  for item in
    select coalesce(e.key, h.table_name) as table_name, e.value::text::bigint as id, h.last_id, h.row_hash
    from (select * from jsonb_each(last_ids) where value <> 'null') as e
    full join _verified_heads() as h on h.table_name = e.key
  loop
    perform _chain_or_error(item.table_name);
    -- What was remembered is not forgotten while it is there.
    execute format('select t.row_hash from only %I as t where t.id = $1', item.table_name)
      into stored using item.last_id;
    if stored is distinct from item.row_hash then
      compared := _compare_with_last_run(_verdict(item.table_name, 'intact', ''));
      if not compared.is_valid then
        raise exception '% is not as the last run read it: %', item.table_name, compared.detail
          using errcode = '22023', hint = 'Record only a run that found nothing wrong.';
      end if;
    elsif item.last_id >= coalesce(item.id, 0) then
      item.id := item.last_id;
    end if;
    if item.id is null then
      continue;
    end if;
    execute format('select t.row_hash from only %I as t where t.id = $1', item.table_name) into stored using item.id;
    if stored is null then
      raise exception '% has no row %', item.table_name, item.id
        using errcode = '22023', hint = 'Give for each table the last id that the run found intact.';
    end if;
    heads := heads || jsonb_build_object(item.table_name, jsonb_build_object('id', item.id, 'row_hash', stored));
  end loop;
  insert into verification_runs (is_full, full_every, turn, heads, rows_checked)
  values (record_verification.is_full, record_verification.full_every, record_verification.turn, heads,
          record_verification.rows_checked)
  returning id into event_id;
  return event_id;
end
$function$;
comment on function record_verification is
  'Remembers that a run found every range of verification_plan intact: {table: last id}; tables that are not named '
  'keep what is remembered of them. full_every, turn and after_run are those of the plan; after a run without a turn '
  'that was not full the next one reads every row. Returns the id of the row of verification_runs. Raises 22023 for a '
  'row that is not there and for a turn that is not the next one, 40001 if another run was recorded after after_run. '
  'What app_auditor records here is believed.';
create function _check_verification_run() returns trigger
language plpgsql security definer
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
declare
  head    record;
  next    integer;
  stored  text;
begin
  -- Before the last run is read. The chain trigger takes the same lock.
  lock table only lock_verification_runs in share update exclusive mode;
  -- A turn follows that of the run before, so that any full_every runs in a row are all turns.
  if new.turn is not null then
    select r.turn into next from _recorded_turn(new.full_every) as r;
    if new.full_every = 1 or new.turn is distinct from next then
      perform _refuse(
        'AUD-011', format('a run was refused, because turn %s of %s is not the next one', new.turn, new.full_every),
        format('The next one is %s.', coalesce('turn ' || next, 'a run that reads all rows')),
        'Record a run with select record_verification(…).', tg_argv[0], tg_op);
    end if;
  end if;
  for head in
    select h.key as table_name, h.value ->> 'id' as id, h.value ->> 'row_hash' as row_hash
    from jsonb_each(new.heads) as h
  loop
    perform _chain_or_error(head.table_name);
    execute format('select t.row_hash::text from only %I as t where t.id = $1', head.table_name)
      into stored using head.id::bigint;
    if stored is distinct from head.row_hash or stored is null then
      perform _refuse(
        'AUD-011', format('a run was refused, because %s has no such row', head.table_name),
        format('Row %s has the hash %s, not %s.', head.id, coalesce(stored, 'of no row'), head.row_hash),
        'Record a run with select record_verification(…).', tg_argv[0], tg_op);
    end if;
  end loop;
  -- What was remembered is not forgotten: while it is there, and while it is gone and nobody acknowledged that.
  for head in
    select h.table_name, h.last_id as id, h.row_hash
    from _verified_heads() as h join only chains as c on c.table_name = h.table_name
    where (new.heads -> h.table_name ->> 'id')::bigint >= h.last_id is not true
  loop
    execute format('select t.row_hash::text from only %I as t where t.id = $1', head.table_name)
      into stored using head.id;
    if stored is not distinct from head.row_hash
       or not (_compare_with_last_run(_verdict(head.table_name, 'intact', ''))).is_valid then
      perform _refuse(
        'AUD-011', format('a run was refused, because it forgets rows of %s', head.table_name),
        format('The last run read them to row %s.', head.id),
        'Record a run with select record_verification(…).',
        tg_argv[0], tg_op);
    end if;
  end loop;
  -- A counter that went back is reported until somebody accepts the guards as they are.
  new.counters := _counters()
    || coalesce((select jsonb_object_agg(l.sequence_name, l.recorded) from _lowered_counters() as l), '{}');
  return new;
end
$function$;
comment on function _check_verification_run is
  'Row trigger of verification_runs: refuses (AUD-011) heads that are not there, a turn that is not the next one and a '
  'run that forgets rows, and records where the counters stand. Argument: table.';

-- sql/06_guards/states.sql

-- Guards: is everything that protects the log as it was installed? This table holds what is compared with.
--
-- The chapter: texts.sql and scope.sql say how things are printed and which are ours; facts_*.sql ask one catalogue
-- each; facts.sql puts all facts together and explains how they survive dump and upgrade; verify.sql compares.
-- The trigger below calls guard_facts(), which facts.sql makes.

create table guard_states (
  id           bigserial    not null,
  reason       text         not null,
  recorded_by  text         not null,
  facts        jsonb        not null,
  state_hash   char(64)     not null,
  counters     jsonb        not null,
  row_hash     char(64)     not null,
  created_at   timestamptz  not null,
  constraint guard_states_pkey primary key (id),
  constraint guard_states_reason_is_given check (btrim(reason) <> '')
);
comment on table  guard_states             is
  'The guards as each migration left them. Append-only and chained; verify_guards compares with the last row.';
comment on column guard_states.id          is 'Position in the chain.';
comment on column guard_states.reason      is 'The migration that ended so, or why somebody accepted this state.';
comment on column guard_states.recorded_by is 'The login that recorded it.';
comment on column guard_states.facts       is 'Array of [table, kind of object, object, fact, value].';
comment on column guard_states.state_hash  is 'SHA-256 of the text of facts.';
comment on column guard_states.counters    is 'Where the sequences stood that never go back: {"attempts_…": 3}.';
comment on column guard_states.row_hash    is 'SHA-256 of the previous row_hash and this row.';
comment on column guard_states.created_at  is 'When the state was recorded.';
create function _check_guard_state() returns trigger
language plpgsql security definer
set search_path from current
set quote_all_identifiers = off
as $function$
declare
  facts       constant jsonb := _guard_facts_json();
  state_hash  constant text := encode(sha256(convert_to(facts::text, 'UTF8')), 'hex');
begin
  if new.facts <> facts or new.state_hash::text <> state_hash then
    perform _refuse(
      'AUD-011', 'a state was refused, because the guards are not so',
      format('%s tried to insert it.', session_user),
      'Record the guards as they are with select record_guards(''reason'').', tg_argv[0], tg_op);
  end if;
  new.facts := facts;
  new.state_hash := state_hash;
  new.counters := _counters();
  return new;
end
$function$;
comment on function _check_guard_state is
  'Row trigger of guard_states: records the guards as they are now, and refuses (AUD-011) a row that says otherwise. '
  'Argument: table.';
create function record_guards(reason text) returns bigint
language sql security definer
set search_path from current
as $function$
  insert into guard_states (reason) values (record_guards.reason) returning id;
$function$;
comment on function record_guards is
  'Records the guards as they are now as the state to compare with, and says why; returns the id of the row of '
  'guard_states. Only the owner may call it.';

-- sql/06_guards/texts.sql

-- Texts that stay the same when a dump gives every object a new oid, and when a newer PostgreSQL prints it otherwise.
-- What differs between versions is evened out here or, where it is one line, beside the fact that it concerns.

create function _grants_text(acl aclitem[], owner oid)
returns table (grantee text, privileges text)
language sql stable
set search_path from current
as $function$
  select coalesce(r.rolname::text, 'PUBLIC'),
         string_agg(a.privilege_type || case when a.is_grantable then '*' else '' end, ', ' order by a.privilege_type)
  from aclexplode(acl) as a
  left join pg_roles as r on r.oid = a.grantee
  where a.grantee <> owner
  group by 1;
$function$;
comment on function _grants_text is
  'An access list in words, without the owner''s own rights: a row for each grantee, * for grant option.';
create function _collation_text(collation_oid oid) returns text
language sql stable
set search_path from current
as $function$
  select concat(case when n.nspname in ('pg_catalog', current_schema()) then '' else n.nspname || '.' end, c.collname,
                ' of ',
                case c.collprovider when 'd' then 'the database' when 'c' then 'libc' when 'i' then 'icu'
                                    when 'b' then 'PostgreSQL' else c.collprovider::text end,
                case when c.collisdeterministic then '' else ', not deterministic' end)
  from pg_collation as c join pg_namespace as n on n.oid = c.collnamespace
  where c.oid = collation_oid;
$function$;
comment on function _collation_text is
  'A collation by name, with its provider, and whether it takes different texts for equal ones.';
create function _view_text(view_oid oid) returns text
language plpgsql stable
set search_path from current
set quote_all_identifiers = off set standard_conforming_strings = on
as $function$
declare
  -- a literal or a quoted name, which stays as it is, or …
  quoted  constant text := '(''(?:[^'']|'''')*''|"(?:[^"]|"")*")|';
  said    text := regexp_replace(pg_get_viewdef(view_oid), quoted || '[[:space:]]+', E'\\1 ', 'g');
begin
  -- Versions differ in blanks, and in whether they name the only relation of a view before its columns.
  if (select count(distinct q.found[2])
      from regexp_matches(said, quoted || E'\\m([a-z_0-9]+)[.]', 'g') as q(found)) < 2 then
    said := regexp_replace(said, quoted || E'\\m[a-z_0-9]+[.]', E'\\1', 'g');
  end if;
  return said;
end
$function$;
comment on function _view_text is
  'What a view says, the same on every version of PostgreSQL: brackets, literals and names count, blanks do not.';

-- sql/06_guards/scope.sql

-- What is guarded: the schema, and which relations, functions, roles and expressions in it are ours.
--
-- The functions of facts_*.sql ask the system catalogues about these objects. Columns have the names that the
-- catalogues give them. Nothing here looks at an oid that a dump would change: oids only join.
--
--   _guard_home()        the schema of this installation and its owner role, one row
--   _guard_objects(…)    what one catalogue has in this schema, whoever owns it
--   _guard_extensions()  the objects of extensions that have anything in this schema
--   _guard_relations()   our tables, views, sequences and composite types, each with the chain that it belongs to;
--                        guard_facts hands them to those that list their facts
--   _guard_functions()   our functions
--   _guard_roles()       the four roles
--   _guard_members()     the members of these, and of roles by which a login reaches the log without them
--
-- Those that guard_facts calls many times are plpgsql, which plans a query once in a session. Before 18, an SQL
-- function plans its query at every call.
--
-- Hundreds of installations may share the catalogues, so nothing here reads a whole one. None has an index that begins
-- with the namespace, but pg_depend says what each schema holds. From there every join has an index to go by. The
-- number of rows stands at each function, and random_page_cost at guard_facts, so that the planner uses it. No query
-- compares a namespace with _guard_home(): among 200, the planner would expect one row, and loop.
-- A superuser can delete rows of pg_depend: _stray_facts (facts.sql) reports what is not listed there.

create function _guard_home()
returns table (oid oid, nspname name, nspowner oid, nspacl aclitem[], owner oid, role_prefix text)
language plpgsql stable rows 1
set search_path from current
as $function$
begin
  return query
    select n.oid, n.nspname, n.nspowner, n.nspacl, o.oid, i.role_prefix
    -- The limit says that there is one row.
    from (select r.role_prefix, r.tableoid as relation from only installation as r limit 1) as i
    join pg_class as c on c.oid = i.relation
    join pg_namespace as n on n.oid = c.relnamespace
    join pg_roles as o on o.rolname = i.role_prefix || 'alpha_owner';
end
$function$;
comment on function _guard_home is 'The schema of this installation and the role that owns it, one row.';
create function _guard_objects(catalogue regclass)
returns table (oid oid)
language plpgsql stable rows 300
set search_path from current
as $function$
begin
  return query
    select d.objid
    from _guard_home() as home
    join pg_depend as d on d.refclassid = 'pg_namespace'::regclass and d.refobjid = home.oid
    where d.classid = catalogue;
end
$function$;
comment on function _guard_objects is
  'What pg_class, pg_proc or pg_type has in this schema, whoever owns it, but for what is a part of something else: '
  'indexes, row types, array types.';
create function _guard_extensions()
returns table (oid oid, classid oid, objid oid)
language plpgsql stable rows 1
set search_path from current
as $function$
begin
  -- An extension gets a fact of its own, instead of one for every object.
  return query
    with members as materialized (
      select e.oid, d.classid, d.objid
      from _guard_home() as home
      join pg_extension as e on true
      join pg_depend as d on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid and d.deptype = 'e'
      where e.oid in (
        select x.refobjid
        from pg_depend as x
        where x.refclassid = 'pg_extension'::regclass and x.deptype = 'e'
          and home.oid in (
            (select c.relnamespace from pg_class as c where x.classid = 'pg_class'::regclass and c.oid = x.objid),
            (select p.pronamespace from pg_proc as p where x.classid = 'pg_proc'::regclass and p.oid = x.objid),
            (select t.typnamespace from pg_type as t where x.classid = 'pg_type'::regclass and t.oid = x.objid),
            (select o.oprnamespace from pg_operator as o
             where x.classid = 'pg_operator'::regclass and o.oid = x.objid)))
    )
    select m.oid, m.classid, m.objid from members as m
    union
    -- Older versions do not make the array type of a member a member.
    select m.oid, m.classid, t.typarray
    from members as m join pg_type as t on m.classid = 'pg_type'::regclass and t.oid = m.objid and t.typarray <> 0;
end
$function$;
comment on function _guard_extensions is 'Every object of the extensions that have an object in this schema.';
create type _guard_relation as (
  oid           oid,
  relname       name,
  relkind       "char",
  relnamespace  oid,
  relowner      oid,
  relacl        aclitem[],
  chain         text
);
comment on type _guard_relation is
  'A relation that is guarded. guard_facts finds all of them once, for the functions that list their facts.';
comment on column _guard_relation.oid          is 'As in pg_class.';
comment on column _guard_relation.relname      is 'As in pg_class.';
comment on column _guard_relation.relkind      is 'As in pg_class.';
comment on column _guard_relation.relnamespace is 'As in pg_class.';
comment on column _guard_relation.relowner     is 'As in pg_class.';
comment on column _guard_relation.relacl       is 'As in pg_class.';
comment on column _guard_relation.chain        is 'The chained table that it belongs to.';
create function _guard_relations()
returns setof _guard_relation
language plpgsql stable rows 200
set search_path from current
set random_page_cost = 0.2
as $function$
begin
  return query
    with helpers (name, table_name) as (
      select n.name, h.table_name
      from only chains as h
      cross join lateral (values ('lock_' || h.table_name), ('writer_' || h.table_name), ('tail_' || h.table_name),
                                 ('hashed_' || h.table_name), (h.table_name || '_id_seq')) as n(name)
    )
    select c.oid, c.relname, c.relkind, c.relnamespace, c.relowner, c.relacl, coalesce(h.table_name, g.table_name)
    from (
      select o.oid from _guard_objects('pg_class') as o
      union all
      -- A composite type is a relation of its own.
      select t.typrelid
      from _guard_objects('pg_type') as o join pg_type as t on t.oid = o.oid and t.typrelid <> 0
    ) as o
    join pg_class as c on c.oid = o.oid
    left join only chains as h on h.table_name = c.relname
    left join helpers as g on g.name = c.relname
    where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c')
      and (h.table_name is not null
           or c.relowner = (select home.owner from _guard_home() as home)
              and c.oid not in (select e.objid from _guard_extensions() as e where e.classid = 'pg_class'::regclass));
end
$function$;
comment on function _guard_relations is
  'Our tables, views, sequences and composite types, and every chained table even if it is no longer ours; '
  'chain is the chained table that each belongs to.';
create function _guard_functions()
returns table (oid oid, signature text, proowner oid, proacl aclitem[], chain text)
language sql stable rows 300
set search_path from current
as $function$
  select p.oid, p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', p.proowner, p.proacl,
         g.table_name
  from _guard_objects('pg_proc') as o
  join pg_proc as p on p.oid = o.oid
  left join only chains as g on p.proname = '_chain_' || g.table_name and p.pronargs = 0
  where p.proowner = (select home.owner from _guard_home() as home)
    and p.oid not in (select e.objid from _guard_extensions() as e where e.classid = 'pg_proc'::regclass);
$function$;
comment on function _guard_functions is
  'Our functions with their names and argument types; chain is the table that a chain trigger belongs to.';
create function _guard_roles()
returns table (oid oid, rolname name, is_owner boolean)
language sql stable rows 4
set search_path from current
as $function$
  select r.oid, r.rolname, r.oid = home.owner
  from _guard_home() as home
  cross join unnest(array['alpha_owner', 'app_trading', 'app_auditor', 'app_risk']) as a(name)
  join pg_roles as r on r.rolname = home.role_prefix || a.name;
$function$;
comment on function _guard_roles is 'The four roles of this installation.';
create function _guard_members()
returns table (role_name text, is_owner boolean, is_power boolean, member oid, name text, is_admin boolean,
               attributes text)
language sql stable rows 20
set search_path from current
as $function$
  with recursive
  -- Predefined roles by which a login reaches the log without a right on it. Not among them, because they change
  -- nothing: pg_read_all_data and pg_monitor with its parts read, pg_checkpoint and pg_signal_autovacuum_worker cost
  -- time, pg_use_reserved_connections opens a session. pg_database_owner has one member, a fact of the schema.
  powers (name) as (values
    ('pg_write_all_data'),          -- writes every table, and sets every sequence back
    ('pg_execute_server_program'),  -- is the server's user in the operating system
    ('pg_write_server_files'),      -- writes the data files
    ('pg_read_server_files'),       -- reads the server's private key and the passwords' verifiers
    ('pg_signal_backend'),          -- ends every verification
    ('pg_maintain'),                -- 17: locks every table
    ('pg_create_subscription')),    -- 16: what a subscription writes meets no ordinary trigger, so no chain
  reach (role, member, is_admin) as (
    select m.roleid, m.member, m.admin_option
    from pg_auth_members as m
    where m.roleid in (select o.oid from _guard_roles() as o
                       union all
                       select to_regrole(p.name) from powers as p)
    union
    -- A member of a role that has the admin option has it too.
    select reach.role, m.member, reach.is_admin
    from reach join pg_auth_members as m on m.roleid = reach.member
  )
  select pg_get_userbyid(reach.role)::text, coalesce(o.is_owner, false), o.oid is null, reach.member, r.rolname::text,
         bool_or(reach.is_admin),
         concat_ws(', ', case when r.rolsuper then 'superuser' end, case when r.rolcreaterole then 'createrole' end,
                   case when r.rolbypassrls then 'bypassrls' end, case when r.rolreplication then 'replication' end)
  from reach
  join pg_roles as r on r.oid = reach.member
  left join _guard_roles() as o on o.oid = reach.role
  group by reach.role, o.is_owner, o.oid, reach.member, r.rolname, r.rolsuper, r.rolcreaterole, r.rolbypassrls,
           r.rolreplication;
$function$;
comment on function _guard_members is
  'Members, direct or not, of the four roles and of the predefined roles by which a login reaches the log without '
  'them (is_power).';

-- sql/06_guards/elsewhere.sql

-- Tables whose rows are kept in other tables: shards of Citus, chunks of TimescaleDB.
--
-- Of their tables, only what a superuser made is read: a view of anybody else would run his code with our rights.
create function _kept_elsewhere()
returns table (oid oid, what text)
language plpgsql stable rows 1
set search_path from current
as $function$
declare
  register  record;
begin
  for register in
    select format('%I.%I', n.nspname, c.relname) as name, e.what, e.namespace, e.relation
    from (values ('pg_catalog', 'pg_dist_partition', 'a distributed table of Citus', null, 'logicalrelid'),
                 ('_timescaledb_catalog', 'hypertable', 'a hypertable of TimescaleDB', 'schema_name', 'table_name'))
      as e(schema, name, what, namespace, relation)
    join pg_namespace as n on n.nspname = e.schema
    join pg_class as c on c.relnamespace = n.oid and c.relname = e.name and c.relkind = 'r' and not c.relrowsecurity
    join pg_roles as r on r.oid = c.relowner and r.rolsuper
    where has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
  loop
    return query execute case when register.namespace is null
      then _fill('select r.{relation:I}::pg_catalog.oid, {what:L} from {register:s} as r', 'what', register.what,
                 'register', register.name, 'relation', register.relation)
      else _fill('select c.oid, {what:L} from {register:s} as r
                  join pg_catalog.pg_namespace as n on n.nspname = r.{namespace:I}
                  join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = r.{relation:I}',
                 'what', register.what, 'register', register.name, 'namespace', register.namespace,
                 'relation', register.relation) end;
  end loop;
end
$function$;
comment on function _kept_elsewhere is
  'Relations whose rows Citus or TimescaleDB keep in shards or chunks, as their own tables say.';

-- sql/06_guards/facts_roles.sql

-- Guard facts about who can do what: the schema, the roles, and settings that switch a protection off.
--
-- A setting that can switch a protection off stands in three places: in _switches_off with its harmless values, and in
-- _setting_facts among those that the server can set and among those that somebody can be granted.

create function _schema_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select null, 'schema', home.nspname::text, 'owner', pg_get_userbyid(home.nspowner)::text
  from _guard_home() as home
  union all
  -- A schema of pg_database_owner belongs to whoever owns the database.
  select null, 'schema', home.nspname::text, 'owner of the database', pg_get_userbyid(d.datdba)::text
  from _guard_home() as home join pg_database as d on d.datname = current_database()
  where pg_get_userbyid(home.nspowner) = 'pg_database_owner'
  union all
  select null, 'schema', home.nspname::text, 'grant to ' || g.grantee, g.privileges
  from _guard_home() as home cross join lateral _grants_text(home.nspacl, home.nspowner) as g
  where g.privileges ~ 'CREATE'
     or g.grantee in (select o.rolname::text from _guard_roles() as o where not o.is_owner)
  union all
  -- Rights that objects made later would be born with.
  select null, 'default rights', coalesce(n.nspname::text, 'all schemas'),
         d.defaclobjtype::text || ' to ' || g.grantee, g.privileges
  from _guard_home() as home
  join pg_default_acl as d on d.defaclrole = home.owner and d.defaclnamespace in (0, home.oid)
  left join pg_namespace as n on n.oid = d.defaclnamespace
  cross join lateral _grants_text(d.defaclacl, d.defaclrole) as g;
$function$;
comment on function _schema_facts is
  'Guard facts: who owns the schema, who may create in it, and which of our roles may use it; default privileges.';
create function _role_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  with
  ours as materialized (select o.* from _guard_roles() as o),
  members as materialized (select m.* from _guard_members() as m)
  select null, 'role', r.rolname::text, 'attributes',
         concat_ws(', ', case when r.rolsuper then 'superuser' end, case when r.rolcanlogin then 'login' end,
                   case when r.rolcreaterole then 'createrole' end, case when r.rolcreatedb then 'createdb' end,
                   case when r.rolbypassrls then 'bypassrls' end, case when r.rolreplication then 'replication' end)
  from ours as o join pg_roles as r on r.oid = o.oid
  union all
  select null, 'role', r.rolname::text, 'superuser', 'yes'
  from pg_roles as r where r.rolsuper and not exists (select from ours as o where o.oid = r.oid)
  union all
  select null, 'role', m.role_name, f.fact || m.name, 'yes'
  from members as m
  cross join lateral (values
    ('member ', m.is_owner or m.is_power and m.attributes !~ 'superuser'),
    ('admin ', m.is_admin and not m.is_power)) as f(fact, holds)
  where f.holds
  union all
  select distinct null, 'role', m.name, 'attributes', m.attributes
  from members as m
  where m.attributes <> '' and not m.is_power and not exists (select from ours as o where o.oid = m.member)
  union all
  select distinct null, 'role', g.name, 'member of ' || g.of_role, 'yes'
  from (
    with recursive reach (name, role) as (
      select o.rolname, am.roleid from ours as o join pg_auth_members as am on am.member = o.oid
      union
      select reach.name, am.roleid from reach join pg_auth_members as am on am.member = reach.role
    )
    select reach.name::text as name, pg_get_userbyid(reach.role)::text as of_role from reach) as g;
$function$;
comment on function _role_facts is
  'Guard facts: what our roles may, who is a member of them, every superuser, and who reaches the log past our roles.';
create function _switches_off(name text, value text) returns boolean
language sql immutable
set search_path from current
as $function$
  select case name
    when 'session_replication_role'      then value <> 'origin'           -- ordinary triggers do not fire
    when 'default_transaction_read_only' then value not in ('off', 'false', 'no', '0')  -- nothing is recorded
    when 'event_triggers'                then value not in ('on', 'true', 'yes', '1')   -- 17: nor does the DDL guard
    when 'row_security'                  then value not in ('on', 'true', 'yes', '1')
    when 'standard_conforming_strings'   then value not in ('on', 'true', 'yes', '1')   -- literals mean something else
    when 'log_min_messages'              then value in ('fatal', 'panic')  -- refusals leave no line in the server's log
    when 'allow_system_table_mods'       then value not in ('off', 'false', 'no', '0')
    when 'ignore_system_indexes'         then value not in ('off', 'false', 'no', '0')
    when 'ignore_checksum_failure'       then value not in ('off', 'false', 'no', '0')
    when 'zero_damaged_pages'            then value not in ('off', 'false', 'no', '0')
    -- The path belongs to the operator, unless it puts somebody's objects in front of PostgreSQL's own.
    when 'search_path' then value ~ ',[[:space:]]*"?pg_catalog"?[[:space:]]*(,|$)'
                         or value ~ '^[[:space:]]*"?pg_temp"?[[:space:]]*(,|$)'
    else false end;
$function$;
comment on function _switches_off is
  'Whether a setting of a database, a role or the server switches off what protects the log.';
create function _setting_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select null, 'setting',
         case when d.setrole = 0 then 'all roles' else r.rolname::text end
           || case when d.setdatabase = 0 and d.setrole = 0 then ' in every database'
                   when d.setdatabase <> 0 and d.setrole <> 0 then ' in this database' else '' end,
         v.name, s.setting
  from pg_db_role_setting as d
  cross join lateral unnest(d.setconfig) as s(setting)
  cross join lateral (select lower(split_part(s.setting, '=', 1)),
                             substr(s.setting, strpos(s.setting, '=') + 1)) as v(name, value)
  left join pg_roles as r on r.oid = d.setrole
  where d.setdatabase in (0, (select db.oid from pg_database as db where db.datname = current_database()))
    and _switches_off(v.name, v.value)
  union all
  -- Grants by which somebody may change such a setting, alone or in the server's file, or have the server load code.
  select null, 'setting', p.parname, 'grant to ' || g.grantee, g.privileges
  from pg_parameter_acl as p cross join lateral _grants_text(p.paracl, 10) as g
  where g.privileges ~ 'ALTER SYSTEM'  -- of any setting: it reaches what the server runs
     or p.parname in ('session_replication_role', 'event_triggers', 'log_min_messages', 'allow_system_table_mods',
                      'ignore_system_indexes', 'ignore_checksum_failure', 'zero_damaged_pages',
                      'session_preload_libraries', 'local_preload_libraries', 'shared_preload_libraries',
                      'dynamic_library_path', 'jit_provider', 'archive_command', 'restore_command')
  union all
  -- The server's own settings, as far as this session shows them. guard_facts pins search_path and
  -- standard_conforming_strings, so the server's values of these two do not show.
  select null, 'setting', 'server', n.name, n.name || '=' || current_setting(n.name)
  from unnest(array['session_replication_role', 'default_transaction_read_only', 'event_triggers', 'row_security',
                    'log_min_messages', 'allow_system_table_mods', 'ignore_system_indexes', 'ignore_checksum_failure',
                    'zero_damaged_pages']) as n(name)
  where _switches_off(n.name, current_setting(n.name, true))
    and (select s.source from pg_settings as s where s.name = n.name)
        in ('configuration file', 'command line', 'environment variable', 'global');
$function$;
comment on function _setting_facts is
  'Guard facts: settings of the database, of roles and of the server that switch a protection off, and who may set '
  'them.';

-- sql/06_guards/facts_relations.sql

-- Guard facts about our relations: tables, sequences, views and their columns.

create function _relation_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select r.chain, 'relation', r.relname::text, f.fact, f.value
  from unnest(relations) as r
  join pg_class as c on c.oid = r.oid
  cross join lateral (values
    ('kind', c.relkind::text),
    ('owner', pg_get_userbyid(c.relowner)::text),
    ('persistence', concat(c.relpersistence, ' in ' || (select m.amname from pg_am as m
                                                        where m.oid = c.relam and m.oid <> 2))),
    ('row security', case when c.relkind not in ('S', 'c') then
       concat_ws(', ', case when c.relrowsecurity then 'on' end,
                       case when c.relforcerowsecurity then 'forced' end) end),
    ('options', case when c.relkind not in ('S', 'c') then coalesce(array_to_string(c.reloptions, ', '), '') end),
    -- Flags in the catalogue without which PostgreSQL does not look for triggers, CHECKs and indexes.
    ('triggers are seen', case when c.relkind not in ('S', 'c') then
       (c.relhastriggers or not exists (select from pg_trigger as t where t.tgrelid = c.oid))::text end),
    ('checks are seen', case when c.relkind = 'r' and c.relchecks <> (
       select count(*) from pg_constraint as k where k.conrelid = c.oid and k.contype = 'c') then 'false' end),
    ('indexes are seen', case when c.relkind = 'r' and not c.relhasindex and exists (
       select from pg_index as x where x.indrelid = c.oid) then 'false' end)
  ) as f(fact, value)
  where f.value is not null
  union all
  -- What a subscription writes meets no trigger that is not ALWAYS: neither the chain nor the lockdown.
  select r.chain, 'relation', r.relname::text, 'subscription ' || s.subname,
         case when s.subenabled then 'enabled' else 'disabled' end
  from unnest(relations) as r
  join pg_subscription_rel as w on w.srrelid = r.oid
  join pg_subscription as s on s.oid = w.srsubid
  union all
  select r.chain, 'relation', r.relname::text, 'is ' || k.what, 'yes'
  from unnest(relations) as r join _kept_elsewhere() as k on k.oid = r.oid
  union all
  select r.chain, 'relation', r.relname::text, 'child ' || i.inhrelid::regclass::text, 'yes'
  from unnest(relations) as r join pg_inherits as i on i.inhparent = r.oid
  union all
  select r.chain, 'relation', r.relname::text, 'parent ' || i.inhparent::regclass::text, 'yes'
  from unnest(relations) as r join pg_inherits as i on i.inhrelid = r.oid
  union all
  select r.chain, 'relation', r.relname::text, 'policy ' || p.polname, 'yes'
  from unnest(relations) as r join pg_policy as p on p.polrelid = r.oid
  union all
  select r.chain, 'relation', r.relname::text, 'rule ' || w.rulename, 'yes'
  from unnest(relations) as r join pg_rewrite as w on w.ev_class = r.oid
  where w.rulename <> '_RETURN' or r.relkind <> 'v';
$function$;
comment on function _relation_facts is
  'Guard facts: what each relation is, and whose; policies, rules, children and parents; another engine that '
  'keeps its rows.';
create function _sequence_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select r.chain, 'relation', r.relname::text, 'sequence',
         format('%s, start %s, increment %s, from %s to %s, cache %s%s%s', format_type(q.seqtypid, null), q.seqstart,
                q.seqincrement, q.seqmin, q.seqmax, q.seqcache, case when q.seqcycle then ', cycles' else '' end,
                (select ', owned by ' || c.relname || '.' || a.attname
                 from pg_depend as d
                 join pg_class as c on c.oid = d.refobjid
                 join pg_attribute as a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
                 where d.classid = 'pg_class'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
                   and d.deptype in ('a', 'i') and d.refobjsubid > 0))
  from unnest(relations) as r join pg_sequence as q on q.seqrelid = r.oid;
$function$;
comment on function _sequence_facts is 'Guard facts: how each sequence counts, and which column owns it.';
create function _view_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select r.chain, 'relation', r.relname::text, f.fact, f.value
  from unnest(relations) as r
  cross join lateral (values
    ('definition', encode(sha256(convert_to(_view_text(r.oid), 'UTF8')), 'hex')),
    ('depends on', coalesce((
       select string_agg(distinct case
                when c.oid is null then (
                  select replace(i.identity, quote_ident(home.nspname) || '.', '')
                  from pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) as i)
                else concat(case when c.relnamespace <> r.relnamespace then n.nspname || '.' end,
                            c.relname, '.' || a.attname) end, ', ')
       from _guard_home() as home
       join pg_rewrite as w on w.ev_class = r.oid and w.rulename = '_RETURN'
       -- Until 15, a view depends on itself.
       join pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.deptype = 'n'
                          and (d.refclassid, d.refobjid) <> ('pg_class'::regclass, r.oid)
       left join pg_class as c on d.refclassid = 'pg_class'::regclass and c.oid = d.refobjid
       left join pg_namespace as n on n.oid = c.relnamespace
       left join pg_attribute as a on a.attrelid = c.oid and a.attnum = d.refobjsubid and d.refobjsubid <> 0), ''))
  ) as f(fact, value)
  where r.relkind = 'v';
$function$;
comment on function _view_facts is 'Guard facts: what each view says, and which columns and functions it says it of.';
create function _column_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select r.chain, 'column', r.relname || '.' || a.attname, f.fact, f.value
  from unnest(relations) as r
  join pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef as d on d.adrelid = r.oid and d.adnum = a.attnum
  cross join lateral (values
    ('type', format_type(a.atttypid, a.atttypmod)),
    ('not null', a.attnotnull::text),
    ('default', coalesce(pg_get_expr(d.adbin, d.adrelid), '')),
    ('generated', a.attidentity::text || a.attgenerated::text),
    -- one that does not tell two keys apart, or sorts them otherwise
    ('collation', case when a.attcollation not in (0, 100) then _collation_text(a.attcollation) end)
  ) as f(fact, value)
  where r.relkind in ('r', 'p', 'c') and f.value is not null
  union all
  select r.chain, 'column', r.relname || '.' || a.attname, 'type', format_type(a.atttypid, a.atttypmod)
  from unnest(relations) as r
  join pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
  where r.relkind = 'v'
  union all
  select r.chain, 'column', r.relname || '.' || a.attname, 'grant to ' || g.grantee, g.privileges
  from unnest(relations) as r
  join pg_attribute as a on a.attrelid = r.oid and not a.attisdropped and a.attacl is not null
  cross join lateral _grants_text(a.attacl, r.relowner) as g;
$function$;
comment on function _column_facts is
  'Guard facts: type, default, collation and rights of each column. Its NOT NULL is one on every version.';

-- sql/06_guards/facts_constraints.sql

-- Guard facts about what checks and what fires: constraints, indexes and triggers of our relations.

create function _constraint_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select r.chain, 'constraint', r.relname || '.' || c.conname, f.fact, f.value
  from unnest(relations) as r
  -- A NOT NULL, which 18 makes a constraint, is a fact of its column.
  join pg_constraint as c on c.conrelid = r.oid and c.contype <> 'n'
  cross join lateral (values
    ('definition', pg_get_constraintdef(c.oid)),
    ('enforced', concat_ws(', ', case when c.convalidated then 'validated' end,
                           case when coalesce((to_jsonb(c) ->> 'conenforced')::boolean, true) then 'enforced' end,
                           case when c.condeferrable then 'deferrable' end)),
    ('triggers', case when c.contype = 'f' or c.condeferrable then
       coalesce((select string_agg(distinct t.tgenabled::text, '')
                 from pg_trigger as t where t.tgconstraint = c.oid), '') else '' end)
  ) as f(fact, value);
$function$;
comment on function _constraint_facts is 'Guard facts: what each constraint says, and whether it is enforced.';
create function _index_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select r.chain, 'index', i.relname::text, f.fact, f.value
  from unnest(relations) as r
  join pg_index as x on x.indrelid = r.oid
  join pg_class as i on i.oid = x.indexrelid
  join pg_am as m on m.oid = i.relam
  cross join lateral (values
    ('columns', r.relname || '(' || coalesce((
       select string_agg(coalesce(a.attname::text, 'expression'), ', ' order by k.place)
       from unnest(x.indkey::smallint[]) with ordinality as k(attnum, place)
       left join pg_attribute as a on a.attrelid = r.oid and a.attnum = k.attnum and k.attnum > 0), '') || ')'),
    ('properties', concat_ws(', ',
       case when x.indisunique then 'unique' end,
       case when x.indisvalid then 'valid' end,
       'partial: ' || pg_get_expr(x.indpred, x.indrelid),
       'expressions: ' || pg_get_expr(x.indexprs, x.indrelid),
       case when x.indnullsnotdistinct then 'nulls not distinct' end,
       case when not x.indisready then 'not ready' end,
       case when not x.indislive then 'dead' end,
       case when not x.indimmediate then 'deferrable' end,
       case when m.amname <> 'btree' then m.amname end,
       case when x.indoption::text ~ '[1-9]' then 'order ' || x.indoption::text end,
       case when x.indcollation::text ~ '(^| )(?!(0|100)( |$))' then
         (select string_agg('collation ' || _collation_text(k.coll), ', ' order by k.place)
          from unnest(x.indcollation::oid[]) with ordinality as k(coll, place) where k.coll <> 0) end,
       (select string_agg('operators ' || n.nspname || '.' || k.opcname, ', ' order by u.place)
        from unnest(x.indclass::oid[]) with ordinality as u(class, place)
        join pg_opclass as k on k.oid = u.class
        join pg_namespace as n on n.oid = k.opcnamespace
        where not (k.opcdefault and n.nspname = 'pg_catalog'))))
  ) as f(fact, value);
$function$;
comment on function _index_facts is
  'Guard facts: the columns of each index, and everything that decides which rows it finds.';
create function _trigger_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select r.chain, 'trigger', r.relname || '.' || t.tgname, f.fact, f.value
  from unnest(relations) as r
  join pg_trigger as t on t.tgrelid = r.oid and not t.tgisinternal
  join pg_proc as p on p.oid = t.tgfoid
  join pg_namespace as n on n.oid = p.pronamespace
  cross join lateral (values
    ('function', case when n.oid = r.relnamespace then '' else n.nspname || '.' end || p.proname || '('
       || array_to_string(string_to_array(rtrim(encode(t.tgargs, 'escape'), E'\\000'), E'\\000'), ', ') || ')'),
    ('timing', concat(t.tgtype,
       case when t.tgqual is not null then
         ' when ' || substring(pg_get_triggerdef(t.oid) from ' WHEN (.*) EXECUTE FUNCTION ') end,
       case when t.tgattr::text <> '' then
         ' of ' || (select string_agg(a.attname::text, ', ' order by a.attnum) from pg_attribute as a
                    where a.attrelid = r.oid and a.attnum = any (t.tgattr::smallint[])) end)),
    ('enabled', case t.tgenabled when 'O' then 'origin' when 'A' then 'always' when 'R' then 'replica'
                                 else 'disabled' end)
  ) as f(fact, value);
$function$;
comment on function _trigger_facts is
  'Guard facts: what each trigger on our relations calls, when, and whether it is enabled; even if '
  'somebody else made it.';
create function _event_trigger_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select null, 'event trigger', e.evtname::text, f.fact, f.value
  from _guard_home() as home
  join pg_event_trigger as e on e.evtname in (left('alpha_ddl_guard_end_' || home.nspname, 63),
                                              left('alpha_ddl_guard_drop_' || home.nspname, 63))
  join pg_proc as p on p.oid = e.evtfoid
  cross join lateral (values
    ('event', e.evtevent::text),
    ('owner', pg_get_userbyid(e.evtowner)::text),
    ('enabled', case e.evtenabled when 'O' then 'origin' when 'A' then 'always' when 'R' then 'replica'
                                  else 'disabled' end),
    ('function', p.proname || ' of ' || pg_get_userbyid(p.proowner) || ' ' || encode(sha256(convert_to(
       p.prosrc || coalesce((select k.prosrc from pg_proc as k
                             where k.pronamespace = p.pronamespace and k.proname = 'check_command'), ''),
       'UTF8')), 'hex'))
  ) as f(fact, value);
$function$;
comment on function _event_trigger_facts is
  'Guard facts: the DDL guard of superuser/ddl_guard.sql, if it is installed.';

-- sql/06_guards/facts_functions.sql

-- Guard facts about what is run, and what it can be made to mean: functions, types, operators, casts, extensions, and
-- what any of ours takes from elsewhere.

create function _function_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select f.chain, 'function', f.signature, v.fact, v.value
  from _guard_functions() as f
  join pg_proc as p on p.oid = f.oid
  join pg_language as l on l.oid = p.prolang
  cross join lateral (values
    ('body', encode(sha256(convert_to(
       p.prosrc || case when p.prosqlbody is not null then pg_get_function_sqlbody(p.oid) else '' end,
       'UTF8')), 'hex')),
    ('arguments', pg_get_function_arguments(p.oid)),
    ('result', coalesce(pg_get_function_result(p.oid), '')),
    ('attributes', concat_ws(', ',
       l.lanname,
       case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
       case when p.prosecdef then 'security definer' end,
       case when p.proisstrict then 'strict' end,
       case when p.proleakproof then 'leakproof' end,
       'parallel ' || p.proparallel::text,
       case when p.prosupport <> 0 then 'support ' || p.prosupport::regproc::text end)),
    ('settings', coalesce(array_to_string(p.proconfig, '; '), ''))
  ) as v(fact, value)
  union all
  -- Somebody else's function could stand in front of PostgreSQL's own.
  select null, 'function', p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', 'owner',
         pg_get_userbyid(p.proowner)::text
  from _guard_objects('pg_proc') as o
  join pg_proc as p on p.oid = o.oid
  where p.proowner <> (select home.owner from _guard_home() as home)
    and not exists (select from _guard_extensions() as e where e.classid = 'pg_proc'::regclass and e.objid = p.oid);
$function$;
comment on function _function_facts is
  'Guard facts: body, arguments, attributes and settings of each of our functions, and the owner of each other '
  'function in this schema.';
create function _type_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select null, 'type', t.typname::text, f.fact, f.value
  from _guard_objects('pg_type') as o
  join pg_type as t on t.oid = o.oid
  cross join lateral (values
    ('base', coalesce(format_type(nullif(t.typbasetype, 0), t.typtypmod), '')
       || case when t.typnotnull then ' not null' else '' end
       || coalesce(' collate ' || _collation_text(nullif(nullif(t.typcollation, 0), 100)), '')),
    ('default', coalesce(t.typdefault, '')),
    ('checks', coalesce((
       select string_agg(c.conname || ' ' || pg_get_constraintdef(c.oid)
                         || case when c.convalidated then '' else ' not valid' end, '; ' order by c.conname)
       from pg_constraint as c where c.contypid = t.oid and c.contype <> 'n'), ''))
  ) as f(fact, value)
  where t.typowner = (select home.owner from _guard_home() as home) and t.typtype in ('d', 'e', 'r', 'b')
    and not exists (select from _guard_extensions() as e where e.classid = 'pg_type'::regclass and e.objid = t.oid)
  union all
  -- What could change what an expression means.
  select null, 'operator', format('%s(%s, %s)', o.oprname, o.oprleft::regtype, o.oprright::regtype), 'owner',
         pg_get_userbyid(o.oprowner)::text
  from _guard_home() as home join pg_operator as o on o.oprnamespace = home.oid
  where not exists (select from _guard_extensions() as e
                    where e.classid = 'pg_operator'::regclass and e.objid = o.oid)
  union all
  select null, 'cast', format('%s as %s', c.castsource::regtype, c.casttarget::regtype), 'context',
         c.castcontext::text
  from pg_cast as c
  join pg_type as t on t.oid in (c.castsource, c.casttarget)
  cross join _guard_home() as home
  where t.typnamespace = home.oid and t.typowner = home.owner;
$function$;
comment on function _type_facts is
  'Guard facts: domains and other types, operators in this schema, and casts from or to our types.';
create function _extension_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select null, 'extension', x.extname::text, 'in the schema',
         format('of %s, version %s, %s objects, sha256 %s', pg_get_userbyid(x.extowner), x.extversion, count(*),
                encode(sha256(convert_to(
                  string_agg(concat_ws(' ', i.type, i.identity, pg_get_userbyid(p.proowner), p.probin, p.prosrc), E'\n'
                             order by i.type collate "C", i.identity collate "C"), 'UTF8')), 'hex'))
  from _guard_extensions() as e
  join pg_extension as x on x.oid = e.oid
  cross join lateral pg_identify_object(e.classid, e.objid, 0) as i
  left join pg_proc as p on e.classid = 'pg_proc'::regclass and p.oid = e.objid
  group by x.oid, x.extname, x.extowner, x.extversion;
$function$;
comment on function _extension_facts is
  'Guard facts: extensions that have objects in this schema, which could stand in front of PostgreSQL''s own; what '
  'each consists of, and whose that is, is in the hash.';
create function _guard_parts(relations _guard_relation[])
returns table (classid oid, objid oid)
language sql stable rows 2000
set search_path from current
as $function$
  with
  extensions as materialized (select e.* from _guard_extensions() as e),
  listed as materialized (
    select c.oid, c.reltype
    from _guard_objects('pg_class') as o join pg_class as c on c.oid = o.oid
    where not exists (select from extensions as e where (e.classid, e.objid) = ('pg_class'::regclass, c.oid))),
  types as materialized (
    select t.oid, t.typarray, t.typrelid
    from (select o.oid from _guard_objects('pg_type') as o union select r.reltype from listed as r) as o
    join pg_type as t on t.oid = o.oid
    where not exists (select from extensions as e where (e.classid, e.objid) = ('pg_type'::regclass, t.oid)))
  select 'pg_class'::regclass::oid, r.oid from listed as r
  union
  select 'pg_class'::regclass, t.typrelid from types as t where t.typrelid <> 0
  union
  select 'pg_class'::regclass, x.indexrelid
  from listed as r join pg_index as x on x.indrelid = r.oid
  union
  select 'pg_type'::regclass, a.oid from types as t cross join lateral unnest(array[t.oid, t.typarray]) as a(oid)
  where a.oid <> 0
  union
  select 'pg_proc'::regclass, o.oid
  from _guard_objects('pg_proc') as o
  where not exists (select from extensions as e where (e.classid, e.objid) = ('pg_proc'::regclass, o.oid))
  union all
  select 'pg_constraint'::regclass, c.oid
  from listed as r join pg_constraint as c on c.conrelid = r.oid
  union all
  select 'pg_constraint'::regclass, c.oid
  from types as t join pg_constraint as c on c.contypid = t.oid
  union all
  select 'pg_attrdef'::regclass, d.oid from unnest(relations) as r join pg_attrdef as d on d.adrelid = r.oid
  union all
  select 'pg_trigger'::regclass, t.oid
  from unnest(relations) as r join pg_trigger as t on t.tgrelid = r.oid and not t.tgisinternal
  union all
  -- ANALYZE runs the expressions of a statistics object as the owner.
  select 'pg_statistic_ext'::regclass, x.oid
  from unnest(relations) as r join pg_statistic_ext as x on x.stxrelid = r.oid;
$function$;
comment on function _guard_parts is 'All of ours that can have a type, an operator or an expression.';
create function _dependency_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  -- Of ours and PostgreSQL's own there is none. A language is a fact of its function.
  with parts as materialized (select p.* from _guard_parts(relations) as p)
  select null, o.type, replace(o.identity, quote_ident(home.nspname) || '.', ''), 'depends on',
         string_agg(distinct i.type || ' ' || i.identity, ', ')
  from _guard_home() as home
  cross join parts as p
  join pg_depend as d on d.classid = p.classid and d.objid = p.objid and d.deptype = 'n'
                     and d.refclassid not in ('pg_namespace'::regclass, 'pg_language'::regclass)
  cross join lateral pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) as i
  cross join lateral pg_identify_object(d.classid, d.objid, 0) as o
  where not exists (select from parts as h where h.classid = d.refclassid and h.objid = d.refobjid)
  group by home.nspname, o.type, o.identity;
$function$;
comment on function _dependency_facts is
  'Guard facts: what ours takes from elsewhere, even where its text does not say so: a function behind a cast, an '
  'operator, an operator class, a collation.';
create function _right_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  with objects (chain, kind, name, acl, type, owner, grants_count) as materialized (
    select r.chain, 'relation', r.relname::text, r.relacl,
           case when r.relkind = 'S' then 's'::"char" else 'r'::"char" end, r.relowner, true
    from unnest(relations) as r where r.relkind <> 'c'
    union all
    select f.chain, 'function', f.signature, f.proacl, 'f'::"char", f.proowner, true from _guard_functions() as f
    union all
    -- A dump leaves out the rights on the row type of a table.
    select null, 'type', t.typname::text, t.typacl, 'T'::"char", t.typowner,
           t.typtype in ('d', 'e', 'r') or (select c.relkind from pg_class as c where c.oid = t.typrelid) = 'c'
    from _guard_objects('pg_type') as o
    join pg_type as t on t.oid = o.oid
    where t.typowner = (select home.owner from _guard_home() as home)
  )
  select o.chain, o.kind, o.name, 'grant to ' || coalesce(r.rolname, 'PUBLIC'),
         string_agg(a.privilege_type || case when a.is_grantable then '*' else '' end, ', ' order by a.privilege_type)
  from objects as o
  cross join lateral aclexplode(coalesce(o.acl, acldefault(o.type, o.owner))) as a
  left join pg_roles as r on r.oid = a.grantee
  where o.grants_count and a.grantee <> o.owner
  group by 1, 2, 3, 4
  union all
  -- Our functions run with the owner's rights. Without them they could no longer count, check or engage.
  select o.chain, o.kind, o.name, 'rights that the owner lacks',
         string_agg(d.privilege_type, ', ' order by d.privilege_type)
  from objects as o
  cross join lateral (
    select a.privilege_type from aclexplode(acldefault(o.type, o.owner)) as a where a.grantee = o.owner
    except
    select a.privilege_type from aclexplode(o.acl) as a where a.grantee = o.owner) as d
  where o.acl is not null
  group by 1, 2, 3;
$function$;
comment on function _right_facts is
  'Guard facts: who has which right on each relation, function and type, and rights that the owner was deprived of.';

-- sql/06_guards/facts.sql

-- How guards survive dump and upgrade
--
-- The *guards* are everything in the system catalogues that protects the log: triggers, functions, constraints, grants,
-- roles, settings. guard_facts() lists them as *facts*: rows of (kind of object, name, fact, value), all text. A row
-- of guard_states holds all facts at one moment. verify_guards() compares its last row with the facts of now, in one
-- full join: a fact can be missing, extra or changed.
--
-- When a state is recorded. The last statement of each migration and rollback calls record_guards(), in its own
-- transaction. So the change and the record of it are committed together, and after a crash, a ROLLBACK TO or a plain
-- ROLLBACK neither is there. A prepared transaction that migrates keeps the migration lock; until it is committed, the
-- catalogues and guard_states both show what was before. The first statement of each migration calls verify_guards()
-- and refuses if a guard is not as recorded, so that no migration records somebody's change as meant. Anybody else's
-- row is refused: _check_guard_state computes the facts again. guard_states is append-only and chained like the log.
--
-- Dump and restore. Facts name objects; they hold no oid, no column number and no file. A dump carries guard_states as
-- data and the objects by name, so the facts of the copy equal the recorded ones. What pg_dump leaves out is not a fact
-- (rights on the row types of tables) or is reported on another cluster, because it is different there: roles, their
-- members and settings, superusers, the server's own settings. If the new cluster is meant to be so,
-- record_guards('why') accepts it, and that is recorded too.
--
-- Another version of PostgreSQL. Texts that a newer version prints otherwise are evened out: _view_text for views; a
-- NOT NULL, which 18 makes a constraint, is a fact of its column only; what only newer catalogues have is read through
-- to_jsonb and has a default. guard_facts pins the settings by which PostgreSQL prints names and literals, of any type,
-- because users' tables have defaults and CHECKs of their own.
--
-- A newer alpha-db. The hash of a function's text is a fact, so each migration that changes a function changes the
-- facts, and records them when it ends.
--
-- Sequences are different: setval and nextval are not undone by a rollback, and pass no trigger. Those that never go
-- back are recorded by value (_counters, with each state and each verification run), and verify_guards reports one that
-- did (_lowered_counters). A crash may leave one 32 higher, which is not reported.
--
-- guard_facts() is the union of one function for each catalogue. A new kind of fact is a branch in one of those. It
-- sets random_page_cost, because by default the planner reads a catalogue of fifty installations whole (scope.sql).

create function _register_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select null, 'register', 'installation', f.fact, f.value
  from only installation as i
  cross join lateral (values ('installation_id', i.installation_id::text),
                             ('role_prefix', i.role_prefix)) as f(fact, value)
  union all
  select null, 'register', 'installed_migrations', m.name, coalesce(m.checksum::text, '')
  from only installed_migrations as m
  union all
  select null, 'register', 'attempt_counters', concat_ws(' ', a.code, a.operation, a.table_name), a.sequence_name
  from only attempt_counters as a
  union all
  select c.table_name, 'chain', c.table_name, 'register',
         concat_ws(', ', c.position, case when c.is_internal then 'internal' when c.is_own then 'own' end,
                   case when c.open_in_lockdown then 'open in lockdown' end)
  from only chains as c;
$function$;
comment on function _register_facts is 'Guard facts: the rows of the registers, which have no chain.';
create function _stray_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
set enable_seqscan = off  -- an index on (name, namespace) is read whole, but no row of another schema
as $function$
  select null, s.kind, s.name, 'is not in pg_depend', 'yes'
  from (select 'function', p.proname::text
        from pg_proc as p
        where p.pronamespace = (select home.oid from _guard_home() as home)
          and p.oid not in (select o.oid from _guard_objects('pg_proc') as o)
        union all
        select 'relation', c.relname::text
        from pg_class as c
        where c.relnamespace = (select home.oid from _guard_home() as home)
          and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
          and c.oid not in (select o.oid from _guard_objects('pg_class') as o)
        union all
        select 'type', t.typname::text
        from pg_type as t
        where t.typnamespace = (select home.oid from _guard_home() as home)
          and t.typtype in ('d', 'e', 'r', 'b') and t.typcategory <> 'A'
          and t.oid not in (select o.oid from _guard_objects('pg_type') as o)) as s(kind, name);
$function$;
comment on function _stray_facts is
  'Guard facts: what stands in this schema though pg_depend, from which the others start, does not list it.';
create function guard_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
set quote_all_identifiers = off set standard_conforming_strings = on set jit = off
set timezone = 'UTC' set datestyle = 'ISO, MDY' set intervalstyle = 'postgres' set bytea_output = 'hex'
set extra_float_digits = 1
set random_page_cost = 0.2
as $function$
  with scope as materialized (select array_agg(r) as relations from _guard_relations() as r)
  select f.* from _schema_facts() as f
  union all select f.* from _stray_facts() as f
  union all select f.* from _role_facts() as f
  union all select f.* from _setting_facts() as f
  union all select f.* from scope, _relation_facts(relations) as f
  union all select f.* from scope, _sequence_facts(relations) as f
  union all select f.* from scope, _view_facts(relations) as f
  union all select f.* from scope, _column_facts(relations) as f
  union all select f.* from scope, _constraint_facts(relations) as f
  union all select f.* from scope, _index_facts(relations) as f
  union all select f.* from scope, _trigger_facts(relations) as f
  union all select f.* from _function_facts() as f
  union all select f.* from _type_facts() as f
  union all select f.* from _extension_facts() as f
  union all select f.* from scope, _dependency_facts(relations) as f
  union all select f.* from scope, _right_facts(relations) as f
  union all select f.* from _register_facts() as f
  union all select f.* from _event_trigger_facts() as f;
$function$;
comment on function guard_facts is
  'What protects this installation, as facts from the catalogues by name: schema, roles, relations, columns, '
  'constraints, triggers, functions, domains, grants.';
create function _guard_facts_json() returns jsonb
language sql stable
set search_path from current
as $function$
  select jsonb_agg(jsonb_build_array(f.table_name, f.object_kind, f.object_name, f.fact, f.value)
                   order by f.object_kind collate "C", f.object_name collate "C", f.fact collate "C")
  from guard_facts() as f;
$function$;
comment on function _guard_facts_json is 'All guard facts as one document: what a state holds, and what is hashed.';

-- sql/06_guards/verify.sql

-- Comparing the guards of now with a recorded state. The top of facts.sql explains what a guard is.
--
-- Comparing changes nothing, so it runs on a standby and in a read-only session too. When the tables that it reads are
-- gone or closed to this login, verify_guards reports that instead of an error.
--
-- lockdown_alarm, one of the counters, is made in 08_lockdown/events.sql.

create function _lowered_counters()
returns table (sequence_name text, recorded bigint, stands_at bigint)
language sql volatile
set search_path from current
as $function$
  select c.name, c.recorded, c.stands_at
  from (
    select r.key as name, r.value::text::bigint as recorded, (n.counters ->> r.key)::bigint as stands_at
    from (select g.id, g.counters, g.created_at from only guard_states as g order by g.id desc limit 1) as g
    -- Whoever recorded a state after the last run accepted the counters as they were. The run says which state it
    -- read, because clocks may go back.
    left join (select v.counters, v.created_at, (v.heads -> 'guard_states' ->> 'id')::bigint as state_id
               from only verification_runs as v order by v.id desc limit 1) as v
           on coalesce(v.state_id >= g.id, v.created_at > g.created_at)
    cross join _counters() as n(counters)
    cross join lateral jsonb_each(g.counters || coalesce(v.counters, '{}')) as r
    where r.value <> 'null' and n.counters ? r.key) as c
  -- The alarm takes random values; but once it has a value, it keeps one.
  where c.stands_at is null or c.stands_at < c.recorded and c.name <> 'lockdown_alarm';
$function$;
comment on function _lowered_counters is
  'The sequences that never go back, and did: what the last verification run or state of the guards recorded, and '
  'where they stand.';
create function guards_since(state_id bigint)
returns table (object_kind text, object_name text, fact text, expected text, found text, problem text, table_name text)
language sql stable
set search_path from current
as $function$
  with recorded as (
    select f.value ->> 0 as table_name, f.value ->> 1 as object_kind, f.value ->> 2 as object_name,
           f.value ->> 3 as fact, f.value ->> 4 as value
    from only guard_states as g
    cross join lateral jsonb_array_elements(g.facts) as f
    where g.id = guards_since.state_id
  )
  select coalesce(r.object_kind, p.object_kind), coalesce(r.object_name, p.object_name), coalesce(r.fact, p.fact),
         r.value, p.value,
         case when r.fact is null then 'extra' when p.fact is null then 'missing' else 'changed' end,
         coalesce(r.table_name, p.table_name)
  from recorded as r
  full join guard_facts() as p using (object_kind, object_name, fact)
  where r.value is distinct from p.value or r.fact is null or p.fact is null
  order by 1, 2, 3;
$function$;
comment on function guards_since is
  'A row for every guard that is not as this row of guard_states recorded it: what, expected, found, and whether it is '
  'missing, extra or changed.';
create function verify_guards()
returns table (object_kind text, object_name text, fact text, expected text, found text, problem text, table_name text)
language plpgsql stable
set search_path from current
set quote_all_identifiers = off set standard_conforming_strings = on set jit = off
as $function$
declare
  -- what is read here, and what guard_facts reads
  registers constant text[] := '{guard_states, verification_runs, installation, installed_migrations, chains,
                                 attempt_counters}';
begin
  if not exists (select from unnest(registers) as n(name)
                 where to_regclass(format('%I.%I', current_schema(), n.name)) is not null) then
    return query select 'schema', coalesce(current_schema()::text, ''), 'name', null::text, null::text,
                        'renamed or gone: the functions look for their tables elsewhere', null::text;
    return;
  end if;
  -- Without all of them nothing can be compared; what is wrong with them is reported instead.
  return query
    select 'relation', n.name, 'kind', 'r', null::text, 'missing', n.name
    from unnest(registers) as n(name) where to_regclass(format('%I.%I', current_schema(), n.name)) is null;
  if found then
    return;
  end if;
  if exists (select from unnest(registers) as n(name) where row_security_active(quote_ident(n.name))) then
    return query
      select 'relation', c.relname::text, 'row security', '',
             concat_ws(', ', 'on', case when c.relforcerowsecurity then 'forced' end), 'changed', c.relname::text
      from pg_class as c
      where c.relnamespace = (select r.relnamespace from pg_class as r where r.oid = 'guard_states'::regclass)
        and c.relrowsecurity
      order by 2;
    return;
  end if;
  return query
    select g.* from guards_since((select max(s.id) from only guard_states as s)) as g
    union all
    select 'sequence', c.sequence_name, 'value', c.recorded::text, c.stands_at::text, 'changed', null
    from _lowered_counters() as c
    order by 1, 2, 3;
end
$function$;
comment on function verify_guards is
  'A row for every guard that is not as last recorded: what, expected, found, and whether it is missing, extra or '
  'changed. No row: all is as installed.';
create function changed_guards()
returns table (table_name text, problems text)
language sql stable
set search_path from current
as $function$
  select coalesce(c.table_name, 'guard_states'),
         string_agg(format('%s %s: %s %s', g.object_kind, g.object_name, g.fact, g.problem), '; ')
  from verify_guards() as g
  left join only chains as c on c.table_name = g.table_name
  group by 1;
$function$;
comment on function changed_guards is
  'What verify_guards reports, a row for each chain that it concerns; what concerns all of them stands under '
  'guard_states.';

-- sql/06_guards/attach.sql

-- The end of the first migration: what every migration leaves to others, and the triggers of our own tables.

-- PUBLIC gets nothing: the last statement of each migration calls this.
create function _revoke_from_public() returns void
language plpgsql
set search_path from current
set random_page_cost = 0.2
as $function$
declare
  home   constant oid := quote_ident(current_schema())::regnamespace;
  owner  constant oid := quote_ident(_owner_role())::regrole;
  item   record;
begin
  -- One statement for each kind: after each REVOKE, PostgreSQL forgets which functions of all schemas have which name.
  for item in
    select o.kind, string_agg(format('%I.%s', current_schema(), o.name), ', ') as names
    from (
      select case p.prokind when 'p' then 'procedure' else 'function' end,
             format('%I(%s)', p.proname, pg_get_function_identity_arguments(p.oid)),
             coalesce(p.proacl, acldefault('f', p.proowner))
      from _guard_objects('pg_proc') as d
      join pg_proc as p on p.oid = d.oid
      where p.pronamespace = home and p.proowner = owner
      union all
      select 'type', quote_ident(t.typname), coalesce(t.typacl, acldefault('T', t.typowner))
      from _guard_objects('pg_type') as d
      join pg_type as t on t.oid = d.oid
      where t.typnamespace = home and t.typowner = owner
        -- not the row types of tables, because a dump does not carry their rights
        and t.typcategory <> 'A' and (t.typtype in ('d', 'e', 'r')
                                      or (select c.relkind from pg_class as c where c.oid = t.typrelid) = 'c')
    ) as o(kind, name, acl)
    where exists (select from aclexplode(o.acl) as a where a.grantee = 0)
    group by o.kind
  loop
    execute format('revoke all on %s %s from public', item.kind, item.names);
  end loop;
end
$function$;
comment on function _revoke_from_public is
  'Takes from PUBLIC what CREATE FUNCTION, CREATE DOMAIN and CREATE TYPE give it by default, on all objects of the '
  'owner role in this schema.';
-- What somebody else adds to each new object, as an event trigger of the provider's or by default privileges for the
-- owner role: row-level security, and rights. Recorded as guards these would look meant, and no application could
-- write. So a migration takes them back from what it has made. What is older is as last recorded, or the migration
-- would not have begun.
create function _additions()
returns table (addition text, kind text, name text, grantee text)
language sql stable
set search_path from current
as $function$
  with
  home as (
    select n.oid, (quote_ident(_owner_role())::regrole)::oid as owner from pg_namespace as n
    where n.nspname = current_schema()),
  recorded as materialized (
    select f.value ->> 1 as kind, f.value ->> 2 as name
    from (select g.facts from only guard_states as g order by g.id desc limit 1) as g
    cross join lateral jsonb_array_elements(g.facts) as f
    where (f.value ->> 1, f.value ->> 3) in (('relation', 'owner'), ('function', 'body'))),
  relations as materialized (
    select c.* from home join pg_class as c on c.relnamespace = home.oid and c.relowner = home.owner
    where c.relkind in ('r', 'p', 'v', 'S')
      and c.relname::text not in (select r.name from recorded as r where r.kind = 'relation')),
  rights as (
    select 'table' as kind, quote_ident(c.relname) as name, g.grantee
    from relations as c cross join lateral _grants_text(c.relacl, c.relowner) as g
    union
    -- Revoked from a table, a right is revoked from its columns, too.
    select 'table', quote_ident(c.relname), g.grantee
    from relations as c join pg_attribute as a on a.attrelid = c.oid
    cross join lateral _grants_text(a.attacl, c.relowner) as g
    union all
    select 'routine', p.oid::regprocedure::text, g.grantee
    from home join pg_proc as p on p.pronamespace = home.oid and p.proowner = home.owner
    cross join lateral _grants_text(p.proacl, p.proowner) as g
    where p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')'
          not in (select r.name from recorded as r where r.kind = 'function'))
  select 'row-level security', 'table', quote_ident(c.relname), null
  from relations as c where c.relrowsecurity or c.relforcerowsecurity
  union all
  select 'rights of ' || r.grantee, r.kind, r.name,
         case when r.grantee = 'PUBLIC' then 'public' else quote_ident(r.grantee) end
  from rights as r
  where r.grantee not in (_app_role('app_trading'), _app_role('app_auditor'), _app_role('app_risk'));
$function$;
comment on function _additions is
  'What somebody else added to objects that no recorded state of the guards knows yet: row-level security, or the '
  'rights of a grantee.';
-- What default privileges add for our own roles cannot be told from what a migration grants them.
create function _refuse_default_rights() returns void
language plpgsql
set search_path from current
as $function$
declare
  item  record;
begin
  select g.grantee, case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'
                                         else 'types' end as kind,
         case when d.defaclnamespace <> 0 then format(' in schema %I', current_schema()) else '' end as place
  into item
  from pg_default_acl as d
  cross join lateral _grants_text(d.defaclacl, d.defaclrole) as g
  where d.defaclrole = quote_ident(_owner_role())::regrole and d.defaclobjtype in ('r', 'S', 'f', 'T')
    and d.defaclnamespace in (0, quote_ident(current_schema())::regnamespace)
    and g.grantee in (_app_role('app_trading'), _app_role('app_auditor'), _app_role('app_risk'));
  if found then
    raise exception 'alpha-db: by default privileges % has rights on all % that % makes',
      item.grantee, item.kind, _owner_role()
      using errcode = '55000',
            hint = format('alter default privileges for role %I%s revoke all on %s from %I', _owner_role(), item.place,
                          item.kind, item.grantee);
  end if;
end
$function$;
comment on function _refuse_default_rights is
  'Raises 55000 if default privileges of the owner role give our own roles more than the migrations do.';
create function _take_back_additions() returns void
language plpgsql
set search_path from current
as $function$
declare
  item   record;
  taken  text[] := '{}';
begin
  perform _refuse_default_rights();
  -- Nothing else adds anything, and most servers have neither.
  if not exists (select from pg_event_trigger as e where e.evtname !~ '^alpha_ddl_guard_')
     and not exists (select from pg_default_acl as d where d.defaclrole = quote_ident(_owner_role())::regrole) then
    return;
  end if;
  for item in select a.* from _additions() as a loop
    if item.grantee is null then
      execute format('alter table %s disable row level security, no force row level security', item.name);
    else
      execute format('revoke all on %s %s from %s cascade', item.kind, item.name, item.grantee);
    end if;
    taken := taken || item.addition;
  end loop;
  if taken = '{}' then
    return;
  end if;
  raise notice 'taken back from new objects: %. An event trigger or default privileges had added it.',
    (select string_agg(format('%s (%s)', t.addition, t.times), ', ' order by t.addition)
     from (select u.addition, count(*) as times from unnest(taken) as u(addition) group by 1) as t);
  for item in select a.addition from _additions() as a loop
    raise exception 'alpha-db: % was taken back from new objects, and is there again', item.addition
      using errcode = '55000',
            hint = 'An event trigger adds it at once. Disable that while you migrate, or install into a schema that it '
                   'leaves alone: select evtname from pg_event_trigger.';
  end loop;
end
$function$;
comment on function _take_back_additions is
  'Takes back what somebody else added to the objects that a migration has made, with a NOTICE. Raises 55000 if it is '
  'there again at once.';
-- Our own tables become append-only and chained like the log; here, because only now all functions exist that
-- their triggers call.

perform _chain_attach('chain_columns');
perform _chain_attach('guard_states');
perform _chain_attach('verification_runs');
perform _protect_table('chain_columns', 'AUD-011', 'AUD-011');
perform _protect_table('guard_states', 'AUD-011', 'AUD-011');
perform _protect_table('verification_runs', 'AUD-011', 'AUD-011');
perform _protect_table('installation', 'AUD-011', 'AUD-011');
perform _protect_table('chain_starts', 'AUD-011', 'AUD-011');
perform _owner_only(t.name, 'AUD-011')
from unnest(array['chain_columns', 'chain_starts', 'guard_states', 'verification_runs', 'installation']) as t(name);
perform _protect_register(t.name) from unnest(array['installed_migrations', 'attempt_counters', 'chains']) as t(name);
create trigger _500_validate before insert on chain_columns
for each row execute function _check_chain_columns('chain_columns');
create trigger _500_validate before insert on verification_runs
for each row execute function _check_verification_run('verification_runs');
create trigger _500_validate before insert on guard_states
for each row execute function _check_guard_state('guard_states');
create trigger _500_sign before insert on installed_migrations
for each row execute function _sign_migration();
comment on trigger _500_validate on chain_columns is
  'Refuses an entry that is not what the table looks like (AUD-011).';
comment on trigger _500_validate on verification_runs is
  'Refuses heads that are not there (AUD-011).';
comment on trigger _500_validate on guard_states is
  'Records the guards as they are, and refuses a row that says otherwise (AUD-011).';
comment on trigger _500_sign on installed_migrations is
  'Sets who applied the migration, and when.';

perform _finish_migration('001_core_functions');
end
$migration$;
