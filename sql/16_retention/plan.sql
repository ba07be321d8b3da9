-- Which rows may go: what a proposal of kind "archive" could name today
--
-- For each table it begins with the last row that is old enough, and takes back what a hold, the history of a tracked
-- table, or a row that stays needs. The row that stays may be of a table whose own end was taken back, so this is
-- repeated until nothing changes. Ends are rounded down to whole blocks of 256.

create function _last_id_before(table_name text, moment timestamptz) returns bigint
language plpgsql stable
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
declare
  low     bigint;  -- before the moment, or the start
  high    bigint;  -- not before it, or behind the end
  middle  bigint;
  is_old  boolean;
begin
  -- Times never decrease and ids have no gaps, so some 30 looks at the primary key find it.
  low := (_chain_start(table_name)).id;
  execute format('select coalesce(max(t.id), $1) + 1 from only %I as t', table_name) into high using low;
  while high - low > 1 loop
    middle := low + (high - low) / 2;
    execute format('select t.created_at < $2 from only %I as t where t.id = $1', table_name)
      into is_old using middle, moment;
    if is_old then
      low := middle;
    else
      high := middle;
    end if;
  end loop;
  return low;
end
$function$;
comment on function _last_id_before is
  'The last row of a chain that is older than a moment; the start of the chain if none is.';

create function _archivable_by_age(before timestamptz, table_name text)
returns table (name text, archived_to bigint, through_id bigint, limited_by text)
language sql stable
set search_path from current
set row_security = off
as $function$
  select c.table_name, _last_segment_end(c.table_name),
         case when i.old is not null
              then _block_end(least(i.old, coalesce(i.tail, 1) - 1, i.held_from - 1, i.needed_from - 1)) end,
         case when i.old is null then 'no policy, and no date was given'
              when i.held_from - 1 <= least(i.old, i.tail - 1) then format('legal hold from row %s on', i.held_from)
              when i.needed_from - 1 <= least(i.old, i.tail - 1)
                then format('the history of a tracked table begins with row %s', i.needed_from)
              when i.tail - 1 < i.old then 'the last row stays'
              else 'age' end
  from only chains as c
  left join only retention_policies as p on p.table_name = c.table_name
  cross join lateral (
    select case when coalesce(before, now() - p.keep) is not null
                then _last_id_before(c.table_name, coalesce(before, now() - p.keep)) end as old,
           (select s.last_id from chain_status() as s where s.table_name = c.table_name) as tail,
           _held_from(c.table_name) as held_from,
           case when c.table_name = 'table_changes' then _history_needed_from() end as needed_from) as i
  where (not c.is_internal or c.table_name = 'table_changes')
    and (_archivable_by_age.table_name is null or c.table_name = _archivable_by_age.table_name)
  order by c.position;
$function$;
comment on function _archivable_by_age is
  'Up to which row each table could go by its age, its holds and the histories that begin in it, and which of them '
  'limits it; references are not looked at.';

-- Longer than 60 lines, because the three steps share their maps.
create function retention_plan(before timestamptz default null, table_name text default null)
returns table (planned_table text, first_id bigint, through_id bigint, last_created_at timestamptz, row_count bigint,
               bytes bigint, limited_by text)
language plpgsql stable security definer
set search_path from current
set row_security = off
as $function$
declare
  plan       jsonb;   -- {table: {archived_to, limited_by}}
  ends       jsonb;   -- {table: through_id}
  unsettled  text[];  -- tables whose end must be looked at
  item       record;
  referred   record;
begin
  if before > now() then
    raise exception 'rows are archived when they are old, not before they are: % has not come', before
      using errcode = '22023', hint = 'Give a time in the past.';
  end if;
  perform _chain_or_error(table_name) where table_name is not null;
  select jsonb_object_agg(a.name, jsonb_build_object('archived_to', a.archived_to, 'limited_by', a.limited_by)),
         jsonb_object_agg(a.name, greatest(a.through_id, a.archived_to))
    into plan, ends
  from _archivable_by_age(before, retention_plan.table_name) as a;
  unsettled := array(select e.key from jsonb_each(ends) as e);
  while unsettled <> '{}' loop
    -- Tables come before those that refer to them, so the last one first: most are looked at once.
    select c.table_name, (ends ->> c.table_name)::bigint as through_id into item
    from only chains as c where c.table_name = any (unsettled) order by c.position desc limit 1;
    unsettled := array_remove(unsettled, item.table_name);
    select r.* into referred
    from _lowest_reference(item.table_name, (plan -> item.table_name ->> 'archived_to')::bigint, item.through_id,
                           ends) as r;
    if referred.id is not null then
      ends := ends || jsonb_build_object(item.table_name, _block_end(referred.id - 1));
      plan := jsonb_set(plan, array[item.table_name, 'limited_by'], to_jsonb(
        format('%s still refers to row %s', referred.referrer, referred.id)));
      -- More of its own rows stay, and so may what they refer to.
      unsettled := array(select u.name from unnest(unsettled) as u(name)
                         union
                         select c.table_name from only chains as c join pg_constraint as k
                           on k.contype = 'f' and k.confrelid = to_regclass(quote_ident(c.table_name))
                             and k.conrelid = to_regclass(quote_ident(item.table_name))
                         where plan ? c.table_name);
    end if;
  end loop;
  for item in
    select c.table_name, (plan -> c.table_name ->> 'archived_to')::bigint as archived_to,
           (ends ->> c.table_name)::bigint as ends_at
    from only chains as c where plan ? c.table_name order by c.position
  loop
    planned_table := item.table_name;
    first_id := item.archived_to + 1;
    row_count := greatest(item.ends_at - item.archived_to, 0);
    through_id := case when row_count > 0 then item.ends_at end;
    limited_by := plan -> item.table_name ->> 'limited_by';
    execute format('select (select t.created_at from only %1$I as t where t.id = $1), pg_table_size($2) * $3'
                   ' / greatest((select max(t.id) from only %1$I as t) - $4, 1)', item.table_name)
      into last_created_at, bytes
      using through_id, to_regclass(quote_ident(item.table_name)), row_count, (_chain_start(item.table_name)).id;
    return next;
  end loop;
end
$function$;
comment on function retention_plan is
  'For each table whose rows may be archived, or one: the rows first_id to through_id that are older than before, or '
  'than its policy keeps them, and to which nothing refers that stays; about how many bytes they take; and what keeps '
  'the next row. through_id is null if none may go. Raises 22023 for a time that has not come.';

select _grant('execute on routine', '{retention_plan}', '{app_auditor, app_risk}');
