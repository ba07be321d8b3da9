create function _active_agents()
returns table (agent_id uuid, name text, role text, public_key bytea)
language sql stable
set search_path from current
set row_security = off
as $function$
  select a.agent_id, a.name::text, a.role::text, a.public_key
  from only agents as a
  where not exists (select from only agent_revocations as r where r.agent_id = a.agent_id);
$function$;
comment on function _active_agents is 'The agents that may propose and vote now.';

create function _quorum()
returns table (tighten integer, loosen integer, govern integer)
language sql stable
set search_path from current
set row_security = off
as $function$
  select coalesce((p.payload ->> 'tighten')::integer, 1), coalesce((p.payload ->> 'loosen')::integer, 2), coalesce((p.payload ->> 'govern')::integer, 2)
  from (select) as one
  left join lateral (
    select q.payload from only risk_change_log as c join only proposals as q on q.proposal_id = c.proposal_id
    where c.kind::text = 'quorum_policy'::text order by c.id desc limit 1) as p on true;
$function$;
comment on function _quorum is
  'How many approvals besides the proposer a change needs: that tightens every parameter it touches, any other, and of '
  'agents or the quorum itself.';

create function _change_direction(kind text, payload jsonb, state jsonb) returns text
language sql immutable
set search_path from current
as $function$
  -- Each parameter's safe direction is down: smaller positions, earlier kills, less leverage. A kill price has a side that only
  -- the position knows, so touching one is loosening; adding one tightens.
  select case kind
    when 'risk_config' then case
      when state -> 'limits' <> 'null'
       and (payload ->> 'max_position_size_pct')::numeric    <= (state #>> '{limits,max_position_size_pct}')::numeric
       and (payload ->> 'daily_drawdown_limit_pct')::numeric <= (state #>> '{limits,daily_drawdown_limit_pct}')::numeric
       and (payload ->> 'max_leverage_ratio')::numeric       <= (state #>> '{limits,max_leverage_ratio}')::numeric
      then 'tighten' else 'loosen' end
    when 'asset_kill_threshold' then case
      when (payload ->> 'retired')::boolean then 'loosen'
      when t.known is null then 'tighten'
      when (payload ->> 'kill_loss_pct')::numeric <= (t.known ->> 'kill_loss_pct')::numeric
       and (t.known ->> 'kill_price' is null or (payload ->> 'kill_price')::numeric is not distinct from (t.known ->> 'kill_price')::numeric)
      then 'tighten' else 'loosen' end
    when 'lockdown_release' then 'loosen'
    else 'govern' end
  from (select (select e.value from jsonb_array_elements(state -> 'kill_thresholds') as e where e.value ->> 'asset' = payload ->> 'asset') as known) as t;
$function$;
comment on function _change_direction is
  'tighten, loosen or govern: what a proposal would do to a state. The database classifies, not the proposer.';

create function _eligible_voters(proposal proposals) returns setof uuid
language sql stable
set search_path from current
as $function$
  -- Never the proposer; never the agent that is to be revoked or replaced.
  select a.agent_id from _active_agents() as a
  where a.agent_id <> proposal.proposer
    and a.public_key <> proposal.proposer_key
    and a.agent_id::text is distinct from case proposal.kind::text when 'agent_revoke' then proposal.payload ->> 'agent_id'
                                                                when 'agent_enrol' then proposal.payload ->> 'replaces' end;
$function$;
comment on function _eligible_voters is 'The agents whose approval of a proposal may count now.';

create function _approvals_needed(proposal proposals, state jsonb) returns integer
language sql stable
set search_path from current
as $function$
  select case _change_direction(proposal.kind::text, proposal.payload, state)
    when 'tighten' then q.tighten
    when 'loosen' then q.loosen
    -- As many as there are eligible voters, if fewer, but never none: a lost key can always be voted out.
    else greatest(1, least(case when proposal.kind::text = 'quorum_policy' then greatest(q.tighten, q.loosen, q.govern) else q.govern end,
                           (select count(*)::integer from _eligible_voters(proposal))))
  end
  from _quorum() as q;
$function$;
comment on function _approvals_needed is
  'How many approvals besides the proposer''s own signature a proposal needs in this state.';

create function _counted_approvals(proposal proposals)
returns table (agent_id uuid, agent_key bytea, signed_at timestamptz, signature bytea)
language sql stable
set search_path from current
as $function$
  select distinct on (v.agent_key) v.agent_id, v.agent_key, v.signed_at, v.signature
  from only votes as v
  where v.proposal_id = proposal.proposal_id and v.digest = proposal.digest and v.decision::text = 'APPROVE'::text
    and v.agent_id in (select e.* from _eligible_voters(proposal) as e)
    and _signs(v.agent_key, v.signed_text, v.signature)
  order by v.agent_key, v.id;
$function$;
comment on function _counted_approvals is
  'The approvals of a proposal that count now: by distinct agents and distinct keys, valid, none of them revoked, none '
  'the proposer''s.';

create function _proposal_status(proposal proposals) returns text
language sql stable
set search_path from current
as $function$
  select case
    when exists (select from only risk_change_log as c where c.proposal_id = proposal.proposal_id) then 'APPLIED'
    when exists (select from only votes as v where v.proposal_id = proposal.proposal_id and v.decision::text = 'REJECT'::text
                 and v.agent_id = proposal.proposer) then 'WITHDRAWN'
    when exists (select from only votes as v where v.proposal_id = proposal.proposal_id and v.decision::text = 'REJECT'::text) then 'REJECTED'
    when proposal.expires_at <= clock_timestamp() then 'EXPIRED'
    when proposal.previous::text <> _text_digest(_current_state_text()) then 'STALE'
    when not exists (select from _active_agents() as a where a.agent_id = proposal.proposer) then 'REVOKED'
    else 'PENDING' end;
$function$;
comment on function _proposal_status is
  'PENDING, APPLIED, REJECTED, WITHDRAWN, EXPIRED, STALE (made for another state) or REVOKED (its proposer is).';
