-- Proposing
--
-- propose() first checks what costs little, then the signature, and only then what costs much or takes a lock, because
-- until the signature holds anyone may be calling. After the lock it looks again at what may have changed meanwhile.

create function proposal_message(
  proposal_id uuid, kind text, payload jsonb, reason text, proposer uuid, expires_at timestamptz,
  previous text default null
) returns text
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select _proposal_text(_installation_origin(), proposal_message.proposal_id, proposal_message.kind,
                        coalesce(proposal_message.previous, _text_digest(_current_state_text())),
                        proposal_message.payload, proposal_message.reason, proposal_message.proposer,
                        proposal_message.expires_at);
$function$;
comment on function proposal_message is
  'The exact text to sign for a proposal; previous defaults to the hash of the current state.';

create function _refuse_used_proposal_id(proposal_id uuid) returns void
language plpgsql
set search_path from current
as $function$
begin
  if exists (select from only proposals as p where p.proposal_id = _refuse_used_proposal_id.proposal_id) then
    perform _refuse_consensus(
      'RSK-006', 'the proposal_id was used before', format('Proposal %s.', proposal_id),
      'Choose a new uuid for each proposal.');
  end if;
end
$function$;
comment on function _refuse_used_proposal_id is
  'Raises RSK-006 if there is a proposal with this id.';

create function _refuse_short_signature(signature bytea, message_function text) returns void
language plpgsql
set search_path from current
as $function$
begin
  if signature is null or length(signature) <> 64 then
    perform _refuse_consensus(
      'RSK-003', 'a signature is 64 bytes', format('It has %s.', coalesce(length(signature), 0)),
      format('Sign the UTF-8 bytes of %s(…) with Ed25519.', message_function));
  end if;
end
$function$;
comment on function _refuse_short_signature is
  'Raises RSK-003 unless a signature has 64 bytes.';

create function _key_of_active(agent_id uuid, what text) returns bytea
language plpgsql
set search_path from current
as $function$
declare
  key bytea;
begin
  select a.public_key into key from _active_agents() as a where a.agent_id = _key_of_active.agent_id;
  if not found then
    perform _refuse_consensus(
      'RSK-003', format('the %s is unknown or revoked', what), format('Agent %s.', coalesce(agent_id::text, 'null')),
      'Name an active agent: alpha-db agents list shows them.');
  end if;
  return key;
end
$function$;
comment on function _key_of_active is
  'The key of an active agent. Raises RSK-003 for any other, as the proposer or the voter.';

create function _check_proposal(proposal_id uuid, kind text, payload jsonb, reason text, expires_at timestamptz)
returns void
language plpgsql
set search_path from current
as $function$
begin
  if proposal_id is null then
    perform _refuse_consensus(
      'RSK-006', 'a proposal needs a proposal_id', 'It is null.', 'Choose a new uuid for each proposal.');
  end if;
  -- Before the lock, too, because a signature that was stored can be sent again by anyone who can read it.
  perform _refuse_used_proposal_id(proposal_id);
  if kind is null or kind <> all (_proposal_kinds()) then
    perform _refuse_unknown_kind(kind);
  end if;
  if jsonb_typeof(payload) is distinct from 'object' or pg_column_size(payload) > 8388608
     or kind <> 'lockdown_release' and pg_column_size(payload) > 65536 then
    perform _refuse_consensus(
      'RSK-001', 'the payload is missing, not an object, or too large',
      format('It has %s bytes.', pg_column_size(payload)),
      'Give at most 64 kB; for the list of a lockdown_release at most 10000 places and 8 MB.');
  end if;
  if reason is null or octet_length(reason) > 8000 or length(reason) > 2000 or btrim(reason) = ''
     or not _is_plain_text(reason) then
    perform _refuse_consensus(
      'RSK-001', 'the reason is missing, too long, or hides characters',
      format('It has %s characters.', coalesce(length(reason), 0)),
      'Give a reason of at most 2000 characters, without bidi, zero-width or control characters.');
  end if;
  if not _is_readable_time(expires_at) or expires_at <= clock_timestamp() then
    perform _refuse_consensus(
      'RSK-006', 'the proposal has expired', coalesce(expires_at::text, 'It has no expires_at.'),
      'Give a time in the future, before the year 10000.');
  end if;
end
$function$;
comment on function _check_proposal is
  'Raises RSK-001 or RSK-006 for what is wrong with a proposal before anyone looks at its signature.';

create function _refuse_other_state(previous text, state text) returns void
language plpgsql
set search_path from current
as $function$
begin
  if previous <> _text_digest(state) then
    perform _refuse_consensus(
      'RSK-005', 'the proposal was made for another state than the current one',
      format('Made for %s, current is %s.', left(previous, 80), _text_digest(state)),
      'Look at the current state and propose again.');
  end if;
end
$function$;
comment on function _refuse_other_state is
  'Raises RSK-005 if a proposal was made for another state than this one.';

create function _refuse_many_pending(proposer uuid, state text) returns void
language plpgsql
set search_path from current
as $function$
begin
  if (select count(*) from only proposals as p
      where p.proposer = _refuse_many_pending.proposer and p.previous::text = _text_digest(state)
        and _proposal_status(p) = 'PENDING') >= 20 then
    perform _refuse_consensus(
      'RSK-006', 'the agent has 20 pending proposals', format('Agent %s.', proposer),
      'Withdraw one (the proposer votes REJECT), or wait until one is applied or expires.');
  end if;
end
$function$;
comment on function _refuse_many_pending is
  'Raises RSK-006 if an agent has 20 proposals pending.';

create function propose(
  proposal_id uuid, kind text, payload jsonb, reason text, proposer uuid, expires_at timestamptz, signature bytea,
  previous text default null
) returns proposals
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  key      bytea;
  state    text;
  message  text;
  damage   jsonb;
  stored   proposals;
begin
  perform _require_primary('propose');
  perform _refuse_short_signature(signature, 'proposal_message');
  perform _check_proposal(proposal_id, kind, payload, reason, expires_at);
  key := _key_of_active(proposer, 'proposer');
  state := _current_state_text();
  perform _refuse_other_state(previous, state);
  message := _proposal_text(_installation_origin(), proposal_id, kind, _text_digest(state), payload, reason, proposer,
                            expires_at);
  if not _signs(key, message, signature) then
    perform _refuse_consensus(
      'RSK-003', 'the signature is not the proposer''s for this text',
      format(E'The text was:\n%s', left(message, 4000)),
      'Sign the UTF-8 bytes of proposal_message(…), its last line feed included.');
  end if;
  if not _is_plain_text(payload::text) then
    perform _refuse_consensus(
      'RSK-001', 'a text of the payload hides characters', 'What is signed must show all that it says.',
      'Leave out bidi, zero-width and control characters.');
  end if;
  perform _check_payload(kind, payload);
  perform _require_consensus();
  if kind = 'lockdown_release' then
    damage := _open_damage_items();  -- release.sql; it reads all chains, so before the lock
  elsif kind = 'archive' then
    perform _refuse_archive(payload);  -- 16_retention/propose.sql; it looks at many rows, so before the lock
  end if;

  lock table only lock_proposals in share update exclusive mode;
  perform _refuse_used_proposal_id(proposal_id);
  perform _refuse_other_state(_text_digest(state), _current_state_text());
  perform _refuse_many_pending(proposer, state);
  perform _check_allowed(kind, payload, state::jsonb);  -- apply.sql
  if kind = 'lockdown_release' then
    perform _refuse_other_damage(payload -> 'damage', damage);  -- release.sql
  end if;
  insert into proposals (proposal_id, origin, kind, payload, reason, previous, proposer, proposer_key, expires_at,
                         signed_text, digest, signature)
  values (propose.proposal_id, _installation_origin(), propose.kind, propose.payload, propose.reason,
          _text_digest(state), propose.proposer, key, propose.expires_at,
          message, _text_digest(message), propose.signature)
  returning * into stored;
  return stored;
end
$function$;
comment on function propose is
  'Stores a signed proposal and returns its row. Raises RSK-001, RSK-003, RSK-005, RSK-006, RSK-007, AUD-009, AUD-016.';
