-- Writing functions: one for each table of the audit log. They join the caller's transaction and return the stored row.
--
-- A plain INSERT works as well. What these functions add: a signal that is sent again is recognised by its signal_id,
-- a binary float is refused, and a value that is too long is refused by name.
--
-- Money is anycompatible, so that a binary float is seen and refused, not cast. The last parameter, money_type, is
-- never given: its default makes an untyped literal and an integer resolve to numeric.
--
-- A new column of a table touches, in SQL: its file in 07_audit; its function here (parameter, length, the lists of
-- _refuse_too_long, the INSERT; for signals _refuse_signal_reuse); append.sql (parameter, call); the views of 10_read.
-- In Python: writers.py (two signatures), arguments.py (how it is read) and queries.sql (two calls). In docs: design.md
-- and sql/application.md. In tests: security/test_grants.py, chain/test_row_limit.py, chain/test_append.py and
-- sql/record.sql, then python -m tests.sql.sessions. money_type stays the last parameter.

create function _refuse_signal_reuse(stored signals, sent signals) returns void
language plpgsql security definer
set search_path from current
as $function$
declare
  differing text := concat_ws(', ',
    case when stored.symbol        is distinct from sent.symbol        then 'symbol' end,
    case when stored.side          is distinct from sent.side          then 'side' end,
    case when stored.price         is distinct from sent.price         then 'price' end,
    case when stored.quantity      is distinct from sent.quantity      then 'quantity' end,
    case when stored.raw_payload   is distinct from sent.raw_payload   then 'raw_payload' end,
    case when stored.hmac_verified is distinct from sent.hmac_verified then 'hmac_verified' end);
begin
  if differing <> '' then
    perform _refuse(
      'AUD-010', format('signal_id %s was used before with other content', quote_literal(stored.signal_id)),
      format('It is row %s of signals; the difference is in %s.', stored.id, differing),
      'Send the same content again, or give another signal a signal_id of its own.', 'signals', 'INSERT');
  end if;
end
$function$;
comment on function _refuse_signal_reuse is
  'Raises AUD-010 if what was sent under an idempotency key is not what is stored under it; a retry may come from '
  'another address.';

create function record_signal(
  signal_id       text,
  symbol          text,
  side            text,
  price           anycompatible,
  quantity        anycompatible,
  raw_payload     jsonb,
  source_ip       inet           default null,
  hmac_verified   boolean        default false,
  correlation_id  uuid           default null,
  money_type      anycompatible  default null::numeric
) returns signals
language plpgsql
set search_path from current
set enable_seqscan = off  -- a plan made while the table was empty must not read it whole later
as $function$
declare
  stored  signals;
  sent    signals;
begin
  if pg_typeof(price) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('price or quantity', pg_typeof(price));
  end if;
  -- The lengths only spare the usual row a call: _refuse_too_long asks the columns.
  if char_length(signal_id) > 64 or char_length(symbol) > 20 or char_length(side) > 10 then
    perform _refuse_too_long('signals', '{signal_id,symbol,side}', array[signal_id, symbol, side]);
  end if;
  select * into stored from only signals as s where s.signal_id = record_signal.signal_id;
  if not found then
    insert into signals (correlation_id, signal_id, symbol, side, price, quantity, raw_payload, source_ip,
                         hmac_verified)
    values (coalesce(record_signal.correlation_id, gen_random_uuid()), record_signal.signal_id, record_signal.symbol,
            record_signal.side, record_signal.price::numeric, record_signal.quantity::numeric,
            record_signal.raw_payload, record_signal.source_ip, coalesce(record_signal.hmac_verified, false))
    on conflict on constraint signals_signal_id_key do nothing
    returning * into stored;
    if found then
      return stored;
    end if;
    -- Another session recorded it between the look-up and the insert: now it can be seen.
    select * into stored from only signals as s where s.signal_id = record_signal.signal_id;
    if not found then
      raise exception 'signal_id % is recorded, but this transaction cannot see it', quote_literal(signal_id)
        using errcode = '40001', hint = 'Run the transaction again.';
    end if;
  end if;
  sent.symbol := record_signal.symbol;
  sent.side := record_signal.side;
  sent.price := record_signal.price::numeric;
  sent.quantity := record_signal.quantity::numeric;
  sent.raw_payload := record_signal.raw_payload;
  sent.hmac_verified := coalesce(record_signal.hmac_verified, false);
  perform _refuse_signal_reuse(stored, sent);
  -- The row may be visible before it is on disk: this makes the caller's commit wait for it.
  perform pg_logical_emit_message(true, 'alpha-db', '');
  return stored;
end
$function$;
comment on function record_signal is
  'Records a signal and returns its row. Idempotent: the same signal_id with the same content returns the row already '
  'there. Raises AUD-001, AUD-009, AUD-010, AUD-012.';

create function record_ai_debate(
  correlation_id    uuid,
  model_name        text,
  reasoning_json    jsonb,
  confidence_score  anycompatible,
  elapsed_ms        integer,
  is_timeout        boolean        default false,
  money_type        anycompatible  default null::numeric
) returns ai_debates
language plpgsql
set search_path from current
as $function$
declare
  stored ai_debates;
begin
  if pg_typeof(confidence_score) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('confidence_score', pg_typeof(confidence_score));
  end if;
  if char_length(model_name) > 50 then
    perform _refuse_too_long('ai_debates', '{model_name}', array[model_name]);
  end if;
  insert into ai_debates (correlation_id, model_name, reasoning_json, confidence_score, elapsed_ms, is_timeout)
  values (record_ai_debate.correlation_id, record_ai_debate.model_name, record_ai_debate.reasoning_json,
          record_ai_debate.confidence_score::numeric, record_ai_debate.elapsed_ms,
          coalesce(record_ai_debate.is_timeout, false))
  returning * into stored;
  return stored;
end
$function$;
comment on function record_ai_debate is
  'Records what a model said about a signal and returns the row. Raises AUD-001, AUD-008, AUD-009, AUD-012.';

create function record_order(
  correlation_id     uuid,
  order_type         text,
  symbol             text,
  side               text,
  quantity           anycompatible,
  price              anycompatible  default null::numeric,
  exchange_order_id  text           default null,
  status             text           default 'PENDING',
  money_type         anycompatible  default null::numeric
) returns order_execution
language plpgsql
set search_path from current
as $function$
declare
  stored order_execution;
begin
  if pg_typeof(quantity) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('quantity or price', pg_typeof(quantity));
  end if;
  if char_length(symbol) > 20 or char_length(exchange_order_id) > 64 or char_length(order_type) > 20
     or char_length(side) > 10 or char_length(status) > 20 then
    perform _refuse_too_long('order_execution', '{symbol,exchange_order_id,order_type,side,status}',
                             array[symbol, exchange_order_id, order_type, side, status]);
  end if;
  insert into order_execution (correlation_id, order_type, symbol, side, quantity, price, exchange_order_id, status)
  values (record_order.correlation_id, record_order.order_type, record_order.symbol, record_order.side,
          record_order.quantity::numeric, record_order.price::numeric,
          record_order.exchange_order_id, coalesce(record_order.status, 'PENDING'))
  returning * into stored;
  return stored;
end
$function$;
comment on function record_order is
  'Records an order, PENDING before it is sent and again with its exchange_order_id, and returns the row. Raises '
  'AUD-001, AUD-008, AUD-009, AUD-012.';

create function record_order_event(
  order_execution_id   bigint,
  event_type           text,
  fill_quantity        anycompatible  default null::numeric,
  fill_price           anycompatible  default null::numeric,
  zar_equity           anycompatible  default null::numeric,
  positions_closed     jsonb          default null,
  rejection_reason     text           default null,
  exchange_error_code  text           default null,
  money_type           anycompatible  default null::numeric
) returns order_events
language plpgsql
set search_path from current
as $function$
declare
  stored order_events;
begin
  if pg_typeof(fill_quantity) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('fill_quantity, fill_price or zar_equity', pg_typeof(fill_quantity));
  end if;
  if char_length(event_type) > 30 or char_length(exchange_error_code) > 50 then
    perform _refuse_too_long('order_events', '{event_type,exchange_error_code}',
                             array[event_type, exchange_error_code]);
  end if;
  insert into order_events (order_execution_id, event_type, fill_quantity, fill_price, zar_equity,
                            positions_closed, rejection_reason, exchange_error_code)
  values (record_order_event.order_execution_id, record_order_event.event_type,
          record_order_event.fill_quantity::numeric, record_order_event.fill_price::numeric,
          record_order_event.zar_equity::numeric, record_order_event.positions_closed,
          record_order_event.rejection_reason, record_order_event.exchange_error_code)
  returning * into stored;
  return stored;
end
$function$;
comment on function record_order_event is
  'Records what became of an order and returns the row; open also in a lockdown. Raises AUD-001, AUD-008, AUD-012.';
