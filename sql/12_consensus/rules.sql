-- How a vote is counted
--
-- A proposal is a signed text (texts.sql): the installation, what is to change (kind, payload), the hash of the state
-- that it was made for, why, by whom, and until when it can be applied. A vote is a signed text, too: it names the
-- proposal by the digest of its text, so that nobody can be made to approve something else.
--
-- Whose vote counts. An active agent: enrolled and not revoked. The proposer cannot approve, neither under its identity
-- nor with its key, and nobody votes on its own revocation or replacement. An agent votes once on a proposal, and a
-- vote is final. A key counts once, even if two agents should have it.
--
-- A REJECT vetoes: it closes the proposal, whatever the approvals. The proposer's own REJECT withdraws it.
--
-- How many are needed, besides the proposer, depends on what the proposal does to the current state. The database
-- classifies, not the proposer:
--
--   tighten   no limit becomes looser; rows are put on hold                   1, unless a quorum_policy says otherwise
--   loosen    any other change of limits, the end of a lockdown or of a       2
--             hold, and rows that leave the log
--   govern    a change of the agents, or of the quorum itself                 2
--
-- For govern, as many as there are eligible voters are enough if that is fewer, but at least one, so that a lost key
-- can always be voted out. A change of the quorum needs the highest of the three numbers, so that none can be lowered
-- by fewer than it asks for.
--
-- What supersedes. Every applied proposal makes a new state, and all others that were made for the old one are STALE.
-- So two proposals never mix: each approval was given to one text, for one state.
--
-- When it is counted. vote() holds the lock lock_proposals from before the vote is stored until its transaction ends,
-- so votes are counted one after the other. Each stored approval is counted with its signature verified again. The
-- approval that completes the quorum applies the change in the same transaction; the trigger of risk_change_log counts
-- once more (validate.sql), so that a row which is written without vote() is refused.
--
-- A revoked key. From the revocation on, its approvals of pending proposals do not count, and it can neither propose
-- nor vote. What it approved before stays approved: the replay (replay.sql) asks who was an agent at that place of the
-- log.
--
-- Order, not clock. What came first is decided by the position in risk_change_log, which its chain fixes. signed_at is
-- a statement of the voter from which nothing is derived; only, an approval of what does not tighten must not come from
-- the future. expires_at is compared with the server's clock when a vote arrives, and not again.
--
-- Crash, ROLLBACK TO SAVEPOINT: vote, log entry and what it changes are one transaction, so all of them are undone, or
-- none. A prepared transaction holds the lock until it ends, and other votes wait for it. A dump restores the rows as
-- they are; CHECK constraints verify the signatures of proposals and votes again, and the replay counts every quorum
-- again.

create function _default_quorum() returns jsonb
language sql immutable
set search_path from current
as $function$
  select '{"tighten": 1, "loosen": 2, "govern": 2}'::jsonb;
$function$;
comment on function _default_quorum is
  'The quorum until a quorum_policy is applied, in the form of its payload.';

create function _quorum() returns jsonb
language sql stable
set search_path from current
set row_security = off
as $function$
  select coalesce((select p.payload
                   from only risk_change_log as c join only proposals as p on p.proposal_id = c.proposal_id
                   where c.kind::text = 'quorum_policy'::text order by c.id desc limit 1), _default_quorum());
$function$;
comment on function _quorum is
  'The quorum that holds now: the payload of the last quorum_policy.';

create function _quorum_for(direction text, kind text, policy jsonb, eligible integer) returns integer
language sql immutable
set search_path from current
as $function$
  select case direction
    when 'tighten' then q.tighten
    when 'loosen' then q.loosen
    else greatest(1, least(eligible, case when kind = 'quorum_policy' then greatest(q.tighten, q.loosen, q.govern)
                                          else q.govern end))
  end
  from jsonb_to_record(policy) as q(tighten integer, loosen integer, govern integer);
$function$;
comment on function _quorum_for is
  'How many approvals besides the proposer''s signature a change needs under a policy, if so many agents are eligible.';

create function _change_direction(kind text, payload jsonb, state jsonb) returns text
language sql immutable
set search_path from current
as $function$
  -- Each parameter's safe direction is down: smaller positions, earlier kills, less leverage. A kill price has a side
  -- that only the position knows, so touching one is loosening; adding one tightens.
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
       and (t.known ->> 'kill_price' is null
            or (payload ->> 'kill_price')::numeric is not distinct from (t.known ->> 'kill_price')::numeric)
      then 'tighten' else 'loosen' end
    when 'lockdown_release' then 'loosen'
    when 'archive'          then 'loosen'
    when 'unhold'           then 'loosen'
    when 'hold'             then 'tighten'
    when 'agent_enrol'      then 'govern'
    when 'agent_revoke'     then 'govern'
    when 'quorum_policy'    then 'govern'
    else _unknown_kind(kind) end
  from (select (select e.value from jsonb_array_elements(state -> 'kill_thresholds') as e
                where e.value ->> 'asset' = payload ->> 'asset') as known) as t;
$function$;
comment on function _change_direction is
  'tighten, loosen or govern: what a proposal would do to a state. The database classifies, not the proposer. Raises '
  '22023 for an unknown kind.';

create function _eligible_voters(proposal proposals) returns setof uuid
language sql stable
set search_path from current
as $function$
  select a.agent_id from _active_agents() as a
  where a.agent_id <> proposal.proposer
    and a.public_key <> proposal.proposer_key
    and a.agent_id::text is distinct from _agent_removed_by(proposal.kind::text, proposal.payload);
$function$;
comment on function _eligible_voters is
  'The agents whose approval of a proposal counts now.';

create function _approvals_needed(proposal proposals, state jsonb) returns integer
language sql stable
set search_path from current
as $function$
  select _quorum_for(_change_direction(proposal.kind::text, proposal.payload, state), proposal.kind::text, _quorum(),
                     (select count(*)::integer from _eligible_voters(proposal)));
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
    when exists (select from only votes as v where v.proposal_id = proposal.proposal_id
                 and v.decision::text = 'REJECT'::text and v.agent_id = proposal.proposer) then 'WITHDRAWN'
    when exists (select from only votes as v where v.proposal_id = proposal.proposal_id
                 and v.decision::text = 'REJECT'::text) then 'REJECTED'
    when proposal.expires_at <= clock_timestamp() then 'EXPIRED'
    when proposal.previous::text <> _text_digest(_current_state_text()) then 'STALE'
    when not exists (select from _active_agents() as a where a.agent_id = proposal.proposer) then 'REVOKED'
    else 'PENDING' end;
$function$;
comment on function _proposal_status is
  'PENDING, APPLIED, REJECTED, WITHDRAWN, EXPIRED, STALE (made for another state) or REVOKED (its proposer is).';
