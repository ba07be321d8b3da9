create function _open_damage_items() returns jsonb
language sql stable
set search_path from current
as $function$
  select coalesce(jsonb_agg(jsonb_build_object('table', d."table", 'id', d.id, 'verdict', d.verdict,
                                               'actual_hash', d.actual_hash, 'expected_hash', d.expected_hash)), '[]')
  from open_damage() as d;
$function$;
comment on function _open_damage_items is 'The damage that is there, as a release must list it.';

create function _refuse_other_damage(listed jsonb, damage jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  too_many  text;
  too_few   text;
begin
  perform _refuse_missing_tables(damage);
  select string_agg(x.value::text, ', ') into too_many
  from (select e.value from (select l.value from jsonb_array_elements(listed) as l
                             except all select d.value from jsonb_array_elements(damage) as d) as e limit 5) as x;
  select string_agg(x.value::text, ', ') into too_few
  from (select e.value from (select d.value from jsonb_array_elements(damage) as d
                             except all select l.value from jsonb_array_elements(listed) as l) as e limit 5) as x;
  if too_many is not null or too_few is not null then
    perform _refuse_consensus('RSK-005', 'a release lists exactly the damage that is there',
      concat_ws(' ', 'Listed, but not there: ' || too_many || '.', 'There, but not listed: ' || too_few || '.'),
      'alpha-db lockdown release lists it; from psql: select * from damaged_rows(). Propose again.');
  end if;
end
$function$;
comment on function _refuse_other_damage is
  'Raises RSK-005 unless a release lists all damage that is there, and nothing else, and no table is gone.';

create function _check_allowed(kind text, payload jsonb, state jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  if kind in ('risk_config', 'asset_kill_threshold') then
    if to_regclass(format('%I.risk_configurations', current_schema())) is null then
      raise exception 'alpha-db: proposals of kind % need migration 23_risk_config', kind using errcode = '55000';
    end if;
    -- Nothing is built on a limit that was changed by force.
    if _stored_state_text() is distinct from _current_state_text() then
      perform _refuse_consensus('RSK-007', 'the risk tables do not hold what the applied proposals say',
                               'Stored: ' || _stored_state_text() || '. Replayed: ' || _current_state_text() || '.',
                               'select * from verify_config_integrity(); the tables were changed by force.');
    end if;
    if _change_direction(kind, payload, state) = 'loosen' and (select s.is_locked from lockdown_status() as s) then
      perform _refuse_consensus('AUD-009', 'in a lockdown limits can only be tightened', 'This change loosens them.', 'select * from lockdown_status() shows the damage.');
    end if;
  elsif kind = 'lockdown_release' and not (select s.is_locked from lockdown_status() as s) then
    perform _refuse_consensus('RSK-005', 'there is no lockdown to release', 'The lockdown is not engaged.', 'Look at it: select * from lockdown_status().');
  end if;
end
$function$;
comment on function _check_allowed is
  'Raises AUD-009 for loosening in a lockdown, RSK-005 for a release without one, RSK-007 if the risk tables were '
  'changed by force.';

create function _refuse_closed(proposal proposals) returns void
language plpgsql
set search_path from current
as $function$
declare
  status  text := _proposal_status(proposal);
begin
  if status = 'STALE' then
    perform _refuse_consensus('RSK-005', 'the proposal was made for another state than the current one',
                             format('Made for %s, current is %s.', proposal.previous,
                                    _text_digest(_current_state_text())),
                             'Propose again for the current state.');
  elsif status <> 'PENDING' then
    perform _refuse_consensus('RSK-006', format('the proposal is %s', lower(status)), format('Proposal %s.', proposal.proposal_id),
                             'Propose again if it is still wanted.');
  end if;
end
$function$;
comment on function _refuse_closed is 'Raises RSK-005 or RSK-006 for a proposal that is not pending.';

create function vote(proposal_id uuid, agent_id uuid, decision text, signed_at timestamptz, signature bytea) returns text
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  proposal     proposals;
  key          bytea;
  message      text;
  is_release   boolean;
  standing     bigint;
  damage       jsonb;
begin
  -- What costs, and what locks, only once the signature holds: until then anyone may be calling.
  select * into proposal from only proposals as p where p.proposal_id = vote.proposal_id;
  if not found then
    perform _refuse_consensus('RSK-006', 'there is no such proposal', format('Proposal %s.', coalesce(proposal_id::text, 'null')),
                             'List them: alpha-db risk proposals --all.');
  end if;
  if decision is null or decision not in ('APPROVE', 'REJECT') then
    perform _refuse_consensus('RSK-004', format('%s is not a vote', coalesce(quote_literal(left(decision, 40)), 'NULL')),
                             'A vote is for a proposal or against it.', 'Vote APPROVE or REJECT.');
  end if;
  if signature is null or length(signature) <> 64 then
    perform _refuse_consensus('RSK-003', 'a signature is 64 bytes', format('It has %s.', coalesce(length(signature), 0)),
                             'Sign the UTF-8 bytes of approval_message(…) with Ed25519.');
  end if;
  -- A clock that was set back must not keep off a veto or a tightening: only what loosens needs a time that has come.
  if not _is_readable_time(signed_at)
     or signed_at > clock_timestamp() + interval '5 minutes' and decision = 'APPROVE'
        and _change_direction(proposal.kind::text, proposal.payload, _current_state_text()::jsonb) <> 'tighten' then
    perform _refuse_consensus('RSK-003', 'signed_at is not a time of signing', format('It is %s.', coalesce(signed_at::text, 'null')), 'Set the clock of the signing machine.');
  end if;
  select a.public_key into key from _active_agents() as a where a.agent_id = vote.agent_id;
  if not found then
    perform _refuse_consensus('RSK-003', 'the voter is unknown or revoked', format('Agent %s.', coalesce(agent_id::text, 'null')),
                             'alpha-db agents list shows the active ones.');
  end if;
  message := _approval_text(_installation_origin(), decision, proposal.digest, agent_id, signed_at);
  if not _signs(key, message, signature) then
    perform _refuse_consensus('RSK-003', 'the signature is not the voter''s for this text',
                             'The text was:' || E'\n' || message, 'Sign the UTF-8 bytes of approval_message(…), its last line feed included.');
  end if;
  -- Once before the lock, because a signature that was stored can be sent again by anyone who can read it.
  perform _refuse_closed(proposal);
  if exists (select from only votes as v
             where v.proposal_id = vote.proposal_id and (v.agent_id = vote.agent_id or v.agent_key = key)) then
    perform _refuse_consensus('RSK-004', 'the agent has voted on this proposal', format('Agent %s.', agent_id),
                             'Each agent votes once.');
  end if;
  if decision = 'APPROVE' then
    perform _require_consensus();
  end if;
  is_release := decision = 'APPROVE' and proposal.kind::text = 'lockdown_release'::text;
  if is_release then
    if current_setting('transaction_isolation') <> 'read committed' then
      raise exception 'a lockdown is released in READ COMMITTED only, not in %',
        upper(current_setting('transaction_isolation'))
        using errcode = '0A000', detail = 'An older snapshot does not show the newest damage.',
              hint = 'Vote in a transaction of its own: begin isolation level read committed.';
    end if;
    -- First the alarm, then the damage: what is found from here on raises another alarm, which this release does not lift.
    if (select count(*) from _counted_approvals(proposal)) + 1
       >= _approvals_needed(proposal, _current_state_text()::jsonb) then
      standing := pg_sequence_last_value('lockdown_alarm'::regclass);
      damage := _open_damage_items();
      if not exists (select from only lockdown_events as l where l.event_type::text = 'ENGAGED'::text
                     and l.alarm = standing) then
        perform _refuse_consensus('RSK-005', 'the alarm that stands is not recorded as an event yet', 'Its event is not written yet.',
                                 'select * from verify_chain_integrity() records it. Look at what it finds, and vote again.');
      end if;
    end if;
  end if;

  lock table only lock_proposals in share update exclusive mode;
  perform _refuse_closed(proposal);
  if not exists (select from _active_agents() as a where a.agent_id = vote.agent_id) then
    perform _refuse_consensus('RSK-003', 'the voter is unknown or revoked', format('Agent %s.', coalesce(agent_id::text, 'null')),
                             'alpha-db agents list shows the active ones.');
  end if;
  if exists (select from only votes as v
             where v.proposal_id = vote.proposal_id and (v.agent_id = vote.agent_id or v.agent_key = key)) then
    perform _refuse_consensus('RSK-004', 'the agent has voted on this proposal', format('Agent %s.', agent_id),
                             'Each agent votes once.');
  end if;
  if decision = 'APPROVE' and (agent_id = proposal.proposer or key = proposal.proposer_key) then
    perform _refuse_consensus('RSK-004', 'a proposer cannot approve its own proposal', format('Agent %s.', agent_id),
                             'Let another agent approve it. To withdraw, the proposer votes REJECT.');
  end if;
  if agent_id <> proposal.proposer and not exists (select from _eligible_voters(proposal) as e(id) where e.id = vote.agent_id) then
    perform _refuse_consensus('RSK-004', 'an agent has no vote on its own revocation or replacement', format('Agent %s.', agent_id),
                             'Let another agent vote.');
  end if;
  insert into votes (proposal_id, digest, origin, agent_id, agent_key, decision, signed_at, signed_text, signature)
  values (vote.proposal_id, proposal.digest, _installation_origin(), vote.agent_id, key, vote.decision, vote.signed_at, message, vote.signature);
  if decision = 'REJECT' then
    return 'REJECTED';
  end if;
  if (select count(*) from _counted_approvals(proposal)) < _approvals_needed(proposal, _current_state_text()::jsonb) then
    return 'PENDING';
  end if;
  if is_release then
    if damage is null or standing is distinct from pg_sequence_last_value('lockdown_alarm'::regclass) then
      raise exception 'could not serialize access: others voted, or found damage, at the same time'
        using errcode = '40001', hint = 'Run the transaction again.';
    end if;
    perform _refuse_other_damage(proposal.payload -> 'damage', damage);
  end if;
  perform _apply_proposal(proposal, agent_id, standing);
  return 'APPLIED';
end
$function$;
comment on function vote is
  'Stores a signed vote; the approval that completes the quorum applies the change in the same transaction. Returns '
  'PENDING, APPLIED or REJECTED. Raises RSK-001, RSK-003 to RSK-007, AUD-009.';
