create function _hashed_columns(table_name text)
returns table (column_name text, declared_type regtype, base_type text, type_name text, decimal_scale integer, is_bounded boolean)
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
         e.oid is null and (b.typname in ('int2', 'int4', 'int8', 'float4', 'float8', 'bool', 'uuid', 'inet', 'cidr', 'date', 'timestamp',
                                          'timestamptz', 'interval')
                            or b.typname in ('varchar', 'bpchar') and u.typmod between 4 and 1004
                            or c.typname ~ '^decimal_[0-9]+_[0-9]+$' or c.attname = 'recorded_by')
  from columns as c
  join unwrapped as u on u.attnum = c.attnum
  join pg_type as b on b.oid = u.type_oid and b.typtype <> 'd'
  left join pg_type as e on e.oid = b.typelem and b.typcategory = 'A'
  order by c.attnum;
$function$;
comment on function _hashed_columns is
  'The columns that a chained table''s rows are hashed with now: all but row_hash, in column order. base_type is the type below all domains, without its length; type_name that one or the type of an array''s elements; is_bounded says that no value prints to more than a few kB.';

create function _refuse_other_types(table_name text, known_types regtype[]) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse(
    'AUD-011', format('%s was altered: its rows would not be hashed as they are stored', table_name),
    (select string_agg(format('Column %s is of type %s; its chain was made for %s.', h.column_name, h.declared_type, k.known_type), ' ' order by k.place)
     from unnest(known_types) with ordinality as k(known_type, place)
     join (select h.*, row_number() over () as place from _hashed_columns(table_name) as h) as h on h.place = k.place
     where h.declared_type <> k.known_type),
    'Give the column its type back. A varchar may be made longer.', table_name, 'INSERT');
end
$function$;
comment on function _refuse_other_types is
  'Raises AUD-011: columns of a chained table have other types than when its chain trigger was made.';

create function _refuse_large_row(table_name text, row_bytes bigint, row_limit bigint) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse(
    'AUD-012', format('the row of %s is too large', table_name),
    format('Its long values print to %s bytes; the limit is %s. A short number can have a long text: 1e100000 prints 100,001 digits.',
           coalesce(row_bytes::text, 'more than 1,073,741,823'), row_limit),
    'Store the document elsewhere, and record its SHA-256 here.', table_name, 'INSERT');
end
$function$;
comment on function _refuse_large_row is 'Raises AUD-012: the row''s text would be longer than its chain takes.';

create function _print_large(value anyelement, table_name text, row_limit bigint) returns json
language plpgsql
set search_path from current
as $function$
begin
  return to_json(value);
exception when program_limit_exceeded or out_of_memory then  -- text ends at 1 GB
  perform _refuse_large_row(table_name, null, row_limit);
  return null;
end
$function$;
comment on function _print_large is
  'What to_json gives of a value that may print to more than PostgreSQL can hold; raises AUD-012 then.';
