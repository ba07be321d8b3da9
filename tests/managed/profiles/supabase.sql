-- Supabase, as a customer finds it. Run by supabase_admin, the superuser that Supabase keeps.
--
-- Its own migrations say what postgres is and may, and which default privileges there are: in
-- https://github.com/supabase/postgres migrations/db/init-scripts/00000000000000-initial-schema.sql and
-- migrations/db/migrations/10000000000000_demote-postgres.sql. (Its postgres is dba here.)
-- Row-level security on each new table of schema public, by an event trigger:
-- https://supabase.com/docs/guides/database/postgres/event-triggers
-- Its extension supautils lets postgres SET session_replication_role and make event triggers, and no catalogue shows
-- that (https://github.com/supabase/supautils). Plain PostgreSQL cannot imitate it.

create role dba login nosuperuser createdb createrole replication bypassrls;
grant pg_monitor, pg_signal_backend, pg_read_all_data to dba with admin option;
create role supabase_replication_admin login replication;
create role supabase_read_only_user login bypassrls;
grant pg_read_all_data to supabase_read_only_user;
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit;
grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role to dba with admin option;
create database trading owner dba;

\connect trading
create schema extensions;
grant usage on schema extensions to dba, anon, authenticated, service_role;
grant usage on schema public to dba, anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public grant all on tables to dba, anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public grant all on functions to dba, anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public grant all on sequences to dba, anon, authenticated, service_role;
alter default privileges for role dba in schema public grant all on tables to dba, anon, authenticated, service_role;
alter default privileges for role dba in schema public grant all on functions to dba, anon, authenticated, service_role;
alter default privileges for role dba in schema public grant all on sequences to dba, anon, authenticated, service_role;
alter database trading set search_path = "$user", public, extensions;

-- PostgREST learns of new tables.
create function extensions.pgrst_ddl_watch() returns event_trigger language plpgsql as $function$
begin
  if exists (select from pg_event_trigger_ddl_commands() as d where d.command_tag in ('CREATE TABLE', 'CREATE VIEW')) then
    notify pgrst, 'reload schema';
  end if;
end
$function$;
create event trigger pgrst_ddl_watch on ddl_command_end execute function extensions.pgrst_ddl_watch();

create function public.rls_auto_enable() returns event_trigger
language plpgsql security definer set search_path = pg_catalog as $function$
declare
  made  record;
begin
  for made in
    select d.object_identity as name from pg_event_trigger_ddl_commands() as d
    where d.object_type in ('table', 'partitioned table') and d.schema_name = 'public'
  loop
    execute format('alter table if exists %s enable row level security', made.name);
  end loop;
end
$function$;
alter function public.rls_auto_enable() owner to dba;
create event trigger ensure_rls on ddl_command_end when tag in ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO')
execute function public.rls_auto_enable();
