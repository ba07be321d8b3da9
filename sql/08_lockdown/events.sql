-- The lockdown: after proven damage, the tables of the audit log take no rows until agents agree to go on.
--
-- The chapter:
--   events.sql     the log of lockdowns, the three sequences that hold the alarm, and the log of maintenance
--   consensus.sql  three questions that only 12_consensus can answer, with the answer until it is installed
--   damage.sql     the damage that a release must list, and the damage that releases acknowledged
--   status.sql     lockdown_status(): whether it is engaged, since when, over what
--   engage.sql     raises the alarm and records it; explains how the lockdown engages
--   attend.sql     what verification does about an alarm that nobody recorded, or that was set back
--   writers.sql    what writers ask, and how they are refused
--   release.sql    which RELEASED event is accepted

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
  'The lockdown: engaged by proven damage, released by an approved proposal. Append-only, hash-chained. The alarm '
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

-- DDL on protected objects is refused where superuser/ddl_guard.sql is installed, unless alpha.maintenance gives a
-- reason. What was let through is recorded here.
create table maintenance_events (
  id               bigserial    not null,
  reason           text         not null,
  command_tag      text         not null,
  object_identity  text         not null,
  recorded_by      text         not null,
  row_hash         char(64)     not null,
  created_at       timestamptz  not null,
  constraint maintenance_events_pkey primary key (id),
  constraint maintenance_events_reason_is_given check (btrim(reason) <> ''::text)
);
comment on table  maintenance_events                 is
  'DDL on protected objects that was let through because alpha.maintenance was set. Append-only, hash-chained.';
comment on column maintenance_events.id              is 'Position in the chain.';
comment on column maintenance_events.reason          is 'The reason given in alpha.maintenance.';
comment on column maintenance_events.command_tag     is 'The command, ALTER TABLE for example.';
comment on column maintenance_events.object_identity is 'The object that it changed.';
comment on column maintenance_events.recorded_by     is 'The login that did it.';
comment on column maintenance_events.row_hash        is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column maintenance_events.created_at      is 'When it happened.';

create function _record_maintenance(reason text, command_tag text, object_identity text) returns void
language sql security definer
set search_path from current
as $function$
  insert into maintenance_events (reason, command_tag, object_identity)
  values (_record_maintenance.reason, _record_maintenance.command_tag, _record_maintenance.object_identity);
$function$;
comment on function _record_maintenance is
  'Records DDL on a protected object that alpha.maintenance let through. Called by the DDL guard.';
