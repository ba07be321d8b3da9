-- The login roles of docker-compose.yml. Its service "logins" runs this at every start. It makes what is missing, and sets
-- passwords and limits.

\set trader_password  `cat "${SECRETS:-/run/secrets}/trader_password"`
\set auditor_password `cat "${SECRETS:-/run/secrets}/auditor_password"`

-- First of all, because the database's owner could have put a function in front of PostgreSQL's own.
set search_path = pg_catalog, pg_temp;
select format('create role %I login in role %I', l.name, l.app_role)
from (values ('desk_trader', 'app_trading'), ('desk_auditor', 'app_auditor')) as l (name, app_role)
where not exists (select from pg_roles as r where r.rolname = l.name)
\gexec
-- A server that logs statements must not log the passwords.
set local log_statement = 'none';
alter role desk_trader  password :'trader_password';
alter role desk_auditor password :'auditor_password';
alter role desk_trader  set lock_timeout = '5s';
alter role desk_trader  set idle_in_transaction_session_timeout = '60s';
alter role desk_auditor set lock_timeout = '5s';
alter role desk_auditor set idle_in_transaction_session_timeout = '60s';
