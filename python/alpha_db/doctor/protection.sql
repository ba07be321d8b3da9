-- The second half of what doctor asks; doctor.sql says how.

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
     'An owner can alter our objects. Nothing refuses it; verify_guards reports it afterwards.' end,
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
   case when not (wire.is_encrypted or wire.is_local) then
     'Anyone between here and the server can read and change everything.' end,
   case when not (wire.is_encrypted or wire.is_local) then 'Add sslmode=verify-full to the URL.' end)
) as v(name, state, found, effect, remedy);
