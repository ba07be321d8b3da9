-- The damage that a release must list, the damage that releases acknowledged, and releases that nobody approved.
--
-- lockdown_events.damage holds items {table, id, verdict, actual_hash, expected_hash}, made by _damage_item
-- (05_verify). A release acknowledges exactly the items that it lists, each as long as hash and content stay what they
-- were.

create function _damage_items(damage jsonb) returns table (value jsonb, place bigint)
language sql immutable
set search_path from current
as $function$
  select d.value, d.place
  from jsonb_array_elements(case when jsonb_typeof(_damage_items.damage) = 'array' then _damage_items.damage
                                 else '[]' end) with ordinality as d(value, place);
$function$;
comment on function _damage_items is
  'The items of lockdown_events.damage with their places; none if somebody made it something else than an array.';

create function acknowledged_damage()
returns table (table_name text, id text, verdict text, actual_hash text, expected_hash text, release_id bigint)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  -- Text throughout and no cast that could fail, because what stands here may have been forged. A release that does not
  -- hold in its own chain, or that no quorum signed, acknowledges nothing, least of all itself.
  select d.value ->> 'table', d.value ->> 'id', d.value ->> 'verdict', d.value ->> 'actual_hash',
         d.value ->> 'expected_hash', max(l.id)
  from only lockdown_events as l
  cross join lateral _damage_items(l.damage) as d
  where l.event_type = 'RELEASED' and _release_holds(l)
    and not exists (select from find_chain_damage('lockdown_events') as f where f.id = l.id)
  group by 1, 2, 3, 4, 5;
$function$;
comment on function acknowledged_damage is
  'Damage that a lawful lockdown release has acknowledged, and the last release that did: reported as such for as long '
  'as stored hash and content are what they were.';

create function _forged_releases()
returns table (id bigint, row_hash text)
language sql stable
set search_path from current
set row_security = off
as $function$
  with forged as materialized (
    select l.id, l.row_hash::text as row_hash
    from only lockdown_events as l
    where l.event_type = 'RELEASED' and not _release_holds(l))
  select f.id, f.row_hash
  from forged as f
  where not exists (select from acknowledged_damage() as a
                    where a.table_name = 'lockdown_events' and a.id = f.id::text
                      and a.verdict = 'consensus_mismatch' and a.actual_hash = f.row_hash)
  order by f.id;
$function$;
comment on function _forged_releases is
  'RELEASED events that no approved, signed proposal made, and that no lawful release has acknowledged.';

create function _last_release() returns bigint
language sql stable
set search_path from current
set row_security = off
as $function$
  select coalesce((select l.id from only lockdown_events as l
                   where l.event_type = 'RELEASED' and _release_holds(l) order by l.id desc limit 1), 0);
$function$;
comment on function _last_release is 'Id of the last lawful RELEASED event; 0 if there is none.';

create function open_damage()
returns table ("table" text, id bigint, verdict text, actual_hash text, expected_hash text)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  -- Once, because each release costs the checks of its signatures.
  with acknowledged as materialized (select a.* from acknowledged_damage() as a)
  select d."table", d.id, d.verdict, d.actual_hash, d.expected_hash
  from (
    select f.damaged_table as "table", f.id, f.verdict, f.actual_hash, f.expected_hash
    from only chains as c
    cross join lateral find_chain_damage(c.table_name) as f
    union
    -- what a chain alone may not show
    select p.value ->> 'table', (p.value ->> 'id')::bigint, p.value ->> 'verdict', p.value ->> 'actual_hash',
           p.value ->> 'expected_hash'
    from only lockdown_events as l
    cross join lateral _damage_items(l.damage) as p
    where l.event_type = 'ENGAGED' and l.id > (select _last_release())
      and p.value ->> 'verdict' in ('tail_missing', 'checkpoint_mismatch')
      and case when p.value ->> 'id' ~ '^[0-9]{1,18}$'
               then exists (select from only chains as c where c.table_name = p.value ->> 'table') end
    union
    select 'lockdown_events', r.id, 'consensus_mismatch', r.row_hash, null
    from _forged_releases() as r
  ) as d
  where not exists (
    select from acknowledged as a
    where a.table_name = d."table" and a.id = d.id::text and a.verdict = d.verdict
      and a.actual_hash is not distinct from d.actual_hash and a.expected_hash is not distinct from d.expected_hash)
  order by (select c.position from only chains as c where c.table_name = d."table"), d.id;
$function$;
comment on function open_damage is
  'The damage that is there now and that no lawful release has acknowledged: what the chains show, and what engaged '
  'the lockdown since the last release though no chain alone shows it. A release must list exactly this.';

create function _compare_with_consensus(result chain_verdict) returns chain_verdict
language plpgsql stable
set search_path from current
as $function$
declare
  forged   record;
  problem  record;
begin
  if result.table_name = 'lockdown_events' then
    select f.* into forged from _forged_releases() as f limit 1;
    if found then
      result := _with_verdict(result, 'consensus_mismatch',
                              format('no approved, signed proposal made release %s', forged.id));
      result.broken_id := forged.id;
      result.expected_hash := null;
      result.actual_hash := forged.row_hash;
    end if;
    return result;
  end if;
  select count(*) as number, (array_agg(p.id))[1] as id,
         string_agg(format('%s %s: %s', p.table_name, p.id, p.problem), '; ') as problems
  into problem from _consensus_problems() as p;
  if problem.number > 0 then
    result := _with_verdict(result, 'consensus_mismatch', left(problem.problems, 2000), 'RSK-007');
    result.broken_id := problem.id;
  end if;
  return result;
end
$function$;
comment on function _compare_with_consensus is
  'Turns a good verdict into consensus_mismatch if a release, an agent, a key, a limit or a quorum is not what the '
  'signed, applied proposals lead to.';
