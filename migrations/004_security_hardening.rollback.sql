-- Takes back 004_security_hardening. Built from sql/ by bin/build; change it there.

-- The frame of every rollback but the first migration's. As of a migration: sql/01_install/migrations.sql.

do $rollback$
declare
  home  pg_catalog.text := pg_catalog.current_schema();
begin
perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true),
        pg_catalog.set_config('quote_all_identifiers', 'off', true),
        pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
if not exists (select from pg_proc as p
               join pg_namespace as n on n.oid = p.pronamespace
               join pg_class as c on c.relnamespace = n.oid and c.relname = 'installed_migrations'
               join pg_roles as r on r.oid = p.proowner and r.oid = c.relowner
               where p.proname = '_begin_rollback' and n.nspname = home
                 and r.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
perform _begin_rollback('004_security_hardening');

-- Before 004_security_hardening is taken back: the DDL guard must be gone, and so must every grant.

do $rollback_first$
declare
  trading  constant text := _app_role('app_trading');
  auditor  constant text := _app_role('app_auditor');
  risk     constant text := _app_role('app_risk');
  item     record;
begin
  if exists (select from pg_event_trigger as e
             where e.evtname = left('alpha_ddl_guard_drop_' || current_schema(), 63)) then
    raise exception 'alpha-db: 004_security_hardening is not rolled back, because the DDL guard is installed'
      using errcode = '55000', hint = 'As superuser, apply superuser/ddl_guard.rollback.sql first.';
  end if;
  for item in select c.table_name from only chains as c where not c.is_internal order by c.position loop
    execute format('revoke all on %I from %I, %I, %I', item.table_name, trading, auditor, risk);
    execute format('revoke all on sequence %I from %I', item.table_name || '_id_seq', trading);
  end loop;
  execute format('revoke all on sequence lockdown_alarm, lockdown_lifted from %I', trading);
  execute format('revoke all on installation, installed_migrations, attempt_counters, chains, chain_columns,'
                 ' chain_starts, guard_states, verification_runs, lockdown_events, maintenance_events from %I',
                 auditor);
  for item in
    select p.oid::regprocedure::text as signature, g.grantee
    from pg_proc as p cross join lateral _grants_text(p.proacl, p.proowner) as g
    where p.pronamespace = quote_ident(current_schema())::regnamespace
      and p.proowner = quote_ident(_owner_role())::regrole and g.grantee in (trading, auditor, risk)
  loop
    execute format('revoke all on routine %s from %I', item.signature, item.grantee);
  end loop;
end
$rollback_first$;
drop view vw_trade_audit_full;
perform _forget_attempts('protected object');

drop view vw_rejected_attempts;
drop function logins_without_timeouts;
drop function heartbeat;
drop function replay_lag;
drop function standbys;
drop function lock_holders;
drop function _comment_views;
drop view vw_kill_switch_events;
drop function _make_trade_audit;
drop view vw_unprocessed_deliveries;

perform _finish_rollback('004_security_hardening');
end
$rollback$;
