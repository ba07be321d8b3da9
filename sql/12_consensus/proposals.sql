-- Proposals and votes, as they were signed
--
-- A row holds the exact text that was signed, and CHECK constraints say that the text is what the columns make and that
-- the signature is the key's for it. So a restored dump has every signature verified again, and a row whose columns
-- were altered is refused even if every trigger is off.

create function _proposal_kinds() returns text[]
language sql immutable parallel safe
set search_path from current
as $function$
  select '{risk_config, asset_kill_threshold, lockdown_release, agent_enrol, agent_revoke, quorum_policy, archive, hold,
           unhold}'::text[];
$function$;
comment on function _proposal_kinds is
  'What a proposal can change. What a new kind touches stands in 12_consensus/payloads.sql.';

create function _unknown_kind(kind text) returns text
language plpgsql immutable
set search_path from current
as $function$
begin
  raise exception 'alpha-db: % is not a kind of proposal, or not handled here', quote_nullable(left(kind, 40))
    using errcode = '22023', hint = 'The head of sql/12_consensus/payloads.sql lists what a new kind touches.';
end
$function$;
comment on function _unknown_kind is
  'Raises 22023: a kind of proposal that a place does not name never falls through. Never returns.';

create table proposals (
  id            bigserial    not null,
  proposal_id   uuid         not null,
  origin        text         not null,
  kind          varchar(30)  not null,
  payload       jsonb        not null,
  reason        text         not null,
  previous      char(64)     not null,
  proposer      uuid         not null,
  proposer_key  bytea        not null,
  expires_at    timestamptz  not null,
  signed_text   text         not null,
  digest        char(64)     not null,
  signature     bytea        not null,
  row_hash      char(64)     not null,
  created_at    timestamptz  not null,
  recorded_by   text         not null,
  constraint proposals_pkey primary key (id),
  constraint proposals_proposal_id_key unique (proposal_id),
  constraint proposals_proposal_id_digest_key unique (proposal_id, digest),
  constraint proposals_proposer_fkey foreign key (proposer, proposer_key) references agents (agent_id, public_key),
  constraint proposals_kind_is_known check (kind::text = any (_proposal_kinds())),
  constraint proposals_reason_is_plain check (btrim(reason) <> ''::text and _is_plain_text(reason)),
  constraint proposals_reason_is_short check (length(reason) <= 2000),
  constraint proposals_payload_is_plain check (_is_plain_text(payload::text)),
  constraint proposals_expires_at_is_readable check (_is_readable_time(expires_at)),
  constraint proposals_signed_text_is_exact check (
    signed_text = _proposal_text(origin, proposal_id, kind::text, previous::text, payload, reason, proposer,
                                 expires_at)),
  constraint proposals_digest_is_of_text check (digest::text = _text_digest(signed_text)),
  constraint proposals_signature_is_valid check (_signs(proposer_key, signed_text, signature))
);
create index proposals_proposer_idx on proposals (proposer);
comment on table proposals is
  'What agents proposed, each signed by its proposer. Append-only, hash-chained.';
comment on column proposals.id           is 'Position in the chain.';
comment on column proposals.proposal_id  is 'Identity of the proposal, chosen by the proposer.';
comment on column proposals.origin       is 'Identity of this installation, as it was signed.';
comment on column proposals.kind         is 'What it changes; docs/risk.md lists the kinds.';
comment on column proposals.payload      is 'What is to hold, complete, never a difference; decimals as strings.';
comment on column proposals.reason       is 'Why, in words.';
comment on column proposals.previous     is 'Hash of the state that the proposal was made for.';
comment on column proposals.proposer     is 'The agent that proposes.';
comment on column proposals.proposer_key is 'Its public key.';
comment on column proposals.expires_at   is 'After this moment it cannot be applied.';
comment on column proposals.signed_text  is 'The exact text that was signed.';
comment on column proposals.digest       is 'SHA-256 of the signed text, in hex; votes name it.';
comment on column proposals.signature    is 'Ed25519 signature of the proposer, 64 bytes.';
comment on column proposals.row_hash     is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column proposals.created_at   is 'When it was made.';
comment on column proposals.recorded_by  is 'The login that wrote the row.';

create table votes (
  id           bigserial    not null,
  proposal_id  uuid         not null,
  digest       char(64)     not null,
  origin       text         not null,
  agent_id     uuid         not null,
  agent_key    bytea        not null,
  decision     varchar(10)  not null,
  signed_at    timestamptz  not null,
  signed_text  text         not null,
  signature    bytea        not null,
  row_hash     char(64)     not null,
  created_at   timestamptz  not null,
  recorded_by  text         not null,
  constraint votes_pkey primary key (id),
  constraint votes_proposal_id_agent_id_key unique (proposal_id, agent_id),
  constraint votes_proposal_id_fkey foreign key (proposal_id, digest) references proposals (proposal_id, digest),
  constraint votes_agent_id_fkey foreign key (agent_id, agent_key) references agents (agent_id, public_key),
  constraint votes_decision_is_known check (decision::text = any (array['APPROVE'::text, 'REJECT'::text])),
  constraint votes_signed_at_is_readable check (_is_readable_time(signed_at)),
  constraint votes_signed_text_is_exact check (
    signed_text = _approval_text(origin, decision::text, digest::text, agent_id, signed_at)),
  constraint votes_signature_is_valid check (_signs(agent_key, signed_text, signature))
);
create index votes_agent_id_idx on votes (agent_id);
comment on table votes is
  'Votes on proposals, each signed by its agent. A REJECT vetoes; the proposer''s own withdraws. Append-only, '
  'hash-chained.';
comment on column votes.id          is 'Position in the chain.';
comment on column votes.proposal_id is 'The proposal.';
comment on column votes.digest      is 'Digest of the proposal''s text, as it was signed.';
comment on column votes.origin      is 'Identity of this installation, as it was signed.';
comment on column votes.agent_id    is 'The agent that votes.';
comment on column votes.agent_key   is 'Its public key.';
comment on column votes.decision    is 'APPROVE or REJECT.';
comment on column votes.signed_at   is 'When the agent signed, by its own clock.';
comment on column votes.signed_text is 'The exact text that was signed.';
comment on column votes.signature   is 'Ed25519 signature of the agent, 64 bytes.';
comment on column votes.row_hash    is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column votes.created_at  is 'When the vote was stored.';
comment on column votes.recorded_by is 'The login that wrote the row.';
