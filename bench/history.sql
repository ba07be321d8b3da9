-- What the part history changes: one table four times. Plain; with supa_audit's trigger (supa_audit.sql); with the same
-- trigger, whose trail is a chain; and tracked by track_table.
create table plain_positions (
  id          bigint       primary key,
  account     uuid         not null  default gen_random_uuid(),
  symbol      varchar(20)  not null  default 'BTCUSD',
  quantity    numeric      not null  default 0.25,
  price       numeric      not null  default 60000.55,
  note        text,
  is_open     boolean      not null  default true,
  details     jsonb        not null  default '{"venue": "XNAS", "tags": ["a", "b"]}',
  changed_at  timestamptz  not null  default clock_timestamp()
);
insert into plain_positions (id) select generate_series(1, 10000);
create table audited_positions (like plain_positions including all);
create table chained_positions (like plain_positions including all);
create table tracked_positions (like plain_positions including all);
insert into audited_positions select * from plain_positions;
insert into chained_positions select * from plain_positions;
insert into tracked_positions select * from plain_positions;

create trigger supa_audit after insert or update or delete on audited_positions
  for each row execute function supa_audit();

set role alpha_owner;
create table chained_versions (
  id             bigserial    primary key,
  record_id      uuid,
  old_record_id  uuid,
  op             varchar(10)  not null,
  table_schema   varchar(64)  not null,
  table_name     varchar(64)  not null,
  record         jsonb,
  old_record     jsonb,
  row_hash       char(64)     not null,
  created_at     timestamptz  not null,
  recorded_by    text         not null
);
create index on chained_versions (record_id) where record_id is not null;
create index on chained_versions (old_record_id) where old_record_id is not null;
select _chain_attach('chained_versions');
reset role;
grant execute on all functions in schema public to alpha_owner;

create function chained_audit() returns trigger
language plpgsql security definer
as $function$
declare
  key_columns  text[] := supa_key_columns(tg_relid);
  record       jsonb := to_jsonb(new);
  old_record   jsonb := to_jsonb(old);
begin
  insert into chained_versions (record_id, old_record_id, op, table_schema, table_name, record, old_record)
  values (supa_record_id(tg_relid, key_columns, record), supa_record_id(tg_relid, key_columns, old_record),
          tg_op, tg_table_schema, tg_table_name, record, old_record);
  return coalesce(new, old);
end
$function$;
create trigger chained_audit after insert or update or delete on chained_positions
  for each row execute function chained_audit();

select record_guards('benchmark');
select track_table('tracked_positions');
analyze;
