-- What a verification run remembers: which rows it read (plan.sql), how far it read each chain, the hash that stood
-- there, and where the counters stood, that of lockdown_alarm (08_lockdown/events.sql), too, once it is there.

create table verification_runs (
  id            bigserial    not null,
  is_full       boolean      not null,
  full_every    integer      null,
  turn          integer      null,
  heads         jsonb        not null,
  rows_checked  bigint       not null,
  recorded_by   text         not null,
  counters      jsonb        not null,
  row_hash      char(64)     not null,
  created_at    timestamptz  not null,
  constraint verification_runs_pkey primary key (id),
  constraint verification_runs_turn_is_one_of_full_every
    check ((full_every is null) = (turn is null) and (turn is null or not is_full and turn >= 0 and turn < full_every))
);
comment on table  verification_runs              is
  'Verification runs that found nothing wrong: what the next one need not read again. Append-only and chained.';
comment on column verification_runs.id           is 'Position in the chain.';
comment on column verification_runs.is_full      is 'Whether it read every row.';
comment on column verification_runs.full_every   is
  'In how many runs every row is read; null if this one read every row, or it is not known.';
comment on column verification_runs.turn         is
  'Which of them this is, from 0. The last one, full_every - 1, ends a sweep: every row has been read since it began.';
comment on column verification_runs.heads        is
  'For each table the last row that was read: {"signals": {"id": 5, "row_hash": "…"}}.';
comment on column verification_runs.rows_checked is 'How many rows it read.';
comment on column verification_runs.recorded_by  is 'The login that recorded it.';
comment on column verification_runs.counters     is
  'Where the sequences stood that never go back: {"attempts_…": 3}.';
comment on column verification_runs.row_hash     is 'SHA-256 of the previous row_hash and this row.';
comment on column verification_runs.created_at   is 'When the run was recorded.';

create function _counters() returns jsonb
language sql volatile security definer
set search_path from current
as $function$
  -- Until 17, a right that is missing is an error.
  select coalesce(jsonb_object_agg(c.name, case when has_sequence_privilege(c.sequence, 'usage, select')
                                                then pg_sequence_last_value(c.sequence) end)
                  filter (where c.sequence is not null), '{}')
  from (select s.name, to_regclass(format('%I.%I', current_schema(), s.name)) as sequence
        from (select a.sequence_name from only attempt_counters as a
              union all
              select 'lockdown_alarm') as s(name)) as c;
$function$;
comment on function _counters is
  'Where the sequences stand that never go back; null for one that never had a value. After a crash one may read 32 '
  'high.';

create function _verified_heads()
returns table (table_name text, last_id bigint, row_hash text, run_id bigint, lockdown_event bigint)
language sql stable
set search_path from current
set row_security = off
as $function$
  select h.key, (h.value ->> 'id')::bigint, h.value ->> 'row_hash', r.id,
         coalesce((r.heads -> 'lockdown_events' ->> 'id')::bigint, 0)
  from (select v.id, v.heads from only verification_runs as v order by v.id desc limit 1) as r
  cross join lateral jsonb_each(r.heads) as h
  where h.value ->> 'id' is not null;
$function$;
comment on function _verified_heads is
  'How far the last recorded verification run read each chain, the hash that stood there, and the last lockdown event '
  'that it knew.';
