-- Takes back 23_risk_config. Refuses while an audit table or one of its own holds rows.

do $rollback$
declare
  home  pg_catalog.text := pg_catalog.current_schema();
  item  pg_catalog.text;
begin
perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true),
        pg_catalog.set_config('quote_all_identifiers', 'off', true),
        pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
if not exists (select from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace join pg_roles as r on r.oid = p.proowner
               where p.proname = 'begin_rollback' and n.nspname = home and r.rolname like '%alpha_owner') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
perform begin_rollback('23_risk_config');
if exists (select from only risk_configurations) or exists (select from only risk_asset_kill_thresholds) then
  raise exception 'alpha-db: 23_risk_config is not rolled back, for its tables hold rows'
    using errcode = '55000', hint = 'Risk limits are not thrown away by a rollback. Drop the schema by hand if you must.';
end if;

drop table risk_configurations, risk_asset_kill_thresholds;
drop function active_risk_state(), risk_evidence(bigint), verify_config_integrity(), _unless_gone(text, text), replayed_state_text(), guard_risk_change(),
  apply_risk_change(risk_change_log, proposals), stored_state_text(), stored_kill_thresholds(), stored_limits();
create or replace function _risk_table_problems(changes replayed_change[])
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
as $function$
  select null::text, null::bigint, null::text where false;
$function$;
comment on function _risk_table_problems(replayed_change[]) is 'Versions of limits and thresholds that the applied proposals do not say. None, until 23_risk_config brings the tables.';
drop domain risk_5_4, risk_5_2, risk_28_10;
drop function refuse_risk_decimal(numeric, integer, integer);
foreach item in array array['risk_5_4', 'risk_5_2', 'risk_28_10', 'risk_configurations', 'risk_asset_kill_thresholds'] loop
  perform forget_attempts(item);
end loop;

perform finish_rollback('23_risk_config');
end
$rollback$;
