-- Procedures that make one row durable without holding the chain while it is written to disk
--
-- A chain's lock is held until the transaction commits, and an ordinary commit waits for the disk before it lets go, so
-- that writers queue behind every flush. These procedures commit twice:
--
--   1. the row, with synchronous_commit = off: its lock is free at once, and the row visible
--   2. at the end of the CALL, with the caller's setting, a message in the write-ahead log, which stands after the row
--
-- When CALL returns, the second commit has flushed the message and so the row. One flush acknowledges many writers.
-- After a crash, what survives of a chain is a prefix of it, because its rows stand in the log in their order. A
-- row that was recorded before is acknowledged after a flush, too.
--
-- A procedure that commits can neither be SECURITY DEFINER nor pin its search_path. So each name in these bodies is
-- qualified, operators and types too, with the schema that they are installed into: {home:I}. How each of them begins
-- and ends stands once, in _create_append.

create procedure _begin_append()
language plpgsql
as $procedure$
declare
  setting  pg_catalog.text;
begin
  commit;
  set transaction isolation level read committed;
  setting := pg_catalog.set_config('synchronous_commit', 'off', true);
end
$procedure$;
comment on procedure _begin_append is
  'Opens a transaction whose commit will not wait for the disk. Raises 2D000 inside a transaction, where no procedure '
  'can commit.';

create function _create_append(record_function text, template text) returns void
language plpgsql
set search_path from current
as $function$
begin
  execute _fill(template, 'home', current_schema(),
    'begin', format('  call %I._begin_append(/* inside a transaction, use %s */);', current_schema(), record_function),
    'end', $end$
  commit;  -- the first; the caller's synchronous_commit holds again
  -- The end of the CALL is the second. No commit here: cancelled while it waits for the disk, it would report a row as
  -- failed that is written.
  message := pg_catalog.pg_logical_emit_message(true, 'alpha-db', '');$end$);
end
$function$;
comment on function _create_append is
  'Makes a procedure that records as a record_ function does, and returns once the row is on disk. The template holds '
  '{begin:s}, {end:s} and {home:I}, and declares message.';

select _create_append('record_webhook', $template$
create procedure append_webhook(
  raw_body             bytea,
  source_ip            inet     default null,
  content_type         text     default null,
  headers              jsonb    default null,
  signature            text     default null,
  hmac_verified        boolean  default false,
  inout id             bigint   default null,
  inout row_hash       text     default null,
  inout is_new         boolean  default null,
  inout body           jsonb    default null,
  inout body_problem   text     default null,
  inout is_whole       boolean  default null
)
language plpgsql
as $procedure$
declare
  stored   {home:I}.recorded_webhook;
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  stored := {home:I}.record_webhook(raw_body, source_ip, content_type, headers, signature, hmac_verified);
{end:s}
  id := stored.id;
  row_hash := stored.row_hash;
  is_new := stored.is_new;
  body := stored.body;
  body_problem := stored.body_problem;
  is_whole := stored.is_whole;
end
$procedure$;
$template$);
comment on procedure append_webhook is
  'Records a delivery as record_webhook does, and returns its id and its body as jsonb, or why it is none, once the '
  'row is on disk, without holding the chain while it waits. Raises 2D000 inside a transaction.';

select _create_append('record_signal', $template$
create procedure append_signal(
  signal_id              text,
  symbol                 text,
  side                   text,
  price                  anycompatible,
  quantity               anycompatible,
  raw_payload            jsonb,
  source_ip              inet           default null,
  hmac_verified          boolean        default false,
  delivery_id            bigint         default null,
  inout correlation_id   uuid           default null,
  inout id               bigint         default null,
  inout row_hash         text           default null,
  inout is_new           boolean        default null,
  money_type             anycompatible  default null::numeric
)
language plpgsql
as $procedure$
#variable_conflict use_variable
declare
  stored   {home:I}.recorded_signal;
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  -- The usual signal is inserted here, at less cost than a look for its key. record_signal answers for the others: one
  -- that is there already, one that it refuses, and all of them while the alarm is raised.
  is_new := pg_catalog.pg_typeof(price) operator(pg_catalog.=) 'numeric'::pg_catalog.regtype
            and coalesce(pg_catalog.char_length(signal_id), 0) operator(pg_catalog.<=) 64
            and coalesce(pg_catalog.char_length(symbol), 0) operator(pg_catalog.<=) 20
            and coalesce(pg_catalog.char_length(side), 0) operator(pg_catalog.<=) 10
            and not {home:I}._alarm_is_raised();
  if is_new then
    insert into {home:I}.signals as s (correlation_id, signal_id, symbol, side, price, quantity, raw_payload, source_ip,
                                       hmac_verified, delivery_id)
    values (correlation_id, signal_id, symbol, side, price, quantity,
            raw_payload, source_ip, coalesce(hmac_verified, false), delivery_id)
    on conflict on constraint signals_signal_id_key do nothing
    returning s.id, s.correlation_id, s.row_hash into id, correlation_id, row_hash;
    is_new := found;
  end if;
  if not is_new then
    stored := {home:I}.record_signal(signal_id, symbol, side, price, quantity, raw_payload, source_ip, hmac_verified,
                                     correlation_id, delivery_id, money_type);
    id := stored.id;
    correlation_id := stored.correlation_id;
    row_hash := stored.row_hash;
    is_new := stored.is_new;
  end if;
{end:s}
end
$procedure$;
$template$);
comment on procedure append_signal is
  'Records a signal as record_signal does, and returns where its row stands once that is on disk, without holding the '
  'chain while it waits. Raises 2D000 inside a transaction.';

select _create_append('record_ai_debate', $template$
create procedure append_ai_debate(
  inout correlation_id   uuid,
  model_name             text,
  reasoning_json         jsonb,
  confidence_score       anycompatible,
  elapsed_ms             integer,
  is_timeout             boolean        default false,
  model_version          text           default null,
  inout id               bigint         default null,
  inout row_hash         text           default null,
  inout is_new           boolean        default null,
  money_type             anycompatible  default null::numeric
)
language plpgsql
as $procedure$
declare
  stored   {home:I}.recorded_ai_debate;
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  stored := {home:I}.record_ai_debate(correlation_id, model_name, reasoning_json, confidence_score, elapsed_ms,
                                      is_timeout, model_version, money_type);
{end:s}
  id := stored.id;
  row_hash := stored.row_hash;
  is_new := stored.is_new;
end
$procedure$;
$template$);
comment on procedure append_ai_debate is
  'Records a debate as record_ai_debate does, and returns once it is on disk, without holding the chain while it '
  'waits. Raises 2D000 inside a transaction.';

select _create_append('record_order', $template$
create procedure append_order(
  inout correlation_id   uuid,
  order_type             text,
  symbol                 text,
  side                   text,
  quantity               anycompatible,
  price                  anycompatible  default null::numeric,
  exchange_order_id      text           default null,
  status                 text           default 'PENDING',
  client_order_id        text           default null,
  stop_price             anycompatible  default null::numeric,
  decision_maker         text           default null,
  exchange_status        text           default null,
  inout id               bigint         default null,
  inout row_hash         text           default null,
  inout is_new           boolean        default null,
  money_type             anycompatible  default null::numeric
)
language plpgsql
as $procedure$
declare
  stored   {home:I}.recorded_order;
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  stored := {home:I}.record_order(correlation_id, order_type, symbol, side, quantity, price, exchange_order_id,
                                  status, client_order_id, stop_price, decision_maker, exchange_status, money_type);
{end:s}
  id := stored.id;
  row_hash := stored.row_hash;
  is_new := stored.is_new;
end
$procedure$;
$template$);
comment on procedure append_order is
  'Records an order as record_order does, and returns once it is on disk, without holding the chain while it waits. '
  'Raises 2D000 inside a transaction.';

select _create_append('record_order_event', $template$
create procedure append_order_event(
  order_execution_id     bigint,
  event_type             text,
  fill_quantity          anycompatible  default null::numeric,
  fill_price             anycompatible  default null::numeric,
  zar_equity             anycompatible  default null::numeric,
  positions_closed       jsonb          default null,
  rejection_reason       text           default null,
  exchange_error_code    text           default null,
  exchange_event_id      text           default null,
  exchange_status        text           default null,
  inout correlation_id   uuid           default null,
  inout id               bigint         default null,
  inout row_hash         text           default null,
  inout is_new           boolean        default null,
  money_type             anycompatible  default null::numeric
)
language plpgsql
as $procedure$
#variable_conflict use_variable
declare
  stored   {home:I}.recorded_order_event;
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  select o.correlation_id into correlation_id
  from only {home:I}.order_execution as o where o.id operator(pg_catalog.=) order_execution_id;
  stored := {home:I}.record_order_event(order_execution_id, event_type, fill_quantity, fill_price, zar_equity,
                                        positions_closed, rejection_reason, exchange_error_code, exchange_event_id,
                                        exchange_status, money_type);
{end:s}
  id := stored.id;
  row_hash := stored.row_hash;
  is_new := stored.is_new;
end
$procedure$;
$template$);
comment on procedure append_order_event is
  'Records an order''s event as record_order_event does, and returns once it is on disk, without holding the chain '
  'while it waits. Raises 2D000 inside a transaction.';
