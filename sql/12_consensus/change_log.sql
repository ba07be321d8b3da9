-- The log of applied proposals
--
-- One row for each proposal that reached its quorum, of any kind: the approvals that carried it, and the complete state
-- that it led to. Everything else that consensus makes (agents, revocations, limits, the end of a lockdown) can be
-- derived from this log and the proposals, and is compared with it: see replay.sql and problems.sql.

create table risk_change_log (
  id           bigserial    not null,
  version      bigint       not null,
  proposal_id  uuid         not null,
  digest       char(64)     not null,
  kind         varchar(30)  not null,
  approved_by  uuid         not null,
  approvals    jsonb        not null,
  previous     char(64)     not null,
  state_text   text         not null,
  state_hash   char(64)     not null,
  row_hash     char(64)     not null,
  created_at   timestamptz  not null,
  recorded_by  text         not null,
  constraint risk_change_log_pkey primary key (id),
  constraint risk_change_log_version_key unique (version),
  constraint risk_change_log_proposal_id_key unique (proposal_id),
  constraint risk_change_log_proposal_id_fkey foreign key (proposal_id, digest)
    references proposals (proposal_id, digest),
  constraint risk_change_log_version_is_id check (version = id),
  constraint risk_change_log_state_hash_is_of_text check (state_hash::text = _text_digest(state_text))
);
comment on table risk_change_log is
  'Every applied proposal, of any kind, with the votes that carried it and the complete state it led to. Append-only, '
  'hash-chained.';
comment on column risk_change_log.id          is 'Position in the chain.';
comment on column risk_change_log.version     is 'Version of the state; counts applied proposals.';
comment on column risk_change_log.proposal_id is 'The proposal that was applied.';
comment on column risk_change_log.digest      is 'Digest of its text.';
comment on column risk_change_log.kind        is 'Its kind.';
comment on column risk_change_log.approved_by is 'The agent whose approval completed the quorum.';
comment on column risk_change_log.approvals is
  'The approvals that counted: agent, public_key, signed_at and signature of each.';
comment on column risk_change_log.previous    is 'Hash of the state before.';
comment on column risk_change_log.state_text  is 'The complete state after, as canonical text.';
comment on column risk_change_log.state_hash  is 'SHA-256 of the state text, in hex.';
comment on column risk_change_log.row_hash    is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column risk_change_log.created_at  is 'When it was applied.';
comment on column risk_change_log.recorded_by is 'The login that wrote the row.';

create function _last_applied()
returns table (proposal_id uuid, kind text, payload jsonb)
language sql stable
set search_path from current
as $function$
  select c.proposal_id, c.kind::text, p.payload
  from (select l.* from only risk_change_log as l order by l.id desc limit 1) as c
  join only proposals as p on p.proposal_id = c.proposal_id;
$function$;
comment on function _last_applied is
  'The proposal that was applied last. The triggers compare with it what the same transaction then writes elsewhere.';
