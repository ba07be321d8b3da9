-- Which columns of a row are hashed, and as what
--
-- All but row_hash, in column order. What is hashed is what is stored. A value goes into the hashed row as it is, under
-- the type below all domains and without its length, because a cast to varchar(20) cuts without a word. A value that
-- may be long (a text, a document, an array) goes in as JSON that was printed before. Only types whose JSON text
-- depends on nothing, on TimeZone, or on settings that the chain trigger pins, can be hashed.

create function _hashed_columns(table_name text)
returns table (
  column_name    text,
  declared_type  regtype,
  base_type      text,
  type_name      text,
  decimal_scale  integer,
  is_bounded     boolean,
  place          bigint
)
language sql stable
set search_path from current
as $function$
  with recursive columns as (
    select a.attnum, a.attname, t.typname, t.oid as type_oid, a.atttypmod as typmod
    from pg_class as registry
    join pg_class as c on c.relnamespace = registry.relnamespace and c.relname = _hashed_columns.table_name
    join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attname <> 'row_hash'
    join pg_type as t on t.oid = a.atttypid
    where registry.oid = 'chains'::regclass
  ), unwrapped as (  -- a domain may be one over another domain
    select c.attnum, c.type_oid, c.typmod from columns as c
    union all
    select u.attnum, t.typbasetype, t.typtypmod
    from unwrapped as u join pg_type as t on t.oid = u.type_oid and t.typtype = 'd'
  )
  select c.attname::text, c.type_oid::regtype, format_type(b.oid, -1), coalesce(e.typname, b.typname)::text,
         (regexp_match(c.typname, '^decimal_[0-9]+_([0-9]+)$'))[1]::integer,
         e.oid is null and (b.typname in ('int2', 'int4', 'int8', 'float4', 'float8', 'bool', 'uuid', 'inet', 'cidr',
                                          'date', 'timestamp', 'timestamptz', 'interval')
                            or b.typname in ('varchar', 'bpchar') and u.typmod between 4 and 1004
                            or c.typname ~ '^decimal_[0-9]+_[0-9]+$'
                            or c.attname = 'recorded_by'),
         row_number() over (order by c.attnum)
  from columns as c
  join unwrapped as u on u.attnum = c.attnum
  join pg_type as b on b.oid = u.type_oid and b.typtype <> 'd'
  left join pg_type as e on e.oid = b.typelem and b.typcategory = 'A'
  order by c.attnum;
$function$;
comment on function _hashed_columns is
  'The columns that a chained table''s rows are hashed with now: all but row_hash, in column order. base_type is the '
  'type below all domains, without its length; type_name that one or the type of an array''s elements; is_bounded says '
  'that no value prints to more than a few kB; place counts from 1, in column order.';

create function _columns_without_stable_text(table_name text) returns text
language sql stable
set search_path from current
as $function$
  select string_agg(h.column_name || ' ' || h.type_name, ', ' order by h.place)
  from _hashed_columns(table_name) as h
  where h.type_name not in ('int2', 'int4', 'int8', 'numeric', 'float4', 'float8', 'bool', 'text', 'varchar', 'bpchar',
                            'bytea', 'uuid', 'json', 'jsonb', 'inet', 'cidr', 'date', 'timestamp', 'timestamptz',
                            'interval');
$function$;
comment on function _columns_without_stable_text is
  'The columns of a table, with their types, whose values may be printed differently another day; null if there are '
  'none.';

create function _make_hashed_type(table_name text) returns void
language plpgsql
set search_path from current
as $function$
declare
  unhashed    text := _columns_without_stable_text(table_name);
  attributes  text;
  comments    text;
begin
  if unhashed is not null then
    raise exception 'chain of %: no stable text for %', table_name, unhashed
      using errcode = '0A000', table = table_name, hint = 'Use text, numeric, jsonb or another plain type.';
  end if;
  if to_regtype(quote_ident('hashed_' || table_name)) is not null then
    execute format('drop type %I', 'hashed_' || table_name);
  end if;
  select string_agg(format('%I %s', h.column_name,
                           case when h.is_bounded and h.type_name <> 'timestamptz' then h.base_type else 'json' end),
                    ', ' order by h.place),
         string_agg(format('comment on column %I.%I is %L;', 'hashed_' || table_name, h.column_name,
                           format('As %s.%s.', table_name, h.column_name)), E'\n' order by h.place)
    into attributes, comments
  from _hashed_columns(table_name) as h;
  execute _fill($create$
    create type {type:I} as ({attributes:s});
    comment on type {type:I} is {comment:L};
    {comments:s}
    $create$, 'type', 'hashed_' || table_name, 'attributes', attributes, 'comments', comments, 'comment',
    format('The columns of %s that its row_hash covers, in the order in which row_data prints them.', table_name));
end
$function$;
comment on function _make_hashed_type is
  'Makes the row type hashed_… of a chained table. A type with a name makes row_to_json a plain expression, which '
  'costs half of a query. Raises 0A000 for a column whose type has no stable text.';

create function _utc_json_of_any(value timestamptz) returns json
language sql stable
set search_path from current
set timezone = 'UTC'
as $function$
  select to_json(value);
$function$;
comment on function _utc_json_of_any is 'As _utc_json, also for a time before the year 1 and for infinity.';

create function _utc_json(value timestamptz) returns json
language sql stable parallel safe
-- RETURN, because PostgreSQL resolves its names now, and puts it into the expression that calls it.
return case
  when value >= to_timestamp(-62135596800) and value < 'infinity'  -- from the year 1 on
    then (rtrim(to_json(value at time zone 'UTC')::text, '"') || '+00:00"')::json
  else _utc_json_of_any(value) end;
comment on function _utc_json is
  'What to_json gives of a time when TimeZone is UTC. Setting TimeZone for one row costs more than hashing it.';
