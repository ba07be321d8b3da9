"""Risk limits on the order path: hydrated from the database, verified, and Safe Mode without them."""

from __future__ import annotations

from alpha_db.risk.decisions import append_decision, record_decision, to_record
from alpha_db.risk.guardrail import CEILINGS, Ceilings, GuardrailState, Mode
from alpha_db.risk.hydrator import RiskGuardrailService
from alpha_db.risk.orders import Decision, Order, Side
from alpha_db.risk.pins import PinsError, load_pins
from alpha_db.risk.safe_boot import safe_boot

__all__ = [
    "CEILINGS",
    "Ceilings",
    "Decision",
    "GuardrailState",
    "Mode",
    "Order",
    "PinsError",
    "RiskGuardrailService",
    "Side",
    "append_decision",
    "load_pins",
    "record_decision",
    "safe_boot",
    "to_record",
]
