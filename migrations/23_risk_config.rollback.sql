-- Takes back 23_risk_config. Built from sql/ by bin/build; change it there.

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
perform _begin_rollback('23_risk_config');

-- Before 23_risk_config is taken back: refuses while its tables hold rows.

do $rollback_first$
begin
  if exists (select from only risk_configurations) or exists (select from only risk_asset_kill_thresholds)
     or exists (select from only risk_decisions) then
    raise exception 'alpha-db: 23_risk_config is not rolled back, because its tables hold rows'
      using errcode = '55000', hint = 'To delete the limits and decisions on purpose, drop the schema yourself.';
  end if;
end
$rollback_first$;
perform _forget_attempts(t.name)
from unnest(array['risk_5_4', 'risk_5_2', 'risk_28_10', 'risk_configurations',
                  'risk_asset_kill_thresholds']) as t(name);
drop view vw_trade_audit_full;
perform _make_trade_audit(), _comment_views();
perform _grant('select on', '{vw_trade_audit_full}', '{app_trading, app_auditor, app_risk}');
drop procedure append_decision;
perform _chain_detach('risk_decisions'), _forget_attempts('risk_decisions');

drop view vw_orders_without_permission;
drop function record_decision;
drop type recorded_decision;
drop function _limits_of_decision;
drop function _limits_of_state;
drop table risk_decisions;
drop function risk_evidence;
drop function active_risk_state;
drop function verify_config_integrity;
drop function _compare_states;
drop function _unless_gone;
create or replace function _risk_table_problems(changes replayed_change[])
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
as $function$
  select null::text, null::bigint, null::text where false;
$function$;
comment on function _risk_table_problems is
  'Versions of limits and thresholds that the applied proposals do not say. None, until 23_risk_config brings the '
  'tables.';
drop function _versions_stored;
drop function _versions_due;
drop trigger _200_reject_truncate on risk_asset_kill_thresholds;
drop trigger _100_reject_change on risk_asset_kill_thresholds;
drop trigger _200_reject_truncate on risk_configurations;
drop trigger _100_reject_change on risk_configurations;
drop function _guard_risk_change;
drop function _apply_risk_change;
drop function _apply_kill_threshold;
drop function _apply_limits;
drop function _require_stored_state;
drop function _stored_state_text;
drop function _stored_kill_thresholds;
drop function _stored_limits;
drop table risk_asset_kill_thresholds;
drop table risk_configurations;
drop domain risk_28_10;
drop domain risk_5_2;
drop domain risk_5_4;

perform _finish_rollback('23_risk_config');
end
$rollback$;
