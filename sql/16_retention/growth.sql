-- How the log grows: how many rows each table has and how large it is, how fast that grows, and what is overdue
--
-- Nothing is counted. Ids have no gap and created_at never decreases, so the first row since a moment is found by
-- halving, in some twenty look-ups by the primary key, and the difference of two ids is a number of rows.
--
-- growth() never fails because of one table: what is gone, locked or unreadable is said in that table's row.

create function _growth_of(table_name text, recent interval)
returns table (rows_stored bigint, bytes bigint, oldest_id bigint, oldest_created_at timestamptz, last_id bigint,
               rows_a_day double precision, bytes_a_day bigint, keep interval, rows_overdue bigint)
language plpgsql stable
set search_path from current
set enable_seqscan = off set jit = off set row_security = off
as $function$
declare
  since  timestamptz := now() - recent;
  days   numeric;
begin
  bytes := pg_total_relation_size(format('%I.%I', current_schema(), table_name)::regclass);
  keep := (select p.keep from only retention_policies as p where p.table_name = _growth_of.table_name);
  -- Behind the start: after pruning, the index still begins with entries of rows that are gone.
  execute format('select t.id, t.created_at from only %I as t where t.id > $1 order by t.id limit 1', table_name)
    into oldest_id, oldest_created_at using (_chain_start(table_name)).id;
  execute format('select t.id from only %I as t order by t.id desc limit 1', table_name) into last_id;
  rows_stored := coalesce(last_id - oldest_id + 1, 0);
  if rows_stored = 0 then
    rows_a_day := 0;
    bytes_a_day := 0;
    rows_overdue := case when keep is not null then 0 end;
  else
    -- A table that is younger than the period has grown in less time. No rate is told of less than a day.
    days := greatest(1, extract(epoch from now() - greatest(since, oldest_created_at)) / 86400);
    rows_a_day := round((last_id - greatest(_last_id_before(table_name, since), oldest_id - 1)) / days, 2);
    bytes_a_day := round(rows_a_day * bytes / rows_stored);
    if keep is not null then
      rows_overdue := greatest(_last_id_before(table_name, now() - keep) - oldest_id + 1, 0);
    end if;
  end if;
  return next;
end
$function$;
comment on function _growth_of is 'How one chained table grows, which must be there.';

create function _growth_of_chains(recent interval)
returns table (table_name text, rows_stored bigint, bytes bigint, oldest_id bigint, oldest_created_at timestamptz,
               last_id bigint, rows_a_day double precision, bytes_a_day bigint, keep interval, rows_overdue bigint,
               error_code text, problem text)
language plpgsql stable
set search_path from current
set row_security = off
set lock_timeout = '100ms'  -- a figure is not worth a wait
as $function$
declare
  chain  record;
begin
  perform _require_register();
  for chain in select c.table_name from only chains as c order by c.position loop
    begin
      problem := _missing_part(chain.table_name);
      if problem is null then
        return query
          select chain.table_name, g.*, null::text, null::text from _growth_of(chain.table_name, recent) as g;
        continue;
      end if;
      error_code := 'AUD-009';
    exception when others then
      error_code := sqlstate;
      problem := 'could not be read: ' || sqlerrm;
    end;
    table_name := chain.table_name;
    return next;  -- of such a table there is nothing but the problem
  end loop;
end
$function$;
comment on function _growth_of_chains is 'The rows of growth() but the last: one for each chained table.';

create function growth(recent interval default '30 days')
returns table (
  table_name         text,
  rows_stored        bigint,
  bytes              bigint,
  oldest_id          bigint,
  oldest_created_at  timestamptz,
  last_id            bigint,
  rows_a_day         double precision,
  bytes_a_day        bigint,
  keep               interval,
  rows_overdue       bigint,
  error_code         text,
  problem            text
)
language plpgsql stable
set search_path from current
as $function$
begin
  if recent is null or recent < interval '1 day' then
    raise exception 'a rate is told of a day or more, not of %', coalesce(recent::text, 'NULL')
      using errcode = '22023', hint = 'Give an interval such as ''30 days''.';
  end if;
  return query
    with tables as materialized (select t.* from _growth_of_chains(recent) as t)
    select t.* from tables as t
    union all
    select null, sum(t.rows_stored)::bigint, sum(t.bytes)::bigint, null, min(t.oldest_created_at), null,
           sum(t.rows_a_day), sum(t.bytes_a_day)::bigint, null, sum(t.rows_overdue)::bigint, null, null
    from tables as t;
end
$function$;
comment on function growth is
  'How each chained table grows: rows and bytes (with indexes) that it has, and gets a day in the recent period; its '
  'oldest row; rows that are older than its retention policy allows. The last row, without a name, is their sum. '
  'problem says why a table has no figures. Raises 22023 for a period of less than a day.';

select _grant('execute on routine', '{growth, _growth_of_chains, _growth_of, _last_id_before}', '{app_auditor}');
