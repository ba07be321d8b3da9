-- Before 23_risk_config is taken back: refuses while its tables hold rows.

do $rollback_first$
begin
  if exists (select from only risk_configurations) or exists (select from only risk_asset_kill_thresholds) then
    raise exception 'alpha-db: 23_risk_config is not rolled back, because its tables hold rows'
      using errcode = '55000', hint = 'To delete the limits on purpose, drop the schema yourself.';
  end if;
end
$rollback_first$;
select _forget_attempts(t.name)
from unnest(array['risk_5_4', 'risk_5_2', 'risk_28_10', 'risk_configurations',
                  'risk_asset_kill_thresholds']) as t(name);
