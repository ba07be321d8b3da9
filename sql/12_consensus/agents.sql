-- Agents: who may propose and vote
--
-- An agent is a person or a program with an Ed25519 key. The first ones come with the bootstrap, all others by a
-- proposal of kind agent_enrol. A row is never changed: an agent that is revoked, or replaced by another (as when a key
-- is rotated), has a row in agent_revocations. An identity or a key is never used again.
--
-- What a CHECK needs stands in the row itself, tied to its origin by composite foreign keys, because a CHECK that read
-- another table would make a dump impossible to restore.

create table agents (
  id           bigserial    not null,
  agent_id     uuid         not null,
  name         varchar(50)  not null,
  role         varchar(30)  not null,
  public_key   bytea        not null,
  replaces     uuid         null,
  proposal_id  uuid         null,
  signature    bytea        null,
  row_hash     char(64)     not null,
  created_at   timestamptz  not null,
  recorded_by  text         not null,
  constraint agents_pkey primary key (id),
  constraint agents_agent_id_key unique (agent_id),
  constraint agents_public_key_key unique (public_key),
  constraint agents_agent_id_public_key_key unique (agent_id, public_key),
  constraint agents_replaces_fkey foreign key (replaces) references agents (agent_id),
  constraint agents_name_is_plain check (btrim(name::text) <> ''::text and _is_plain_text(name::text)),
  constraint agents_role_is_plain check (btrim(role::text) <> ''::text and _is_plain_text(role::text)),
  constraint agents_public_key_is_strong check (not _ed25519_key_is_weak(public_key)),
  constraint agents_signature_is_of_bootstrap check ((proposal_id is null) = (signature is not null)
                                                     and length(signature) = 64)
);
comment on table agents is
  'Agents as they were enrolled. Append-only, hash-chained; the revoked ones stand in agent_revocations.';
comment on column agents.id          is 'Position in the chain.';
comment on column agents.agent_id    is 'Identity of the agent.';
comment on column agents.name        is 'What people call it.';
comment on column agents.role        is 'What it does, in a word or two.';
comment on column agents.public_key  is 'Ed25519 public key, 32 bytes.';
comment on column agents.replaces    is 'The agent whose place (and vote) it takes, as when a key is rotated.';
comment on column agents.proposal_id is 'The approved proposal that enrolled it; null for those of the bootstrap.';
comment on column agents.signature is
  'Its Ed25519 signature of the whole bootstrap (bootstrap_message), 64 bytes; null for those that a proposal '
  'enrolled.';
comment on column agents.row_hash    is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column agents.created_at  is 'When it was enrolled.';
comment on column agents.recorded_by is 'The login that wrote the row.';

create table agent_revocations (
  id           bigserial    not null,
  agent_id     uuid         not null,
  proposal_id  uuid         not null,
  row_hash     char(64)     not null,
  created_at   timestamptz  not null,
  recorded_by  text         not null,
  constraint agent_revocations_pkey primary key (id),
  constraint agent_revocations_agent_id_key unique (agent_id),
  constraint agent_revocations_agent_id_fkey foreign key (agent_id) references agents (agent_id)
);
comment on table agent_revocations is
  'Agents that may no longer propose or vote. Append-only, hash-chained.';
comment on column agent_revocations.id          is 'Position in the chain.';
comment on column agent_revocations.agent_id    is 'The agent.';
comment on column agent_revocations.proposal_id is 'The approved proposal that revoked or replaced it.';
comment on column agent_revocations.row_hash    is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column agent_revocations.created_at  is 'From when on its votes no longer count.';
comment on column agent_revocations.recorded_by is 'The login that wrote the row.';

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
comment on function _active_agents is
  'The agents that may propose and vote now.';

create function _agent_removed_by(kind text, payload jsonb) returns text
language sql immutable
set search_path from current
as $function$
  select case kind when 'agent_revoke' then payload ->> 'agent_id'
                   when 'agent_enrol'  then payload ->> 'replaces' end;
$function$;
comment on function _agent_removed_by is
  'The agent that a proposal revokes or replaces; null if it does neither.';

create function _enrolment_of(agent agents) returns jsonb
language sql immutable
set search_path from current
as $function$
  select jsonb_build_object('agent_id', agent.agent_id, 'name', agent.name, 'role', agent.role,
                            'public_key', encode(agent.public_key, 'hex'), 'replaces', agent.replaces);
$function$;
comment on function _enrolment_of is
  'The payload of the agent_enrol that makes an agent what its row says.';
