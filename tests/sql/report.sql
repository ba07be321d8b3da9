-- What a report reads: the period, its figures, who verified, trades and their rows, the limits over time.

select correlation_id from record_signal('tv-1', 'BTCUSD', 'BUY', 64123.55, 0.25, '{"ticker": "BTCUSD"}') \gset
select id from record_ai_debate(:'correlation_id', 'phi-4', '{}', 0.5, 900);
select id from record_order(:'correlation_id', 'MARKET', 'BTCUSD', 'BUY', 0.25);
select id from record_order_event(1, 'FILL', fill_quantity => 0.25, fill_price => 64124);
select record_verification(true, (select jsonb_object_agg(table_name, last_id) from chain_status()), 9) as run;

--
-- Without times, the period is the days of all rows.
--
select begins_at <= now() as has_begun, ends_at > now() as ends_later from report_period();
select * from report_period('2027-01-01', '2028-01-01');
select report_period('2028-01-01', '2027-01-01');

--
-- What happened in it, and how often somebody verified.
--
select * from report_figures('-infinity', 'infinity');
select full_runs, partial_runs, rows_checked, longest_pause, refused_attempts
from verification_activity('-infinity', 'infinity');

--
-- A trade from the bytes that arrived to the exchange's word; each row as it was hashed.
--
select count(*) from report_trades('-infinity', 'infinity', newest => 10);
select step, table_name, row_id from trade_rows(array[:'correlation_id'::uuid]);
select id, row_hash = encode(sha256(decode(previous_hash, 'hex') || convert_to(row_data, 'UTF8')), 'hex') as link_holds
from rows_as_hashed('signals', '{1, 2}');
select * from rows_as_hashed('no_such_table', '{1}');

--
-- No limits were set yet.
--
select * from limits_over_time('-infinity', 'infinity');
