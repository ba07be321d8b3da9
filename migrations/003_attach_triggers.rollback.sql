-- Takes back 003_attach_triggers: nothing rejects, validates or chains any more. Refuses while an audit table holds rows.

do $rollback$
declare
  home  pg_catalog.text := pg_catalog.current_schema();
  item pg_catalog.text;
begin
perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true),
        pg_catalog.set_config('quote_all_identifiers', 'off', true),
        pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
if not exists (select from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace join pg_roles as r on r.oid = p.proowner
               where p.proname = 'begin_rollback' and n.nspname = home and r.rolname like '%alpha_owner') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
perform begin_rollback('003_attach_triggers');

drop procedure append_signal(text, text, text, anycompatible, anycompatible, jsonb, inet, boolean, uuid, bigint, text, anycompatible);
drop procedure append_ai_debate(uuid, text, jsonb, anycompatible, integer, boolean, bigint, text, anycompatible);
drop procedure append_order(uuid, text, text, text, anycompatible, anycompatible, text, text, bigint, text, anycompatible);
drop procedure append_order_event(bigint, text, anycompatible, anycompatible, anycompatible, jsonb, text, text, uuid, bigint, text, anycompatible);
drop procedure begin_append();
drop function record_signal(text, text, text, anycompatible, anycompatible, jsonb, inet, boolean, uuid, anycompatible);
drop function record_ai_debate(uuid, text, jsonb, anycompatible, integer, boolean, anycompatible);
drop function record_order(uuid, text, text, text, anycompatible, anycompatible, text, text, anycompatible);
drop function record_order_event(bigint, text, anycompatible, anycompatible, anycompatible, jsonb, text, text, anycompatible);
drop function refuse_signal_reuse(signals, signals);
foreach item in array array['signals', 'ai_debates', 'order_execution', 'order_events', 'lockdown_events'] loop
  execute format('drop trigger _500_validate on %I', item);
end loop;
drop trigger _400_raise_alarm on lockdown_events;
drop function raise_lockdown_alarm();
drop function validate_signal(), refuse_lost_digits(text, numeric, numeric, text), validate_correlation(), validate_order_event(), validate_lockdown_event(), release_is_approved(uuid, jsonb);
drop function refuse_in_lockdown(text), _attend_alarm(boolean), engage_lockdown(text, jsonb), _record_lockdown(text, jsonb, bigint), _is_recorded(jsonb), _raise_alarm(),
  _compare_with_consensus(chain_verdict), _consensus_problems();
perform chain_detach(t.name), forget_attempts(t.name)
from unnest(array['maintenance_events', 'lockdown_events', 'order_events', 'order_execution', 'ai_debates', 'signals']) as t(name);
drop function refuse_statement_in_lockdown();

perform finish_rollback('003_attach_triggers');
end
$rollback$;
