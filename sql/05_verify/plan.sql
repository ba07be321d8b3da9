-- Which ranges a verification run reads. A run that reads only what is new costs little; so that an edit of an old row
-- is found too, each run also reads a turn of the older rows.
--
-- The older rows are divided by their ids: blocks of 16,384 are dealt out to the turns 0 to full_every - 1, like cards.
-- A block keeps its turn, however the log grows or is archived, and a run takes the turn after that of the run before.
-- So any full_every recorded runs in a row read every row that was there at the first of them, and none of them is
-- long. Of runs that overlap only one is recorded (record.sql). Only a run that cannot say whose turn it is reads every
-- row: the first one, and one with another full_every than the run before. Most chains have one block, so the first
-- block of each chain has another turn than that of the next chain.

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

create function _recorded_turn(full_every integer, out run_id bigint, out last_heads jsonb, out turn integer)
language plpgsql stable
set search_path from current
as $function$
begin
  select r.id, r.heads,
         case when r.is_full then 0
              when r.full_every = _recorded_turn.full_every then (r.turn + 1) % r.full_every end
    into run_id, last_heads, turn
  from only verification_runs as r order by r.id desc limit 1;
  run_id := coalesce(run_id, 0);
exception when others then
  run_id := null;
  turn := null;  -- verification_runs has a verdict of its own; without it every row is read
end
$function$;
comment on function _recorded_turn is
  'The last recorded run (0: none yet), how far it read each chain, and whose turn it is after it; turn is null if '
  'that is not known, so that every row is to be read.';

create function _ranges_of_turn(
  starts_behind bigint, known_to bigint, place integer, turn integer, full_every integer, rows_per_range bigint)
returns table (from_id bigint, to_id bigint)
language sql immutable
set search_path from current
as $function$
  -- Block b has the ids b * 16384 + 1 to (b + 1) * 16384, and the turn (b + place) % full_every.
  select r.from_id, r.to_id
  from (select starts_behind >> 14 as index) as f
  cross join lateral generate_series(
    f.index + (((turn - place - f.index) % full_every) + full_every) % full_every, (known_to - 1) >> 14,
    full_every) as b(index)
  cross join lateral _split_range(greatest(b.index << 14, starts_behind) + 1, least((b.index + 1) << 14, known_to),
                                  rows_per_range) as r
  where known_to > starts_behind
  order by r.from_id;
$function$;
comment on function _ranges_of_turn is
  'The ranges of the older rows of a chain, those after starts_behind up to known_to, that a turn reads. place shifts '
  'the turns of a chain against those of others.';

create function _chains_to_read(last_heads jsonb)
returns table (table_name text, last_id bigint, known_to bigint, starts_behind bigint, place integer)
language sql stable
set search_path from current
as $function$
  -- A forged id must not overflow what is added to it. Of a chain without rows there is nothing to read.
  select n.table_name, least(coalesce(n.last_id, n.start), 4611686018427387904),
         greatest(least(coalesce(n.known_to, 0), coalesce(n.last_id, 0), 4611686018427387904), n.start),
         n.start, n.position
  from (select c.table_name, c.place, k.position, (_proven_start(c.table_name)).id as start,
               (last_heads -> c.table_name ->> 'id')::bigint as known_to,
               -- of a table that cannot be read now, what is known of it
               coalesce(c.last_id, case when c.error_code is not null
                                        then (last_heads -> c.table_name ->> 'id')::bigint end) as last_id
        from chain_status() with ordinality
             as c(table_name, last_id, head_hash, last_created_at, error_code, problem, place)
        left join only chains as k on k.table_name = c.table_name) as n
  order by n.place;
$function$;
comment on function _chains_to_read is
  'Each chain with its last row, how far the last run read it, behind which row it starts, and its place in the '
  'register.';

create function verification_plan(
  since_last boolean default false, full_every integer default 24, rows_per_range bigint default 50000)
returns table (table_name text, from_id bigint, to_id bigint, is_full boolean, turn integer, after_run bigint)
language plpgsql stable security definer
set search_path from current
set row_security = off
as $function$
declare
  recorded  record;
  chain     record;
begin
  if since_last is null then
    raise exception 'since_last is true or false, not NULL'
      using errcode = '22023', hint = 'Give true to read what is due, or false to read all rows.';
  end if;
  if (full_every >= 1 and rows_per_range between 1 and 1000000000) is not true then
    raise exception 'full_every is at least 1 and rows_per_range from 1 to 1000000000, not % and %',
      coalesce(full_every::text, 'NULL'), coalesce(rows_per_range::text, 'NULL')
      using errcode = '22023', hint = 'Leave a parameter out to take its default.';
  end if;
  if not _is_registered() then
    return query select 'chains', null::bigint, null::bigint, true, null::integer, null::bigint;
    return;
  end if;
  select r.* into recorded from _recorded_turn(full_every) as r;
  is_full := not since_last or full_every = 1 or recorded.turn is null;
  turn := case when not is_full then recorded.turn end;
  after_run := recorded.run_id;
  for chain in select c.* from _chains_to_read(recorded.last_heads) as c loop
    -- A forged id that a run recorded must not make a plan without end, either.
    if is_full or (chain.known_to - chain.starts_behind) / 16384 / full_every > 100000 then
      chain.known_to := chain.starts_behind;
    end if;
    -- The first range has no beginning, so that rows before the first are found. The last has no end, so that rows
    -- written meanwhile are read.
    return query
      select chain.table_name, nullif(r.from_id, chain.starts_behind + 1), r.to_id, verification_plan.is_full,
             verification_plan.turn, verification_plan.after_run
      from _ranges_of_turn(chain.starts_behind, chain.known_to, chain.place, verification_plan.turn, full_every,
                           rows_per_range) as r
      union all
      select chain.table_name, nullif(r.from_id, chain.starts_behind + 1),
             case when r.to_id < chain.last_id then r.to_id end, verification_plan.is_full, verification_plan.turn,
             verification_plan.after_run
      from _split_range(chain.known_to + 1, greatest(chain.last_id, chain.known_to + 1), rows_per_range) as r;
  end loop;
end
$function$;
comment on function verification_plan is
  'The ranges that a verification run reads, each for verify_range: all rows, or with since_last those that no '
  'recorded run has read and a turn of the older ones; any full_every recorded runs in a row read all of them. turn is '
  'null if all rows are read. after_run is the last recorded run, 0 before the first; give it to record_verification.';
