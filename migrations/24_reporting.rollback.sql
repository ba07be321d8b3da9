-- Takes back 24_reporting. Built from sql/ by bin/build; change it there.

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
perform _begin_rollback('24_reporting');

drop function watch_events;
drop function costly_metrics;
drop function metrics;
drop function _figures;
drop function _figures_of_headroom;
drop function _figures_of_growth;
drop function _figures_of_damage;
drop function _figures_of_guards;
drop function _figures_of_proposals;
drop function _figures_of_locks;
drop function _figures_of_attempts;
drop function _figures_of_checkpoints;
drop function _figures_of_verification;
drop function _figures_of_chains;
drop function _figures_of_lockdown;
drop function _figures_of_place;
drop function _seconds_of;
drop function limits_over_time;
drop function rows_as_hashed;
drop function _as_jsonb;
drop function trade_rows;
drop function report_trades;
drop function verification_activity;
drop function report_figures;
drop function report_period;
drop function daily_activity;

perform _finish_rollback('24_reporting');
end
$rollback$;
