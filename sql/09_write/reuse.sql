-- Idempotency keys
--
-- Senders retry, and workers crash between two steps. So what may be sent twice has a key:
--
--   signals           signal_id                       the sender's
--   order_execution   client_order_id, with status    the application's; the same order once for each status
--   order_events      exchange_event_id, with order   the exchange's, a trade id for instance
--
-- The semantics are the same for all. A key that is new makes a row. A key that is there, sent with the same content,
-- gives the row that is there, with is_new false. With other content it is refused (AUD-010). Content is all that the
-- writer passes, except where a signal came from (source_ip, delivery_id), whether it was verified (hmac_verified), and
-- its correlation_id: there the first word stands.
--
-- Rows under one client_order_id are one order, so they have the same signal, symbol and side. An event that stands at
-- one of them is found from each of them. Two workers at the same moment are not: record events at the order's first
-- row, and the index makes the event one.

create function _accept_retry(table_name text, key_name text, stored jsonb, sent jsonb) returns void
language plpgsql security definer
set search_path from current
as $function$
declare
  differing  text;
begin
  select string_agg(s.column_name, ', ' order by s.column_name) into differing
  from jsonb_each(sent) as s(column_name, value) where stored -> s.column_name is distinct from s.value;
  if differing is not null then
    perform _refuse(
      'AUD-010', format('%s %s was used before with other content', key_name, quote_literal(stored ->> key_name)),
      format('It is row %s of %s; the difference is in %s.', stored ->> 'id', table_name, differing),
      format('Send the same content again, or give what is new its own %s.', key_name), table_name, 'INSERT');
  end if;
  -- The row may be visible before it is on disk: this makes the caller's commit wait for it.
  perform pg_logical_emit_message(true, 'alpha-db', '');
end
$function$;
comment on function _accept_retry is
  'Raises AUD-010 unless what was sent is what is stored under the key; numbers are compared as numbers, JSON as '
  'jsonb.';

create function _require_same_order(client_order_id text, correlation_id uuid, symbol text, side text) returns void
language plpgsql security definer
set search_path from current
as $function$
declare
  other  order_execution;
begin
  select o.* into other from only order_execution as o
  where o.client_order_id = _require_same_order.client_order_id
    and (o.correlation_id <> _require_same_order.correlation_id or o.symbol <> _require_same_order.symbol
         or o.side <> _require_same_order.side) limit 1;
  if found then
    perform _refuse(
      'AUD-010', format('client_order_id %s is that of another order', quote_literal(client_order_id)),
      format('Row %s of order_execution has it: %s %s, of signal %s.', other.id, other.side, other.symbol,
             other.correlation_id),
      'Give each order its own client_order_id, and the same one whenever it is recorded again.',
      'order_execution', 'INSERT');
  end if;
end
$function$;
comment on function _require_same_order is
  'Raises AUD-010 if an order under this client_order_id, in whatever status, is of another signal, symbol or side.';

create function _refuse_unseen(key_name text, key text) returns void
language plpgsql
set search_path from current
as $function$
begin
  raise exception '% % is recorded, but this transaction cannot see it', key_name, quote_literal(key)
    using errcode = '40001', hint = 'Run the transaction again.';
end
$function$;
comment on function _refuse_unseen is
  'Raises 40001: another transaction recorded the row under this key after this one''s snapshot.';
