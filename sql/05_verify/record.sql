-- Recording a run that found nothing wrong. What app_auditor records here is believed by the next run, except for what
-- the trigger checks: each row that it names is there, none that an earlier run read is forgotten, and a turn follows
-- that of the run before. The trigger's function calls _lowered_counters (06_guards/verify.sql), and
-- 06_guards/attach.sql attaches it.
--
-- Of two runs that overlap only one is recorded. Both were planned after the same run, so they read the same turn, and
-- the rows of the turn that a second record would stand for are not read.

create function _require_run(
  is_full boolean, last_ids jsonb, rows_checked bigint, full_every integer, turn integer)
returns void
language plpgsql stable
set search_path from current
as $function$
begin
  if is_full is null or rows_checked >= 0 is not true then
    raise exception 'is_full is true or false and rows_checked at least 0, not % and %',
      coalesce(is_full::text, 'NULL'), coalesce(rows_checked::text, 'NULL')
      using errcode = '22023', hint = 'Give is_full as verification_plan does, and how many rows were read.';
  end if;
  if jsonb_typeof(last_ids) <> 'object' or exists (
    select from jsonb_each(case when jsonb_typeof(last_ids) = 'object' then last_ids end) as e
    where e.value <> 'null' and (jsonb_typeof(e.value) <> 'number' or e.value::text !~ '^-?[0-9]{1,18}$')) then
    raise exception 'last_ids does not name an id for each table: %', left(last_ids::text, 200)
      using errcode = '22023', hint = 'Give an object such as {"signals": 5000}.';
  end if;
  if turn is not null and (is_full or (full_every > 1 and turn between 0 and full_every - 1) is not true) then
    raise exception 'turn % of % is none', turn, coalesce(full_every::text, 'NULL')
      using errcode = '22023', hint = 'Give turn as verification_plan does, with the full_every that it was given.';
  end if;
end
$function$;
comment on function _require_run is 'Raises 22023 for what record_verification was given and cannot be a run.';

create function _require_next_run(full_every integer, turn integer, after_run bigint) returns void
language plpgsql
set search_path from current
as $function$
declare
  recorded  record;
begin
  select r.* into recorded from _recorded_turn(full_every) as r;
  if after_run <> recorded.run_id then
    raise exception 'another verification run was recorded meanwhile'
      using errcode = '40001', column = 'after_run',
            detail = format('This one was planned after run %s, and run %s is the last.', after_run, recorded.run_id),
            hint = 'Make another plan with verification_plan, and record the run that reads it.';
  end if;
  if turn is not null and turn is distinct from recorded.turn then
    raise exception 'turn % of % does not follow run %', turn, full_every, recorded.run_id
      using errcode = '22023',
            hint = format('Record the turn that verification_plan(true, %s) says.', full_every);
  end if;
end
$function$;
comment on function _require_next_run is
  'Raises 40001 if another run was recorded since the plan was made, and 22023 for a turn that is not the next one. To '
  'be called under the lock of verification_runs.';

create function record_verification(
  is_full boolean, last_ids jsonb, rows_checked bigint, full_every integer default null, turn integer default null,
  after_run bigint default null)
returns bigint
language plpgsql security definer
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
declare
  item      record;
  stored    text;
  heads     jsonb := '{}';
  event_id  bigint;
  compared  chain_verdict;
begin
  perform _require_run(is_full, last_ids, rows_checked, full_every, turn);
  perform _require_primary('record_verification');
  perform _commit_locally();  -- 08_lockdown/engage.sql
  if turn is null then
    full_every := null;
  end if;
  lock table only lock_verification_runs in share update exclusive mode;
  perform _require_next_run(full_every, turn, after_run);
  for item in
    select coalesce(e.key, h.table_name) as table_name, e.value::text::bigint as id, h.last_id, h.row_hash
    from (select * from jsonb_each(last_ids) where value <> 'null') as e
    full join _verified_heads() as h on h.table_name = e.key
  loop
    perform _chain_or_error(item.table_name);
    -- What was remembered is not forgotten while it is there.
    execute format('select t.row_hash from only %I as t where t.id = $1', item.table_name)
      into stored using item.last_id;
    if stored is distinct from item.row_hash then
      compared := _compare_with_last_run(_verdict(item.table_name, 'intact', ''));
      if not compared.is_valid then
        raise exception '% is not as the last run read it: %', item.table_name, compared.detail
          using errcode = '22023', hint = 'Record only a run that found nothing wrong.';
      end if;
    elsif item.last_id >= coalesce(item.id, 0) then
      item.id := item.last_id;
    end if;
    if item.id is null then
      continue;
    end if;
    execute format('select t.row_hash from only %I as t where t.id = $1', item.table_name) into stored using item.id;
    if stored is null then
      raise exception '% has no row %', item.table_name, item.id
        using errcode = '22023', hint = 'Give for each table the last id that the run found intact.';
    end if;
    heads := heads || jsonb_build_object(item.table_name, jsonb_build_object('id', item.id, 'row_hash', stored));
  end loop;
  insert into verification_runs (is_full, full_every, turn, heads, rows_checked)
  values (record_verification.is_full, record_verification.full_every, record_verification.turn, heads,
          record_verification.rows_checked)
  returning id into event_id;
  return event_id;
end
$function$;
comment on function record_verification is
  'Remembers that a run found every range of verification_plan intact: {table: last id}; tables that are not named '
  'keep what is remembered of them. full_every, turn and after_run are those of the plan; after a run without a turn '
  'that was not full the next one reads every row. Returns the id of the row of verification_runs. Raises 22023 for a '
  'row that is not there and for a turn that is not the next one, 40001 if another run was recorded after after_run. '
  'What app_auditor records here is believed.';

create function _check_verification_run() returns trigger
language plpgsql security definer
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
declare
  head    record;
  next    integer;
  stored  text;
begin
  -- Before the last run is read. The chain trigger takes the same lock.
  lock table only lock_verification_runs in share update exclusive mode;
  -- A turn follows that of the run before, so that any full_every runs in a row are all turns.
  if new.turn is not null then
    select r.turn into next from _recorded_turn(new.full_every) as r;
    if new.full_every = 1 or new.turn is distinct from next then
      perform _refuse(
        'AUD-011', format('a run was refused, because turn %s of %s is not the next one', new.turn, new.full_every),
        format('The next one is %s.', coalesce('turn ' || next, 'a run that reads all rows')),
        'Record a run with select record_verification(…).', tg_argv[0], tg_op);
    end if;
  end if;
  for head in
    select h.key as table_name, h.value ->> 'id' as id, h.value ->> 'row_hash' as row_hash
    from jsonb_each(new.heads) as h
  loop
    perform _chain_or_error(head.table_name);
    execute format('select t.row_hash::text from only %I as t where t.id = $1', head.table_name)
      into stored using head.id::bigint;
    if stored is distinct from head.row_hash or stored is null then
      perform _refuse(
        'AUD-011', format('a run was refused, because %s has no such row', head.table_name),
        format('Row %s has the hash %s, not %s.', head.id, coalesce(stored, 'of no row'), head.row_hash),
        'Record a run with select record_verification(…).', tg_argv[0], tg_op);
    end if;
  end loop;
  -- What was remembered is not forgotten: while it is there, and while it is gone and nobody acknowledged that.
  for head in
    select h.table_name, h.last_id as id, h.row_hash
    from _verified_heads() as h join only chains as c on c.table_name = h.table_name
    where (new.heads -> h.table_name ->> 'id')::bigint >= h.last_id is not true
  loop
    execute format('select t.row_hash::text from only %I as t where t.id = $1', head.table_name)
      into stored using head.id;
    if stored is not distinct from head.row_hash
       or not (_compare_with_last_run(_verdict(head.table_name, 'intact', ''))).is_valid then
      perform _refuse(
        'AUD-011', format('a run was refused, because it forgets rows of %s', head.table_name),
        format('The last run read them to row %s.', head.id),
        'Record a run with select record_verification(…).',
        tg_argv[0], tg_op);
    end if;
  end loop;
  -- A counter that went back is reported until somebody accepts the guards as they are.
  new.counters := _counters()
    || coalesce((select jsonb_object_agg(l.sequence_name, l.recorded) from _lowered_counters() as l), '{}');
  return new;
end
$function$;
comment on function _check_verification_run is
  'Row trigger of verification_runs: refuses (AUD-011) heads that are not there, a turn that is not the next one and a '
  'run that forgets rows, and records where the counters stand. Argument: table.';
