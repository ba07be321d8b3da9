-- record_signal, record_ai_debate, record_order, record_order_event: what they return, what a retry gives, what they refuse.

set role app_trading;
\set signal '''11111111-1111-4111-8111-111111111111'''

--
-- A signal, a debate, an order and its fill. What the caller leaves out is filled in.
--
select id, correlation_id = :signal as is_as_given, signal_id, symbol, side, price, quantity, raw_payload, source_ip, hmac_verified
from record_signal('tv-1', 'BTCUSD', 'BUY', '64123.55', 0.25, '{"ticker": "BTCUSD"}', '10.0.0.1', true, :signal);

select id, model_name, reasoning_json, confidence_score, elapsed_ms, is_timeout
from record_ai_debate(:signal, 'deepseek-r1:32b', '{"verdict": "APPROVE"}', 0.82, 2310);
select id, model_name, confidence_score, is_timeout
from record_ai_debate(:signal, 'timeout', '{}', 0, 30000, true);

select id, order_type, symbol, side, quantity, price, exchange_order_id, status
from record_order(:signal, 'LIMIT', 'BTCUSD', 'BUY', 0.25, price => 64000);
select id, event_type, fill_quantity, fill_price, zar_equity
from record_order_event(1, 'FILL', 0.25, 63999.5, zar_equity => 1000000.25);
select id, event_type, zar_equity, positions_closed
from record_order_event(1, 'KILL_SWITCH', zar_equity => 970000.5, positions_closed => '[{"symbol": "BTCUSD"}]');

--
-- The same signal again is the row that is there. Other content under its signal_id is refused.
--
select id, side, is_new from record_signal('tv-1', 'BTCUSD', 'BUY', 64123.5500, 0.25, '{"ticker": "BTCUSD"}', '10.9.9.9', true);
select id, side from record_signal('tv-1', 'BTCUSD', 'SELL', 64123.55, 0.25, '{"ticker": "BTCUSD"}', '10.0.0.1', true);
select count(*) from signals;

--
-- An order is recorded once for each status under its client_order_id, and an event once under its exchange_event_id.
--
select id, status, is_new from record_order(:signal, 'STOP', 'BTCUSD', 'SELL', 1, stop_price => 60000.5, client_order_id => 'c-1', decision_maker => 'algo 7');
select id, status, is_new from record_order(:signal, 'STOP', 'BTCUSD', 'SELL', 1, stop_price => 60000.50, client_order_id => 'c-1', decision_maker => 'algo 7');
select id, status, exchange_status, is_new
from record_order(:signal, 'STOP', 'BTCUSD', 'SELL', 1, stop_price => 60000.5, client_order_id => 'c-1', status => 'SUBMITTED', exchange_status => 'NEW');
select id from record_order(:signal, 'STOP', 'BTCUSD', 'SELL', 2, stop_price => 60000.5, client_order_id => 'c-1');
select id, event_type, is_new from record_order_event(2, 'TRIGGERED', exchange_event_id => 'e-1', exchange_status => 'TRIGGERED');
select id, event_type, is_new from record_order_event(2, 'TRIGGERED', exchange_event_id => 'e-1', exchange_status => 'TRIGGERED');
select id from record_order_event(2, 'CANCELLED', exchange_event_id => 'e-1');
select id, event_type, is_new from record_order_event(3, 'ACKNOWLEDGED', exchange_event_id => 'e-1');

--
-- What the types of order and event ask for. Only a kill switch and a liquidation may be of no order of ours.
--
select id from record_order(:signal, 'MARKET', 'BTCUSD', 'BUY', 1, price => 1);
select id from record_order(:signal, 'TAKE_PROFIT_LIMIT', 'BTCUSD', 'BUY', 1, stop_price => 1);
select id from record_order(:signal, 'TAKE_PROFIT', 'BTCUSD', 'BUY', 1);
select id from record_order(:signal, 'LIMIT', 'BTCUSD', 'BUY', 1, price => 1, stop_price => 1);
select id, order_type from record_order(:signal, 'TRAILING_STOP', 'BTCUSD', 'BUY', 1);
select id, event_type, order_execution_id from record_order_event(null, 'LIQUIDATION', fill_quantity => 1, fill_price => 60000);
select id from record_order_event(null, 'FILL', fill_quantity => 1, fill_price => 60000);

--
-- No digit is lost: too many of them, no number, and a binary float are refused.
--
select id from record_signal('tv-2', 'BTCUSD', 'BUY', 1.12345678901, 1, '{}');
select id from record_signal('tv-2', 'BTCUSD', 'BUY', 'NaN', 1, '{}');
select id from record_signal('tv-2', 'BTCUSD', 'BUY', 0.1::double precision, 1, '{}');
select id from record_ai_debate(:signal, 'phi-4', '{}', 0.12345, 1);

--
-- A signal and an order that are not there, and an event without what its type needs, are refused.
--
select id from record_order('22222222-2222-4222-8222-222222222222', 'MARKET', 'BTCUSD', 'BUY', 1);
select id from record_order_event(99, 'CANCELLED');
select id from record_order_event(1, 'REJECTED');

--
-- A row that was rolled back is not there, and the next one gets its id: ids have no gaps.
--
begin;
select id from record_signal('tv-3', 'BTCUSD', 'BUY', 1, 1, '{}');
rollback;
select id from record_signal('tv-4', 'BTCUSD', 'BUY', 1, 1, '{}');
