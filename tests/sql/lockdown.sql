-- The lockdown: what engages it, what is refused from then on, and what is not.

insert into signals (signal_id, symbol, side, price, quantity, raw_payload, correlation_id)
values ('tv-1', 'BTCUSD', 'BUY', 1, 1, '{}', '11111111-1111-4111-8111-111111111111');
select id from record_order('11111111-1111-4111-8111-111111111111', 'MARKET', 'BTCUSD', 'BUY', 1);

--
-- Damage that an auditor's verification proves engages it, once. Here a checkpoint has another root than the rows give.
--
set role app_auditor;
select is_locked from lockdown_status();
select verdict, detail from verify_checkpoint('signals', 1, sha256('another book'));
select verdict, detail from verify_checkpoint('signals', 1, sha256('another book'));
select is_locked, event_id, reason, jsonb_array_length(damage) as places from lockdown_status();

--
-- No signal, debate or order more; what happens to the orders that are out there is still recorded.
--
set role app_trading;
select id from record_signal('tv-2', 'BTCUSD', 'BUY', 1, 1, '{}');
select id from record_ai_debate('11111111-1111-4111-8111-111111111111', 'phi-4', '{}', 0.5, 1);
select id from record_order('11111111-1111-4111-8111-111111111111', 'MARKET', 'BTCUSD', 'SELL', 1);
select id, event_type from record_order_event(1, 'CANCELLED');
reset role;

--
-- Only an approved release lifts it: nobody writes that event by hand.
--
insert into lockdown_events (event_type, reason, damage, alarm) values ('RELEASED', 'all is well', '[]', 1);
select event_type, reason from lockdown_events order by id;
select event_type, proposal_id from lockdown_evidence();
