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
select _forget_attempts('protected object');
