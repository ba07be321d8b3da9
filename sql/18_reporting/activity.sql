-- How many rows each chained table got on each day
--
-- Nothing is counted, as in 16_retention/growth.sql: the first row of a day is found by halving, and the difference of
-- two ids is a number of rows. From there the next row says the next day, so days without rows cost nothing, and a day
-- costs the same with a thousand rows as with ten million.

create function daily_activity(from_time timestamptz, to_time timestamptz)
returns table (table_name text, day date, row_count bigint)
language plpgsql stable
set search_path from current
set timezone = 'UTC' set row_security = off set enable_seqscan = off set jit = off
as $function$
declare
  chain   record;
  before  bigint;
  last    bigint;
begin
  if (isfinite(from_time) and isfinite(to_time) and from_time < to_time) is not true then
    raise exception 'from % to % is not a period', coalesce(from_time::text, 'NULL'), coalesce(to_time::text, 'NULL')
      using errcode = '22023', hint = 'Give two times, the earlier one first.';
  end if;
  perform _require_register();
  for chain in select c.table_name from only chains as c order by c.position loop
    continue when _missing_part(chain.table_name) is not null;
    before := _last_id_before(chain.table_name, from_time);
    last := _last_id_before(chain.table_name, to_time);
    while before < last loop
      execute format('select t.created_at::date from only %I as t where t.id > $1 order by t.id limit 1',
                     chain.table_name) into day using before;
      -- Where times go back, which is damage, a row is a day of its own.
      row_count := greatest(least(_last_id_before(chain.table_name, day + interval '1 day'), last) - before, 1);
      table_name := chain.table_name;
      return next;
      before := before + row_count;
    end loop;
  end loop;
end
$function$;
comment on function daily_activity is
  'Rows that each chained table got on each day (UTC) of a period: from_time is in it, to_time is not. Days without '
  'rows are left out, and so are rows that retention removed. Raises 22023 for what is no period.';

select _grant('execute on routine', '{daily_activity}', '{app_auditor}');
