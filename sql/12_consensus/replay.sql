-- Re-derivation: what the bootstrap and the applied proposals lead to, believing nothing but signatures. The one place that
-- everything asks that relies on consensus; what the tables say besides is only compared with it.

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
  'The agents of the bootstrap whose signature does not hold for the list as it stands: all others too, once one is '
  'added, removed or altered.';

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

create function _replay_consensus(only_agents boolean default false, to_version bigint default null)
returns setof replayed_change
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  entry      record;
  counted    record;
  active     jsonb;  -- the agents of that moment: agent_id → public key in hex
  ever       jsonb;
  eligible   jsonb;
  policy     jsonb := '{"tighten": 1, "loosen": 2, "govern": 2}';
  state      text  := _state_text(0, null, '[]');
  direction  text;
  needed     integer;
  gone       text;
  result     replayed_change;
begin
  select 0, b.problem into result.version, result.problem from _bootstrap_problems() as b order by b.id limit 1;
  if found then
    return next result;
    return;
  end if;
  select coalesce(jsonb_object_agg(a.agent_id, encode(a.public_key, 'hex')), '{}') into active
  from only agents as a where a.proposal_id is null;
  ever := active;
  -- Agents and quorum follow from few entries. The state before an entry need not be replayed to be known: its proposer signed its hash.
  for entry in
    select c.version, c.proposal_id as logged_proposal, c.digest::text as logged_digest, c.kind::text as logged_kind,
           c.previous::text as logged_previous, c.state_text as logged_text, c.state_hash::text as logged_hash,
           c.approvals, c.approved_by, c.created_at as applied_at, b.state_text as text_before,
           p.proposal_id, p.origin, p.kind::text as kind, p.previous::text as previous, p.payload, p.reason, p.proposer,
           p.proposer_key, p.expires_at, p.signed_text, p.digest::text as digest, p.signature
    from only risk_change_log as c
    left join only proposals as p on p.proposal_id = c.proposal_id
    left join only risk_change_log as b on b.version = c.version - 1
    where (to_version is null or c.version <= to_version)
      and (not only_agents or c.version = to_version or c.kind::text in ('agent_enrol', 'agent_revoke', 'quorum_policy')
           or p.kind::text in ('agent_enrol', 'agent_revoke', 'quorum_policy'))
    order by c.version
  loop
    result := row(entry.version, entry.kind, entry.logged_proposal, entry.payload, entry.reason, entry.approved_by,
                  entry.applied_at, null, null);
    begin
      if only_agents and entry.version > 1 then
        state := coalesce(entry.text_before, '');
      end if;
      gone := case entry.kind when 'agent_revoke' then entry.payload ->> 'agent_id'
                              when 'agent_enrol'  then entry.payload ->> 'replaces' end;
      eligible := active - entry.proposer::text - coalesce(gone, '');
      result.problem := case
        when entry.proposal_id is null
          then 'its proposal is not there'
        when entry.previous <> _text_digest(state) or entry.logged_previous <> entry.previous
          or entry.version <> (state::jsonb ->> 'version')::bigint + 1
          then 'it was made for another state than the one before it'
        when entry.digest <> entry.logged_digest or entry.digest <> _text_digest(entry.signed_text)
          or entry.kind <> entry.logged_kind or entry.origin <> _installation_origin()
          or entry.signed_text <> _proposal_text(entry.origin, entry.proposal_id, entry.kind, entry.previous, entry.payload,
                                                entry.reason, entry.proposer, entry.expires_at)
          then 'the signed text says otherwise than the columns'
        when active ->> entry.proposer::text is distinct from encode(entry.proposer_key, 'hex')
          then 'its proposer was no agent then, or had another key'
        when not _signs(entry.proposer_key, entry.signed_text, entry.signature)
          then 'the proposer''s signature does not hold'
        when exists (select from only votes as v
                     where v.proposal_id = entry.proposal_id and v.decision::text = 'REJECT'::text)
          then 'it was rejected'
        end;
      if result.problem is null then
        -- Its quorum, counted again: distinct agents of that time with their keys, never the proposer nor whom it removes.
        select count(*) as given, count(distinct v.agent_id) as agents,
               coalesce(bool_and(
                 eligible ->> v.agent_id::text = v.public_key
                 and _signs(decode(v.public_key, 'hex'),
                           _approval_text(entry.origin, 'APPROVE', entry.digest, v.agent_id, v.signed_at),
                           decode(v.signature, 'hex'))), false) as hold,
               coalesce(bool_or(v.agent_id = entry.approved_by), false) as completed
        into counted
        from jsonb_to_recordset(entry.approvals)
          as v(agent_id uuid, public_key text, signed_at timestamptz, signature text);
        direction := _change_direction(entry.kind, entry.payload, state::jsonb);
        needed := case
          when direction = 'govern' then
            greatest(1, least((select count(*)::integer from jsonb_object_keys(eligible)),
                              case when entry.kind = 'quorum_policy'
                                   then (select max(m.value::integer) from jsonb_each_text(policy) as m)
                                   else (policy ->> 'govern')::integer end))
          else (policy ->> direction)::integer end;
        result.state_text := _next_state_text(state, entry.kind, entry.payload);
        result.problem := case
          when not counted.hold or counted.agents <> counted.given
            then 'an approval does not hold'
          when counted.given < needed
            then format('it has %s approvals and needs %s', counted.given, needed)
          when not counted.completed
            then 'the agent that completed the quorum did not approve'
          when entry.logged_text is distinct from result.state_text
            or entry.logged_hash <> _text_digest(result.state_text)
            then 'it leads to another state than is stored'
          when entry.kind = 'agent_revoke' and not active ? gone
            then 'it revokes nobody'
          when entry.kind = 'agent_enrol'
            and (ever ? (entry.payload ->> 'agent_id') or not coalesce(active ? gone, true)
                 or exists (select from jsonb_each_text(ever) as e where e.value = entry.payload ->> 'public_key'))
            then 'it enrols whom it cannot'
          end;
      end if;
    exception
      when insufficient_privilege then raise;  -- row-level security: nothing is known
      when others then
        result.problem := format('it cannot be read: %s (%s)', sqlerrm, sqlstate);
    end;
    return next result;
    if result.problem is not null then
      return;
    end if;
    state := result.state_text;
    active := active - coalesce(gone, '');
    if entry.kind = 'agent_enrol' then
      active := active || jsonb_build_object(entry.payload ->> 'agent_id', entry.payload ->> 'public_key');
      ever := ever || active;
    elsif entry.kind = 'quorum_policy' then
      policy := entry.payload;
    end if;
  end loop;
end
$function$;
comment on function _replay_consensus is
  'Replays the bootstrap and the applied proposals in order, every signature and every quorum, up to the first that '
  'does not hold. With only_agents the entries that changed agents or quorum, and that of to_version.';
