-- A long range in parts, for several processes
--
-- PostgreSQL shares a query out to parallel workers only if it has no window, so a long range gets a query of another
-- shape: a union of parts, and each process takes the next part that nobody has taken. A part reads its rows twice. The
-- first time it collects, in id order, what each row gives to the one after it: id, time and hash, 48 bytes a row. The
-- second time each row is compared with what its predecessor left at its place.
--
-- The answer is only whether all rows hold. If one does not, _check_range_of_chain reads the range by _chain_check_sql
-- as it reads a short one, so a verdict on damage never comes from here. Without free workers the parts are read one
-- after the other.

create function _chain_parts_sql(
  table_name text, first_id bigint, last_id bigint, rows_per_part integer, starts_behind bigint, start_hash text,
  start_time timestamptz) returns text
language sql stable
set search_path from current
as $function$
  -- All of a part's rows hold if as many hold as there are ids: then each id has the one before it, so none is missing,
  -- and none stands twice. b also bounds the second reading: that is why every plan does it after the first.
  select _fill($query$
    select sum(p.rows_read)::bigint, sum(p.rows_that_hold)::bigint, max(p.latest) from ({parts:s}) as p
    $query$, 'parts', string_agg(_fill($part$
      select count(*) as rows_read, max(n.created_at) as latest, count(*) filter (where
          n.row_hash = encode(sha256(substring(b.hashes, 32 * (n.id - b.first_id)::integer + 1, 32)
                                     || json_send(n.row_json)), 'hex')
          and n.id = b.ids[(n.id - b.first_id)::integer + 1] + 1
          and n.created_at >= b.times[(n.id - b.first_id)::integer + 1] and isfinite(n.created_at)
          and n.older_values_hold
          and octet_length(b.hashes) = 32 * cardinality(b.ids)) as rows_that_hold
      from (
        select {first:L}::bigint as first_id, {last:L}::bigint as last_id,
               {start_id:L}::bigint[] || array_agg(p.id) as ids,
               {start_time:L}::timestamptz[] || array_agg(p.created_at) as times,
               decode({start_hash:L}, 'hex') || coalesce(string_agg(decode(p.row_hash, 'hex'), ''), '') as hashes
        from (select t.id, t.created_at, t.row_hash::text as row_hash from only {table:I} as t
              where t.id between {first:L}::bigint - 1 and {last:L}::bigint - 1 order by t.id) as p
      ) as b
      join ({rows:s}) as n on n.id between b.first_id and b.last_id
      $part$, 'table', _chain_parts_sql.table_name, 'rows', r.rows_sql, 'first', s.first_id::text,
      'last', least(s.first_id + rows_per_part - 1, _chain_parts_sql.last_id)::text,
      'start_id', array(select starts_behind where s.first_id = starts_behind + 1)::text,
      'start_time', array(select start_time where s.first_id = starts_behind + 1)::text,
      'start_hash', case when s.first_id = starts_behind + 1 then start_hash else '' end), 'union all'))
  from (select chain_rows_sql(_chain_parts_sql.table_name) as rows_sql) as r
  cross join generate_series(_chain_parts_sql.first_id, _chain_parts_sql.last_id, rows_per_part::bigint) as s(first_id);
$function$;
comment on function _chain_parts_sql is
  'Text of the query that counts the rows of a range and those among them that hold, in parts that parallel workers '
  'can read, of a chain that starts behind a row with this id, hash and time; it needs client_encoding UTF8.';

create function _check_in_parts(
  table_name text, first_id bigint, last_id bigint, rows_per_part integer default 10000,
  starts_behind bigint default 0, start_hash text default null, start_time timestamptz default '-infinity',
  out holds boolean, out latest timestamptz)
language plpgsql stable
set search_path from current
set client_encoding = 'UTF8'  -- _chain_parts_sql needs it
-- Whole parts are shared out, not the pages of one: their rows must come in id order.
set min_parallel_table_scan_size = 715827882 set min_parallel_index_scan_size = 715827882
set parallel_setup_cost = 0 set parallel_tuple_cost = 0 set enable_indexscan = on
as $function$
declare
  parts_per_query  constant bigint := 32;  -- some 80 MB in all processes together
  starts_at        bigint := first_id;
  ends_at          bigint;
  rows_read        bigint;
  rows_that_hold   bigint;
  latest_of_query  timestamptz;
begin
  holds := true;
  while holds and starts_at <= last_id loop
    ends_at := least(last_id, starts_at + parts_per_query * rows_per_part - 1);
    execute _chain_parts_sql(table_name, starts_at, ends_at, rows_per_part, starts_behind,
                             coalesce(start_hash, chain_genesis(table_name)), start_time)
      into rows_read, rows_that_hold, latest_of_query;
    -- A forged id, which can make a range of any length, ends the loop here, because rows are missing before it.
    holds := rows_read = ends_at - starts_at + 1 and rows_that_hold = rows_read;
    latest := greatest(latest, latest_of_query);
    starts_at := ends_at + 1;
  end loop;
exception when invalid_parameter_value then  -- a stored hash is not hex
  holds := false;
end
$function$;
comment on function _check_in_parts is
  'Whether all rows from first_id to last_id are there and hold, and the latest time; several processes read them if '
  'they are free. verify_chain pins the settings.';
