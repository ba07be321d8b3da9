"""Good arguments of every writer."""

from __future__ import annotations

from typing import Any

CORRELATION = "00000000-0000-4000-8000-000000000001"
WEBHOOK: dict[str, Any] = {"raw_body": b'{"price": 1.50}', "content_type": "application/json"}
SIGNAL: dict[str, Any] = {
    "signal_id": "s", "symbol": "BTCUSD", "side": "BUY", "price": "1.50", "quantity": 1, "raw_payload": {"n": 1},
    "source_ip": "203.0.113.7", "correlation_id": None,
}  # fmt: skip
DEBATE: dict[str, Any] = {
    "correlation_id": CORRELATION, "model_name": "phi-4", "reasoning_json": {}, "confidence_score": "0.5",
    "elapsed_ms": 1, "model_version": "2026-11",
}  # fmt: skip
ORDER: dict[str, Any] = {
    "correlation_id": CORRELATION, "order_type": "STOP_LIMIT", "symbol": "BTCUSD", "side": "BUY", "quantity": "1",
    "price": "1", "stop_price": "1.1", "decision_maker": "desk", "exchange_status": "NEW",
}  # fmt: skip
EVENT: dict[str, Any] = {
    "order_execution_id": 1,
    "event_type": "FILL",
    "fill_quantity": 1,
    "fill_price": "1.5",
}
GIVEN = {"webhook": WEBHOOK, "signal": SIGNAL, "ai_debate": DEBATE, "order": ORDER, "order_event": EVENT}
