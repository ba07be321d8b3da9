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
