-- Writing functions: one for each table of the audit log. They join the caller's transaction and return the stored row.
--
-- A plain INSERT works as well. What these functions add: what is sent again is recognised by its key (reuse.sql), a
-- binary float is refused, and a value that is too long is refused by name. With a key they look first, so that a retry
-- costs no chain lock and works in a lockdown, too; whoever comes second in a race finds the other's row at the insert.
-- The result is listed by name, so that a column added to a table leaves the functions as they are.
--
-- Money is anycompatible, so that a binary float is seen and refused, not cast. The last parameter, money_type, is
-- never given: its default makes an untyped literal and an integer resolve to numeric.
--
-- A new column of a table touches, in SQL: its file in 07_audit; its type in results.sql; its function here
-- (parameter, length, the lists of _refuse_too_long, the INSERT, what a retry is compared by, the result); append.sql
-- (parameter, call); many.sql; the views of 10_read. In Python: takes.py and service/results.py (types), arguments.py
-- (how it is read) and queries.sql (two calls). In docs: design.md and sql/application.md. In tests:
-- security/test_grants.py, chain/test_row_limit.py, chain/test_append.py and sql/record.sql, then python -m
-- tests.sql.sessions. money_type stays the last parameter.

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
  delivery_id     bigint         default null,
  money_type      anycompatible  default null::numeric
) returns recorded_signal
language plpgsql
set search_path from current
set enable_seqscan = off  -- a plan made while the table was empty must not read it whole later
as $function$
declare
  stored  signals;
  is_new  boolean := false;
begin
  if pg_typeof(price) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('price or quantity', pg_typeof(price));
  end if;
  -- The lengths only spare the usual row a call: _refuse_too_long asks the columns.
  if char_length(signal_id) > 64 or char_length(symbol) > 20 or char_length(side) > 10 then
    perform _refuse_too_long('signals', '{signal_id,symbol,side}', array[signal_id, symbol, side]);
  end if;
  select s.* into stored from only signals as s where s.signal_id = record_signal.signal_id;
  if not found then
    insert into signals as s (correlation_id, signal_id, symbol, side, price, quantity, raw_payload, source_ip,
                              hmac_verified, delivery_id)
    values (record_signal.correlation_id, record_signal.signal_id, record_signal.symbol,
            record_signal.side, record_signal.price::numeric, record_signal.quantity::numeric,
            record_signal.raw_payload, record_signal.source_ip, coalesce(record_signal.hmac_verified, false),
            record_signal.delivery_id)
    on conflict on constraint signals_signal_id_key do nothing
    returning s.* into stored;
    is_new := found;
    if not found then
      select s.* into stored from only signals as s where s.signal_id = record_signal.signal_id;
      if not found then
        perform _refuse_unseen('signal_id', signal_id);
      end if;
    end if;
  end if;
  if not is_new then
    perform _accept_retry('signals', 'signal_id', to_jsonb(stored), jsonb_build_object(
      'symbol', symbol, 'side', side, 'price', price::numeric, 'quantity', quantity::numeric,
      'raw_payload', raw_payload));
  end if;
  return row(stored.id, stored.correlation_id, stored.signal_id, stored.symbol, stored.side, stored.price,
             stored.quantity, stored.raw_payload, stored.source_ip, stored.hmac_verified, stored.delivery_id,
             stored.row_hash, stored.created_at, stored.recorded_by, is_new)::recorded_signal;
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
  model_version     text           default null,
  money_type        anycompatible  default null::numeric
) returns recorded_ai_debate
language plpgsql
set search_path from current
as $function$
declare
  stored  ai_debates;
begin
  if pg_typeof(confidence_score) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('confidence_score', pg_typeof(confidence_score));
  end if;
  if char_length(model_name) > 50 or char_length(model_version) > 100 then
    perform _refuse_too_long('ai_debates', '{model_name,model_version}', array[model_name, model_version]);
  end if;
  insert into ai_debates as d (correlation_id, model_name, reasoning_json, confidence_score, elapsed_ms, is_timeout,
                               model_version)
  values (record_ai_debate.correlation_id, record_ai_debate.model_name, record_ai_debate.reasoning_json,
          record_ai_debate.confidence_score::numeric, record_ai_debate.elapsed_ms,
          coalesce(record_ai_debate.is_timeout, false), record_ai_debate.model_version)
  returning d.* into stored;
  return row(stored.id, stored.correlation_id, stored.model_name, stored.reasoning_json, stored.confidence_score,
             stored.elapsed_ms, stored.is_timeout, stored.model_version, stored.row_hash, stored.created_at,
             stored.recorded_by, true)::recorded_ai_debate;
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
  client_order_id    text           default null,
  stop_price         anycompatible  default null::numeric,
  decision_maker     text           default null,
  exchange_status    text           default null,
  money_type         anycompatible  default null::numeric
) returns recorded_order
language plpgsql
set search_path from current
set enable_seqscan = off
as $function$
declare
  stored  order_execution;
  is_new  boolean := false;
  given   text := coalesce(status, 'PENDING');
begin
  if pg_typeof(quantity) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('quantity, price or stop_price', pg_typeof(quantity));
  end if;
  if char_length(symbol) > 20 or char_length(exchange_order_id) > 64 or char_length(order_type) > 20
     or char_length(side) > 10 or char_length(status) > 20 or char_length(client_order_id) > 64
     or char_length(decision_maker) > 100 then
    perform _refuse_too_long(
      'order_execution', '{symbol,exchange_order_id,order_type,side,status,client_order_id,decision_maker}',
      array[symbol, exchange_order_id, order_type, side, status, client_order_id, decision_maker]);
  end if;
  if client_order_id is not null then
    select o.* into stored from only order_execution as o
    where o.client_order_id = record_order.client_order_id and o.status = given;
    if not found then
      perform _require_same_order(client_order_id, correlation_id, symbol, side);
    end if;
  end if;
  if stored.id is null then
    insert into order_execution as o (correlation_id, order_type, symbol, side, quantity, price, exchange_order_id,
                                      status, client_order_id, stop_price, decision_maker, exchange_status)
    values (record_order.correlation_id, record_order.order_type, record_order.symbol, record_order.side,
            record_order.quantity::numeric, record_order.price::numeric, record_order.exchange_order_id, given,
            record_order.client_order_id, record_order.stop_price::numeric, record_order.decision_maker,
            record_order.exchange_status)
    on conflict on constraint order_execution_client_order_id_key do nothing
    returning o.* into stored;
    is_new := found;
    if not found then
      select o.* into stored from only order_execution as o
      where o.client_order_id = record_order.client_order_id and o.status = given;
      if not found then
        perform _refuse_unseen('client_order_id', client_order_id);
      end if;
    end if;
  end if;
  if not is_new then
    perform _accept_retry('order_execution', 'client_order_id', to_jsonb(stored), jsonb_build_object(
      'correlation_id', correlation_id, 'order_type', order_type, 'symbol', symbol, 'side', side,
      'quantity', quantity::numeric, 'price', price::numeric, 'exchange_order_id', exchange_order_id,
      'stop_price', stop_price::numeric, 'decision_maker', decision_maker, 'exchange_status', exchange_status));
  end if;
  return row(stored.id, stored.correlation_id, stored.order_type, stored.symbol, stored.side, stored.quantity,
             stored.price, stored.exchange_order_id, stored.status, stored.client_order_id, stored.stop_price,
             stored.decision_maker, stored.exchange_status, stored.row_hash, stored.created_at, stored.recorded_by,
             is_new)::recorded_order;
end
$function$;
comment on function record_order is
  'Records an order, PENDING before it is sent and again with its exchange_order_id, and returns the row. With a '
  'client_order_id it is idempotent for each status. Raises AUD-001, AUD-008, AUD-009, AUD-010, AUD-012.';

create function record_order_event(
  order_execution_id   bigint,
  event_type           text,
  fill_quantity        anycompatible  default null::numeric,
  fill_price           anycompatible  default null::numeric,
  zar_equity           anycompatible  default null::numeric,
  positions_closed     jsonb          default null,
  rejection_reason     text           default null,
  exchange_error_code  text           default null,
  exchange_event_id    text           default null,
  exchange_status      text           default null,
  money_type           anycompatible  default null::numeric
) returns recorded_order_event
language plpgsql
set search_path from current
set enable_seqscan = off
as $function$
#variable_conflict use_column
declare
  stored  order_events;
  is_new  boolean := false;
  given   bigint := coalesce(order_execution_id, 0);  -- as in the index order_events_exchange_event_id_key
begin
  if pg_typeof(fill_quantity) not in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype) then
    perform _refuse_float('fill_quantity, fill_price or zar_equity', pg_typeof(fill_quantity));
  end if;
  if char_length(event_type) > 30 or char_length(exchange_error_code) > 50 or char_length(exchange_event_id) > 64 then
    perform _refuse_too_long('order_events', '{event_type,exchange_error_code,exchange_event_id}',
                             array[event_type, exchange_error_code, exchange_event_id]);
  end if;
  if exchange_event_id is not null then
    select e.* into stored from only order_events as e
    where coalesce(e.order_execution_id, 0) = given and e.exchange_event_id = record_order_event.exchange_event_id;
    if not found then
      -- An order that is recorded again is several rows: the event may stand at another of them.
      select e.* into stored from only order_execution as g
      join only order_execution as o on o.client_order_id = g.client_order_id
      join only order_events as e on coalesce(e.order_execution_id, 0) = o.id
                                 and e.exchange_event_id = record_order_event.exchange_event_id
      where g.id = given limit 1;
      order_execution_id := coalesce(stored.order_execution_id, order_execution_id);
    end if;
  end if;
  if stored.id is null then
    insert into order_events as e (order_execution_id, event_type, fill_quantity, fill_price, zar_equity,
                                   positions_closed, rejection_reason, exchange_error_code, exchange_event_id,
                                   exchange_status)
    values (record_order_event.order_execution_id, record_order_event.event_type,
            record_order_event.fill_quantity::numeric, record_order_event.fill_price::numeric,
            record_order_event.zar_equity::numeric, record_order_event.positions_closed,
            record_order_event.rejection_reason, record_order_event.exchange_error_code,
            record_order_event.exchange_event_id, record_order_event.exchange_status)
    on conflict (coalesce(order_execution_id, 0), exchange_event_id) where exchange_event_id is not null do nothing
    returning e.* into stored;
    is_new := found;
    if not found then
      select e.* into stored from only order_events as e
      where coalesce(e.order_execution_id, 0) = given and e.exchange_event_id = record_order_event.exchange_event_id;
      if not found then
        perform _refuse_unseen('exchange_event_id', exchange_event_id);
      end if;
    end if;
  end if;
  if not is_new then
    perform _accept_retry('order_events', 'exchange_event_id', to_jsonb(stored), jsonb_build_object(
      'order_execution_id', order_execution_id, 'event_type', event_type, 'fill_quantity', fill_quantity::numeric,
      'fill_price', fill_price::numeric, 'zar_equity', zar_equity::numeric, 'positions_closed', positions_closed,
      'rejection_reason', rejection_reason, 'exchange_error_code', exchange_error_code,
      'exchange_status', exchange_status));
  end if;
  return row(stored.id, stored.order_execution_id, stored.event_type, stored.fill_quantity, stored.fill_price,
             stored.zar_equity, stored.positions_closed, stored.rejection_reason, stored.exchange_error_code,
             stored.exchange_event_id, stored.exchange_status, stored.row_hash, stored.created_at, stored.recorded_by,
             is_new)::recorded_order_event;
end
$function$;
comment on function record_order_event is
  'Records what became of an order and returns the row; open also in a lockdown. With an exchange_event_id it is '
  'idempotent. Raises AUD-001, AUD-008, AUD-010, AUD-012.';
