-- How a row of a tracked table is printed
--
-- As jsonb with each value as its text, so that nothing of it is lost: 1.50 stays 1.50, and a cast to the column's type
-- gives the value back. Of an excluded column it is the SHA-256 of that text. NULL is null.
--
-- The text must not depend on settings, and no code of the table's owner may run while it is made, because it is made
-- with the rights of alpha_owner. So a type of PostgreSQL's own is cast, and everything else goes through its output
-- function, which format() calls: a cast may be anybody's function. Times are printed as JSON has them, in UTC, which
-- needs no setting.

create function _qualified_name(schema_name text, table_name text) returns text
language sql immutable strict
set search_path from current
as $function$
  -- Not quote_ident, whose answer changes with a setting, and with the keywords of a newer PostgreSQL.
  select string_agg(case when p.name ~ '^[a-z_][a-z0-9_]*$' then p.name
                         else '"' || replace(p.name, '"', '""') || '"' end, '.' order by p.place)
  from (values (1, schema_name), (2, table_name)) as p(place, name);
$function$;
comment on function _qualified_name is 'The name under which a table''s history is kept: schema.table.';

create function _printed_columns(relation regclass)
returns table (column_name text, type_name text, is_plain boolean, place bigint)
language sql stable
set search_path from current
set quote_all_identifiers = off
as $function$
  with recursive columns as (
    -- A virtual column is computed when it is read: it has no value of its own.
    select a.attnum, a.attname, a.atttypid
    from pg_attribute as a
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v'
  ), unwrapped as (
    select c.attnum, c.atttypid as type_oid from columns as c
    union all
    select u.attnum, t.typbasetype
    from unwrapped as u join pg_type as t on t.oid = u.type_oid and t.typtype = 'd'
  )
  select c.attname::text, format_type(t.oid, null),
         t.typnamespace = 'pg_catalog'::regnamespace
         and t.typname in ('int2', 'int4', 'int8', 'numeric', 'bool', 'text', 'varchar', 'uuid', 'json', 'jsonb',
                           'date', 'timestamp', 'timestamptz'),
         row_number() over (order by c.attnum)
  from columns as c
  join unwrapped as u on u.attnum = c.attnum
  join pg_type as t on t.oid = u.type_oid and t.typtype <> 'd'
  order by c.attnum;
$function$;
comment on function _printed_columns is
  'The columns that a history records: the type below all domains, and whether its text depends on no setting.';

create function _has_columns(relation regclass, known_columns text[]) returns boolean
language sql immutable  -- although it reads catalogues: as _has_known_types, with the same reason
set search_path from current
as $function$
  select array(select p.column_name || ' ' || p.type_name from _printed_columns(relation) as p order by p.place)
         = known_columns;
$function$;
comment on function _has_columns is 'Whether a tracked table still has the columns that its trigger was made for.';

create function _row_sql(relation regclass, variable text, exclude text[]) returns text
language sql stable
set search_path from current
as $function$
  select format('jsonb_object(%L::text[], array[%s]::text[])', array_agg(p.column_name order by p.place),
                string_agg(case when p.column_name = any (exclude) then format('_sha256_text(%s)', t.printed)
                                else t.printed end, ', ' order by p.place))
  from _printed_columns(relation) as p
  cross join lateral (select format('%s.%I', variable, p.column_name) as value) as v
  cross join lateral (select case
    when not p.is_plain then format($$case when num_nonnulls(%1$s) = 1 then format('%%s', %1$s) end$$, v.value)
    when p.type_name = 'timestamp with time zone' then format($$_utc_json(%s) #>> '{}'$$, v.value)
    when p.type_name ~ '^(date|timestamp)' then format($$to_json(%s) #>> '{}'$$, v.value)
    else v.value || '::text' end as printed) as t;
$function$;
comment on function _row_sql is
  'Text of the expression that prints a row. Where a column is not plain, run it with the settings of _print_row.';

create function _sha256_text(value text) returns text
language sql immutable strict
set search_path from current
as $function$
  select 'sha256:' || encode(sha256(convert_to(value, 'UTF8')), 'hex');
$function$;
comment on function _sha256_text is 'What is recorded of an excluded column: the SHA-256 of its text.';

create function _print_row(value anyelement, relation regclass, exclude text[]) returns jsonb
language plpgsql stable
set search_path from current
set timezone = 'UTC' set datestyle = 'ISO' set intervalstyle = 'postgres' set bytea_output = 'hex'
set extra_float_digits = 1 set lc_monetary = 'C'
as $function$
declare
  printed  jsonb;
begin
  execute 'select ' || _row_sql(relation, '($1)', exclude) into printed using value;
  return printed;
end
$function$;
comment on function _print_row is
  'A row of a table, printed for its history; slower than the expression that _row_sql gives, because it is planned '
  'each time.';
