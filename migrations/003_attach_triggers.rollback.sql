-- Takes back 003_attach_triggers. Built from sql/ by bin/build; change it there.

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
perform _begin_rollback('003_attach_triggers');

-- Before 003_attach_triggers is taken back: undoes what functions and DO blocks made.

drop procedure append_webhook, append_signal, append_ai_debate, append_order, append_order_event,
  append_signals, append_ai_debates, append_orders, append_order_events;
perform _chain_detach(t.name), _forget_attempts(t.name)
from unnest(array['maintenance_events', 'lockdown_events', 'order_events', 'order_execution', 'ai_debates',
                  'signals', 'webhook_deliveries']) as t(name);

drop function _create_append;
drop procedure _begin_append;
drop function record_order_events;
drop function record_orders;
drop function record_ai_debates;
drop function record_signals;
drop function _record_new_signals;
drop function _refuse_element;
drop type _problem;
drop function _elements;
drop function record_webhook;
drop function _read_json;
drop function record_order_event;
drop function record_order;
drop function record_ai_debate;
drop function record_signal;
drop function _refuse_unseen;
drop function _require_same_order;
drop function _accept_retry;
drop function _comment_result;
drop type recorded_webhook;
drop type recorded_order_event;
drop type recorded_order;
drop type recorded_ai_debate;
drop type recorded_signal;
drop trigger _400_raise_alarm on lockdown_events;
drop trigger _500_validate on lockdown_events;
drop function _raise_lockdown_alarm;
drop function _validate_lockdown_event;
drop function _refuse_statement_in_lockdown;
drop function _refuse_in_lockdown;
drop function _alarm_is_raised;
drop function _attend_alarm;
drop function _is_recorded_alarm;
drop function _engage_lockdown;
drop function _record_lockdown;
drop function _is_recorded;
drop function _raise_alarm;
drop function _commit_locally;
drop function _require_digits;
drop function _require_order;
drop function _require_signal;
drop function _require_delivery;
drop function _refuse_unknown;
drop function _kept_headers;

perform _finish_rollback('003_attach_triggers');
end
$rollback$;
