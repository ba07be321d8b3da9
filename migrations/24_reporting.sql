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
-- two ids is a number of rows. So a year costs the same over a thousand rows as over ten million.

create function daily_activity(from_time timestamptz, to_time timestamptz)
returns table (table_name text, day date, row_count bigint)
language plpgsql stable
set search_path from current
set timezone = 'UTC' set row_security = off set enable_seqscan = off set jit = off
as $function$
declare
  chain   record;
  moment  timestamptz;
  before  bigint;
begin
  if (isfinite(from_time) and isfinite(to_time) and from_time < to_time) is not true then
    raise exception 'from % to % is not a period', coalesce(from_time::text, 'NULL'), coalesce(to_time::text, 'NULL')
      using errcode = '22023', hint = 'Give two times, the earlier one first.';
  end if;
  perform _require_register();
  for chain in select c.table_name from only chains as c order by c.position loop
    continue when _missing_part(chain.table_name) is not null;
    before := _last_id_before(chain.table_name, from_time);
    for day in select d::date from generate_series(date_trunc('day', from_time), to_time, interval '1 day') as d loop
      moment := least(day + interval '1 day', to_time);
      row_count := _last_id_before(chain.table_name, moment) - before;
      if row_count > 0 then
        table_name := chain.table_name;
        return next;
        before := before + row_count;
      end if;
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
    select r.created_at, r.is_full, r.rows_checked, r.created_at - lag(r.created_at) over by_id as pause,
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
  'Recorded verification runs by day (UTC), all of which found nothing wrong; longest_pause is the longest time that a '
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
    -- jsonb has no NUL, so a text that may have one stays without
    cross join lateral (
      select jsonb_object_agg(e.key, case when length(e.value::text) > 1000 then to_jsonb(left(e.value #>> '{}', 1000))
                                          else e.value end) as members
      from jsonb_each(case when position(E'\\u0000' in r.row_data) = 0 then r.row_data::jsonb end) as e) as m
    where r.id = any ($1)
    order by r.id
  $query$, 'rows', chain_rows_sql(table_name), 'name', table_name) using ids, coalesce(longest, 2147483647);
end
$function$;
comment on function rows_as_hashed is
  'Rows of a chain as they were hashed, and the hash before each, null if that row is missing: row_hash is the SHA-256 '
  'of previous_hash (32 raw bytes) and the UTF-8 bytes of row_data, which is cut to its longest first characters, of '
  'characters in all. members are those of the row, long ones cut; null if one may hold a NUL. Ids that are not there '
  'give no row.';
perform _grant('execute on routine', '{report_trades, trade_rows, rows_as_hashed}', '{app_auditor}');

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

perform _finish_migration('24_reporting');
end
$migration$;
