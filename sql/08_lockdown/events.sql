-- What the kit itself has to remember

create table lockdown_events (
  id           bigserial    not null,
  event_type   varchar(10)  not null,
  reason       text         not null,
  damage       jsonb        not null,
  proposal_id  uuid         null,
  alarm        bigint       not null,
  recorded_by  text         not null,
  row_hash     char(64)     not null,
  created_at   timestamptz  not null,
  constraint lockdown_events_pkey primary key (id),
  constraint lockdown_events_event_type_is_known check (event_type::text = any (array['ENGAGED'::text, 'RELEASED'::text])),
  constraint lockdown_events_reason_is_given check (btrim(reason) <> ''::text),
  constraint lockdown_events_damage_is_array check (jsonb_typeof(damage) = 'array'::text)
);
comment on table  lockdown_events             is 'The L6 lockdown: engaged by proven damage, released by an approved proposal. Append-only, hash-chained. The alarm tells whether it is engaged.';
comment on column lockdown_events.id          is 'Position in the chain.';
comment on column lockdown_events.event_type  is 'ENGAGED or RELEASED.';
comment on column lockdown_events.reason      is 'Why, in words.';
comment on column lockdown_events.damage      is 'Array of {table, id, verdict, actual_hash, expected_hash}: the damage that engaged it, or that the release acknowledges.';
comment on column lockdown_events.proposal_id is 'The approved proposal that released it; null for ENGAGED.';
comment on column lockdown_events.alarm       is 'Value of the sequence lockdown_alarm that the event records, or that the release answers.';
comment on column lockdown_events.recorded_by is 'The login that found the damage or completed the approval.';
comment on column lockdown_events.row_hash    is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column lockdown_events.created_at  is 'When it happened.';

-- Sequences, because setval is seen at once by every transaction and is not undone by a rollback (docs/chain-format.md, "The lockdown").
create sequence lockdown_alarm owned by lockdown_events.alarm;
comment on sequence lockdown_alarm is
  'The alarm: a new random number whenever the lockdown is engaged. The lockdown holds until a lawful release names this very number. Nothing sets it back.';
create sequence lockdown_alarm_by maxvalue 4294967295 owned by lockdown_events.alarm;
comment on sequence lockdown_alarm_by is 'Oid of the login that raised the alarm last: who it was stands here even if its transaction is rolled back.';
create unlogged sequence lockdown_lifted owned by lockdown_events.alarm;
comment on sequence lockdown_lifted is
  'The alarm that a writer last saw lawfully released, so that the next one need not look again. Equal to lockdown_alarm, also both without a value: no lockdown.';
