-- What the tables hold besides: agents, revocations, releases and risk tables, compared with the replay
--
-- Each function takes the entries that _replay_consensus found and lists the rows that they do not derive, and what
-- they derive and is missing. _consensus_problems puts them together for the verification, _release_holds answers for
-- the lockdown (08_lockdown has placeholders for both, which this file replaces), and _require_consensus stands before
-- every proposal and every vote.

create function _agent_problems(changes replayed_change[])
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
set row_security = off
as $function$
  select 'agents', b.id, b.problem from _bootstrap_problems() as b
  where exists (select from unnest(changes) as c where c.version = 0)  -- as the replay found
  union all
  select 'risk_change_log', c.version, c.problem from unnest(changes) as c where c.problem is not null and c.version > 0
  union all
  select 'agents', a.id, 'no applied proposal enrolled it as it stands'
  from only agents as a
  where a.proposal_id is not null
    and not exists (select from unnest(changes) as c
                    where c.proposal_id = a.proposal_id and c.kind = 'agent_enrol' and c.problem is null
                      and c.payload = _enrolment_of(a))
  union all
  select 'agents', null,
         format('agent %s, which version %s enrolled, is not there', c.payload ->> 'agent_id', c.version)
  from unnest(changes) as c
  where c.kind = 'agent_enrol' and c.problem is null
    and not exists (select from only agents as a where a.proposal_id = c.proposal_id)
  union all
  select 'agent_revocations', r.id, 'no applied proposal revoked that agent'
  from only agent_revocations as r
  where not exists (select from unnest(changes) as c
                    where c.proposal_id = r.proposal_id and c.problem is null
                      and r.agent_id::text = _agent_removed_by(c.kind, c.payload))
  union all
  select 'agent_revocations', null, format('the revocation that version %s made is not there', c.version)
  from unnest(changes) as c
  where c.problem is null and _agent_removed_by(c.kind, c.payload) is not null
    and not exists (select from only agent_revocations as r where r.proposal_id = c.proposal_id);
$function$;
comment on function _agent_problems is
  'Where agents, revocations and the change log are not what the bootstrap and the applied proposals made them.';

create function _release_problems(changes replayed_change[])
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
as $function$
  select 'lockdown_events', l.id,
         case when c.proposal_id is null then 'no applied proposal released that damage'
              else 'its release was used by an earlier event' end
  from (select e.id, e.proposal_id, e.damage, e.row_hash::text as row_hash,
               row_number() over (partition by e.proposal_id order by e.id) as use
        from only lockdown_events as e where e.event_type::text = 'RELEASED'::text) as l
  left join unnest(changes) as c
    on c.proposal_id = l.proposal_id and c.kind = 'lockdown_release' and c.problem is null
      and c.payload -> 'damage' = l.damage
  where (c.proposal_id is null or l.use > 1)
    -- A forged event that a release acknowledged as damage stays in the chain, and claims nothing any more.
    and not exists (
      select from unnest(changes) as r
      where r.kind = 'lockdown_release' and r.problem is null
        and r.payload -> 'damage' @> jsonb_build_array(jsonb_build_object(
          'table', 'lockdown_events', 'id', l.id, 'verdict', 'consensus_mismatch', 'actual_hash', l.row_hash)))
  union all
  select 'lockdown_events', null, format('the event of the release that version %s made is not there', c.version)
  from unnest(changes) as c
  where c.kind = 'lockdown_release' and c.problem is null
    and not exists (select from only lockdown_events as l where l.event_type::text = 'RELEASED'::text
                    and l.proposal_id = c.proposal_id);
$function$;
comment on function _release_problems is
  'RELEASED events of the lockdown that no applied release made, and applied releases without one.';

-- A placeholder: 17_risk/verify.sql replaces it when 23_risk_config brings the tables.
create function _risk_table_problems(changes replayed_change[])
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
as $function$
  select null::text, null::bigint, null::text where false;
$function$;
comment on function _risk_table_problems is
  'Versions of limits and thresholds that the applied proposals do not say. None, until 23_risk_config brings the '
  'tables.';

-- A placeholder: 16_retention/archive.sql replaces it when 007_own_tables brings the table.
create function _segment_problems(changes replayed_change[])
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
as $function$
  select null::text, null::bigint, null::text where false;
$function$;
comment on function _segment_problems is
  'Archived segments that the applied proposals do not say. None, until 007_own_tables brings the table.';

-- Replaces the placeholder in 08_lockdown/consensus.sql.
create or replace function _consensus_problems()
returns table (table_name text, id bigint, problem text)
language plpgsql stable security definer
set search_path from current
as $function$
declare
  changes  replayed_change[] := array(select c from _replay_consensus() as c);
begin
  return query select p.* from _agent_problems(changes) as p
    union all select p.* from _release_problems(changes) as p
    union all select p.* from _segment_problems(changes) as p
    union all select p.* from _risk_table_problems(changes) as p;
end
$function$;
comment on function _consensus_problems is
  'Every row that consensus is said to have made and that bootstrap and signed, applied proposals do not derive; id is '
  'the row''s id, the version in the risk tables, or null for a missing row. No row: all is derived.';

-- Replaces the placeholder in 08_lockdown/consensus.sql.
create or replace function _release_holds(event lockdown_events) returns boolean
language sql stable security definer
set search_path from current
as $function$
  select coalesce(event.event_type::text = 'RELEASED'::text
    and not exists (select from only lockdown_events as l where l.proposal_id = event.proposal_id and l.id < event.id)
    and exists (
      select from only risk_change_log as c
      cross join lateral _replay_consensus(true, c.version) as r
      where c.proposal_id = event.proposal_id and c.kind::text = 'lockdown_release'::text
        and r.version = c.version and r.problem is null and r.kind = 'lockdown_release'
            and r.payload -> 'damage' = event.damage), false);
$function$;
comment on function _release_holds is
  'Whether an event is the only one of an applied lockdown_release that lists its damage, signed by its proposer and '
  'enough other agents, each of which the bootstrap or a signed proposal made an agent.';

create function _require_consensus() returns void
language plpgsql
set search_path from current
as $function$
declare
  broken  record;
begin
  select p.* into broken
  from (select max(l.version) as version from only risk_change_log as l) as last
  cross join lateral _agent_problems(array(select c from _replay_consensus(true, last.version) as c)) as p
  limit 1;
  if found then
    perform _refuse_consensus(
      'RSK-007', 'agents or change log are not what the agents signed',
      format('%s %s: %s.', broken.table_name, coalesce(broken.id::text, ''), broken.problem),
      'The tables were changed by force. Run select * from verify_config_integrity(), and put back what stood there.');
  end if;
end
$function$;
comment on function _require_consensus is
  'Raises RSK-007 unless every agent and every revocation is derived from the bootstrap or a signed, applied proposal, '
  'and the current state from the last one. Each proposal signs the whole state before it.';
