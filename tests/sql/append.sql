-- append_signal, append_ai_debate, append_order, append_order_event: the row is on disk when CALL returns.

set role app_trading;
\set signal '''11111111-1111-4111-8111-111111111111'''

--
-- Each CALL commits its row and returns its correlation_id, id, row_hash, and whether it is new.
--
call append_signal('tv-1', 'BTCUSD', 'BUY', 64123.55, 0.25, '{"ticker": "BTCUSD"}', correlation_id => :signal);
call append_ai_debate(:signal, 'llama-3.1:70b', '{"verdict": "APPROVE"}', 0.7, 1980);
call append_order(:signal, 'MARKET', 'BTCUSD', 'BUY', 0.25);
call append_order_event(1, 'FILL', 0.25, 64123.5);

--
-- Retries and refusals are those of the record_ functions.
--
call append_signal('tv-1', 'BTCUSD', 'BUY', 64123.55, 0.25, '{"ticker": "BTCUSD"}');
call append_signal('tv-1', 'BTCUSD', 'SELL', 64123.55, 0.25, '{"ticker": "BTCUSD"}');
call append_signal('tv-2', 'BTCUSD', 'BUY', 0.1::real, 1, '{}');
call append_order_event(99, 'CANCELLED');

--
-- In a transaction a procedure cannot commit, so nothing is written.
--
begin;
call append_signal('tv-3', 'BTCUSD', 'BUY', 1, 1, '{}');
rollback;
select id, signal_id from signals;
set role app_auditor;
select table_name, rows_checked, verdict from verify_range('signals');
