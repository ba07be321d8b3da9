create function proposal_message(
  proposal_id uuid, kind text, payload jsonb, reason text, proposer uuid, expires_at timestamptz, previous text default null
) returns text
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select _proposal_text(_installation_origin(), proposal_message.proposal_id, proposal_message.kind,
                       coalesce(proposal_message.previous, _text_digest(_current_state_text())),
                       proposal_message.payload, proposal_message.reason, proposal_message.proposer, proposal_message.expires_at);
$function$;
comment on function proposal_message is
  'The exact text to sign for a proposal; previous defaults to the hash of the current state.';

create function approval_message(proposal_id uuid, agent_id uuid, decision text, signed_at timestamptz) returns text
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select _approval_text(p.origin, approval_message.decision, p.digest, approval_message.agent_id, approval_message.signed_at)
  from only proposals as p where p.proposal_id = approval_message.proposal_id;
$function$;
comment on function approval_message is 'The exact text to sign for a vote; null if there is no such proposal.';

create function propose(
  proposal_id uuid, kind text, payload jsonb, reason text, proposer uuid, expires_at timestamptz, signature bytea, previous text default null
) returns proposals
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  key      bytea;
  message  text;
  state    text;
  damage   jsonb;
  stored   proposals;
begin
  -- What costs, and what locks, only once the signature holds: until then anyone may be calling.
  if signature is null or length(signature) <> 64 then
    perform _refuse_consensus('RSK-003', 'a signature is 64 bytes', format('It has %s.', coalesce(length(signature), 0)),
                             'Sign the UTF-8 bytes of proposal_message(…) with Ed25519.');
  end if;
  if proposal_id is null then
    perform _refuse_consensus('RSK-006', 'a proposal needs a proposal_id', 'It is null.', 'Choose a new uuid for each proposal.');
  end if;
  -- Once before the lock, because a signature that was stored can be sent again by anyone who can read it.
  if exists (select from only proposals as p where p.proposal_id = propose.proposal_id) then
    perform _refuse_consensus('RSK-006', 'the proposal_id was used before', format('Proposal %s.', proposal_id),
                             'Choose a new uuid for each proposal.');
  end if;
  if kind is null or kind not in ('risk_config', 'asset_kill_threshold', 'lockdown_release', 'agent_enrol',
                                  'agent_revoke', 'quorum_policy') then
    perform _refuse_consensus('RSK-001',
      format('%s is not a kind of proposal', coalesce(quote_literal(left(kind, 40)), 'NULL')), 'The payload was not looked at.',
      'risk_config, asset_kill_threshold, lockdown_release, agent_enrol, agent_revoke or quorum_policy.');
  end if;
  if jsonb_typeof(payload) is distinct from 'object' or pg_column_size(payload) > 8388608
     or kind <> 'lockdown_release' and pg_column_size(payload) > 65536 then
    perform _refuse_consensus('RSK-001', 'the payload is missing, no object, or too large',
                             format('It has %s bytes.', pg_column_size(payload)),
                             'At most 64 kB; the list of a lockdown_release, of at most 10000 places, 8 MB.');
  end if;
  if reason is null or octet_length(reason) > 8000 or length(reason) > 2000 or btrim(reason) = ''
     or not _is_plain_text(reason) then
    perform _refuse_consensus('RSK-001', 'the reason is missing, too long, or hides characters',
                             format('It has %s characters.', coalesce(length(reason), 0)),
                             'Give a reason of at most 2000 characters, without bidi, zero-width or control characters.');
  end if;
  if not _is_readable_time(expires_at) or expires_at <= clock_timestamp() then
    perform _refuse_consensus('RSK-006', 'the proposal has expired', coalesce(expires_at::text, 'It has no expires_at.'),
                             'Give a time in the future, before the year 10000.');
  end if;
  select a.public_key into key from _active_agents() as a where a.agent_id = propose.proposer;
  if not found then
    perform _refuse_consensus('RSK-003', 'the proposer is unknown or revoked', format('Agent %s.', coalesce(proposer::text, 'null')),
                             'alpha-db agents list shows the active ones.');
  end if;
  state := _current_state_text();
  if previous is not null and previous <> _text_digest(state) then
    perform _refuse_consensus('RSK-005', 'the proposal was made for another state than the current one',
                             format('Made for %s, current is %s.', left(previous, 80), _text_digest(state)),
                             'Look at the current state and propose again.');
  end if;
  message := _proposal_text(_installation_origin(), proposal_id, kind, _text_digest(state), payload, reason, proposer, expires_at);
  if not _signs(key, message, signature) then
    perform _refuse_consensus('RSK-003', 'the signature is not the proposer''s for this text',
                             'The text was:' || E'\n' || left(message, 4000),
                             'Sign the UTF-8 bytes of proposal_message(…), its last line feed included.');
  end if;
  if not _is_plain_text(payload::text) then
    perform _refuse_consensus('RSK-001', 'a text of the payload hides characters', 'What is signed must show all that it says.',
                             'Leave out bidi, zero-width and control characters.');
  end if;
  perform _check_payload(kind, payload);
  perform _require_consensus();
  if kind = 'lockdown_release' then
    damage := _open_damage_items();
  end if;

  lock table only lock_proposals in share update exclusive mode;
  if exists (select from only proposals as p where p.proposal_id = propose.proposal_id) then
    perform _refuse_consensus('RSK-006', 'the proposal_id was used before', format('Proposal %s.', proposal_id),
                             'Choose a new uuid for each proposal.');
  end if;
  if state <> _current_state_text() then
    perform _refuse_consensus('RSK-005', 'the proposal was made for another state than the current one',
                             format('Made for %s, current is %s.', _text_digest(state),
                                    _text_digest(_current_state_text())),
                             'Look at the current state and propose again.');
  end if;
  if (select count(*) from only proposals as p
      where p.proposer = propose.proposer and p.previous::text = _text_digest(state)
        and _proposal_status(p) = 'PENDING') >= 20 then
    perform _refuse_consensus('RSK-006', 'the agent has 20 pending proposals', format('Agent %s.', proposer),
                             'Withdraw one (the proposer votes REJECT), or wait until one is applied or expires.');
  end if;
  perform _check_allowed(kind, payload, state::jsonb);
  if kind = 'lockdown_release' then
    perform _refuse_other_damage(payload -> 'damage', damage);
  end if;
  insert into proposals (proposal_id, origin, kind, payload, reason, previous, proposer, proposer_key, expires_at, signed_text, digest, signature)
  values (propose.proposal_id, _installation_origin(), propose.kind, propose.payload, propose.reason, _text_digest(state), propose.proposer, key,
          propose.expires_at, message, _text_digest(message), propose.signature)
  returning * into stored;
  return stored;
end
$function$;
comment on function propose is
  'Stores a signed proposal and returns its row. Raises RSK-001, RSK-003, RSK-005, RSK-006, RSK-007, AUD-009.';
