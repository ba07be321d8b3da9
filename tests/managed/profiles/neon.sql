-- Neon, as a customer finds it. Run by cloud_admin, the superuser that Neon keeps.
--
-- The role: https://neon.com/docs/manage/roles; in its source, https://github.com/neondatabase/neon,
-- compute_tools/src/sql/create_privileged_role.sql, default_grants.sql, set_public_schema_owner.sql, and
-- compute_tools/src/migrations/. Connections with "-pooler" in the host name go through PgBouncer in transaction mode:
-- https://neon.com/docs/connect/connection-pooling

create role neon_superuser createdb createrole nologin replication bypassrls in role pg_read_all_data, pg_write_all_data;
grant pg_monitor, pg_signal_backend to neon_superuser with admin option;
do $$
begin
  if current_setting('server_version_num')::integer >= 160000 then
    grant pg_create_subscription to neon_superuser;
  end if;
end
$$;
create role dba login nosuperuser createdb createrole replication bypassrls in role neon_superuser;
create database trading owner dba;

\connect trading
alter default privileges in schema public grant all on tables to neon_superuser with grant option;
alter default privileges in schema public grant all on sequences to neon_superuser with grant option;
