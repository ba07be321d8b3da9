-- Values that a column cannot hold exactly
--
-- 1. Exact decimals. A column of type numeric(28,10) rounds before any trigger sees the value. A domain does not
--    round, so money has domains over plain numeric whose CHECK refuses (AUD-001, and RSK-001 for limits) what the
--    column would round, NaN and infinities. The name of a domain says its digits and its scale: decimal_28_10.
--    17_risk/decimals.sql makes those of the limits.
-- 2. Binary floats, which have lost digits before they arrive (AUD-001). The functions of 09_write ask.
-- 3. Texts that are too long for their varchar (AUD-012). The functions of 09_write ask, because PostgreSQL's own
--    error names no column, and because a cast to varchar(n) silently cuts blanks off.

-- Exact decimals

create function _shortened(value numeric) returns text
language sql immutable
set search_path from current
as $function$
  select case when char_length(v.digits) <= 60 then v.digits
              else format('%s… (%s characters)', left(v.digits, 40), char_length(v.digits)) end
  from (select value::text as digits) as v;
$function$;
comment on function _shortened is 'A number as text; of a long one, the beginning and its length.';

create function _refuse_decimal(value numeric, domain_name text) returns boolean
language plpgsql security definer
set search_path from current
as $function$
declare
  is_limit  boolean := split_part(domain_name, '_', 1) = 'risk';
  code      text    := case when is_limit then 'RSK-001' else 'AUD-001' end;
  digits    integer := split_part(domain_name, '_', 2)::integer;
  scale     integer := split_part(domain_name, '_', 3)::integer;
begin
  perform _refuse(
    code, format('decimal(%s,%s) cannot hold %s exactly', digits, scale, _shortened(value)),
    case when value::text in ('NaN', 'Infinity', '-Infinity')
         then format('%s is not %s.', value, case when is_limit then 'a limit' else 'an amount' end)
         else format('It has room for %s digits before the point and %s after it.', digits - scale, scale) end,
    case when is_limit then 'Propose a value with fewer digits.'
         when value::text in ('NaN', 'Infinity', '-Infinity') then 'Reject the value in the application.'
         else 'Keep the exact number as text in the payload, and round or convert it for the column: '
              'the database never drops a digit silently.' end,
    domain_name, 'CAST');
  return false;
end
$function$;
comment on function _refuse_decimal is
  'Raises AUD-001, or RSK-001 for a limit: the value has more digits than the domain allows, or is NaN or infinite.';

create domain decimal_28_10 as numeric
  constraint decimal_28_10_is_exact check (
    case when value is null then true
         when min_scale(value) <= 10 and abs(value) < 1000000000000000000 then true
         else _refuse_decimal(value, 'decimal_28_10') end);
create domain decimal_28_2 as numeric
  constraint decimal_28_2_is_exact check (
    case when value is null then true
         when min_scale(value) <= 2 and abs(value) < 100000000000000000000000000::numeric then true
         else _refuse_decimal(value, 'decimal_28_2') end);
create domain decimal_5_4 as numeric
  constraint decimal_5_4_is_exact check (
    case when value is null then true
         when min_scale(value) <= 4 and abs(value) < 10 then true
         else _refuse_decimal(value, 'decimal_5_4') end);
comment on domain decimal_28_10 is
  'decimal(28,10) that refuses (AUD-001) where numeric(28,10) would round: prices and quantities.';
comment on domain decimal_28_2  is
  'decimal(28,2) that refuses (AUD-001) where numeric(28,2) would round: equity in rand.';
comment on domain decimal_5_4   is
  'decimal(5,4) that refuses (AUD-001) where numeric(5,4) would round: shares and scores.';

select _count_attempts('AUD-001', 'decimal_28_10', 'CAST');
select _count_attempts('AUD-001', 'decimal_28_2',  'CAST');
select _count_attempts('AUD-001', 'decimal_5_4',   'CAST');

-- Binary floats, and texts that are too long

create function _refuse_float(argument text, argument_type regtype) returns void
language plpgsql security definer
set search_path from current
as $function$
declare
  base_type regtype := argument_type;
begin
  while (select t.typtype from pg_type as t where t.oid = base_type) = 'd' loop
    base_type := (select t.typbasetype from pg_type as t where t.oid = base_type);
  end loop;
  if base_type not in ('double precision'::regtype, 'real'::regtype) then
    return;
  end if;
  perform _refuse(
    'AUD-001', format('%s came as %s, a binary float', argument, argument_type),
    'Binary floats cannot hold most decimal fractions, so digits are lost before the database sees them.',
    'Pass numeric, or an untyped literal: 64123.55::numeric or ''64123.55''.', 'float', 'CAST');
end
$function$;
comment on function _refuse_float is
  'Raises AUD-001 if an amount came as double precision or real, or as a domain over one of them.';

select _count_attempts('AUD-001', 'float', 'CAST');

create function _refuse_too_long(table_name text, column_names text[], given text[]) returns void
language plpgsql security definer
set search_path from current
as $function$
declare
  item record;
begin
  select n.column_name, char_length(n.value) as length, left(n.value, 40) as beginning, a.atttypmod - 4 as longest,
         a.atttypid = 'varchar'::regtype as is_varchar
  into item
  from unnest(column_names, given) with ordinality as n(column_name, value, place)
  join pg_attribute as a
    on a.attrelid = format('%I.%I', current_schema(), table_name)::regclass and a.attname = n.column_name
  where a.atttypid in ('varchar'::regtype, 'bpchar'::regtype) and char_length(n.value) > a.atttypmod - 4
    and a.atttypmod >= 4
  order by n.place limit 1;
  if found then
    perform _refuse(
      'AUD-012', format('%s of %s is too long', item.column_name, table_name),
      format('It has %s characters, blanks at its end included, and the column takes %s. It begins with %s.',
             item.length, item.longest, to_json(item.beginning)),
      'Send a shorter value: the database never cuts one silently.'
      || case when item.is_varchar and item.length <= 500 then format(
        ' Or have the owner of the database make room: select widen_column(%L, %L, %s), with alpha.maintenance set.',
        table_name, item.column_name, item.length) else '' end,
      table_name, 'INSERT', column_name => item.column_name);
  end if;
end
$function$;
comment on function _refuse_too_long is
  'Raises AUD-012 if one of these values is longer than its column. PostgreSQL would refuse it without naming '
  'the column, or cut it if it ends in blanks.';
