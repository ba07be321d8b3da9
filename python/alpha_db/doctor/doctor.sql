-- What "alpha-db doctor" asks. It only reads, and needs nothing of ours in the database: before the migrations there is
-- nothing to call, and afterwards the answer must come from the same text. So no function of it is installed.
--
-- Each row is one thing that was looked at. Its state: ok; lost (it works, but a protection is weaker, or there is
-- none); set (do first what the remedy says); stop (this database cannot take it).

-- name: pin
-- First of all: until this is set, somebody else's function could stand in front of PostgreSQL's own. The schema is the
-- one that was first on the path.
select pg_catalog.set_config('alpha.doctor_schema', coalesce(nullif(
         pg_catalog.current_schema()::pg_catalog.text, 'pg_catalog'::pg_catalog.text), ''::pg_catalog.text), true),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

-- name: say
-- Which schema was asked for, though this login may not use it, or it is not there; and what would stand before the
-- names of the roles.
select set_config('alpha.doctor_wanted', %(wanted)s, true),
       set_config('alpha.doctor_schema',
                  coalesce(nullif(current_setting('alpha.doctor_schema'), ''), %(wanted)s), true),
       set_config('alpha.role_prefix', coalesce(nullif(%(role_prefix)s, ''), current_setting('alpha.role_prefix', true),
                                                ''), true);

-- name: place
-- Can alpha-db be installed here, or is it already?
with
here as materialized (
  select current_setting('alpha.doctor_schema') as schema, n.oid, n.nspowner, n.nspacl,
         r.oid as login, r.rolname as login_name, r.rolsuper, r.rolcreaterole, p.prefix || 'alpha_owner' as owner_name,
         o.oid as owner, p.is_installed,
         current_setting('server_version_num')::integer as version
  from pg_roles as r
  left join pg_namespace as n on n.nspname = current_setting('alpha.doctor_schema')
  left join lateral (
    select regexp_replace(m.rolname, 'alpha_owner$', '') as prefix
    from pg_class as c join pg_roles as m on m.oid = c.relowner and m.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$'
    where c.relnamespace = n.oid and c.relname = 'installed_migrations') as i on true
  cross join lateral (
    select coalesce(i.prefix, current_setting('alpha.role_prefix', true), '') as prefix,
           i.prefix is not null as is_installed) as p
  left join pg_roles as o on o.rolname = p.prefix || 'alpha_owner'
  where r.rolname = current_user
),
app_roles as materialized (
  select string_agg(a.name, ', ') as missing
  from here cross join unnest(array['alpha_owner', 'app_trading', 'app_auditor', 'app_risk']) as s(suffix)
  cross join lateral (select replace(here.owner_name, 'alpha_owner', s.suffix) as name) as a
  where not exists (select from pg_roles as r where r.rolname = a.name)
),
-- Whether the owner role can get into the schema, and the login into the owner role.
rights as materialized (
  select coalesce(here.is_installed or here.rolsuper or pg_has_role(here.login, here.nspowner, 'usage')
                  or has_schema_privilege(here.login, here.oid, 'create with grant option')
                     and has_schema_privilege(here.login, here.oid, 'usage with grant option')
                  or has_schema_privilege(here.owner, here.oid, 'create'), false) as has_schema,
         here.owner is null or here.rolsuper
           or pg_has_role(here.login, here.owner, case when here.version >= 160000 then 'set' else 'usage' end)
           or exists (select from pg_auth_members as m
                      where m.roleid = here.owner and m.member = here.login and m.admin_option)
           or here.version < 160000 and here.rolcreaterole as may_be_owner
  from here
),
others as materialized (
  select string_agg(coalesce(quote_ident(r.rolname), 'PUBLIC'), ', ' order by r.rolname) as names
  from here cross join lateral aclexplode(coalesce(here.nspacl, acldefault('n', here.nspowner))) as a
  left join pg_roles as r on r.oid = a.grantee
  where a.privilege_type = 'CREATE' and a.grantee <> here.nspowner
    and (r.oid is null or here.owner is null or not pg_has_role(r.oid, here.owner, 'member'))
    and here.owner_name is distinct from r.rolname and here.login is distinct from r.oid
),
-- As 001_core_functions looks for them.
foreign_code as materialized (
  select string_agg(distinct coalesce('extension ' || quote_ident(e.extname), c.name), ', ') as names,
         min(e.extname) as extension
  from here
  cross join lateral (
    select 'pg_proc'::regclass as classid, p.oid, p.oid::regprocedure::text as name, p.proowner as owner,
           exists (select from pg_proc as s
                   where s.proname = p.proname and s.pronamespace = 'pg_catalog'::regnamespace) as shadows
    from pg_proc as p where p.pronamespace = here.oid
    union all
    select 'pg_operator'::regclass, q.oid, q.oid::regoperator::text, q.oprowner, true
    from pg_operator as q where q.oprnamespace = here.oid) as c
  left join pg_depend as d on d.classid = c.classid and d.objid = c.oid and d.deptype = 'e'
                          and d.refclassid = 'pg_extension'::regclass
  left join pg_extension as e on e.oid = d.refobjid
  where (here.owner is null or not pg_has_role(c.owner, here.owner, 'member'))
    and (not pg_has_role(c.owner, here.nspowner, 'member') or c.shadows and c.owner <> here.login)
),
-- The default of this database or login: doctor itself only reads.
writes as materialized (
  select s.reset_val = 'on' as are_off from pg_settings as s where s.name = 'default_transaction_read_only'
),
room as materialized (
  select r.*, 2000 + r.in_dump * r.desks as needed
  from (
    select (select s.setting::bigint from pg_settings as s where s.name = 'max_locks_per_transaction') as each,
           (select sum(s.setting::bigint)::bigint from pg_settings as s
            where s.name in ('max_connections', 'max_prepared_transactions')) as sessions,
           (select count(*) from pg_class as c join pg_roles as m on m.oid = c.relowner
              and m.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$'
            where c.relname = 'installed_migrations') as desks,
           -- Until 17, pg_dump asks each sequence by itself.
           case when current_setting('server_version_num')::integer >= 180000 then 60 else 300 end as in_dump) as r
)
select v.name, v.state, v.found, v.effect, v.remedy
from here cross join app_roles cross join rights cross join others cross join foreign_code cross join writes
cross join room
cross join lateral (values
  ('version', case when here.version < 150000 then 'stop' when here.version >= 190000 then 'lost' else 'ok' end,
   'PostgreSQL ' || current_setting('server_version'),
   case when here.version < 150000 then 'alpha-db needs 15 or newer.'
        when here.version >= 190000 then 'alpha-db was tested on 15 to 18 only.' end,
   case when here.version < 150000 then 'Upgrade the server.' end),
  ('encoding', case when current_setting('server_encoding') = 'UTF8' then 'ok' else 'stop' end,
   current_setting('server_encoding'),
   case when current_setting('server_encoding') <> 'UTF8' then 'alpha-db needs a database in UTF8.' end,
   case when current_setting('server_encoding') <> 'UTF8' then
     'Make another database: create database ... encoding ''UTF8'' template template0' end),
  ('installed', 'ok',
   case when here.is_installed then 'yes, it belongs to ' || here.owner_name else 'not yet' end, null, null),
  ('primary', case when not pg_is_in_recovery() then 'ok' when here.is_installed then 'lost' else 'set' end,
   case when pg_is_in_recovery() then 'a standby' else 'a primary' end,
   case when pg_is_in_recovery() then 'Nothing can be written here. Verification works, and cannot engage the lockdown.'
   end,
   case when pg_is_in_recovery() and not here.is_installed then 'Install on the primary.' end),
  ('writes', case when writes.are_off then 'set' else 'ok' end,
   case when writes.are_off then 'transactions are read-only by default' else 'transactions may write by default' end,
   case when writes.are_off then 'Applications record nothing.' end,
   case when writes.are_off then
     format('alter database %I set default_transaction_read_only = off', current_database()) end),
  ('roles', case when app_roles.missing is null or here.rolcreaterole or here.rolsuper then 'ok' else 'set' end,
   case when app_roles.missing is null then 'all four are there'
        when here.rolcreaterole or here.rolsuper then format('%s may create them', here.login_name)
        else format('%s may not create %s', here.login_name, app_roles.missing) end,
   null,
   case when not (app_roles.missing is null or here.rolcreaterole or here.rolsuper) then
     format('As an administrator: alter role %I createrole', here.login_name) end),
  ('owner', case when rights.may_be_owner or here.is_installed then 'ok' else 'set' end,
   case when here.owner is null then 'there is no role ' || here.owner_name || ' yet'
        when rights.may_be_owner then format('%s may become %s', here.login_name, here.owner_name)
        else format('%s may not become %s, so it cannot migrate', here.login_name, here.owner_name) end,
   null,
   case when not rights.may_be_owner and not here.is_installed then
     format('As the role that made it: grant %I to %I. Or have roles of your own: migrate --role-prefix NAME_',
            here.owner_name, here.login_name) end),
  ('schema', case when here.oid is null then 'set'
                  when here.schema ~ '^pg_' or here.schema = 'information_schema' then 'stop'
                  when rights.has_schema then 'ok' else 'set' end,
   case when here.oid is null then 'search_path names no schema that is there'
        else format('%s, of %s', quote_ident(here.schema), pg_get_userbyid(here.nspowner)) end,
   case when here.oid is not null and not rights.has_schema then
     format('%s may not pass CREATE on to %s.', here.login_name, here.owner_name) end,
   case when here.oid is null then
          format('create schema %1$I, and name it: --schema %1$s',
                 coalesce(nullif(current_setting('alpha.doctor_wanted'), ''), 'audit'))
        when not rights.has_schema then
          format('As its owner: grant usage, create on schema %I to %I with grant option', here.schema, here.login_name)
   end),
  ('others create', case when others.names is null then 'ok' else 'set' end,
   case when others.names is null then 'nobody else may create here'
        else format('%s may create objects in schema %I', others.names, here.schema) end,
   case when others.names is not null then 'Their functions would stand beside ours. The migrations refuse that.' end,
   case when others.names is not null then format('revoke create on schema %I from %s', here.schema, others.names) end),
  ('foreign code', case when foreign_code.names is null or here.is_installed then 'ok' else 'set' end,
   coalesce(left(foreign_code.names, 300), 'none that could be taken for PostgreSQL''s own'),
   case when foreign_code.names is not null and not here.is_installed then
     'The migrations refuse to install beside it.' end,
   case when here.is_installed then null
        when foreign_code.extension is not null then
          format('alter extension %I set schema extensions. Or install elsewhere: create schema audit',
                 foreign_code.extension)
        when foreign_code.names is not null then 'Install into a schema of its own: create schema audit' end),
  ('locks', case when room.each * room.sessions >= room.needed then 'ok' else 'set' end,
   format('max_locks_per_transaction %s, room for %s locks; installations in this database: %s', room.each,
          room.each * room.sessions, room.desks),
   case when room.each * room.sessions < room.needed then
     format('Dropping an installation takes about 1800 locks, a migration 750, and a dump of the whole database %s for '
            'each installation.', room.in_dump) end,
   case when room.each * room.sessions < room.needed then
     format('max_locks_per_transaction = %s, then restart the server. Or dump each schema by itself: pg_dump -n',
            64 * (1 + room.needed / (64 * room.sessions))) end)
) as v(name, state, found, effect, remedy);

-- name: citus_parts
-- Which of the next two can be asked: those tables are there if Citus is in this database.
select p.question
from (values ('citus', 'pg_catalog.pg_dist_partition'), ('citus_schema', 'pg_catalog.pg_dist_schema'))
  as p(question, relation)
where has_table_privilege(to_regclass(p.relation), 'select');

-- name: citus
-- A login that may not become the owner role makes nothing of ours.
with settings as materialized (
  select string_agg(s.name || ' is on', ', ') as found,
         string_agg(format('alter role %I set %s = off', session_user, s.name), '; ') as remedy
  from unnest(array['citus.enable_ddl_propagation', 'citus.enable_schema_based_sharding']) as s(name)
  where lower(current_setting(s.name, true)) in ('on', 'true', 'yes', '1')
    and not exists (
      select from pg_class as c
      where c.relname = 'installed_migrations' and not pg_has_role(c.relowner, 'usage')
        and c.relnamespace = to_regnamespace(quote_ident(current_setting('alpha.doctor_schema'))))
)
select 'citus' as name, case when s.found is null then 'ok' else 'set' end as state,
       coalesce(s.found, 'what this login makes stays on this node') as found,
       case when s.found is not null then
         'Citus would distribute our tables and functions. The migrations, chain_table and track_table refuse that.'
       end as effect,
       s.remedy || ', then connect again' as remedy
from settings as s;

-- name: citus_schema
select 'citus schema' as name, 'set' as state, format('schema %I is distributed', n.nspname) as found,
       'Rows would be stored on other nodes.' as effect,
       format('select citus_schema_undistribute(%L)', quote_ident(n.nspname)) as remedy
from pg_catalog.pg_dist_schema as d join pg_namespace as n on n.oid = d.schemaid
where n.nspname = current_setting('alpha.doctor_schema');

-- name: synchronous
-- Nothing if the server awaits no standby, or as many as it awaits are connected. A login that may not see what a
-- standby is, sees that there is one.
select 'standbys' as name, 'set' as state,
       'fewer standbys are connected than synchronous_standby_names awaits: ' || n.names as found,
       'Every commit waits until they are. Only a lockdown does not.' as effect,
       'Start them. To do without: alter system set synchronous_standby_names = ''''; select pg_reload_conf()' as remedy
from (select current_setting('synchronous_standby_names') as names) as n
where n.names <> '' and not pg_is_in_recovery()
  and (select count(*) from pg_stat_replication as r where r.sync_state in ('sync', 'quorum') or r.sync_state is null)
      < coalesce(substring(n.names from '^ *[[:alpha:]]* *([0-9]+) *[(]'), '1')::integer;

-- name: try_replication_role
-- Only trying tells: some providers allow it past every catalogue. It changes nothing.
set local session_replication_role = origin;

-- name: try_positions
-- What a checkpoint records beside the rows.
select pg_walfile_name(pg_current_wal_insert_lsn()), s.system_identifier from pg_control_system() as s;

-- name: server_time
select clock_timestamp();
