-- Before 003_attach_triggers is taken back: undoes what functions and DO blocks made.

drop procedure append_webhook, append_signal, append_ai_debate, append_order, append_order_event,
  append_signals, append_ai_debates, append_orders, append_order_events;
select _chain_detach(t.name), _forget_attempts(t.name)
from unnest(array['maintenance_events', 'lockdown_events', 'order_events', 'order_execution', 'ai_debates',
                  'signals', 'webhook_deliveries']) as t(name);
