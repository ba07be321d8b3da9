-- Exact decimals for limits: as those of 03_values/decimals.sql, but what they cannot hold is refused with RSK-001

create domain risk_5_4 as numeric
  constraint risk_5_4_is_exact check (
    case when value is null then true
         when min_scale(value) <= 4 and abs(value) < 10 then true
         else _refuse_decimal(value, 'risk_5_4') end);
create domain risk_5_2 as numeric
  constraint risk_5_2_is_exact check (
    case when value is null then true
         when min_scale(value) <= 2 and abs(value) < 1000 then true
         else _refuse_decimal(value, 'risk_5_2') end);
create domain risk_28_10 as numeric
  constraint risk_28_10_is_exact check (
    case when value is null then true
         when min_scale(value) <= 10 and abs(value) < 1000000000000000000 then true
         else _refuse_decimal(value, 'risk_28_10') end);
comment on domain risk_5_4   is 'decimal(5,4) that refuses (RSK-001) where numeric(5,4) would round.';
comment on domain risk_5_2   is 'decimal(5,2) that refuses (RSK-001) where numeric(5,2) would round.';
comment on domain risk_28_10 is 'decimal(28,10) that refuses (RSK-001) where numeric(28,10) would round.';

select _count_attempts('RSK-001', t.name, 'CAST') from unnest(array['risk_5_4', 'risk_5_2', 'risk_28_10']) as t(name);
