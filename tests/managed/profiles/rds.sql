-- Amazon RDS for PostgreSQL and Aurora, as a customer finds it. Run by rdsadmin, the superuser that AWS keeps.
--
-- The master user: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Appendix.PostgreSQL.CommonDBATasks.Roles.rds_superuser.html
-- It may set session_replication_role: https://repost.aws/knowledge-center/rds-postgresql-foreign-keys
-- It may make event triggers, which plain PostgreSQL cannot imitate:
-- https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/PostgreSQL.Concepts.General.FeatureSupport.EventTriggers.html
-- Which predefined roles rds_superuser has is as dumps of roles from instances of version 14 and later show it.

create role rds_replication nologin;
create role rds_password nologin;
create role rds_superuser nologin;
grant pg_monitor, pg_signal_backend, pg_checkpoint, pg_read_all_data, pg_write_all_data, rds_password, rds_replication
  to rds_superuser with admin option;
grant set on parameter session_replication_role to rds_superuser;
alter role rdsadmin set log_min_messages = panic;

create role dba login nosuperuser createdb createrole;
grant rds_superuser to dba with admin option;
create database trading owner dba;
