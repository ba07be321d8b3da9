-- What record_row is given, and what it finds
--
-- A row is given as a JSON object, a member for each column. Numbers are exact in jsonb, and are compared with what the
-- column makes of them: a number that the column would round is refused (AUD-001).

create function _require_own_table(table_name text) returns void
language plpgsql stable security definer
set search_path from current
as $function$
declare
  chain  chains := _chain_or_error(table_name);
begin
  if not chain.is_own then
    raise exception '% has functions of its own', table_name
      using errcode = '22023',
            hint = case when chain.is_internal then 'alpha-db itself writes it.' else
              format('Call %s.', case table_name when 'webhook_deliveries' then 'record_webhook or append_webhook'
                                                 when 'signals'            then 'record_signal or append_signal'
                                                 when 'ai_debates'         then 'record_ai_debate or append_ai_debate'
                                                 when 'order_execution'    then 'record_order or append_order'
                                                 when 'order_events'  then 'record_order_event or append_order_event'
                                                 else 'record_decision or append_decision' end) end;
  end if;
end
$function$;
comment on function _require_own_table is
  'Raises 42P01 for a table that is not chained, and 22023 for one of alpha-db itself, with the functions that write '
  'it.';

create function _given_members(table_name text, content jsonb) returns jsonb
language plpgsql stable
set search_path from current
as $function$
declare
  columns  text[];
  wrong    text;
  members  jsonb;
begin
  if jsonb_typeof(content) is distinct from 'object' then
    raise exception 'the row is %, not a JSON object', coalesce('a JSON ' || jsonb_typeof(content), 'NULL')
      using errcode = '22023', hint = 'Give a member for each column: {"symbol": "BTCZAR"}.';
  end if;
  columns := array(select a.attname::text from pg_attribute as a
                   where a.attrelid = quote_ident(table_name)::regclass and a.attnum > 0 and not a.attisdropped
                     and a.attname not in ('id', 'created_at', 'row_hash', 'recorded_by')
                   order by a.attnum);
  select g.name into wrong from jsonb_object_keys(content) as g(name) where g.name <> all (columns)
  order by g.name limit 1;
  if wrong in ('id', 'created_at', 'row_hash', 'recorded_by') then
    raise exception '% of % is not given, but assigned', wrong, quote_ident(table_name)
      using errcode = '22023', hint = 'Leave it out.', table = table_name, column = wrong;
  elsif wrong is not null then
    raise exception '% has no column %', quote_ident(table_name), quote_ident(wrong)
      using errcode = '22023', hint = format('Its columns are: %s.', array_to_string(columns, ', ')),
            table = table_name, column = wrong;
  end if;
  select coalesce(jsonb_object_agg(g.name, g.value), '{}') into members
  from jsonb_each(content) as g(name, value) where g.value <> 'null';
  perform _refuse_too_long(table_name, array_agg(g.name), array_agg(g.value #>> '{}'))
  from jsonb_each(members) as g(name, value) where jsonb_typeof(g.value) = 'string' having count(*) > 0;
  return members;
end
$function$;
comment on function _given_members is
  'The members of a row that are not null. Raises 22023 for what is no object, for a member that is assigned or is no '
  'column, and AUD-012 for a text that is too long.';

create function _refuse_inexact(table_name text, column_name text, given jsonb, stored jsonb) returns void
language plpgsql security definer
set search_path from current
as $function$
begin
  perform _refuse(
    'AUD-001', format('%s of %s cannot hold %s exactly', column_name, table_name, left(given::text, 60)),
    format('The column would hold %s.', left(stored::text, 60)),
    'Round the number before you send it, or keep it as text: the database never drops a digit silently.',
    table_name, 'INSERT', column_name => column_name);
end
$function$;
comment on function _refuse_inexact is 'Raises AUD-001, because a column would round a number of a row.';

create function _require_exact(table_name text, members jsonb, stored jsonb) returns void
language sql volatile
set search_path from current
as $function$
  -- In a value of any depth, numbers are compared as numbers. A string may be given for a number.
  select _refuse_inexact(table_name, m.name, m.value, stored -> m.name)
  from jsonb_each(members) as m(name, value)
  cross join lateral (values (jsonpath 'strict $.**?(@.type() == "number")')) as p(numbers)
  cross join lateral (values (jsonb_path_query_array(m.value, p.numbers),
                              jsonb_path_query_array(stored -> m.name, p.numbers))) as n(given, kept)
  where n.given <> '[]' and n.kept <> '[]' and n.given <> n.kept
     or case when jsonb_typeof(m.value) = 'string' and jsonb_typeof(stored -> m.name) = 'number'
             then (m.value #>> '{}')::numeric <> (stored ->> m.name)::numeric end
  limit 1;
$function$;
comment on function _require_exact is
  'Raises AUD-001 if a column holds another number than the one that was given for it.';

create function _find_by_key(table_name text, sent jsonb, out key_name text, out stored jsonb)
language plpgsql volatile
set search_path from current
set enable_seqscan = off
as $function$
declare
  key  record;
begin
  for key in
    select string_agg(a.attname, ', ' order by k.place) as names,
           string_agg(format('t.%1$I = r.%1$I', a.attname), ' and ' order by k.place)
             filter (where a.attname is not null) as condition
    from pg_index as i
    cross join lateral unnest(i.indkey::smallint[]) with ordinality as k(attnum, place)
    left join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum and k.attnum > 0
    where i.indrelid = quote_ident(table_name)::regclass and i.indisunique and i.indisvalid and i.indpred is null
      and k.place <= i.indnkeyatts
    group by i.indexrelid
    having bool_and(a.attname is not null and a.attname <> 'id')
    order by i.indexrelid
  loop
    execute format('select to_jsonb(t.*) from only %1$I as t, jsonb_populate_record(null::%1$I, $1) as r'
                   ' where %2$s limit 1', table_name, key.condition)
      into stored using sent;
    if stored is not null then
      key_name := key.names;
      return;
    end if;
  end loop;
end
$function$;
comment on function _find_by_key is
  'The row of a table that has one of its unique keys in common with another row, and the columns of that key; null if '
  'there is none.';
