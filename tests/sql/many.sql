-- record_signals, record_ai_debates, record_orders, record_order_events and their append_ twins: many at once, all or nothing.

set role app_trading;

--
-- The results come in the order given. A key that stands twice in the array is one row.
--
select id, signal_id, price, quantity, is_new from record_signals('[
  {"signal_id": "tv-2", "symbol": "BTCUSD", "side": "BUY", "price": 64123.5500, "quantity": 0.0000000001, "raw_payload": {"n": 2},
   "correlation_id": "22222222-2222-4222-8222-222222222222", "source_ip": "10.0.0.1", "hmac_verified": true},
  {"signal_id": "tv-1", "symbol": "BTCUSD", "side": "SELL", "price": "64123.55", "quantity": 1, "raw_payload": {}},
  {"signal_id": "tv-2", "symbol": "BTCUSD", "side": "BUY", "price": 64123.55, "quantity": 0.0000000001, "raw_payload": {"n": 2}}]');
select id, model_name, model_version, confidence_score, is_timeout, is_new from record_ai_debates('[
  {"correlation_id": "22222222-2222-4222-8222-222222222222", "model_name": "phi-4", "model_version": "q4", "reasoning_json": {},
   "confidence_score": 0.8125, "elapsed_ms": 900},
  {"correlation_id": "22222222-2222-4222-8222-222222222222", "model_name": "timeout", "reasoning_json": {}, "confidence_score": 0,
   "elapsed_ms": 30000, "is_timeout": true}]');
select id, order_type, price, stop_price, status, client_order_id, decision_maker, exchange_status, is_new from record_orders('[
  {"correlation_id": "22222222-2222-4222-8222-222222222222", "order_type": "STOP_LIMIT", "symbol": "BTCUSD", "side": "BUY", "quantity": 1,
   "price": 64000, "stop_price": 63900.5, "client_order_id": "c-1", "decision_maker": "algo 7", "exchange_status": "NEW"},
  {"correlation_id": "22222222-2222-4222-8222-222222222222", "order_type": "MARKET", "symbol": "BTCUSD", "side": "BUY", "quantity": 1,
   "exchange_order_id": "x-9", "status": "SUBMITTED"}]');
select id, order_execution_id, event_type, fill_quantity, fill_price, exchange_event_id, exchange_status, is_new from record_order_events('[
  {"order_execution_id": 2, "event_type": "PARTIAL_FILL", "fill_quantity": 0.4, "fill_price": 64000.5, "exchange_event_id": "t-1",
   "exchange_status": "PARTIALLY_FILLED"},
  {"order_execution_id": null, "event_type": "KILL_SWITCH", "zar_equity": 970000.5, "positions_closed": [{"symbol": "BTCUSD"}]},
  {"order_execution_id": 2, "event_type": "REJECTED", "rejection_reason": "no margin", "exchange_error_code": "E42"}]');
select * from record_signals('[]');

--
-- One element that is refused refuses all. DETAIL says which.
--
select id from record_signals('[
  {"signal_id": "tv-3", "symbol": "BTCUSD", "side": "BUY", "price": 1, "quantity": 1, "raw_payload": {}},
  {"signal_id": "tv-1", "symbol": "BTCUSD", "side": "BUY", "price": 64123.55, "quantity": 1, "raw_payload": {}}]');
select id from record_signals('[{"signal_id": "tv-3", "symbol": "BTCUSD", "side": "BUY", "price": 1.00000000001, "quantity": 1, "raw_payload": {}}]');
select id from record_ai_debates('[{"correlation_id": "33333333-3333-4333-8333-333333333333", "model_name": "phi-4", "reasoning_json": {},
                                    "confidence_score": 1, "elapsed_ms": 1}]');
select id from record_orders('[{"correlation_id": "no uuid", "order_type": "MARKET", "symbol": "BTCUSD", "side": "BUY", "quantity": 1}]');
select id from record_order_events('[{"order_execution_id": 1, "event_type": "CANCELLED"}, {"order_execution_id": 1}]');

--
-- A member that is no column is refused, and so is what is no array of objects.
--
select id from record_signals('[{"signal_id": "tv-3"}, {"signal_id": "tv-4", "Symbol": "BTCUSD", "id": 7}]');
select id from record_signals('[1]');
select id from record_signals('{}');
select id from record_signals(null);
select count(*) from signals;

--
-- The append_ twins return the rows as an array once all of them are on disk.
--
\pset format unaligned
call append_signals('[{"signal_id": "tv-1", "symbol": "BTCUSD", "side": "SELL", "price": 64123.55, "quantity": 1, "raw_payload": {}},
                      {"signal_id": "tv-3", "symbol": "BTCUSD", "side": "BUY", "price": 1, "quantity": 1, "raw_payload": {},
                       "correlation_id": "33333333-3333-4333-8333-333333333333"}]');
call append_ai_debates('[{"correlation_id": "33333333-3333-4333-8333-333333333333", "model_name": "phi-4", "reasoning_json": {},
                          "confidence_score": 1, "elapsed_ms": 1}]');
call append_orders('[{"correlation_id": "33333333-3333-4333-8333-333333333333", "order_type": "MARKET", "symbol": "BTCUSD", "side": "BUY",
                      "quantity": 1}]');
call append_order_events('[{"order_execution_id": 3, "event_type": "CANCELLED"}]');
call append_signals('[]');
call append_signals('[{"signal_id": "tv-5"}]');
begin;
call append_signals('[]');
rollback;
