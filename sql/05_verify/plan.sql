-- Which ranges a verification run reads. A run that reads only what is new costs little; so that an edit of an old row
-- is found too, each run also reads a part of the older rows, and at least one run in full_every reads all.

create function _split_range(first_id bigint, last_id bigint, rows_per_range bigint)
returns table (from_id bigint, to_id bigint)
language sql immutable
set search_path from current
as $function$
  -- At most ten thousand, because a forged id must not make a plan without end.
  select s.start, least(s.start + w.width - 1, last_id)
  from (select greatest(rows_per_range, (last_id - first_id) / 10000 + 1) as width) as w
  cross join lateral generate_series(first_id, last_id, w.width) as s(start);
$function$;
comment on function _split_range is 'A range of ids in parts of so many; none if it is empty.';

create function _recorded_runs(out last_heads jsonb, out full_heads jsonb, out turn bigint)
language plpgsql stable
set search_path from current
as $function$
declare
  last_run  bigint;
  last_full bigint;
begin
  select max(r.id), max(r.id) filter (where r.is_full) into last_run, last_full from only verification_runs as r;
  select r.heads into last_heads from only verification_runs as r where r.id = last_run;
  select r.heads into full_heads from only verification_runs as r where r.id = last_full;
  turn := last_run - last_full;  -- ids have no gaps
exception when others then
  turn := null;  -- verification_runs has a verdict of its own; without it every row is read
end
$function$;
comment on function _recorded_runs is
  'How far the last recorded run and the last full one read each chain, and how many runs there were since the full '
  'one; turn is null if there is none, or it cannot be read.';

create function _chains_to_read(last_heads jsonb, full_heads jsonb)
returns table (table_name text, last_id bigint, known_to bigint, full_to bigint, starts_behind bigint)
language sql stable
set search_path from current
as $function$
  -- A forged id must not overflow what is added to it. Of a chain without rows there is nothing to read.
  select n.table_name, least(coalesce(n.last_id, n.start), 4611686018427387904),
         greatest(least(coalesce(n.known_to, 0), coalesce(n.last_id, 0)), n.start),
         greatest(least(coalesce(n.full_to, 0), coalesce(n.last_id, 0), 4611686018427387904), n.start),
         n.start
  from (select c.table_name, c.place, (_proven_start(c.table_name)).id as start,
               (last_heads -> c.table_name ->> 'id')::bigint as known_to,
               (full_heads -> c.table_name ->> 'id')::bigint as full_to,
               -- of a table that cannot be read now, what is known of it
               coalesce(c.last_id, case when c.error_code is not null
                                        then (last_heads -> c.table_name ->> 'id')::bigint end) as last_id
        from chain_status() with ordinality
             as c(table_name, last_id, head_hash, last_created_at, error_code, problem, place)) as n
  order by n.place;
$function$;
comment on function _chains_to_read is
  'Each chain with its last row, how far the last run and the last full one read it, and behind which row it starts.';

create function verification_plan(
  since_last boolean default false, full_every integer default 24, rows_per_range bigint default 50000)
returns table (table_name text, from_id bigint, to_id bigint, is_full boolean)
language plpgsql stable security definer
set search_path from current
set row_security = off
as $function$
declare
  recorded  record;
  chain     record;
begin
  if since_last is null then
    raise exception 'since_last is true or false, not NULL' using errcode = '22023';
  end if;
  if full_every is null or rows_per_range is null or full_every < 1 or rows_per_range < 1 then
    raise exception 'full_every and rows_per_range are at least 1, not % and %',
      coalesce(full_every::text, 'NULL'), coalesce(rows_per_range::text, 'NULL')
      using errcode = '22023';
  end if;
  if not _is_registered() then
    return query select 'chains', null::bigint, null::bigint, true;
    return;
  end if;
  select r.* into recorded from _recorded_runs() as r;
  is_full := not since_last or recorded.turn is null or recorded.turn + 1 >= full_every;
  for chain in
    select c.*, (c.full_to - c.starts_behind)::numeric as rows_known
    from _chains_to_read(recorded.last_heads, recorded.full_heads) as c
  loop
    if is_full then
      chain.known_to := chain.starts_behind;
    else
      -- What the last full run read has had its turn when the next one is due.
      return query
        select chain.table_name, r.from_id, r.to_id, false
        from _split_range(
               chain.starts_behind + div(chain.rows_known * recorded.turn, full_every - 1)::bigint + 1,
               chain.starts_behind + div(chain.rows_known * (recorded.turn + 1), full_every - 1)::bigint,
               rows_per_range) as r;
    end if;
    -- The last range has no end, so that rows written meanwhile are read; the first of a full run has no beginning.
    return query
      select chain.table_name, nullif(r.from_id, chain.starts_behind + 1),
             case when r.to_id < chain.last_id then r.to_id end, verification_plan.is_full
      from _split_range(chain.known_to + 1, greatest(chain.last_id, chain.known_to + 1), rows_per_range) as r;
  end loop;
end
$function$;
comment on function verification_plan is
  'The ranges that a verification run reads, each for verify_range: all rows, or with since_last those that no '
  'recorded run has read and a turn of the older ones; at least one run in full_every reads all of them.';
