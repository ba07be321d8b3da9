-- What a proposal would change, and who votes on it: for those who decide
--
-- A payload says everything that is to hold, never a difference. Here is the difference: old and new value of each
-- thing that a proposal touches, and whether that tightens or loosens it. Old is always what held in the state that the
-- proposal was made for, so a proposal reads alike before and after it was applied. The rules of the directions are
-- those of _change_direction (rules.sql): a proposal loosens if one of its rows does.
--
-- Everything here is for people. Nothing decides by it, and `alpha-db risk approve` derives it again from the signed
-- text.

create function _state_made_for(proposal proposals) returns jsonb
language sql stable
set search_path from current
set row_security = off
as $function$
  select s.state_text::jsonb
  from (select c.state_text, c.state_hash::text from only risk_change_log as c
        union all
        select e.state_text, _text_digest(e.state_text) from _state_text(0, null, '[]') as e(state_text)) as s
  where s.state_hash = proposal.previous::text
  limit 1;
$function$;
comment on function _state_made_for is
  'The state that a proposal was made for; null if this installation never had it.';

create function _proposal_direction(proposal proposals) returns text
language plpgsql stable
set search_path from current
as $function$
begin
  return _change_direction(proposal.kind::text, proposal.payload, _state_made_for(proposal));
exception when data_exception then
  return null;  -- only for what was put there by force
end
$function$;
comment on function _proposal_direction is
  'tighten, loosen or govern: what a proposal does, or did, to the state that it was made for.';

create function _changed_decimal(old_value numeric, new_value numeric) returns text
language sql immutable
set search_path from current
as $function$
  -- Lower is safer, and a limit where there was none is not, because until then nothing may be risked.
  select case when new_value = old_value then 'same' when new_value < old_value then 'tighten' else 'loosen' end;
$function$;
comment on function _changed_decimal is
  'same, tighten or loosen: what a new value of a limit does.';

create function _changed_limits(before jsonb, after jsonb)
returns table (name text, old_value text, new_value text, direction text)
language sql immutable
set search_path from current
as $function$
  select n.name, before ->> n.name, after ->> n.name,
         _changed_decimal((before ->> n.name)::numeric, (after ->> n.name)::numeric)
  from unnest('{max_position_size_pct, daily_drawdown_limit_pct, max_leverage_ratio}'::text[])
         with ordinality as n(name, place)
  order by n.place;
$function$;
comment on function _changed_limits is
  'The three limits of two states.';

create function _changed_threshold(asset text, before jsonb, after jsonb)
returns table (name text, old_value text, new_value text, direction text)
language sql immutable
set search_path from current
as $function$
  -- In quotes unless it is plain, so that no asset reads like a change: it is whatever the proposer wrote.
  select format('%s %s', case when asset ~ '^[-A-Za-z0-9._:/]+$' collate "C" then asset else to_json(asset)::text end,
                n.name), before ->> n.name, after ->> n.name,
         case when before ->> n.name is not distinct from after ->> n.name then 'same'
              when after is null then 'loosen'
              when before is null then 'tighten'
              when n.name = 'kill_loss_pct' then
                _changed_decimal((before ->> n.name)::numeric, (after ->> n.name)::numeric)
              when before ->> n.name is null then 'tighten'
              else 'loosen' end
  from unnest('{kill_loss_pct, kill_price}'::text[]) as n(name)
  where coalesce(before ->> n.name, after ->> n.name) is not null;
$function$;
comment on function _changed_threshold is
  'The threshold of an asset in two states; null where there is none.';

create function _changed_state(proposal proposals)
returns table (name text, old_value text, new_value text, direction text)
language sql stable
set search_path from current
as $function$
  select d.*
  from (select s.before, _next_state_text(s.before::text, proposal.kind::text, proposal.payload)::jsonb as after
        from _state_made_for(proposal) as s(before)) as s
  cross join lateral (select proposal.payload ->> 'asset') as p(asset)
  cross join lateral (
    select c.* from _changed_limits(s.before -> 'limits', s.after -> 'limits') as c
    where proposal.kind::text = 'risk_config'::text
    union all
    select c.*
    from _changed_threshold(
      p.asset,
      (select t.value from jsonb_array_elements(s.before -> 'kill_thresholds') as t
       where t.value ->> 'asset' = p.asset),
      (select t.value from jsonb_array_elements(s.after -> 'kill_thresholds') as t
       where t.value ->> 'asset' = p.asset)) as c
    where proposal.kind::text = 'asset_kill_threshold'::text) as d;
$function$;
comment on function _changed_state is
  'What a proposal of limits or of a threshold changes.';

create function _changed_quorum(proposal proposals)
returns table (name text, old_value text, new_value text, direction text)
language sql stable
set search_path from current
set row_security = off
as $function$
  select format('approvals to %s', n.name), o.policy ->> n.name, proposal.payload ->> n.name,
         case when o.policy -> n.name = proposal.payload -> n.name then 'same' else 'govern' end
  from unnest('{tighten, loosen, govern}'::text[]) with ordinality as n(name, place)
  cross join lateral (
    select coalesce((select q.payload
                     from only risk_change_log as c join only proposals as q on q.proposal_id = c.proposal_id
                     where c.kind::text = 'quorum_policy'::text
                       and c.version <= (_state_made_for(proposal) ->> 'version')::bigint
                     order by c.id desc limit 1), _default_quorum())) as o(policy)
  where proposal.kind::text = 'quorum_policy'::text
  order by n.place;
$function$;
comment on function _changed_quorum is
  'What a proposal of a quorum changes.';

create function _changed_agents(proposal proposals)
returns table (name text, old_value text, new_value text, direction text)
language sql stable
set search_path from current
set row_security = off
as $function$
  select 'agent',
         (select format('%s (%s), key %s', a.name, a.role, encode(a.public_key, 'hex')) from only agents as a
          where a.agent_id::text = _agent_removed_by(proposal.kind::text, proposal.payload)),
         case when proposal.kind::text = 'agent_enrol'::text then
           format('%s (%s), key %s', proposal.payload ->> 'name', proposal.payload ->> 'role',
                  proposal.payload ->> 'public_key') end,
         'govern'
  where proposal.kind::text in ('agent_enrol'::text, 'agent_revoke'::text);
$function$;
comment on function _changed_agents is
  'What a proposal that enrols or revokes an agent changes.';

create function _changed_damage(proposal proposals)
returns table (name text, old_value text, new_value text, direction text)
language sql stable
set search_path from current
as $function$
  select d.name, d.old_value, d.new_value, 'loosen'
  from (select 0 as place, 'lockdown' as name, 'engaged' as old_value, 'released' as new_value
        union all
        select e.place::integer, format('%s %s', e.value ->> 'table', e.value ->> 'id'), e.value ->> 'verdict',
               'acknowledged'
        from jsonb_array_elements(proposal.payload -> 'damage') with ordinality as e(value, place)) as d
  where proposal.kind::text = 'lockdown_release'::text
  order by d.place;
$function$;
comment on function _changed_damage is
  'What a release changes: the lockdown ends, and each damaged place that it lists is acknowledged.';

create function _changed_retention(proposal proposals)
returns table (name text, old_value text, new_value text, direction text)
language sql stable
set search_path from current
set row_security = off
as $function$
  select format('%s, rows up to %s', e.value ->> 'table', e.value ->> 'through_id'), 'in the database',
         format('leave the database; the segment with SHA-256 %s has them', e.value ->> 'segment_sha256'),
         'loosen'
  from jsonb_array_elements(coalesce(proposal.payload -> 'segments', jsonb_build_array(proposal.payload))) as e
  where proposal.kind::text = 'archive'::text
  union all
  select format('%s, rows from %s on', proposal.payload ->> 'table', proposal.payload ->> 'from_id'), 'may leave',
         'held', 'tighten'
  where proposal.kind::text = 'hold'::text
  union all
  select format('hold %s', proposal.payload ->> 'hold'),
         (select format('%s, rows from %s on', h.payload ->> 'table', h.payload ->> 'from_id')
          from only proposals as h where h.proposal_id::text = proposal.payload ->> 'hold'),
         null, 'loosen'
  where proposal.kind::text = 'unhold'::text;
$function$;
comment on function _changed_retention is
  'What a proposal about retention changes.';

create function proposal_changes(proposal_id uuid)
returns table (name text, old_value text, new_value text, direction text)
language plpgsql stable security definer
set search_path from current
set row_security = off
as $function$
declare
  proposal  proposals;
begin
  select * into proposal from only proposals as p where p.proposal_id = proposal_changes.proposal_id;
  return query
    select * from _changed_state(proposal)
    union all select * from _changed_quorum(proposal)
    union all select * from _changed_agents(proposal)
    union all select * from _changed_damage(proposal)
    union all select * from _changed_retention(proposal);
exception when data_exception then
  -- Only a payload that was put there by force; it must not hide the other proposals.
  return query select 'payload', null, left(proposal.payload::text, 2000), null;
end
$function$;
comment on function proposal_changes is
  'What a proposal changes: old and new value of each thing that it touches, null where there is none, and its '
  'direction: tighten, loosen, govern (who decides), or same. Old is what held in the state that it was made for.';

create function _carrying_approvals(proposal proposals) returns table (agent_id uuid)
language sql stable
set search_path from current
set row_security = off
as $function$
  select c.agent_id from _counted_approvals(proposal) as c where _proposal_status(proposal) = 'PENDING'
  union all
  select (e.value ->> 'agent_id')::uuid
  from only risk_change_log as l cross join jsonb_array_elements(l.approvals) as e
  where l.proposal_id = proposal.proposal_id;
$function$;
comment on function _carrying_approvals is
  'The agents whose approvals of a proposal count now, or carried it when it was applied.';

create function proposal_voters(proposal_id uuid)
returns table (agent_id uuid, name text, role text, decision text, signed_at timestamptz, voted_at timestamptz,
               counts boolean, may_vote boolean)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select a.agent_id, a.name::text, a.role::text, v.decision::text, v.signed_at, v.created_at,
         case when v.decision::text = 'REJECT'::text then true
              when v.decision is not null then a.agent_id in (select c.agent_id from _carrying_approvals(p) as c) end,
         v.decision is null
  from only proposals as p
  cross join only agents as a
  left join only votes as v on v.proposal_id = p.proposal_id and v.agent_id = a.agent_id
  where p.proposal_id = proposal_voters.proposal_id
    and (v.decision is not null
         or a.agent_id in (select e.* from _eligible_voters(p) as e) and _proposal_status(p) = 'PENDING')
  order by v.id, a.id;
$function$;
comment on function proposal_voters is
  'Who voted on a proposal, in this order, and, while it is pending, who still may. An approval counts while the agent '
  'is eligible, and for good once it carried the proposal.';
