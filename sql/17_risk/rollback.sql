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
select _forget_attempts(t.name)
from unnest(array['risk_5_4', 'risk_5_2', 'risk_28_10', 'risk_configurations',
                  'risk_asset_kill_thresholds']) as t(name);
drop view vw_trade_audit_full;
select _make_trade_audit(), _comment_views();
select _grant('select on', '{vw_trade_audit_full}', '{app_trading, app_auditor, app_risk}');
drop procedure append_decision;
select _chain_detach('risk_decisions'), _forget_attempts('risk_decisions');
