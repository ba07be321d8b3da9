-- The chain of custody of a trade: from the bytes that arrived to what the exchange said of each order
--
-- A trade is a signal and what came of it. Its rows are named first, as table and id. A second call gives rows as they
-- were hashed: with the hash before each, anybody can compute its own again.

create function report_trades(from_time timestamptz, to_time timestamptz, newest integer default 400)
returns table (correlation_id uuid)
language sql stable
set search_path from current
set row_security = off set jit = off
as $function$
  select s.correlation_id from only signals as s
  where s.created_at >= from_time and s.created_at < to_time
  order by s.id desc limit newest;
$function$;
comment on function report_trades is
  'The newest signals of a period, the newest first. from_time is in the period, to_time is not.';

create function trade_rows(correlation_ids uuid[])
returns table (correlation_id uuid, step integer, table_name text, row_id bigint)
language sql stable
set search_path from current
set row_security = off set enable_seqscan = off set jit = off
as $function$
  with trades as materialized (
    select s.id, s.correlation_id, s.delivery_id, t.place
    from unnest(trade_rows.correlation_ids) with ordinality as t(correlation_id, place)
    join only signals as s on s.correlation_id = t.correlation_id)
  select r.correlation_id, r.step, r.table_name, r.row_id
  from (
    select t.place, t.correlation_id, 1 as step, 'webhook_deliveries' as table_name, t.delivery_id as row_id
    from trades as t where t.delivery_id is not null
    union all
    select t.place, t.correlation_id, 2, 'signals', t.id from trades as t
    union all
    select t.place, t.correlation_id, 3, 'ai_debates', d.id
    from trades as t join only ai_debates as d on d.correlation_id = t.correlation_id
    union all
    select t.place, t.correlation_id, 4, 'risk_decisions', d.id
    from trades as t join only risk_decisions as d on d.correlation_id = t.correlation_id
    union all
    select t.place, t.correlation_id, 5, 'order_execution', o.id
    from trades as t join only order_execution as o on o.correlation_id = t.correlation_id
    union all
    select t.place, t.correlation_id, 6, 'order_events', e.id
    from trades as t
    join only order_execution as o on o.correlation_id = t.correlation_id
    join only order_events as e on e.order_execution_id = o.id) as r
  order by r.place, r.step, r.row_id;
$function$;
comment on function trade_rows is
  'The rows of trades in the order of custody: delivery, signal, debates, decisions, orders, events. A correlation_id '
  'that no signal has gives no row.';

create function _as_jsonb(row_data text) returns jsonb
language plpgsql immutable
set search_path from current
as $function$
begin
  return row_data::jsonb;
exception when data_exception or program_limit_exceeded then
  return null;  -- a column of type json may hold NUL, half a surrogate pair, or 1e400000
end
$function$;
comment on function _as_jsonb is 'The row as jsonb; null if it holds what json may hold and jsonb may not.';

create function rows_as_hashed(table_name text, ids bigint[], longest integer default null)
returns table (
  id             bigint,
  created_at     timestamptz,
  previous_hash  text,
  row_hash       text,
  row_data       text,
  characters     bigint,
  members        jsonb
)
language plpgsql stable
set search_path from current
set row_security = off
set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres'
set enable_seqscan = off set enable_sort = off set jit = off
as $function$
begin
  perform _require_chain(table_name);
  return query execute _fill($query$
    select r.id, r.created_at, case when r.id = s.id + 1 then s.row_hash else p.row_hash::text end, r.row_hash,
           left(r.row_data, $2), length(r.row_data)::bigint, m.members
    from ({rows:s}) as r
    cross join _chain_start({name:L}) as s
    left join only {name:I} as p on p.id = r.id - 1
    cross join lateral (
      select jsonb_object_agg(e.key, case when length(e.value::text) > 1000 then to_jsonb(left(e.value #>> '{}', 1000))
                                          else e.value end) as members
      from jsonb_each(_as_jsonb(r.row_data)) as e) as m
    where r.id = any ($1)
    order by r.id
  $query$, 'rows', chain_rows_sql(table_name), 'name', table_name) using ids, coalesce(longest, 2147483647);
end
$function$;
comment on function rows_as_hashed is
  'Rows of a chain as they were hashed, and the hash before each, null if that row is missing: row_hash is the SHA-256 '
  'of previous_hash (32 raw bytes) and the UTF-8 bytes of row_data, which is cut to its longest first characters, of '
  'characters in all. members are those of the row, long ones cut; null if jsonb cannot hold one. Ids that are not '
  'there give no row.';

select _grant('execute on routine', '{report_trades, trade_rows, rows_as_hashed, _as_jsonb}', '{app_auditor}');
