-- Voting. How a vote is counted stands at the top of rules.sql.
--
-- vote() first checks what costs little, then the signature, and only then what costs much or takes a lock, because
-- until the signature holds anyone may be calling. After the lock, which all votes take one after the other, it looks
-- again at what may have changed meanwhile.

create function approval_message(proposal_id uuid, agent_id uuid, decision text, signed_at timestamptz) returns text
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select _approval_text(p.origin, approval_message.decision, p.digest, approval_message.agent_id,
                        approval_message.signed_at)
  from only proposals as p where p.proposal_id = approval_message.proposal_id;
$function$;
comment on function approval_message is
  'The exact text to sign for a vote; null if there is no such proposal.';

create function _check_vote(proposal proposals, decision text, signed_at timestamptz, signature bytea) returns void
language plpgsql
set search_path from current
as $function$
begin
  if decision is null or decision not in ('APPROVE', 'REJECT') then
    perform _refuse_consensus(
      'RSK-004', format('%s is not a vote', coalesce(quote_literal(left(decision, 40)), 'NULL')),
      'A vote is for a proposal or against it.', 'Vote APPROVE or REJECT.');
  end if;
  perform _refuse_short_signature(signature, 'approval_message');
  -- A clock that was set back must not keep off a veto or a tightening: only what loosens needs a time that has come.
  if not _is_readable_time(signed_at)
     or signed_at > clock_timestamp() + interval '5 minutes' and decision = 'APPROVE'
        and _change_direction(proposal.kind::text, proposal.payload, _current_state_text()::jsonb) <> 'tighten' then
    perform _refuse_consensus(
      'RSK-003', 'signed_at is not a time of signing', format('It is %s.', coalesce(signed_at::text, 'null')),
      'Set the clock of the signing machine.');
  end if;
end
$function$;
comment on function _check_vote is
  'Raises RSK-003 or RSK-004 for what is wrong with a vote before anyone looks at its signature.';

create function _refuse_closed(proposal proposals) returns void
language plpgsql
set search_path from current
as $function$
declare
  status  text := _proposal_status(proposal);
begin
  if status = 'STALE' then
    perform _refuse_other_state(proposal.previous::text, _current_state_text());
  elsif status <> 'PENDING' then
    perform _refuse_consensus(
      'RSK-006', format('the proposal is %s', lower(status)), format('Proposal %s.', proposal.proposal_id),
      'Propose again if it is still wanted.');
  end if;
end
$function$;
comment on function _refuse_closed is
  'Raises RSK-005 or RSK-006 for a proposal that is not pending.';

create function _refuse_second_vote(proposal_id uuid, agent_id uuid, key bytea) returns void
language plpgsql
set search_path from current
as $function$
begin
  if exists (select from only votes as v
             where v.proposal_id = _refuse_second_vote.proposal_id
               and (v.agent_id = _refuse_second_vote.agent_id or v.agent_key = key)) then
    perform _refuse_consensus(
      'RSK-004', 'the agent has voted on this proposal', format('Agent %s.', agent_id),
      'Let another agent vote: each agent votes once.');
  end if;
end
$function$;
comment on function _refuse_second_vote is
  'Raises RSK-004 if the agent, or its key, has voted on a proposal.';

create function _refuse_barred(proposal proposals, agent_id uuid, key bytea, decision text) returns void
language plpgsql
set search_path from current
as $function$
begin
  if decision = 'APPROVE' and (agent_id = proposal.proposer or key = proposal.proposer_key) then
    perform _refuse_consensus(
      'RSK-004', 'a proposer cannot approve its own proposal', format('Agent %s.', agent_id),
      'Let another agent approve it. To withdraw, the proposer votes REJECT.');
  end if;
  if agent_id <> proposal.proposer
     and not exists (select from _eligible_voters(proposal) as e(id) where e.id = _refuse_barred.agent_id) then
    perform _refuse_consensus(
      'RSK-004', 'an agent has no vote on its own revocation or replacement', format('Agent %s.', agent_id),
      'Let another agent vote.');
  end if;
end
$function$;
comment on function _refuse_barred is
  'Raises RSK-004 for the proposer''s own approval, and for a vote on the voter''s own revocation or replacement.';

create function vote(proposal_id uuid, agent_id uuid, decision text, signed_at timestamptz, signature bytea)
returns text
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  proposal    proposals;
  key         bytea;
  message     text;
  is_release  boolean;
  standing    bigint;
  damage      jsonb;
begin
  perform _require_primary('vote');
  select * into proposal from only proposals as p where p.proposal_id = vote.proposal_id;
  if not found then
    perform _refuse_consensus(
      'RSK-006', 'there is no such proposal', format('Proposal %s.', coalesce(proposal_id::text, 'null')),
      'Name one of those that alpha-db risk proposals --all lists.');
  end if;
  perform _check_vote(proposal, decision, signed_at, signature);
  key := _key_of_active(agent_id, 'voter');
  message := _approval_text(_installation_origin(), decision, proposal.digest, agent_id, signed_at);
  if not _signs(key, message, signature) then
    perform _refuse_consensus(
      'RSK-003', 'the signature is not the voter''s for this text', format(E'The text was:\n%s', message),
      'Sign the UTF-8 bytes of approval_message(…), its last line feed included.');
  end if;
  -- Before the lock, too, because a signature that was stored can be sent again by anyone who can read it.
  perform _refuse_closed(proposal);
  perform _refuse_second_vote(proposal_id, agent_id, key);
  if decision = 'APPROVE' then
    perform _require_consensus();
  end if;
  is_release := decision = 'APPROVE' and proposal.kind::text = 'lockdown_release'::text;
  if is_release then
    select l.alarm, l.damage into standing, damage from _look_before_release(proposal) as l;
  elsif decision = 'APPROVE' and proposal.kind::text = 'archive'::text then
    -- What changes after this look makes the proposal stale, or is found when the rows are removed.
    perform _refuse_archive(proposal.payload);  -- 16_retention/propose.sql
  end if;

  lock table only lock_proposals in share update exclusive mode;
  perform _refuse_closed(proposal);
  perform _key_of_active(agent_id, 'voter');
  perform _refuse_second_vote(proposal_id, agent_id, key);
  perform _refuse_barred(proposal, agent_id, key, decision);
  insert into votes (proposal_id, digest, origin, agent_id, agent_key, decision, signed_at, signed_text, signature)
  values (vote.proposal_id, proposal.digest, _installation_origin(), vote.agent_id, key, vote.decision, vote.signed_at,
          message, vote.signature);
  if decision = 'REJECT' then
    return 'REJECTED';
  elsif (select count(*) from _counted_approvals(proposal))
        < _approvals_needed(proposal, _current_state_text()::jsonb) then
    return 'PENDING';
  end if;
  if is_release then
    perform _refuse_changed_damage(proposal, standing, damage);
  end if;
  perform _apply_proposal(proposal, agent_id, standing);  -- apply.sql
  return 'APPLIED';
end
$function$;
comment on function vote is
  'Stores a signed vote; the approval that completes the quorum applies the change in the same transaction. Returns '
  'PENDING, APPLIED or REJECTED. Raises RSK-001, RSK-003 to RSK-007, AUD-009, AUD-016.';
