"""A call of each public function that writes, in SQL that reaches what it writes or the check before it."""

from __future__ import annotations

_ID = "'11111111-1111-4111-8111-111111111111'"
_SIGNAL = '\'[{"signal_id": "s", "symbol": "BTC", "side": "BUY", "price": "1", "quantity": "1", "raw_payload": {}}]\''

WRITERS = (
    "select record_webhook('body')",
    "select record_signal('s', 'BTC', 'BUY', 1, 1, '{}')",
    f"select record_ai_debate({_ID}, 'm', '{{}}', 0.5, 1)",
    f"select record_order({_ID}, 'MARKET', 'BTC', 'BUY', 1)",
    "select record_order_event(1, 'CANCELLED')",
    "call append_signal('s', 'BTC', 'BUY', 1, 1, '{}')",
    f"call append_signals({_SIGNAL})",
    f"select record_signals({_SIGNAL})",
    "select record_row('own', '{\"ref\": \"a\"}')",
    "call append_row('own', '{\"ref\": \"a\"}')",
    "select record_verification(true, '{}', 0)",
    "select record_checkpoint_run()",
    "select record_guards('why')",
    "select seal_log()",
    "call prune_archived('signals')",
    "select chain_extend('signals')",
    "select chain_limit('signals', 100000)",
    "select widen_column('signals', 'symbol', 50)",
    "select set_retention_policy('signals', '8 years')",
    "select track_table('other')",
    "select untrack_table('positions')",
    "select chain_table('mine')",
    "select extend_table('own')",
    "select bootstrap_agents('[]')",
    f"select propose({_ID}, 'risk_config', '{{}}', 'why', {_ID}, now(), '')",
    f"select vote({_ID}, {_ID}, 'APPROVE', now(), '')",
    "select heartbeat()",
)
