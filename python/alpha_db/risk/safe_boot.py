"""Booting an order path: Safe Mode at once, limits as soon as they verify, and never an exception in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alpha_db.risk.guardrail import GuardrailState
from alpha_db.risk.hydrator import RiskGuardrailService


def safe_boot(
    dsn: str | None = None, *, high_water: Path | str, wait: float = 0.0, **options: Any
) -> RiskGuardrailService:
    """Start a guardrail service and return it, with or without a database.

    Takes what RiskGuardrailService takes; `high_water` is not optional here. With `wait` it returns as soon as
    limits are in force, at the latest after so many seconds. A server that is down, pins that cannot be read,
    a state that does not verify: all of it is Safe Mode with a reason, and ends by itself when its cause does.
    Raises ValueError only for options that make no sense.
    """
    service = RiskGuardrailService(dsn, high_water=high_water, **options).start()
    if wait > 0:
        service.wait_for(_in_force, wait)
    return service


def _in_force(state: GuardrailState) -> bool:
    return state.is_normal
