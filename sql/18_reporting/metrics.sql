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

select _grant('execute on routine',
              '{metrics, costly_metrics, watch_events, _figures, _seconds_of, _figures_of_place, _figures_of_lockdown,
                _figures_of_chains, _figures_of_verification, _figures_of_checkpoints, _figures_of_attempts,
                _figures_of_locks, _figures_of_proposals, _figures_of_guards, _figures_of_damage, _figures_of_growth,
                _figures_of_headroom}',
              '{app_auditor}');
