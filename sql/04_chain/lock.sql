-- The mark of a chain stands in an unlogged sequence, because setval is not undone by a rollback: the id of the transaction
-- that last took the chain's lock. It tells a REPEATABLE READ writer whether it sees the tail.
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
  'Whether this transaction''s snapshot is newer than the writer of a chain''s mark; null for no mark, which a crash leaves. Last writers are ordered by the chain''s lock, so if it sees the last, it sees all.';

create function _refuse_stale_snapshot(table_name text) returns void
language plpgsql
set search_path from current
as $function$
begin
  raise exception 'could not serialize access: % has rows that are newer than this transaction''s snapshot', table_name
    using errcode = '40001', hint = 'Run the transaction again.', table = table_name;
end
$function$;
comment on function _refuse_stale_snapshot is 'Raises 40001 for a REPEATABLE READ or SERIALIZABLE writer that cannot see the chain''s tail.';

create function _admit_writer(table_name text, mark regclass) returns void
language plpgsql
set search_path from current
as $function$
begin
  if _snapshot_sees(pg_sequence_last_value(mark)) is not true then
    if pg_sequence_last_value(mark) is null then
      -- After a crash, a prepared transaction may have written since this snapshot; under the chain's lock none can any more.
      perform setval(mark, txid_current());
    end if;
    perform _refuse_stale_snapshot(table_name);
  end if;
end
$function$;
comment on function _admit_writer is
  'Raises 40001 for a REPEATABLE READ or SERIALIZABLE transaction that has a chain''s lock and whose snapshot does not see the writer of the chain''s mark.';

create function _refuse_other_relation(table_name text, relation regclass) returns void
language plpgsql
set search_path from current
as $function$
begin
  raise log 'alpha-db attempt %', jsonb_build_object(
    'code', 'AUD-011', 'schema', current_schema(), 'table', table_name, 'operation', 'INSERT', 'row_id', null,
    'session_user', session_user, 'current_user', coalesce(nullif(current_setting('role'), 'none'), session_user),
    'client_address', host(inet_client_addr()), 'application', current_setting('application_name'));
  raise exception 'AUD-011: a row of % would be stored in %', table_name, relation
    using errcode = 'AUD11', table = table_name, schema = current_schema(),
          detail = format('%s reads its rows from the table itself: a row in a partition, a chunk or a child table would be lost to it.', table_name),
          hint = 'Chained tables cannot be partitioned, distributed or made hypertables. Undo that.';
end
$function$;
comment on function _refuse_other_relation is
  'Raises AUD-011: the chain trigger fired for a relation that is not the chain''s own table. Never returns.';
