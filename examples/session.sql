-- A session from the first signal to a lockdown. session.out is what it prints.
-- It wants a freshly migrated database and a superuser, who plays the parts of the application, the auditor and the intruder.

\set QUIET on
\set SHOW_CONTEXT never
\pset null '(null)'
set search_path = public, pg_temp;
set timezone = 'UTC';

--
-- A webhook arrives. The application keeps its bytes before it reads them. It gets the body as JSON, or why it is none.
--
set role app_trading;

select id, body ->> 'ticker' as ticker, body_problem, is_whole, body_size
from record_webhook(convert_to('{"ticker": "ETHBTC", "action": "buy", "price": 0.087305, "quantity": 2}', 'UTF8'), '52.89.214.238',
                    'application/json', '{"X-Signature": "1f3a90", "Cookie": "left out"}', '1f3a90', true);
select id, body, body_problem from record_webhook('buy now');

--
-- It records the signal that it reads from it, what two models said about it, an order and its fill.
--
select id, correlation_id, signal_id, price, quantity, delivery_id, row_hash, is_new
from record_signal('tv-0001', 'ETHBTC', 'BUY', '0.087305', 2,
                   '{"ticker": "ETHBTC", "action": "buy", "price": 0.087305, "quantity": 2}', '52.89.214.238', true,
                   delivery_id => 1);

select correlation_id from signals where signal_id = 'tv-0001' \gset

select id, model_name, model_version, confidence_score
from record_ai_debate(:'correlation_id', 'deepseek-r1:32b', '{"verdict": "APPROVE"}', 0.82, 2310,
                      model_version => '2026-05-28');
select id, model_name, confidence_score
from record_ai_debate(:'correlation_id', 'llama-3.1:70b', '{"verdict": "APPROVE", "sentiment": "neutral"}', 0.7, 1980);

select id, order_type, quantity, price, status, is_new
from record_order(:'correlation_id', 'LIMIT', 'ETHBTC', 'BUY', 2, '0.0873', client_order_id => :'correlation_id',
                  decision_maker => 'momentum 4.1');
select id, event_type, fill_quantity, fill_price, is_new
from record_order_event(1, 'FILL', 2, '0.08729', exchange_event_id => 'trade-71', exchange_status => 'FILLED');

--
-- The webhook comes again, and a second worker repeats every step. It is one more delivery, and nothing else is new.
-- The same key with other content is refused.
--
select id, is_new
from record_webhook(convert_to('{"ticker": "ETHBTC", "action": "buy", "price": 0.087305, "quantity": 2}', 'UTF8'), '34.212.75.30');
select id, signal_id, delivery_id, is_new
from record_signal('tv-0001', 'ETHBTC', 'BUY', 0.08730500, 2.0,
                   '{"ticker": "ETHBTC", "action": "buy", "price": 0.087305, "quantity": 2}', '34.212.75.30', true,
                   delivery_id => 3);
select id, status, is_new
from record_order(:'correlation_id', 'LIMIT', 'ETHBTC', 'BUY', 2, '0.0873', client_order_id => :'correlation_id',
                  decision_maker => 'momentum 4.1');
select id, event_type, is_new
from record_order_event(1, 'FILL', 2, '0.08729', exchange_event_id => 'trade-71', exchange_status => 'FILLED');
select id, signal_id
from record_signal('tv-0001', 'ETHBTC', 'SELL', 0.087305, 2,
                   '{"ticker": "ETHBTC", "action": "buy", "price": 0.087305, "quantity": 2}', '52.89.214.238', true);

--
-- What became no signal: the webhook that nobody could read, and the one that was repeated.
--
select id, convert_from(raw_body, 'UTF8') as body, repeats from vw_unprocessed_deliveries order by id;

--
-- No digit is lost silently.
--
select id from record_signal('tv-0002', 'ETHBTC', 'BUY', 0.087305::double precision, 2, '{}');
select id from record_signal('tv-0002', 'ETHBTC', 'BUY', 0.08730500001, 2, '{}');
select id from record_signal('tv-0002', 'ETHBTC', 'BUY', 'NaN', 2, '{}');

--
-- Nothing is changed or removed: the application has no right to, and the owner and the superuser run into a trigger.
--
update signals set side = 'SELL';
reset role;
update signals set side = 'SELL';
set session_replication_role = replica;
delete from order_events;
reset session_replication_role;

--
-- The whole trade in one row.
--
\x on
select signal_id, side, price, combined_confidence, order_type, order_price, event_type, event_fill_price, signal_hash, order_hash
from vw_trade_audit_full;
\x off

--
-- Two events at once, all or nothing. One of them is there already.
--
set role app_trading;
select id, event_type, fill_quantity, is_new
from record_order_events('[{"order_execution_id": 1, "event_type": "FILL", "fill_quantity": 2, "fill_price": 0.08729,
                            "exchange_event_id": "trade-71", "exchange_status": "FILLED"},
                           {"order_execution_id": 1, "event_type": "ACKNOWLEDGED", "exchange_event_id": "ack-9"}]');

--
-- The auditor verifies, and checks the first hash by hand.
--
set role app_auditor;
select table_name, rows_checked, is_valid, verdict from verify_chain_integrity();
select count(*) as guards_not_as_installed from verify_guards();
\pset format unaligned
select row_data from chain_rows('signals');
\pset format aligned
select encode(sha256(decode(chain_genesis('signals'), 'hex') || convert_to(row_data, 'UTF8')), 'hex') = row_hash as first_hash_fits
from chain_rows('signals', 1, 1);
reset role;

--
-- An intruder with the owner's rights disables a trigger, changes the side, and covers the tracks.
--
begin;
alter table signals disable trigger _100_reject_change;
update signals set side = 'SELL' where id = 1;
alter table signals enable always trigger _100_reject_change;
commit;
select count(*) as guards_not_as_installed from verify_guards();

--
-- Verification finds it, and engages the lockdown: no new signals, but deliveries, and events of open orders.
--
set role app_auditor;
\x on
select * from verify_chain_integrity('signals');
\x off
select is_locked, event_id, reason from lockdown_status();
set role app_trading;
select id, body from record_webhook(convert_to('{"ticker": "ETHBTC"}', 'UTF8'));
select id from record_signal('tv-0003', 'ETHBTC', 'BUY', 0.0874, 1, '{}');
select id, event_type, zar_equity, positions_closed
from record_order_event(1, 'KILL_SWITCH', zar_equity => 1250000.50, positions_closed => '[{"symbol": "ETHBTC", "quantity": "2"}]');
reset role;

--
-- What was refused was counted, although every one of those transactions was rolled back.
--
select * from vw_rejected_attempts where attempts > 0;
