-- record_decision, append_decision: what the guardrail answered; vw_trade_audit_full and vw_orders_without_permission.

set role app_trading;
\set signal '''11111111-1111-4111-8111-111111111111'''
select id from record_signal('tv-1', 'BTCUSD', 'BUY', 64123.55, 1, '{}', correlation_id => :signal);

--
-- A refusal, and an order all the same. No applied change has that version, so there are no limits to show.
--
select id, symbol, side, quantity, price, position, allowed, reason, mode, risk_version, limits, decision_maker, is_new
from record_decision(:signal, 'BTCUSD', 'BUY', 1, 64123.55, 0, false, 'drawdown 0.03 has reached the limit 0.03', 'NORMAL',
                     7, repeat('0', 64), 'algo 7');
select id from record_order(:signal, 'MARKET', 'BTCUSD', 'BUY', 1, client_order_id => 'c-1');
select order_id, client_order_id, problem from vw_orders_without_permission;

--
-- In Safe Mode what reduces a position is allowed, and needs no limits. position is a keyword of SQL.
--
call append_decision(:signal, 'BTCUSD', 'SELL', 0.5, null, 0.5, true, 'it reduces a position', 'SAFE_MODE');
select id from record_order(:signal, 'MARKET', 'BTCUSD', 'SELL', 0.5, client_order_id => 'c-2');
select id from record_order(:signal, 'MARKET', 'BTCUSD', 'SELL', 0.5, client_order_id => 'c-3');
select order_id, client_order_id, decision_id, problem from vw_orders_without_permission order by order_id;
select order_id, decision_id, decision_allowed, decision_mode, decision_reason, decision_by from vw_trade_audit_full order by order_id;
select id from record_decision(:signal, 'BTCUSD', 'BUY', 0.5, null, "position" => 0.5, allowed => true, reason => 'why', mode => 'SAFE_MODE');

--
-- A permission is complete; of a refusal, whatever could not be read is left out.
--
select id from record_decision(:signal, 'BTCUSD', null, 1, null, 0, true, 'why', 'NORMAL', 7, repeat('0', 64));
select id from record_decision(:signal, 'BTCUSD', 'BUY', 1, null, 0, true, 'why', 'NORMAL');
select id, symbol, side, quantity from record_decision(null, null, null, null::numeric, null, null, false, 'the order cannot be judged', 'NORMAL');

--
-- Floats, a signal that is not there, and an unknown mode are refused.
--
select id from record_decision(:signal, 'BTCUSD', 'BUY', 0.1::real, null, 0, false, 'why', 'NORMAL');
select id from record_decision('22222222-2222-4222-8222-222222222222', 'BTCUSD', 'BUY', 1, null, 0, false, 'why', 'NORMAL');
select id from record_decision(:signal, 'BTCUSD', 'BUY', 1, null, 0, false, 'why', 'normal');

--
-- No row of it changes or goes.
--
reset role;
update risk_decisions set allowed = true;
delete from risk_decisions;
truncate risk_decisions;
