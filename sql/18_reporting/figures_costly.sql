-- Figures that cost more: costly_metrics() gives them, and a monitor asks for them every half minute or so
--
-- Comparing the guards takes a tenth of a second. Damage needs signatures checked once there was a release. The rest
-- costs some milliseconds, and changes slowly.

create function _figures_of_guards()
returns table (name text, labels jsonb, value double precision)
language sql stable
set search_path from current
as $function$
  select 'alpha_db_guards_changed', '{}'::jsonb, count(*)::double precision from verify_guards();
$function$;
comment on function _figures_of_guards is 'Figures: how many guards are not as last recorded.';

create function _figures_of_damage()
returns table (name text, labels jsonb, value double precision)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  with
  lockdown as materialized (select s.* from lockdown_status() as s),
  places as materialized (
    select d.value ->> 'table' as table_name, d.value ->> 'verdict' as verdict
    from lockdown as s cross join lateral _damage_items(s.damage) as d
  ),
  acknowledged as materialized (
    select distinct a.table_name from acknowledged_damage() as a
  ),
  tables as (
    select s.table_name, (select count(*) from places as p where p.table_name = s.table_name) as damaged,
           case
             when s.error_code = 'AUD-009' then 'table_missing'
             when s.error_code is not null then 'not_run'
             else coalesce((select min(p.verdict) from places as p where p.table_name = s.table_name),
                           (select 'acknowledged' from acknowledged as a where a.table_name = s.table_name),
                           (select case when h.last_id > coalesce(s.last_id, 0) then 'tail_missing' else 'intact' end
                            from _verified_heads() as h where h.table_name = s.table_name),
                           case when s.last_id is null then 'empty' else 'not_verified' end) end as verdict
    from chain_status() as s
  )
  select 'alpha_db_damaged_places', jsonb_build_object('table', t.table_name), t.damaged::double precision
  from tables as t
  union all
  select 'alpha_db_verdict_info', jsonb_build_object('table', t.table_name, 'verdict', t.verdict), 1
  from tables as t
  union all
  select 'alpha_db_lockdown_since_timestamp_seconds', '{}', _seconds_of(s.since)
  from lockdown as s where s.since is not null
  union all
  -- An alarm that no lawful release answers, whatever the events say (08_lockdown/engage.sql)
  select 'alpha_db_lockdown_proven', '{}', s.is_locked::integer from lockdown as s;
$function$;
comment on function _figures_of_damage is
  'Figures: what is known of each chain, how many damaged places verification found in it since the last lawful '
  'release, and whether the lockdown holds after all signatures were checked.';

create function _figures_of_growth()
returns table (name text, labels jsonb, value double precision)
language sql stable
set search_path from current
as $function$
  select f.name, jsonb_build_object('table', g.table_name), f.value
  from growth() as g
  cross join lateral (
    values ('alpha_db_rows_stored', g.rows_stored::double precision),
           ('alpha_db_table_bytes', g.bytes),
           ('alpha_db_retention_overdue_rows', g.rows_overdue)) as f(name, value)
  where g.table_name is not null and f.value is not null;
$function$;
comment on function _figures_of_growth is
  'Figures: rows and bytes of each chain, and rows that are older than its retention policy allows.';

create function _figures_of_headroom()
returns table (name text, labels jsonb, value double precision)
language sql volatile
set search_path from current
as $function$
  with kinds as materialized (
    select h.kind, count(h.problem) as problems, max(h.used / nullif(h.usable, 0)::double precision) as used,
           min(h.days_left) * 86400 as left
    from headroom() as h group by h.kind
  )
  select f.name, jsonb_build_object('kind', k.kind), f.value
  from kinds as k
  cross join lateral (
    values ('alpha_db_headroom_problems', k.problems::double precision),
           ('alpha_db_headroom_used_ratio', k.used),
           ('alpha_db_headroom_left_seconds', k.left)) as f(name, value)
  where f.value is not null;
$function$;
comment on function _figures_of_headroom is
  'Figures: what runs out, by kind: where somebody has to act, the fullest, and how long the first of them lasts.';
