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

select _grant('execute on routine', '{daily_activity}', '{app_auditor}');
