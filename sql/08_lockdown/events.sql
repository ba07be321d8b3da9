-- The lockdown: after proven damage, the tables of the audit log take no rows until agents agree to go on.
--
-- The chapter:
--   events.sql       the log of lockdowns, and the three sequences that hold the alarm
--   maintenance.sql  the log of DDL that was let through, which is no part of the lockdown
--   consensus.sql    three questions that only 12_consensus can answer, with the answer until it is installed
--   damage.sql       the damage that a release must list, and the damage that releases acknowledged
--   status.sql       lockdown_status(): whether it is engaged, since when, over what
--   engage.sql       raises the alarm and records it; explains how the lockdown engages
--   attend.sql       what verification does about an alarm that nobody recorded, or that was set back
--   _refuse.sql       what writers ask, and how they are refused
--   release.sql      which RELEASED event is accepted

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
  constraint lockdown_events_event_type_is_known check (event_type::text = any (array['ENGAGED'::text,
                                                                                      'RELEASED'::text])),
  constraint lockdown_events_reason_is_given check (btrim(reason) <> ''::text),
  constraint lockdown_events_damage_is_array check (jsonb_typeof(damage) = 'array'::text)
);
comment on table  lockdown_events             is
  'The L6 lockdown: engaged by proven damage, released by an approved proposal. Append-only, hash-chained. The alarm '
  'tells whether it is engaged.';
comment on column lockdown_events.id          is 'Position in the chain.';
comment on column lockdown_events.event_type  is 'ENGAGED or RELEASED.';
comment on column lockdown_events.reason      is 'Why, in words.';
comment on column lockdown_events.damage      is
  'Array of {table, id, verdict, actual_hash, expected_hash}: the damage that engaged it, or that the release '
  'acknowledges.';
comment on column lockdown_events.proposal_id is 'The approved proposal that released it; null for ENGAGED.';
comment on column lockdown_events.alarm       is
  'Value of the sequence lockdown_alarm that the event records, or that the release answers.';
comment on column lockdown_events.recorded_by is 'The login that found the damage or completed the approval.';
comment on column lockdown_events.row_hash    is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column lockdown_events.created_at  is 'When it happened.';

-- Sequences, because every transaction sees setval at once, and a rollback does not undo it (engage.sql).
create sequence lockdown_alarm owned by lockdown_events.alarm;
comment on sequence lockdown_alarm is
  'The alarm: a new random number whenever the lockdown is engaged. The lockdown holds until a lawful release names '
  'this very number. Nothing sets it back.';
create sequence lockdown_alarm_by maxvalue 4294967295 owned by lockdown_events.alarm;
comment on sequence lockdown_alarm_by is
  'Oid of the login that raised the alarm last: it stands here even if its transaction is rolled back.';
create unlogged sequence lockdown_lifted owned by lockdown_events.alarm;
comment on sequence lockdown_lifted is
  'The alarm that a writer last saw lawfully released, so that the next one need not look again. Equal to '
  'lockdown_alarm, or neither has a value: no lockdown.';
