-- Debates: what each model said about a signal, and how long it took

create table ai_debates (
  id                bigserial     not null,
  correlation_id    uuid          not null,
  model_name        varchar(50)   not null,
  reasoning_json    jsonb         not null,
  confidence_score  decimal_5_4   not null,
  elapsed_ms        integer       not null,
  is_timeout        boolean       not null  default false,
  model_version     varchar(100)  null,
  row_hash          char(64)      not null,
  created_at        timestamptz   not null,
  recorded_by       text          not null,
  constraint ai_debates_pkey primary key (id),
  constraint ai_debates_correlation_id_fkey foreign key (correlation_id) references signals (correlation_id),
  constraint ai_debates_model_name_is_given check (btrim(model_name::text) <> ''::text),
  constraint ai_debates_confidence_score_is_share check (confidence_score >= 0 and confidence_score <= 1),
  constraint ai_debates_timeout_has_no_confidence check (not is_timeout or confidence_score = 0),
  constraint ai_debates_elapsed_ms_is_not_negative check (elapsed_ms >= 0)
);
create index ai_debates_correlation_id_idx on ai_debates (correlation_id);
create index ai_debates_created_at_idx on ai_debates (created_at);
comment on table  ai_debates                  is 'What each model said about a signal. Append-only, hash-chained.';
comment on column ai_debates.id               is 'Position in the chain: assigned under its lock, first 1, no gaps.';
comment on column ai_debates.correlation_id   is 'The signal that was debated.';
comment on column ai_debates.model_name is
  'Model, free text; deepseek-r1, llama-3.1, phi-4 and timeout are the known ones.';
comment on column ai_debates.reasoning_json   is 'The model''s answer.';
comment on column ai_debates.confidence_score is 'The model''s confidence, 0 to 1; 0 for a timeout.';
comment on column ai_debates.elapsed_ms       is 'How long the model took, in milliseconds.';
comment on column ai_debates.is_timeout       is 'Whether the model gave no answer in time.';
comment on column ai_debates.model_version    is 'Which version of the model, as its provider names it.';
comment on column ai_debates.row_hash         is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column ai_debates.created_at is
  'When the row was written, by the server''s clock under the chain''s lock. Never decreases.';
comment on column ai_debates.recorded_by      is 'The login that wrote the row.';
