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
-- Whether the login is the owner of the schema or stands in for it, and what it may pass on.
rights as materialized (
  select pg_has_role(here.login, here.nspowner, 'usage') as is_owner,
         has_schema_privilege(here.login, here.oid, 'create with grant option')
           and has_schema_privilege(here.login, here.oid, 'usage with grant option') as may_pass_on
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
  select (select s.setting::bigint from pg_settings as s where s.name = 'max_locks_per_transaction') as each,
         (select sum(s.setting::bigint)::bigint from pg_settings as s
          where s.name in ('max_connections', 'max_prepared_transactions')) as sessions,
         (select count(*) from pg_class as c join pg_roles as m on m.oid = c.relowner
            and m.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$'
          where c.relname = 'installed_migrations') as desks
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
   case when pg_is_in_recovery() then 'Install on the primary.' end),
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
  ('owner', case when here.owner is null or here.rolsuper then 'ok'
                 when pg_has_role(here.login, here.owner, case when here.version >= 160000 then 'set' else 'usage' end)
                   then 'ok'
                 when exists (select from pg_auth_members as m
                              where m.roleid = here.owner and m.member = here.login and m.admin_option)
                   or here.version < 160000 and here.rolcreaterole then 'ok'
                 when here.is_installed then 'ok' else 'set' end,
   case when here.owner is null then 'there is no role ' || here.owner_name || ' yet'
        when here.rolsuper or pg_has_role(here.login, here.owner, 'member')
          then format('%s may become %s', here.login_name, here.owner_name)
        else format('%s may not become %s, so it cannot migrate', here.login_name, here.owner_name) end,
   null,
   case when here.owner is not null and not here.is_installed and not pg_has_role(here.login, here.owner, 'member') then
     format('As the role that made it: grant %I to %I. Or have roles of your own: migrate --role-prefix NAME_',
            here.owner_name, here.login_name) end),
  ('schema', case when here.oid is null then 'set'
                  when here.schema ~ '^pg_' or here.schema = 'information_schema' then 'stop'
                  when here.is_installed or here.rolsuper or rights.is_owner or rights.may_pass_on then 'ok'
                  when here.owner is not null and has_schema_privilege(here.owner, here.oid, 'create') then 'ok'
                  else 'set' end,
   case when here.oid is null then 'search_path names no schema that is there'
        else format('%s, of %s', quote_ident(here.schema), pg_get_userbyid(here.nspowner)) end,
   case when here.oid is not null and not here.is_installed and not rights.is_owner and not rights.may_pass_on then
     format('%s may not pass CREATE on to %s.', here.login_name, here.owner_name) end,
   case when here.oid is null then
          format('create schema %1$I, and name it: --schema %1$s',
                 coalesce(nullif(current_setting('alpha.doctor_wanted'), ''), 'audit'))
        when not (here.is_installed or here.rolsuper or rights.is_owner or rights.may_pass_on) then
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
  ('locks', case when room.each * room.sessions >= 1000 + 50 * room.desks then 'ok' else 'set' end,
   format('max_locks_per_transaction %s, room for %s locks; installations in this database: %s', room.each,
          room.each * room.sessions, room.desks),
   case when room.each * room.sessions < 1000 + 50 * room.desks then
     'A migration takes about 750 locks, and a dump 50 for each installation.' end,
   case when room.each * room.sessions < 1000 + 50 * room.desks then
     format('max_locks_per_transaction = %s, then restart the server',
            64 * (1 + (1000 + 50 * room.desks) / (64 * room.sessions))) end)
) as v(name, state, found, effect, remedy);

-- name: protection
-- What protects the log on this server, and what does not?
with
here as materialized (
  select n.oid, n.nspname as schema, n.nspowner, r.oid as login, r.rolname as login_name, r.rolsuper, o.oid as owner,
         i.owner is not null as is_installed, d.datdba
  from pg_roles as r
  join pg_database as d on d.datname = current_database()
  left join pg_namespace as n on n.nspname = current_setting('alpha.doctor_schema')
  left join lateral (
    select m.oid as owner
    from pg_class as c join pg_roles as m on m.oid = c.relowner and m.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$'
    where c.relnamespace = n.oid and c.relname = 'installed_migrations') as i on true
  left join pg_roles as o on o.oid = coalesce(i.owner, to_regrole(
    quote_ident(coalesce(current_setting('alpha.role_prefix', true), '') || 'alpha_owner')))
  where r.rolname = current_user
),
-- Who runs the server: a provider is known by the roles that it makes.
provider as materialized (
  select coalesce(min(p.name), 'nobody that is known here') as name
  from (values ('Amazon RDS or Aurora',  'rds_superuser'),
               ('Google Cloud SQL',      'cloudsqlsuperuser'),
               ('Google AlloyDB',        'alloydbsuperuser'),
               ('Supabase',              'supabase_admin'),
               ('Neon',                  'neon_superuser'),
               ('Azure',                 'azure_pg_admin')) as p(name, role)
  where to_regrole(p.role) is not null
),
superusers as materialized (
  select string_agg(quote_ident(r.rolname), ', ' order by r.rolname) as names from pg_roles as r where r.rolsuper
),
-- Whoever is the schema's owner, or is in that role, may make and drop objects in it.
owners as materialized (
  select string_agg(quote_ident(r.rolname), ', ' order by r.rolname) as names
  from here join pg_roles as r on r.rolcanlogin and not r.rolsuper and r.oid <> here.login
  where pg_has_role(r.oid, here.nspowner, 'usage')
    and (here.owner is null or not pg_has_role(r.oid, here.owner, 'member'))
),
powers as materialized (
  select string_agg(format('%s (%s)', p.name, p.members), '; ' order by p.name) as names
  from (select g.rolname as name, string_agg(quote_ident(r.rolname), ', ' order by r.rolname) as members
        from pg_roles as g
        join pg_roles as r on r.rolcanlogin and not r.rolsuper and pg_has_role(r.oid, g.oid, 'usage')
        where g.rolname in ('pg_write_all_data', 'pg_maintain', 'pg_create_subscription', 'pg_execute_server_program',
                            'pg_read_server_files', 'pg_write_server_files', 'pg_signal_backend')
        group by g.rolname) as p
),
event_triggers as materialized (
  select string_agg(quote_ident(e.evtname), ', ' order by e.evtname)
           filter (where p.prosrc ~* 'row[[:space:]]+level[[:space:]]+security') as for_rows,
         string_agg(quote_ident(e.evtname), ', ' order by e.evtname)
           filter (where e.evtname !~ '^alpha_ddl_guard_') as others,
         bool_or(e.evtname = 'alpha_ddl_guard_end_' || here.schema) as is_guarded
  from here join pg_event_trigger as e on true join pg_proc as p on p.oid = e.evtfoid
  where e.evtenabled <> 'D'
),
hidden as materialized (
  select count(*) as number, min(c.relname) as name
  from here join pg_class as c on c.relnamespace = here.oid and c.relowner = here.owner and c.relrowsecurity
),
born as materialized (
  select string_agg(distinct case when a.grantee = 0 then 'PUBLIC' else pg_get_userbyid(a.grantee)::text end, ', ')
           as names
  from here join pg_default_acl as d on d.defaclrole = here.login and d.defaclnamespace in (0, here.oid)
                                    and d.defaclobjtype = 'r'
  cross join lateral aclexplode(d.defaclacl) as a
  where a.grantee <> here.login
),
durable as materialized (
  select string_agg(format('%s = %s', n.name, current_setting(n.name)), ', ') as broken
  from unnest(array['fsync', 'full_page_writes', 'synchronous_commit']) as n(name)
  where current_setting(n.name) = 'off'
),
wire as materialized (
  select inet_client_addr() is null or inet_client_addr() <<= '127.0.0.0/8' or inet_client_addr() = '::1' as is_local,
         coalesce((select s.ssl from pg_stat_ssl as s where s.pid = pg_backend_pid()), false) as is_encrypted
)
select v.name, v.state, v.found, v.effect, v.remedy
from here cross join provider cross join superusers cross join owners cross join powers cross join event_triggers
cross join hidden cross join born cross join durable cross join wire
cross join lateral (values
  ('provider', 'ok', provider.name, null, null),
  ('superusers', 'lost', coalesce(superusers.names, 'none'),
   'A superuser can switch every protection off. What is kept outside of the database shows what was changed.',
   'Make checkpoints, and keep them where no superuser of this server can write: alpha-db checkpoint create'),
  ('login', case when here.rolsuper then 'lost' else 'ok' end,
   format('%s is %s superuser', here.login_name, case when here.rolsuper then 'a' else 'no' end),
   case when here.rolsuper then 'Nothing needs a superuser, but the DDL guard.' end,
   case when here.rolsuper then 'Migrate as a login that is none.' end),
  ('DDL guard', case when event_triggers.is_guarded then 'ok' else 'lost' end,
   case when event_triggers.is_guarded then 'installed'
        when here.rolsuper then 'not installed' else 'not installed; it needs a superuser' end,
   case when not coalesce(event_triggers.is_guarded, false) then
     'An owner can alter our objects. verify_guards reports that afterwards, nothing refuses it.' end,
   case when event_triggers.is_guarded then null
        when here.rolsuper then 'psql -X -1 -v ON_ERROR_STOP=1 -f superuser/ddl_guard.sql'
        else 'Run alpha-db guards from cron, as an auditor.' end),
  ('schema owners', case when owners.names is null then 'ok' else 'lost' end,
   coalesce(left(owners.names, 300) || ' may do what the owner of the schema may', 'no other login'),
   case when owners.names is not null then 'They may put objects beside ours. verify_guards reports these.' end,
   case when owners.names is not null and not here.is_installed then
     'Install into a schema of its own: create schema audit' end),
  ('event triggers', case when event_triggers.for_rows is null then 'ok' else 'lost' end,
   coalesce(left(event_triggers.others, 300), 'none of others'),
   case when event_triggers.for_rows is not null then
     format('%s may switch row-level security on for new tables. The migrations switch it off on ours. A restore does '
            'not. chain_table refuses such a table.', event_triggers.for_rows) end,
   case when event_triggers.for_rows is not null then
     'Before chain_table: alter table ... disable row level security. After a restore: docs/managed.md' end),
  ('row security', case when hidden.number = 0 then 'ok' else 'set' end,
   case when hidden.number = 0 then 'off on our tables'
        else format('on for %s of our tables, such as %s', hidden.number, hidden.name) end,
   case when hidden.number > 0 then 'Applications cannot write, or see no rows.' end,
   case when hidden.number > 0 then
     format('set role %I; alter table %I.%I disable row level security; and so on: docs/managed.md',
            pg_get_userbyid(here.owner), here.schema, hidden.name) end),
  ('default rights', case when born.names is null then 'ok' else 'lost' end,
   coalesce('tables that this login makes are open to ' || left(born.names, 200), 'none'),
   case when born.names is not null then
     'A table of your own that you put under the chain stays open to them, to read and to insert.' end,
   'Before chain_table: revoke all on table ... from ' || left(born.names, 200)),
  ('powers', case when powers.names is null then 'ok' else 'lost' end,
   coalesce(left(powers.names, 400), 'no login has a role that reaches every table'),
   case when powers.names is not null then
     'They reach our tables with no right on them, to insert, lock, or end sessions; a subscription passes the trigger '
     'of the chain. verify_guards reports each new member.' end,
   null),
  ('durability', case when durable.broken is null then 'ok' else 'lost' end,
   coalesce(durable.broken, 'fsync, full_page_writes, synchronous_commit are on'),
   case when durable.broken is not null then
     'A crash may take back rows that append_... reported as durable, unless the provider''s storage keeps them.' end,
   case when durable.broken is not null then
     case when current_setting('synchronous_commit') = 'off'
          then 'For each login: alter role ... set synchronous_commit = on'
          else 'Ask the provider what keeps committed rows.' end end),
  ('server log', case when current_setting('log_min_messages') in ('fatal', 'panic') then 'set' else 'ok' end,
   'log_min_messages ' || current_setting('log_min_messages'),
   case when current_setting('log_min_messages') in ('fatal', 'panic') then 'Refusals leave no line in the log.' end,
   case when current_setting('log_min_messages') in ('fatal', 'panic') then 'log_min_messages = warning' end),
  ('passwords', case when current_setting('password_encryption') = 'scram-sha-256' then 'ok' else 'lost' end,
   'password_encryption ' || current_setting('password_encryption'),
   case when current_setting('password_encryption') <> 'scram-sha-256' then
     'A stolen verifier is as good as the password.' end,
   case when current_setting('password_encryption') <> 'scram-sha-256' then
     'password_encryption = scram-sha-256, then set the passwords again' end),
  ('encryption', case when wire.is_encrypted or wire.is_local then 'ok' else 'lost' end,
   case when wire.is_encrypted then 'TLS' when wire.is_local then 'not needed: the client is on this machine'
        else 'none' end,
   case when not (wire.is_encrypted or wire.is_local) then 'Whoever is on the way reads and changes everything.' end,
   case when not (wire.is_encrypted or wire.is_local) then 'Add sslmode=verify-full to the URL.' end)
) as v(name, state, found, effect, remedy);

-- name: try_replication_role
-- Only trying tells: some providers allow it past every catalogue. It changes nothing.
set local session_replication_role = origin;

-- name: try_positions
-- What a checkpoint records beside the rows.
select pg_walfile_name(pg_current_wal_insert_lsn()), s.system_identifier from pg_control_system() as s;

-- name: server_time
select clock_timestamp();
