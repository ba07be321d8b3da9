-- Azure Database for PostgreSQL, flexible server, as a customer finds it. Run by azuresu, the superuser that Microsoft
-- keeps.
--
-- The administrator: https://learn.microsoft.com/azure/postgresql/security/security-access-control and
-- https://learn.microsoft.com/training/modules/secure-azure-database-for-postgresql/3-describe-built-server-roles
-- It may set session_replication_role: https://learn.microsoft.com/answers/a/1879117
-- In template1 schema public belongs to azure_pg_admin, and PUBLIC may create in it, as people who rehearse this at home
-- report; so it is in a database that is made from it.

alter role azuresu set search_path = pg_catalog;
create role azure_pg_admin nologin;
create role replication login replication;
grant pg_monitor, pg_signal_backend, pg_checkpoint, pg_read_all_settings to azure_pg_admin with admin option;
grant set on parameter session_replication_role to azure_pg_admin;
create role dba login nosuperuser createdb createrole replication bypassrls;
grant azure_pg_admin to dba with admin option;

\connect template1
alter schema public owner to azure_pg_admin;
grant all on schema public to public;
create database trading owner dba;
