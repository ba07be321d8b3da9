-- The rows of a chain as they were hashed
--
-- Rows of one table may have been hashed with different columns (extend.sql). For each entry of chain_columns the query
-- below has a row type e1, e2 … with the columns of that time, and a row is printed with the last entry that is not
-- above its id. What a row holds in a column that came later must be what chain_columns says.
--
-- Verification (05_verify) builds on chain_rows_sql; chain_rows is for auditors who check a log without our code.

create function chain_rows_sql(table_name text) returns text
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  epoch      record;
  laterals   text := '';
  branches   text := '';
  unchanged  text := 'true';
begin
  for epoch in
    select row_number() over (order by e.from_id, e.id)::text as number, e.from_id::text as from_id, e.older_values,
           (select string_agg(format('c.%I', n.name), ', ' order by n.place)
            from unnest(e.column_names) with ordinality as n(name, place)) as columns
    from only chain_columns as e
    where e.table_name = chain_rows_sql.table_name
    order by e.from_id desc, e.id desc
  loop
    laterals := laterals || format(E'cross join lateral (select %s) as e%s\n', epoch.columns, epoch.number);
    branches := branches || format(E'  when c.id >= %s then row_to_json(e%s.*)\n', epoch.from_id, epoch.number);
    unchanged := unchanged || coalesce(
      (select string_agg(format(' and (c.id >= %s or coalesce(to_jsonb(c.%I), ''null'')::text = %L)',
                                epoch.from_id, o.key, o.value), '')
       from jsonb_each(epoch.older_values) as o), '');
  end loop;
  -- A row below the first entry, which only force can make, is hashed like the oldest ones.
  return _fill($query$select c.id, c.created_at, c.row_hash::text as row_hash, j.row_json::text as row_data, j.row_json,
  {unchanged:s} as older_values_hold,
  case when not ({unchanged:s}) then to_jsonb(c.*)::text end as altered
from only {table:I} as c
{laterals:s}cross join lateral (select case
{branches:s}  else row_to_json(e1.*) end as row_json) as j$query$,
    'branches', branches, 'unchanged', unchanged, 'table', table_name, 'laterals', laterals);
end
$function$;
comment on function chain_rows_sql is
  'Text of a query for the rows of a chain with their row_data (row_json is the same as a json), each with the columns '
  'that it was hashed with; altered is the whole row where a column that was added later does not hold what it should.';

create function chain_rows(table_name text, from_id bigint default null, to_id bigint default null)
returns table (id bigint, row_data text, row_hash text)
language plpgsql stable
set search_path from current
set row_security = off
set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres'
as $function$
begin
  perform _require_chain(table_name);
  return query execute format(
    'select r.id, r.row_data, r.row_hash from (%s) as r where r.id between $1 and $2 order by r.id',
    chain_rows_sql(table_name))
    using coalesce(from_id, -9223372036854775808), coalesce(to_id, 9223372036854775807);
end
$function$;
comment on function chain_rows is
  'Rows of a chain as they were hashed: row_hash is the SHA-256 of the previous row_hash (32 raw bytes) and the '
  'UTF-8 bytes of row_data.';
