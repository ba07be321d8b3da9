-- What a chain trigger checks and raises
--
-- trigger.sql explains the mark and the lock that these functions are about.

-- A snapshot that does not see the tail: 40001

create function _snapshot_sees(mark bigint) returns boolean
language plpgsql
set search_path from current
as $function$
declare
  writer xid8 := mark::text::xid8;
begin
  if mark is null then
    return null;
  elsif writer = pg_current_xact_id() or pg_visible_in_snapshot(writer, pg_current_snapshot()) then
    return true;
  end if;
  begin
    perform pg_xact_status(writer);
  exception when invalid_parameter_value then
    return true;  -- an id that this cluster has not reached: it came with a dump
  end;
  return false;
end
$function$;
comment on function _snapshot_sees is
  'Whether this transaction''s snapshot is newer than the writer of a chain''s mark; null for no mark, which a crash '
  'leaves. Last writers are ordered by the chain''s lock, so if it sees the last, it sees all.';

create function _refuse_stale_snapshot(table_name text) returns void
language plpgsql
set search_path from current
as $function$
begin
  raise exception 'could not serialize access: % has rows that are newer than this transaction''s snapshot', table_name
    using errcode = '40001', hint = 'Run the transaction again.', table = table_name;
end
$function$;
comment on function _refuse_stale_snapshot is
  'Raises 40001 for a REPEATABLE READ or SERIALIZABLE writer that cannot see the chain''s tail.';

create function _admit_writer(table_name text, mark regclass) returns bigint
language plpgsql
set search_path from current
as $function$
begin
  if _snapshot_sees(pg_sequence_last_value(mark)) is not true then
    if pg_sequence_last_value(mark) is null then
      -- After a crash, a prepared transaction may have written since this snapshot. Under the chain's lock none can.
      perform setval(mark, txid_current());
    end if;
    perform _refuse_stale_snapshot(table_name);
  end if;
  return setval(mark, txid_current());
end
$function$;
comment on function _admit_writer is
  'Sets a chain''s mark. Raises 40001 for a REPEATABLE READ or SERIALIZABLE transaction that has the chain''s lock and '
  'whose snapshot does not see the writer of the mark.';

-- A row that would not be hashed as it is stored, or not be found: AUD-011

create function _refuse_other_relation(table_name text, relation regclass) returns void
language plpgsql
set search_path from current
as $function$
begin
  -- As _refuse does, but not counted.
  raise log 'alpha-db attempt %', jsonb_build_object(
    'code', 'AUD-011', 'schema', current_schema(), 'table', table_name, 'operation', 'INSERT', 'row_id', null,
    'session_user', session_user, 'current_user', coalesce(nullif(current_setting('role'), 'none'), session_user),
    'client_address', host(inet_client_addr()), 'application', current_setting('application_name'));
  raise exception 'AUD-011: a row of % would be stored in %', table_name, relation
    using errcode = 'AUD11', table = table_name, schema = current_schema(),
          detail = format('%s reads its rows from the table itself: '
                          'a row in a partition, a chunk or a child table would be lost to it.', table_name),
          hint = 'Chained tables cannot be partitioned, distributed or made hypertables. Undo that.';
end
$function$;
comment on function _refuse_other_relation is
  'Raises AUD-011: the chain trigger fired for a relation that is not the chain''s own table. Never returns.';

-- IMMUTABLE, although it reads catalogues, so that the planner calls it when it plans the expression that it stands in,
-- and puts the answer there. Any change of the table makes PostgreSQL plan that expression again, because it names the
-- table in a constant of type regclass. So the question costs a row nothing.
create function _has_known_types(relation regclass, known_types regtype[]) returns boolean
language sql immutable
set search_path from current
as $function$
  -- In the order of _hashed_columns, which needs the register: lockdown_events must take a row without it. A column
  -- that may be long is printed as what it is, so it may change, but not to a type whose text depends on a setting.
  select not exists (
    select from (select t.oid as declared_type, coalesce(nullif(t.typbasetype, 0), t.oid) as base_type,
                        row_number() over (order by a.attnum) as place
                 from pg_attribute as a join pg_type as t on t.oid = a.atttypid
                 where a.attrelid = relation and a.attnum > 0 and not a.attisdropped and a.attname <> 'row_hash') as c
    where c.place <= cardinality(known_types)  -- a later column is not hashed before chain_extend
      and case when known_types[c.place] <> 0 then c.declared_type <> known_types[c.place]
               else format_type(c.base_type, null) ~ '^(bytea|real|double|interval|timestamp with time zone)' end);
$function$;
comment on function _has_known_types is
  'Whether the columns of a chained table still have types that its chain trigger prints as it should.';

create function _refuse_other_types(table_name text, known_types regtype[]) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse(
    'AUD-011', format('%s was altered: its rows would not be hashed as they are stored', table_name),
    (select string_agg(format('Column %s is of type %s; its chain was made for %s.',
                              h.column_name, h.declared_type, k.known_type), ' ' order by k.place)
     from unnest(known_types) with ordinality as k(known_type, place)
     join _hashed_columns(table_name) as h on h.place = k.place
     where case when k.known_type <> 0 then h.declared_type <> k.known_type
                else h.type_name in ('timestamptz', 'bytea', 'float4', 'float8', 'interval') end),
    'Give the column its type back. A varchar may be made longer.', table_name, 'INSERT');
end
$function$;
comment on function _refuse_other_types is
  'Raises AUD-011: columns of a chained table have other types than its chain trigger was made for.';

-- A row that is too large: AUD-012

create function _refuse_large_row(table_name text, row_bytes bigint, row_limit bigint) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse(
    'AUD-012', format('the row of %s is too large', table_name),
    format('Its long values print to %s bytes; the limit is %s. '
           'A short number can have a long text: 1e100000 prints 100,001 digits.',
           coalesce(row_bytes::text, 'more than 1,073,741,823'), row_limit),
    'Store the document elsewhere, and record its SHA-256 here.', table_name, 'INSERT');
end
$function$;
comment on function _refuse_large_row is 'Raises AUD-012: the row''s text would be longer than its chain takes.';

create function _print_large(value anyelement, table_name text, row_limit bigint) returns json
language plpgsql
set search_path from current
as $function$
begin
  return to_json(value);
exception when program_limit_exceeded or out_of_memory then  -- text ends at 1 GB
  perform _refuse_large_row(table_name, null, row_limit);
  return null;
end
$function$;
comment on function _print_large is
  'What to_json gives of a value that may print to more than PostgreSQL can hold; raises AUD-012 then.';
