-- The replay: what the bootstrap and the applied proposals lead to, believing nothing but signatures
--
-- The replay starts with the agents of the bootstrap, each of whom signed the whole list, and goes through
-- risk_change_log by version. It keeps what holds at that place: the agents, the quorum, the state. An entry holds if
--
--   its proposal was made for that state, and its text, digest and columns agree    _proposal_problem
--   its proposer was an agent there, and signed it
--   nobody rejected it
--   enough of the agents there, none of them barred, signed approvals               _approvals_problem
--   it leads to the state that is stored, and enrols or revokes what can be         _effect_problem
--
-- From the first entry that does not hold, nothing is known, and the replay ends. Nothing depends on a clock or on what
-- other tables hold. Whatever relies on consensus asks here; what the tables hold besides is only compared
-- (problems.sql).

create function _bootstrap_problems()
returns table (id bigint, problem text)
language sql stable
set search_path from current
as $function$
  with first as (
    select a.id, a.public_key, a.signature,
           jsonb_build_object('agent_id', a.agent_id, 'name', a.name, 'role', a.role,
                              'public_key', encode(a.public_key, 'hex')) as member
    from only agents as a where a.proposal_id is null),
  list as (select count(*) as members, _bootstrap_text(_installation_origin(), jsonb_agg(f.member)) as text
           from first as f)
  select f.id, case when list.members < 3 then 'the bootstrap has fewer than three agents'
                    else 'its signature is not for the bootstrap as it stands' end
  from first as f cross join list
  where list.members < 3 or not _signs(f.public_key, list.text, f.signature);
$function$;
comment on function _bootstrap_problems is
  'The agents of the bootstrap whose signature does not hold for the list as it stands. Once an agent is added, '
  'removed or altered, no signature holds.';

create type replayed_change as (
  version      bigint,
  kind         text,
  proposal_id  uuid,
  payload      jsonb,
  reason       text,
  approved_by  uuid,
  applied_at   timestamptz,
  state_text   text,
  problem      text
);
comment on type replayed_change is 'An entry of risk_change_log as the replay finds it.';
comment on column replayed_change.version     is 'Its version; 0 for the bootstrap, if that does not hold.';
comment on column replayed_change.kind        is 'Kind of its proposal.';
comment on column replayed_change.proposal_id is 'Its proposal.';
comment on column replayed_change.payload     is 'The payload, as it was signed.';
comment on column replayed_change.reason      is 'The reason, as it was signed.';
comment on column replayed_change.approved_by is 'The agent whose approval completed the quorum.';
comment on column replayed_change.applied_at  is 'When it was applied.';
comment on column replayed_change.state_text  is 'The state that it leads to.';
comment on column replayed_change.problem     is 'Why it does not hold; null: it holds.';

create function _proposal_problem(change risk_change_log, proposal proposals, state text, active jsonb) returns text
language sql stable
set search_path from current
as $function$
  select case
    when proposal.proposal_id is null
      then 'its proposal is not there'
    when proposal.previous::text <> _text_digest(state) or change.previous <> proposal.previous
      or change.version <> (state::jsonb ->> 'version')::bigint + 1
      then 'it was made for another state than the one before it'
    when proposal.digest <> change.digest or proposal.digest::text <> _text_digest(proposal.signed_text)
      or proposal.kind::text <> change.kind::text or proposal.origin <> _installation_origin()
      or proposal.signed_text <> _proposal_text(proposal.origin, proposal.proposal_id, proposal.kind::text,
                                                proposal.previous::text, proposal.payload, proposal.reason,
                                                proposal.proposer, proposal.expires_at)
      then 'the signed text and the columns differ'
    when active ->> proposal.proposer::text is distinct from encode(proposal.proposer_key, 'hex')
      then 'its proposer was not an agent then, or had another key'
    when not _signs(proposal.proposer_key, proposal.signed_text, proposal.signature)
      then 'the proposer''s signature does not hold'
    when exists (select from only votes as v
                 where v.proposal_id = proposal.proposal_id and v.decision::text = 'REJECT'::text)
      then 'it was rejected'
    end;
$function$;
comment on function _proposal_problem is
  'Why the proposal of a log entry does not hold after a state, with the agents of that time (agent_id → public key '
  'in hex); null: it holds.';

create function _approvals_problem(
  change risk_change_log, proposal proposals, state text, eligible jsonb, policy jsonb
) returns text
language sql stable
set search_path from current
as $function$
  -- Distinct agents of that time, with the keys of that time.
  select case
    when not counted.hold or counted.agents <> counted.given
      then 'an approval does not hold'
    when counted.given < q.needed
      then format('it has %s approvals and needs %s', counted.given, q.needed)
    when not counted.completed
      then 'the agent that completed the quorum did not approve'
    end
  from (
    select count(*) as given, count(distinct v.agent_id) as agents,
           coalesce(bool_and(
             eligible ->> v.agent_id::text = v.public_key
             and _signs(decode(v.public_key, 'hex'),
                        _approval_text(proposal.origin, 'APPROVE', proposal.digest::text, v.agent_id, v.signed_at),
                        decode(v.signature, 'hex'))), false) as hold,
           coalesce(bool_or(v.agent_id = change.approved_by), false) as completed
    from jsonb_to_recordset(change.approvals)
      as v(agent_id uuid, public_key text, signed_at timestamptz, signature text)
  ) as counted
  cross join lateral (
    select _quorum_for(_change_direction(proposal.kind::text, proposal.payload, state::jsonb), proposal.kind::text,
                       policy, (select count(*)::integer from jsonb_object_keys(eligible))) as needed
  ) as q;
$function$;
comment on function _approvals_problem is
  'Why the approvals of a log entry are not its quorum, counted again under the policy of that time among the eligible '
  'agents of that time (agent_id → public key in hex); null: they are.';

create function _effect_problem(
  change risk_change_log, proposal proposals, state_after text, active jsonb, ever jsonb
) returns text
language sql stable
set search_path from current
as $function$
  select case
    when change.state_text is distinct from state_after or change.state_hash::text <> _text_digest(state_after)
      then 'it leads to another state than is stored'
    when proposal.kind::text = 'agent_revoke' and not active ? removed.agent
      then 'it revokes an agent that is not active'
    when proposal.kind::text = 'agent_enrol'
      and (ever ? (proposal.payload ->> 'agent_id') or not coalesce(active ? removed.agent, true)
           or exists (select from jsonb_each_text(ever) as e where e.value = proposal.payload ->> 'public_key'))
      then 'it enrols an agent or a key that was used before, or replaces an agent that is not active'
    end
  from (select _agent_removed_by(proposal.kind::text, proposal.payload) as agent) as removed;
$function$;
comment on function _effect_problem is
  'Why a log entry cannot lead where it says: another state, nobody to revoke, or an agent or key that was used '
  'before; null: it can. active and ever are the agents of that time, and all until then.';

create function _replay_entry(
  change risk_change_log, proposal proposals, state text, active jsonb, ever jsonb, policy jsonb
) returns replayed_change
language plpgsql stable
set search_path from current
as $function$
declare
  eligible   jsonb;
  approvals  text;
  result     replayed_change;
begin
  result := row(change.version, proposal.kind, change.proposal_id, proposal.payload, proposal.reason,
                change.approved_by, change.created_at, null, null);
  result.problem := _proposal_problem(change, proposal, state, active);
  if result.problem is null then
    eligible := active - proposal.proposer::text
                - coalesce(_agent_removed_by(proposal.kind::text, proposal.payload), '');
    approvals := _approvals_problem(change, proposal, state, eligible, policy);
    result.state_text := _next_state_text(state, proposal.kind::text, proposal.payload);
    result.problem := coalesce(approvals, _effect_problem(change, proposal, result.state_text, active, ever));
  end if;
  return result;
exception
  when insufficient_privilege then raise;  -- row-level security: nothing is known
  when others then
    result.problem := format('it cannot be read: %s (%s)', sqlerrm, sqlstate);
    return result;
end
$function$;
comment on function _replay_entry is
  'A log entry judged after a state: with the agents of that time, all agents until then, and the quorum of that time.';

create function _replay_consensus(only_agents boolean default false, to_version bigint default null)
returns setof replayed_change
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  entry   record;
  active  jsonb;  -- the agents at this place: agent_id → public key in hex
  ever    jsonb;  -- and all that were agents until then
  policy  jsonb := _default_quorum();
  state   text  := _state_text(0, null, '[]');
  result  replayed_change;
begin
  select 0, b.problem into result.version, result.problem from _bootstrap_problems() as b order by b.id limit 1;
  if found then
    return next result;
    return;
  end if;
  select coalesce(jsonb_object_agg(a.agent_id, encode(a.public_key, 'hex')), '{}') into active
  from only agents as a where a.proposal_id is null;
  ever := active;
  -- With only_agents: agents and quorum follow from few entries. The state before an entry need not be replayed to be
  -- known, because the entry's proposer signed its hash.
  for entry in
    select c as change, p as proposal, b.state_text as text_before
    from only risk_change_log as c
    left join only proposals as p on p.proposal_id = c.proposal_id
    left join only risk_change_log as b on b.version = c.version - 1
    where (to_version is null or c.version <= to_version)
      and (not only_agents or c.version = to_version
           or c.kind::text in ('agent_enrol', 'agent_revoke', 'quorum_policy')
           or p.kind::text in ('agent_enrol', 'agent_revoke', 'quorum_policy'))
    order by c.version
  loop
    if only_agents and (entry.change).version > 1 then
      state := coalesce(entry.text_before, '');
    end if;
    result := _replay_entry(entry.change, entry.proposal, state, active, ever, policy);
    return next result;
    if result.problem is not null then
      return;
    end if;
    state := result.state_text;
    active := active - coalesce(_agent_removed_by(result.kind, result.payload), '');
    if result.kind = 'agent_enrol' then
      active := active || jsonb_build_object(result.payload ->> 'agent_id', result.payload ->> 'public_key');
      ever := ever || active;
    elsif result.kind = 'quorum_policy' then
      policy := result.payload;
    end if;
  end loop;
end
$function$;
comment on function _replay_consensus is
  'Replays the bootstrap and the applied proposals in order, every signature and every quorum, up to the first that '
  'does not hold. With only_agents the entries that changed agents or quorum, and that of to_version.';
