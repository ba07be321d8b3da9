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

select _grant('execute on routine', '{limits_over_time}', '{app_auditor}');
