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

select _grant('execute on routine', '{report_period, report_figures, verification_activity}', '{app_auditor}');
