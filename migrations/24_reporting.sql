-- 24_reporting: what people look at: figures for the report, the exporter and the alerts. It stores nothing.
-- Built from sql/ by bin/build; change it there.
-- depends: 23_risk_config

-- The frame of every migration but the first: one DO block, so one transaction and one checksum however it is applied.
-- Somebody else's function could stand in front of PostgreSQL's own until search_path is set, so everything before that
-- is named with its schema. sql/01_install/migrations.sql explains the rest.

do $migration$
declare
  home  pg_catalog.text := pg_catalog.current_schema();
begin
perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true),
        pg_catalog.set_config('quote_all_identifiers', 'off', true),
        pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
if not exists (select from pg_proc as p
               join pg_namespace as n on n.oid = p.pronamespace
               join pg_class as c on c.relnamespace = n.oid and c.relname = 'installed_migrations'
               join pg_roles as r on r.oid = p.proowner and r.oid = c.relowner
               where p.proname = '_begin_migration' and n.nspname = home
                 and r.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
if not _begin_migration('24_reporting') then return; end if;

-- sql/18_reporting/activity.sql

-- How many rows each chained table got on each day
--
-- Nothing is counted, as in 16_retention/growth.sql: the first row of a day is found by halving, and the difference of
-- two ids is a number of rows. From there the next row says the next day, so days without rows cost nothing, and a day
-- costs the same with a thousand rows as with ten million.

create function daily_activity(from_time timestamptz, to_time timestamptz)
returns table (table_name text, day date, row_count bigint)
language plpgsql stable
set search_path from current
set timezone = 'UTC' set row_security = off set enable_seqscan = off set jit = off
as $function$
declare
  chain   record;
  before  bigint;
  last    bigint;
begin
  if (isfinite(from_time) and isfinite(to_time) and from_time < to_time) is not true then
    raise exception 'from % to % is not a period', coalesce(from_time::text, 'NULL'), coalesce(to_time::text, 'NULL')
      using errcode = '22023', hint = 'Give two times, the earlier one first.';
  end if;
  perform _require_register();
  for chain in select c.table_name from only chains as c order by c.position loop
    continue when _missing_part(chain.table_name) is not null;
    before := _last_id_before(chain.table_name, from_time);
    last := _last_id_before(chain.table_name, to_time);
    while before < last loop
      execute format('select t.created_at::date from only %I as t where t.id > $1 order by t.id limit 1',
                     chain.table_name) into day using before;
      -- Where times go back, which is damage, a row is a day of its own.
      row_count := greatest(least(_last_id_before(chain.table_name, day + interval '1 day'), last) - before, 1);
      table_name := chain.table_name;
      return next;
      before := before + row_count;
    end loop;
  end loop;
end
$function$;
comment on function daily_activity is
  'Rows that each chained table got on each day (UTC) of a period: from_time is in it, to_time is not. Days without '
  'rows are left out, and so are rows that retention removed. Raises 22023 for what is no period.';
perform _grant('execute on routine', '{daily_activity}', '{app_auditor}');

-- sql/18_reporting/report_period.sql

-- What a report says of a period, in figures: which period, how much happened in it, and whether anybody verified
--
-- A report reads all of this in one transaction, REPEATABLE READ and READ ONLY, and records nothing. None of these
-- functions looks at the clock, so that the same rows and the same period always give the same report.

create function report_period(from_time timestamptz default null, to_time timestamptz default null)
returns table (begins_at timestamptz, ends_at timestamptz)
language plpgsql stable
set search_path from current
set timezone = 'UTC' set row_security = off set enable_seqscan = off set jit = off
as $function$
declare
  chain   record;
  oldest  timestamptz;
  newest  timestamptz;
begin
  for chain in
    select s.table_name, s.last_created_at from chain_status() as s where s.last_created_at is not null
  loop
    execute format('select least($1, (select t.created_at from only %I as t order by t.id limit 1))', chain.table_name)
      into oldest using oldest;
    newest := greatest(newest, chain.last_created_at);
  end loop;
  begins_at := coalesce(from_time, date_trunc('day', least(oldest, to_time)));
  ends_at := coalesce(to_time, date_trunc('day', greatest(newest, from_time)) + interval '1 day');
  if (isfinite(begins_at) and isfinite(ends_at) and begins_at < ends_at) is not true then
    raise exception 'from % to % is not a period', coalesce(begins_at::text, 'NULL'), coalesce(ends_at::text, 'NULL')
      using errcode = '22023', hint = 'Give two times, the earlier one first.';
  end if;
  return next;
end
$function$;
comment on function report_period is
  'One row: the period of a report: what is given, else the days (UTC) of the first and of the last row of all chains. '
  'begins_at is in it, ends_at is not. Raises 22023 for what is no period.';
create function report_figures(from_time timestamptz, to_time timestamptz)
returns table (figure text, number bigint)
language sql stable
set search_path from current
set row_security = off set jit = off
as $function$
  with
  deliveries as (
    select count(*) as number from only webhook_deliveries as d
    where d.created_at >= from_time and d.created_at < to_time),
  unused as (
    select count(*) as number from vw_unprocessed_deliveries as d
    where d.created_at >= from_time and d.created_at < to_time),
  signals as (
    select count(*) as number, count(*) filter (where not s.hmac_verified) as unverified from only signals as s
    where s.created_at >= from_time and s.created_at < to_time),
  debates as (
    select count(*) as number, count(*) filter (where d.is_timeout) as timeouts from only ai_debates as d
    where d.created_at >= from_time and d.created_at < to_time),
  decisions as (
    select count(*) filter (where d.allowed) as allowed, count(*) filter (where not d.allowed) as refused
    from only risk_decisions as d where d.created_at >= from_time and d.created_at < to_time),
  orders as (
    select count(*) as number from only order_execution as o
    where o.created_at >= from_time and o.created_at < to_time),
  unpermitted as (
    select count(*) as number from vw_orders_without_permission as o
    where o.created_at >= from_time and o.created_at < to_time),
  events as (
    select count(*) filter (where e.event_type::text in ('FILL', 'PARTIAL_FILL')) as fills,
           count(*) filter (where e.event_type::text = 'REJECTED') as rejections,
           count(*) filter (where e.event_type::text = 'KILL_SWITCH') as kill_switches
    from only order_events as e where e.created_at >= from_time and e.created_at < to_time),
  changes as (
    select count(*) as number from only risk_change_log as c
    where c.created_at >= from_time and c.created_at < to_time),
  lockdowns as (
    select count(*) as number from only lockdown_events as l
    where l.event_type::text = 'ENGAGED' and l.created_at >= from_time and l.created_at < to_time)
  select f.figure, f.number
  from deliveries, unused, signals, debates, decisions, orders, unpermitted, events, changes, lockdowns
  cross join lateral (values
    ('webhook_deliveries', deliveries.number), ('deliveries_without_signal', unused.number),
    ('signals', signals.number), ('signals_not_authenticated', signals.unverified),
    ('ai_answers', debates.number), ('ai_timeouts', debates.timeouts),
    ('decisions_allowed', decisions.allowed), ('decisions_refused', decisions.refused),
    ('orders', orders.number), ('orders_without_permission', unpermitted.number),
    ('fills', events.fills), ('rejections', events.rejections), ('kill_switches', events.kill_switches),
    ('changes_applied', changes.number), ('lockdowns_engaged', lockdowns.number)) as f(figure, number);
$function$;
comment on function report_figures is
  'How much happened in a period, a row for each figure, always the same figures in the same order. from_time is in '
  'the period, to_time is not.';
create function verification_activity(from_time timestamptz, to_time timestamptz)
returns table (
  day               date,
  full_runs         bigint,
  partial_runs      bigint,
  rows_checked      bigint,
  longest_pause     interval,
  refused_attempts  bigint
)
language sql stable
set search_path from current
set timezone = 'UTC' set row_security = off set jit = off
as $function$
  with runs as (
    select r.created_at, r.is_full or coalesce(r.turn = r.full_every - 1, false) as is_full, r.rows_checked,
           r.created_at - lag(r.created_at) over by_id as pause,
           a.attempts - lag(a.attempts) over by_id as refused
    from only verification_runs as r
    cross join lateral (select coalesce(sum(c.value::bigint), 0)::bigint as attempts
                        from jsonb_each_text(r.counters) as c
                        where starts_with(c.key, 'attempts_')) as a
    where r.created_at < to_time
    window by_id as (order by r.id))
  select r.created_at::date, count(*) filter (where r.is_full), count(*) filter (where not r.is_full),
         sum(r.rows_checked)::bigint, max(r.pause), sum(greatest(r.refused, 0))::bigint
  from runs as r
  where r.created_at >= from_time
  group by r.created_at::date
  order by r.created_at::date;
$function$;
comment on function verification_activity is
  'Recorded verification runs by day (UTC), all of which found nothing wrong; full_runs read every row, or the last '
  'turn of them. longest_pause is the longest time that a '
  'run came after the one before. refused_attempts were counted since the run before, whenever they were made: a run '
  'remembers where the counters stood.';
perform _grant('execute on routine', '{report_period, report_figures, verification_activity}', '{app_auditor}');

-- sql/18_reporting/report_trades.sql

-- The chain of custody of a trade: from the bytes that arrived to what the exchange said of each order
--
-- A trade is a signal and what came of it. Its rows are named first, as table and id. A second call gives rows as they
-- were hashed: with the hash before each, anybody can compute its own again.

create function report_trades(from_time timestamptz, to_time timestamptz, newest integer default 400)
returns table (correlation_id uuid)
language sql stable
set search_path from current
set row_security = off set jit = off
as $function$
  select s.correlation_id from only signals as s
  where s.created_at >= from_time and s.created_at < to_time
  order by s.id desc limit newest;
$function$;
comment on function report_trades is
  'The newest signals of a period, the newest first. from_time is in the period, to_time is not.';
create function trade_rows(correlation_ids uuid[])
returns table (correlation_id uuid, step integer, table_name text, row_id bigint)
language sql stable
set search_path from current
set row_security = off set enable_seqscan = off set jit = off
as $function$
  with trades as materialized (
    select s.id, s.correlation_id, s.delivery_id, t.place
    from unnest(trade_rows.correlation_ids) with ordinality as t(correlation_id, place)
    join only signals as s on s.correlation_id = t.correlation_id)
  select r.correlation_id, r.step, r.table_name, r.row_id
  from (
    select t.place, t.correlation_id, 1 as step, 'webhook_deliveries' as table_name, t.delivery_id as row_id
    from trades as t where t.delivery_id is not null
    union all
    select t.place, t.correlation_id, 2, 'signals', t.id from trades as t
    union all
    select t.place, t.correlation_id, 3, 'ai_debates', d.id
    from trades as t join only ai_debates as d on d.correlation_id = t.correlation_id
    union all
    select t.place, t.correlation_id, 4, 'risk_decisions', d.id
    from trades as t join only risk_decisions as d on d.correlation_id = t.correlation_id
    union all
    select t.place, t.correlation_id, 5, 'order_execution', o.id
    from trades as t join only order_execution as o on o.correlation_id = t.correlation_id
    union all
    select t.place, t.correlation_id, 6, 'order_events', e.id
    from trades as t
    join only order_execution as o on o.correlation_id = t.correlation_id
    join only order_events as e on e.order_execution_id = o.id) as r
  order by r.place, r.step, r.row_id;
$function$;
comment on function trade_rows is
  'The rows of trades in the order of custody: delivery, signal, debates, decisions, orders, events. A correlation_id '
  'that no signal has gives no row.';
create function _as_jsonb(row_data text) returns jsonb
language plpgsql immutable
set search_path from current
as $function$
begin
  return row_data::jsonb;
exception when data_exception or program_limit_exceeded then
  return null;  -- a column of type json may hold NUL, half a surrogate pair, or 1e400000
end
$function$;
comment on function _as_jsonb is 'The row as jsonb; null if it holds what json may hold and jsonb may not.';
create function rows_as_hashed(table_name text, ids bigint[], longest integer default null)
returns table (
  id             bigint,
  created_at     timestamptz,
  previous_hash  text,
  row_hash       text,
  row_data       text,
  characters     bigint,
  members        jsonb
)
language plpgsql stable
set search_path from current
set row_security = off
set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres'
set enable_seqscan = off set enable_sort = off set jit = off
as $function$
begin
  perform _require_chain(table_name);
  return query execute _fill($query$
    select r.id, r.created_at, case when r.id = s.id + 1 then s.row_hash else p.row_hash::text end, r.row_hash,
           left(r.row_data, $2), length(r.row_data)::bigint, m.members
    from ({rows:s}) as r
    cross join _chain_start({name:L}) as s
    left join only {name:I} as p on p.id = r.id - 1
    cross join lateral (
      select jsonb_object_agg(e.key, case when length(e.value::text) > 1000 then to_jsonb(left(e.value #>> '{}', 1000))
                                          else e.value end) as members
      from jsonb_each(_as_jsonb(r.row_data)) as e) as m
    where r.id = any ($1)
    order by r.id
  $query$, 'rows', chain_rows_sql(table_name), 'name', table_name) using ids, coalesce(longest, 2147483647);
end
$function$;
comment on function rows_as_hashed is
  'Rows of a chain as they were hashed, and the hash before each, null if that row is missing: row_hash is the SHA-256 '
  'of previous_hash (32 raw bytes) and the UTF-8 bytes of row_data, which is cut to its longest first characters, of '
  'characters in all. members are those of the row, long ones cut; null if jsonb cannot hold one. Ids that are not '
  'there give no row.';
perform _grant('execute on routine', '{report_trades, trade_rows, rows_as_hashed, _as_jsonb}', '{app_auditor}');

-- sql/18_reporting/report_limits.sql

-- The limits over time, from the log of applied changes alone: each row of it holds the complete state it led to

create function limits_over_time(from_time timestamptz, to_time timestamptz)
returns table (
  version                   bigint,
  applied_at                timestamptz,
  kind                      text,
  proposal_id               uuid,
  proposer                  text,
  approvers                 text[],
  reason                    text,
  max_position_size_pct     numeric,
  daily_drawdown_limit_pct  numeric,
  max_leverage_ratio        numeric,
  kill_thresholds           jsonb
)
language sql stable
set search_path from current
set row_security = off set jit = off
as $function$
  select c.version, c.created_at, c.kind::text, c.proposal_id, a.name::text, v.names, p.reason,
         (s.state -> 'limits' ->> 'max_position_size_pct')::numeric,
         (s.state -> 'limits' ->> 'daily_drawdown_limit_pct')::numeric,
         (s.state -> 'limits' ->> 'max_leverage_ratio')::numeric,
         s.state -> 'kill_thresholds'
  from only risk_change_log as c
  cross join lateral (select c.state_text::jsonb as state) as s
  left join only proposals as p on p.proposal_id = c.proposal_id
  left join only agents as a on a.agent_id = p.proposer
  left join lateral (
    select array_agg(coalesce(g.name::text, i.value ->> 'agent_id') order by i.place) as names
    from jsonb_array_elements(c.approvals) with ordinality as i(value, place)
    left join only agents as g on g.agent_id::text = i.value ->> 'agent_id') as v on true
  where c.created_at < to_time
    and c.version >= coalesce((select max(b.version) from only risk_change_log as b where b.created_at < from_time), 0)
  order by c.version;
$function$;
comment on function limits_over_time is
  'Every state that applied in a period: first the one that was in force when it began, then each change. Null limits: '
  'none were set yet.';
perform _grant('execute on routine', '{limits_over_time}', '{app_auditor}');

-- sql/18_reporting/figures.sql

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

-- sql/18_reporting/figures_costly.sql

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

-- sql/18_reporting/metrics.sql

-- What a monitor asks: metrics() at each scrape, costly_metrics() every half minute, watch_events() for what happened
--
-- A part that fails takes no other with it: its figures are left out, alpha_db_part_up says 0 for it, and
-- alpha_db_part_error_info says why. So whoever drops or locks a table of ours does not hide the rest.
--
-- metrics() counts no rows. It looks up the ends of each chain by primary key, so it costs the same over ten million
-- rows as over ten. A lock that somebody holds costs it 0.1 s, no more.

create function _figures(parts text[])
returns table (name text, labels jsonb, value double precision)
language plpgsql volatile
set search_path from current
set lock_timeout = '100ms'
as $function$
declare
  part     text;
  problem  text;
begin
  foreach part in array parts loop
    begin
      return query execute format('select f.name, f.labels, f.value from %I() as f', '_figures_of_' || part);
      problem := null;
    exception when others then
      problem := sqlstate;
    end;
    return query select 'alpha_db_part_up', jsonb_build_object('part', part),
                        (problem is null)::integer::double precision;
    if problem is not null then
      return query select 'alpha_db_part_error_info', jsonb_build_object('part', part, 'code', problem),
                          1::double precision;
    end if;
  end loop;
end
$function$;
comment on function _figures is
  'The figures of some parts, each followed by whether it could be read, and the SQLSTATE if it could not.';
create function metrics()
returns table (name text, labels jsonb, value double precision)
language sql volatile
set search_path from current
as $function$
  select f.* from _figures('{place, lockdown, chains, verification, checkpoints, attempts, locks, proposals}') as f;
$function$;
comment on function metrics is
  'The figures of this moment, in Prometheus'' words: name, labels, value. It counts no rows, so it may be called '
  'every few seconds.';
create function costly_metrics()
returns table (name text, labels jsonb, value double precision)
language sql volatile
set search_path from current
as $function$
  select f.* from _figures('{guards, damage, growth, headroom}') as f;
$function$;
comment on function costly_metrics is
  'The figures that cost a tenth of a second and more: guards, damage, growth, headroom. As metrics(), for every half '
  'minute.';
create function watch_events(after jsonb, at_most integer default 100)
returns table (table_name text, id bigint, happened_at timestamptz, event text, what text, detail jsonb)
language sql stable security definer
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
  -- A chain lets in one transaction after the other, so no lower id appears later.
  (select 'lockdown_events', l.id, l.created_at,
          case when l.event_type = 'RELEASED' and _release_holds(l) then 'lockdown_released'
               when l.event_type = 'RELEASED' then 'release_not_approved'
               when l.damage = '[]' then 'lockdown_engaged' else 'damage_found' end,
          l.reason,
          jsonb_build_object('proposal_id', l.proposal_id, 'recorded_by', l.recorded_by,
                             'damaged_places', jsonb_array_length(l.damage),
                             'damage', jsonb_path_query_array(l.damage, '$[0 to 19]'))
   from only lockdown_events as l
   where l.id > coalesce((after ->> 'lockdown_events')::bigint, 0) order by l.id limit at_most)
  union all
  (select 'proposals', p.id, p.created_at, 'proposal_made', p.reason,
          jsonb_build_object('proposal_id', p.proposal_id, 'kind', p.kind, 'proposer', a.name,
                             'expires_at', p.expires_at, 'status', s.status, 'approvals', s.approvals,
                             'needed', s.needed)
   from only proposals as p
   join only agents as a on a.agent_id = p.proposer
   cross join lateral proposal_progress(p.proposal_id) as s
   where p.id > coalesce((after ->> 'proposals')::bigint, 0) order by p.id limit at_most)
  union all
  (select 'risk_change_log', c.id, c.created_at, 'proposal_applied', p.reason,
          jsonb_build_object('proposal_id', c.proposal_id, 'kind', c.kind, 'version', c.version,
                             'approvals', jsonb_array_length(c.approvals))
   from only risk_change_log as c
   join only proposals as p on p.proposal_id = c.proposal_id
   where c.id > coalesce((after ->> 'risk_change_log')::bigint, 0) order by c.id limit at_most)
  order by 3, 1, 2;
$function$;
comment on function watch_events is
  'What happened after the rows that after names, {"lockdown_events": 3, "proposals": 7, "risk_change_log": 6}, oldest '
  'first: lockdown_engaged, damage_found, lockdown_released, release_not_approved, proposal_made, proposal_applied. Of '
  'each table so many rows at most.';
perform _grant('execute on routine',
              '{metrics, costly_metrics, watch_events, _figures, _seconds_of, _figures_of_place, _figures_of_lockdown,
                _figures_of_chains, _figures_of_verification, _figures_of_checkpoints, _figures_of_attempts,
                _figures_of_locks, _figures_of_proposals, _figures_of_guards, _figures_of_damage, _figures_of_growth,
                _figures_of_headroom}',
              '{app_auditor}');

perform _finish_migration('24_reporting');
end
$migration$;
