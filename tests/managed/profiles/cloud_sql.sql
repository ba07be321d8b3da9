-- Google Cloud SQL for PostgreSQL, as a customer finds it. Run by cloudsqladmin, the superuser that Google keeps.
--
-- Users made in the console are members of cloudsqlsuperuser, which may make event triggers (plain PostgreSQL cannot
-- imitate that): https://docs.cloud.google.com/sql/docs/postgres/users
-- A database that is made in the console belongs to cloudsqlsuperuser. So each of these users owns its schema public.

create role cloudsqlsuperuser nosuperuser createdb createrole login;
grant pg_monitor, pg_signal_backend to cloudsqlsuperuser with admin option;
create role cloudsqlagent login createdb createrole in role cloudsqlsuperuser;
create role cloudsqlimportexport login createdb createrole in role cloudsqlsuperuser;
create role cloudsqlreplica login replication;

create role dba login nosuperuser createdb createrole in role cloudsqlsuperuser;
create role colleague login nosuperuser createdb createrole in role cloudsqlsuperuser;
create database trading owner cloudsqlsuperuser;
