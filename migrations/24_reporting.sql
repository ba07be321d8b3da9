-- 24_reporting: what people look at: figures for the report, the exporter and the alerts. It stores nothing.
-- Built from sql/ by bin/build; change it there.
-- depends: 23_risk_config

-- The frame of every migration but the first: one DO block, so one transaction and one checksum however it is applied.
-- Somebody else's function could stand in front of PostgreSQL's own until search_path is set, so everything before that
-- is named with its schema. sql/01_install/migrations.sql explains the rest.

do $migration$
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
               where p.proname = '_begin_migration' and n.nspname = home
                 and r.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
if not _begin_migration('24_reporting') then return; end if;

-- sql/18_reporting/activity.sql

-- How many rows each chained table got on each day
--
-- Nothing is counted, as in 16_retention/growth.sql: the first row of a day is found by halving, and the difference of
-- two ids is a number of rows. So a year costs the same over a thousand rows as over ten million.

create function daily_activity(from_time timestamptz, to_time timestamptz)
returns table (table_name text, day date, row_count bigint)
language plpgsql stable
set search_path from current
set timezone = 'UTC' set row_security = off set enable_seqscan = off set jit = off
as $function$
declare
  chain   record;
  moment  timestamptz;
  before  bigint;
begin
  if (isfinite(from_time) and isfinite(to_time) and from_time < to_time) is not true then
    raise exception 'from % to % is not a period', coalesce(from_time::text, 'NULL'), coalesce(to_time::text, 'NULL')
      using errcode = '22023', hint = 'Give two times, the earlier one first.';
  end if;
  perform _require_register();
  for chain in select c.table_name from only chains as c order by c.position loop
    continue when _missing_part(chain.table_name) is not null;
    before := _last_id_before(chain.table_name, from_time);
    for day in select d::date from generate_series(date_trunc('day', from_time), to_time, interval '1 day') as d loop
      moment := least(day + interval '1 day', to_time);
      row_count := _last_id_before(chain.table_name, moment) - before;
      if row_count > 0 then
        table_name := chain.table_name;
        return next;
        before := before + row_count;
      end if;
    end loop;
  end loop;
end
$function$;
comment on function daily_activity is
  'Rows that each chained table got on each day (UTC) of a period: from_time is in it, to_time is not. Days without '
  'rows are left out, and so are rows that retention removed. Raises 22023 for what is no period.';
perform _grant('execute on routine', '{daily_activity}', '{app_auditor}');

perform _finish_migration('24_reporting');
end
$migration$;
