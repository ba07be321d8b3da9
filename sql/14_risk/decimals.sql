-- Exact decimals that refuse with RSK-001

create function _refuse_risk_decimal(value numeric, digits integer, scale integer) returns boolean
language plpgsql security definer
set search_path from current
as $function$
begin
  perform _refuse(
    'RSK-001', format('a risk parameter cannot hold %s exactly', _shortened(value)),
    case when value::text in ('NaN', 'Infinity', '-Infinity') then format('%s is not a limit.', value)
         else format('It has room for %s digits before the point and %s after it.', digits - scale, scale) end,
    'Propose a value with fewer digits.', format('risk_%s_%s', digits, scale), 'CAST');
  return false;
end
$function$;
comment on function _refuse_risk_decimal is 'Raises RSK-001: the value has more digits than the column, or is NaN or infinite.';

create domain risk_5_4 as numeric
  constraint risk_5_4_is_exact check (
    case when value is null then true
         when min_scale(value) <= 4 and abs(value) < 10 then true
         else _refuse_risk_decimal(value, 5, 4) end);
comment on domain risk_5_4 is 'decimal(5,4) that refuses (RSK-001) where numeric(5,4) would round.';
create domain risk_5_2 as numeric
  constraint risk_5_2_is_exact check (
    case when value is null then true
         when min_scale(value) <= 2 and abs(value) < 1000 then true
         else _refuse_risk_decimal(value, 5, 2) end);
comment on domain risk_5_2 is 'decimal(5,2) that refuses (RSK-001) where numeric(5,2) would round.';
create domain risk_28_10 as numeric
  constraint risk_28_10_is_exact check (
    case when value is null then true
         when min_scale(value) <= 10 and abs(value) < 1000000000000000000 then true
         else _refuse_risk_decimal(value, 28, 10) end);
comment on domain risk_28_10 is 'decimal(28,10) that refuses (RSK-001) where numeric(28,10) would round.';
select _count_attempts('RSK-001', t.name, 'CAST') from unnest(array['risk_5_4', 'risk_5_2', 'risk_28_10']) as t(name);
