-- Login roles for an installation. The application roles are NOLOGIN, and settings on them would reach nobody: a
-- session takes its settings from the role that logs in.
--   psql -X -v ON_ERROR_STOP=1 -f examples/logins.sql
--   psql -X -v ON_ERROR_STOP=1 -v role_prefix=desk_b_ -v schema=desk_b -v login=desk_b -f examples/logins.sql
-- Set passwords separately, for example with \password desk_trader, so that they are in no file.

\if :{?role_prefix} \else \set role_prefix '' \endif
\if :{?schema}      \else \set schema public  \endif
\if :{?login}       \else \set login desk     \endif
\set app_trading :role_prefix app_trading
\set app_auditor :role_prefix app_auditor
\set trader      :login _trader
\set auditor     :login _auditor
-- First of all, because the database's owner could have put a function in front of PostgreSQL's own.
set search_path = pg_catalog, pg_temp;
select current_database() as database \gset

create role :"trader"  login in role :"app_trading";
create role :"auditor" login in role :"app_auditor";

-- A writer holds the chain until its transaction ends, so nobody may wait for it, or hold it, for ever.
alter role :"trader"  in database :"database" set lock_timeout = '5s';
alter role :"trader"  in database :"database" set idle_in_transaction_session_timeout = '60s';
alter role :"auditor" in database :"database" set lock_timeout = '5s';
alter role :"auditor" in database :"database" set idle_in_transaction_session_timeout = '60s';
alter role :"trader"  in database :"database" set search_path = :"schema";
alter role :"auditor" in database :"database" set search_path = :"schema";
