-- Figures that cost little: metrics() gives them at each scrape
--
-- A function for each part of the installation. Each gives rows of (name, labels, value) in Prometheus' words: names
-- begin with alpha_db_, units are seconds, what only grows ends with _total, moments are Unix time and end with
-- _timestamp_seconds. What is not known has no row: no figure is better than a wrong one.

create function _seconds_of(moment timestamptz) returns double precision
language sql immutable
set search_path from current
as $function$
  select extract(epoch from moment)::double precision where isfinite(moment);
$function$;
comment on function _seconds_of is 'A moment as Unix time; null for one that is not finite.';

create function _figures_of_place()
returns table (name text, labels jsonb, value double precision)
language sql stable
set search_path from current
set row_security = off
as $function$
  select 'alpha_db_database_info',
         jsonb_build_object('database', current_database(), 'schema', current_schema(),
                            'server_version', current_setting('server_version'),
                            'installation_id', i.installation_id),
         1
  from only installation as i
  union all
  select f.name, '{}'::jsonb, f.value
  from replay_lag() as r
  cross join lateral (values ('alpha_db_in_recovery', r.in_recovery::integer::double precision),
                             ('alpha_db_replay_age_seconds', r.seconds)) as f(name, value)
  where f.value is not null;
$function$;
comment on function _figures_of_place is 'Figures: which installation this is, and whether on a standby.';

create function _figures_of_lockdown()
returns table (name text, labels jsonb, value double precision)
language plpgsql stable security definer
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
declare
  latest  lockdown_events;
begin
  select * into latest from only lockdown_events as l order by l.id desc limit 1;
  name := 'alpha_db_writers_locked_out';
  labels := '{}';
  -- As a writer does (08_lockdown/writers.sql), it believes a release that a writer has seen. Otherwise it checks the
  -- signatures; on a standby, too, because what writers have seen is not replicated.
  if latest.event_type = 'RELEASED' and not pg_is_in_recovery() then
    if latest.alarm is not distinct from pg_sequence_last_value('lockdown_alarm'::regclass)
       and not _alarm_is_raised() then
      value := 0;
      return next;
      return;
    end if;
  end if;
  value := (not _lockdown_is_lifted(latest))::integer;
  return next;
end
$function$;
comment on function _figures_of_lockdown is 'Figures: whether writers are locked out.';

create function _figures_of_chains()
returns table (name text, labels jsonb, value double precision)
language sql stable
set search_path from current
as $function$
  select f.name, jsonb_build_object('table', s.table_name), f.value
  from chain_status() as s
  cross join lateral (
    values ('alpha_db_table_readable', (s.error_code is null)::integer::double precision),
           ('alpha_db_rows_total', case when s.error_code is null then coalesce(s.last_id, 0) end),
           ('alpha_db_last_row_timestamp_seconds', _seconds_of(s.last_created_at)),
           ('alpha_db_clock_ahead_seconds',
            case when s.error_code is null
                 then coalesce(greatest(_seconds_of(s.last_created_at) - _seconds_of(clock_timestamp()), 0), 0) end))
    as f(name, value)
  where f.value is not null;
$function$;
comment on function _figures_of_chains is
  'Figures: how many rows each chain ever got, the time of its last row, and how far that is ahead of the clock.';

create function _figures_of_verification()
returns table (name text, labels jsonb, value double precision)
language sql stable
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
  select 'alpha_db_verification_runs_total', '{}'::jsonb,
         coalesce((select max(v.id) from only verification_runs as v), 0)::double precision
  union all
  (select 'alpha_db_verification_last_timestamp_seconds', '{}', _seconds_of(v.created_at)
   from only verification_runs as v order by v.id desc limit 1)
  union all
  (select 'alpha_db_verification_last_full_timestamp_seconds', '{}', _seconds_of(v.created_at)
   from only verification_runs as v where v.is_full or v.turn = v.full_every - 1 order by v.id desc limit 1)
  union all
  select 'alpha_db_verified_last_id', jsonb_build_object('table', h.table_name), h.last_id
  from _verified_heads() as h;
$function$;
comment on function _figures_of_verification is
  'Figures: recorded verification runs that found nothing wrong, and how far the last one read each chain.';

create function _figures_of_checkpoints()
returns table (name text, labels jsonb, value double precision)
language sql stable
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
  select 'alpha_db_checkpoint_runs_total', '{}'::jsonb,
         coalesce((select max(r.id) from only checkpoint_runs as r), 0)::double precision
  union all
  (select 'alpha_db_checkpoint_last_timestamp_seconds', '{"source": "database"}', _seconds_of(r.created_at)
   from only checkpoint_runs as r order by r.id desc limit 1);
$function$;
comment on function _figures_of_checkpoints is
  'Figures: runs that a checkpoint covers. Whether each was signed, and where the notes are, the database cannot know.';

create function _figures_of_attempts()
returns table (name text, labels jsonb, value double precision)
language sql stable
set search_path from current
as $function$
  select 'alpha_db_attempts_refused_total',
         jsonb_build_object('code', a.code, 'table', a.table_name, 'operation', a.operation), a.attempts
  from rejected_attempts() as a;
$function$;
comment on function _figures_of_attempts is 'Figures: refused attempts by kind.';

create function _figures_of_locks()
returns table (name text, labels jsonb, value double precision)
language sql stable
set search_path from current
as $function$
  with
  locks as materialized (
    select h.lock_name, h.granted, h.pid, h.gid, _seconds_of(clock_timestamp()) - _seconds_of(h.since) as seconds,
           case when h.pid is null then 'prepared transaction' else 'session' end as holder
    from lock_holders() as h
    where h.login is not null or h.pid is null  -- PostgreSQL's own processes give way by themselves
  ),
  waits as (
    select w.pid, max(w.seconds) as seconds,
           max(coalesce((select min(g.holder) from locks as g where g.granted and g.lock_name = w.lock_name),
                        'session')) as holder
    from locks as w where not w.granted group by w.pid
  ),
  holds as (
    select g.holder, coalesce(g.pid::text, g.gid) as transaction, max(g.seconds) as seconds
    from locks as g where g.granted group by 1, 2
  )
  select f.name, jsonb_build_object('holder', k.holder), f.value
  from (values ('prepared transaction'), ('session')) as k(holder)
  cross join lateral (select count(*) as number, coalesce(max(w.seconds), 0) as longest
                      from waits as w where w.holder = k.holder) as w
  cross join lateral (select count(*) as number, bool_and(h.seconds is not null) as is_seen,
                             max(h.seconds) as longest
                      from holds as h where h.holder = k.holder) as h
  cross join lateral (
    values ('alpha_db_lock_waiters', w.number::double precision),
           ('alpha_db_lock_longest_wait_seconds', w.longest),
           ('alpha_db_lock_holders', h.number),
           ('alpha_db_lock_longest_hold_seconds', case when h.number = 0 then 0 when h.is_seen then h.longest end))
    as f(name, value)
  where f.value is not null;
$function$;
comment on function _figures_of_locks is
  'Figures: who holds a lock of this installation, and who waits, by what holds it. How long a session has held it is '
  'left out if the caller may not see that of every one.';

create function _figures_of_proposals()
returns table (name text, labels jsonb, value double precision)
language sql stable security definer
set search_path from current
set row_security = off
set jit = off
as $function$
  with pending as materialized (
    select p.expires_at from only proposals as p
    where p.expires_at > clock_timestamp() and _proposal_status(p) = 'PENDING'
  )
  select f.name, '{}'::jsonb, f.value
  from (select count(*) as number, _seconds_of(min(p.expires_at)) as next from pending as p) as p
  cross join lateral (values ('alpha_db_proposals_pending', p.number::double precision),
                             ('alpha_db_proposal_next_expiry_timestamp_seconds', p.next)) as f(name, value)
  where f.value is not null;
$function$;
comment on function _figures_of_proposals is
  'Figures: proposals that wait for votes, and when the next of them expires.';
