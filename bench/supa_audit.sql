-- An audit trail as supa_audit keeps it, for comparison. Our own implementation of the shape that supa_audit 0.3
-- publishes, without its code: one generic AFTER trigger for all tables, with its owner's rights, writes each row as
-- jsonb into one audit table, under an id that it derives from table and primary key, whose columns it looks up for each
-- row. md5, which is built in and costs less, stands for the uuid_generate_v5 of uuid-ossp. No chain: nothing shows a
-- change of the trail.
create table supa_signals (like signals including constraints including indexes including comments);
create sequence supa_signals_id_seq owned by supa_signals.id;
alter table supa_signals
  alter id             set default nextval('supa_signals_id_seq'),
  alter correlation_id set default gen_random_uuid(),
  alter hmac_verified  set default false,
  alter row_hash       set default repeat('0', 64),
  alter created_at     set default clock_timestamp(),
  alter recorded_by    set default session_user,
  add foreign key (delivery_id) references webhook_deliveries (id);

create type supa_operation as enum ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE');

create table supa_versions (
  id             bigserial       primary key,
  record_id      uuid,
  old_record_id  uuid,
  op             supa_operation  not null,
  ts             timestamptz     not null  default now(),
  table_oid      oid             not null,
  table_schema   name            not null,
  table_name     name            not null,
  record         jsonb,
  old_record     jsonb,
  check (coalesce(record_id, old_record_id) is not null or op = 'TRUNCATE'),
  check ((op in ('INSERT', 'UPDATE')) = (record_id is not null)),
  check ((op in ('INSERT', 'UPDATE')) = (record is not null)),
  check ((op in ('UPDATE', 'DELETE')) = (old_record_id is not null)),
  check ((op in ('UPDATE', 'DELETE')) = (old_record is not null))
);
create index on supa_versions (record_id) where record_id is not null;
create index on supa_versions (old_record_id) where old_record_id is not null;
create index on supa_versions using brin (ts);
create index on supa_versions (table_oid);

create function supa_key_columns(relation oid) returns text[]
language sql stable security definer
set search_path = ''
as $function$
  select coalesce(array_agg(a.attname::text order by a.attnum), '{}')
  from pg_catalog.pg_index as i
  join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
  where i.indrelid = relation and i.indisprimary
$function$;

create function supa_record_id(relation oid, key_columns text[], record jsonb) returns uuid
language sql stable
as $function$
  select case
    when record is null then null
    when key_columns = '{}' then gen_random_uuid()
    else (select md5((jsonb_build_array(relation::bigint) || jsonb_agg(record ->> c.name))::text)::uuid
          from unnest(key_columns) as c(name))
  end
$function$;

create function supa_audit() returns trigger
language plpgsql security definer
as $function$
declare
  key_columns  text[] := supa_key_columns(tg_relid);
  record       jsonb := to_jsonb(new);
  old_record   jsonb := to_jsonb(old);
begin
  insert into supa_versions (record_id, old_record_id, op, table_oid, table_schema, table_name, record, old_record)
  values (supa_record_id(tg_relid, key_columns, record), supa_record_id(tg_relid, key_columns, old_record),
          tg_op::supa_operation, tg_relid, tg_table_schema, tg_table_name, record, old_record);
  return coalesce(new, old);
end
$function$;

create trigger supa_audit after insert or update or delete on supa_signals
  for each row execute function supa_audit();
