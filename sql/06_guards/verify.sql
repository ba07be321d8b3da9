-- Comparing the guards of now with a recorded state. The top of facts.sql explains what a guard is.
--
-- Comparing changes nothing, so it runs on a standby and in a read-only session too. When the tables that it reads are
-- gone or closed to this login, verify_guards reports that instead of an error.
--
-- lockdown_alarm, one of the counters, is made in 08_lockdown/events.sql.

create function _lowered_counters()
returns table (sequence_name text, recorded bigint, stands_at bigint)
language sql volatile
set search_path from current
as $function$
  select c.name, c.recorded, c.stands_at
  from (
    select r.key as name, r.value::text::bigint as recorded, (n.counters ->> r.key)::bigint as stands_at
    from (select g.id, g.counters, g.created_at from only guard_states as g order by g.id desc limit 1) as g
    -- Whoever recorded a state after the last run accepted the counters as they were. The run says which state it
    -- read, because clocks may go back.
    left join (select v.counters, v.created_at, (v.heads -> 'guard_states' ->> 'id')::bigint as state_id
               from only verification_runs as v order by v.id desc limit 1) as v
           on coalesce(v.state_id >= g.id, v.created_at > g.created_at)
    cross join _counters() as n(counters)
    cross join lateral jsonb_each(g.counters || coalesce(v.counters, '{}')) as r
    where r.value <> 'null' and n.counters ? r.key) as c
  -- The alarm takes random values; but once it has a value, it keeps one.
  where c.stands_at is null or c.stands_at < c.recorded and c.name <> 'lockdown_alarm';
$function$;
comment on function _lowered_counters is
  'The sequences that never go back, and did: what the last verification run or state of the guards recorded, and '
  'where they stand.';

create function guards_since(state_id bigint)
returns table (object_kind text, object_name text, fact text, expected text, found text, problem text, table_name text)
language sql stable
set search_path from current
as $function$
  with recorded as (
    select f.value ->> 0 as table_name, f.value ->> 1 as object_kind, f.value ->> 2 as object_name,
           f.value ->> 3 as fact, f.value ->> 4 as value
    from only guard_states as g
    cross join lateral jsonb_array_elements(g.facts) as f
    where g.id = guards_since.state_id
  )
  select coalesce(r.object_kind, p.object_kind), coalesce(r.object_name, p.object_name), coalesce(r.fact, p.fact),
         r.value, p.value,
         case when r.fact is null then 'extra' when p.fact is null then 'missing' else 'changed' end,
         coalesce(r.table_name, p.table_name)
  from recorded as r
  full join guard_facts() as p using (object_kind, object_name, fact)
  where r.value is distinct from p.value or r.fact is null or p.fact is null
  order by 1, 2, 3;
$function$;
comment on function guards_since is
  'A row for every guard that is not as this row of guard_states recorded it: what, expected, found, and whether it is '
  'missing, extra or changed.';

create function verify_guards()
returns table (object_kind text, object_name text, fact text, expected text, found text, problem text, table_name text)
language plpgsql stable
set search_path from current
set quote_all_identifiers = off set standard_conforming_strings = on set jit = off
as $function$
declare
  -- what is read here, and what guard_facts reads
  registers constant text[] := '{guard_states, verification_runs, installation, installed_migrations, chains,
                                 attempt_counters}';
begin
  if not exists (select from unnest(registers) as n(name)
                 where to_regclass(format('%I.%I', current_schema(), n.name)) is not null) then
    return query select 'schema', coalesce(current_schema()::text, ''), 'name', null::text, null::text,
                        'renamed or gone: the functions look for their tables elsewhere', null::text;
    return;
  end if;
  -- Without all of them nothing can be compared; what is wrong with them is reported instead.
  return query
    select 'relation', n.name, 'kind', 'r', null::text, 'missing', n.name
    from unnest(registers) as n(name) where to_regclass(format('%I.%I', current_schema(), n.name)) is null;
  if found then
    return;
  end if;
  if exists (select from unnest(registers) as n(name) where row_security_active(quote_ident(n.name))) then
    return query
      select 'relation', c.relname::text, 'row security', '',
             concat_ws(', ', 'on', case when c.relforcerowsecurity then 'forced' end), 'changed', c.relname::text
      from pg_class as c
      where c.relnamespace = (select r.relnamespace from pg_class as r where r.oid = 'guard_states'::regclass)
        and c.relrowsecurity
      order by 2;
    return;
  end if;
  return query
    select g.* from guards_since((select max(s.id) from only guard_states as s)) as g
    union all
    select 'sequence', c.sequence_name, 'value', c.recorded::text, c.stands_at::text, 'changed', null
    from _lowered_counters() as c
    order by 1, 2, 3;
end
$function$;
comment on function verify_guards is
  'A row for every guard that is not as last recorded: what, expected, found, and whether it is missing, extra or '
  'changed. No row: all is as installed.';

create function changed_guards()
returns table (table_name text, problems text)
language sql stable
set search_path from current
as $function$
  select coalesce(c.table_name, 'guard_states'),
         string_agg(format('%s %s: %s %s', g.object_kind, g.object_name, g.fact, g.problem), '; ')
  from verify_guards() as g
  left join only chains as c on c.table_name = g.table_name
  group by 1;
$function$;
comment on function changed_guards is
  'What verify_guards reports, a row for each chain that it concerns; what concerns all of them stands under '
  'guard_states.';
