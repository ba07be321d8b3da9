-- An event table as django-pghistory keeps it, for comparison. Our own implementation of the shape that it publishes,
-- without its code: an AFTER trigger for each event copies the tracked columns into an event table, with the event's
-- label and the id of a context, which the application names in two settings. None is named here, so no context is
-- stored; and the question whether the application switched the trigger off is left out. No chain: nothing shows a
-- change of the events.
create table pgh_signals (like signals including constraints including indexes including comments);
create sequence pgh_signals_id_seq owned by pgh_signals.id;
alter table pgh_signals
  alter id             set default nextval('pgh_signals_id_seq'),
  alter correlation_id set default gen_random_uuid(),
  alter hmac_verified  set default false,
  alter row_hash       set default repeat('0', 64),
  alter created_at     set default clock_timestamp(),
  alter recorded_by    set default session_user,
  add foreign key (delivery_id) references webhook_deliveries (id);

create table pgh_contexts (
  id          uuid         primary key,
  created_at  timestamptz  not null,
  updated_at  timestamptz  not null,
  metadata    jsonb        not null
);

-- the tracked columns, which are unique no longer, and the event's own
create table pgh_events (like signals);
alter table pgh_events
  add pgh_id          bigserial    primary key,
  add pgh_created_at  timestamptz  not null,
  add pgh_label       text         not null,
  add pgh_obj_id      bigint       not null,
  add pgh_context_id  uuid;
create index on pgh_events (delivery_id);
create index on pgh_events (pgh_obj_id);
create index on pgh_events (pgh_context_id);

create function pgh_context() returns uuid
language plpgsql
as $function$
declare
  context_id  uuid := nullif(current_setting('pghistory.context_id', true), '');
  metadata    jsonb := nullif(current_setting('pghistory.context_metadata', true), '');
begin
  if context_id is null or metadata is null then
    return null;
  end if;
  insert into pgh_contexts (id, metadata, created_at, updated_at) values (context_id, metadata, now(), now())
  on conflict (id) do update set metadata = excluded.metadata, updated_at = excluded.updated_at;
  return context_id;
end
$function$;

create function pgh_insert() returns trigger
language plpgsql
as $function$
begin
  insert into pgh_events (id, correlation_id, signal_id, symbol, side, price, quantity, raw_payload, source_ip,
                          hmac_verified, delivery_id, row_hash, created_at, recorded_by,
                          pgh_created_at, pgh_label, pgh_obj_id, pgh_context_id)
  values (new.id, new.correlation_id, new.signal_id, new.symbol, new.side, new.price, new.quantity, new.raw_payload,
          new.source_ip, new.hmac_verified, new.delivery_id, new.row_hash, new.created_at, new.recorded_by,
          now(), 'insert', new.id, pgh_context());
  return null;
end
$function$;

create trigger pgh_insert after insert on pgh_signals for each row execute function pgh_insert();
