"""What an order path is told about an order."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpha_db.risk.guardrail import GuardrailState, Mode
from alpha_db.risk.orders import Order, decide
from alpha_db.security.state import KillThreshold

D = Decimal
SAFE = GuardrailState(Mode.SAFE_MODE, "no verified state yet")
NORMAL = GuardrailState(
    Mode.NORMAL, "", D("0.05"), D("0.03"), D("2.00"), {"BTC": KillThreshold("BTC", D("0.1"), D(30000))}, 7
)
# 5 % of a million are 50,000
ORDER = Order("ETHZAR", "BUY", D(1), D(0), D(1000), D(1000000), D(0), D(0))


def test_an_order_within_all_limits_is_allowed() -> None:
    decision = decide(ORDER, NORMAL)
    assert decision
    assert decision.version == 7


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({"quantity": D(50)}, True),
        ({"quantity": D("50.000000001")}, False),
        ({"side": "SELL", "quantity": D(50)}, True),
        ({"side": "SELL", "quantity": D(51)}, False),
        ({"position": D(49), "exposure": D(49000)}, True),
        ({"position": D(50), "exposure": D(50000)}, False),
        # through zero to the other side: what counts is where it ends
        ({"side": "SELL", "position": D(20), "quantity": D(70), "exposure": D(20000)}, True),
        ({"side": "SELL", "position": D(20), "quantity": D(71), "exposure": D(20000)}, False),
        ({"drawdown_pct": D("0.0299")}, True),
        ({"drawdown_pct": D("0.03")}, False),
        ({"exposure": D(1999000)}, True),
        ({"exposure": D(1999001)}, False),
        # an exposure that leaves the position itself out is not believed to be negative for the rest
        ({"position": D(40), "exposure": D(0)}, True),
        ({"price": None}, False),
        ({"price": D(0)}, False),
        ({"equity": D(0)}, False),
        ({"equity": D(-1)}, False),
        ({"exposure": D(-1)}, False),
        ({"drawdown_pct": None}, False),
        ({"exposure": None}, False),
        ({"quantity": D(0)}, False),
        ({"quantity": D(-1)}, False),
        ({"quantity": D("NaN")}, False),
        ({"price": D("NaN")}, False),
        ({"price": D("sNaN")}, False),
        ({"equity": D("Infinity")}, False),
        ({"quantity": 1.0}, False),
        ({"quantity": 1}, False),
        ({"position": None}, False),
        ({"side": "HOLD"}, False),
        ({"side": None}, False),
    ],
)
def test_limits(changes: dict[str, Any], allowed: bool) -> None:
    decision = decide(replace(ORDER, **changes), NORMAL)
    assert decision.allowed is allowed, decision
    assert decision.reason


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({}, True),
        ({"asset": None, "symbol": "BTC"}, True),
        ({"price": D(30000)}, False),  # a long at or under its kill price
        ({"price": D("30000.01")}, True),
        ({"side": "SELL", "price": D(30000)}, False),  # a short at or above it
        ({"side": "SELL", "price": D("29999.99")}, True),
        ({"position": D("0.1"), "loss_pct": D("0.0999")}, True),
        ({"position": D("0.1"), "loss_pct": D("0.1")}, False),
        ({"position": D("0.1"), "loss_pct": None}, False),
        ({"side": "SELL", "position": D("0.1"), "quantity": D("0.1"), "loss_pct": D(1), "price": D(1)}, True),
    ],
)
def test_kill_thresholds(changes: dict[str, Any], allowed: bool) -> None:
    order = replace(ORDER, symbol="BTCZAR", asset="BTC", quantity=D("0.1"), price=D(40000))
    assert decide(replace(order, **changes), NORMAL).allowed is allowed


@pytest.mark.parametrize(
    ("side", "position", "quantity", "allowed"),
    [
        ("SELL", "3", "1", True),
        ("SELL", "3", "3", True),
        ("SELL", "3", "3.0000000001", False),
        ("BUY", "3", "1", False),
        ("BUY", "-3", "3", True),
        ("BUY", "-3", "4", False),
        ("SELL", "-3", "1", False),
        ("BUY", "0", "1", False),
        ("SELL", "0", "1", False),
        ("SELL", "3", "0", False),
        ("SELL", "3", "-1", False),
        ("SELL", "NaN", "1", False),
        ("SELL", "Infinity", "1", False),
    ],
)
def test_safe_mode_liquidates_only(side: str, position: str, quantity: str, allowed: bool) -> None:
    order = replace(ORDER, side=side, position=D(position), quantity=D(quantity))
    assert decide(order, SAFE).allowed is allowed
    assert decide(Order("ETHZAR", side, D(quantity), D(position)), SAFE).allowed is allowed


AMOUNTS = st.decimals(-(10**12), 10**12, places=10)


@given(AMOUNTS, AMOUNTS, st.sampled_from(["BUY", "SELL"]))
def test_in_safe_mode_nothing_ever_grows(quantity: Decimal, position: Decimal, side: str) -> None:
    if decide(Order("X", side, quantity, position), SAFE):
        after = position + (quantity if side == "BUY" else -quantity)
        assert abs(after) < abs(position)
        assert after == 0 or (after > 0) == (position > 0)


def test_the_callers_decimal_context_changes_nothing() -> None:
    with localcontext() as context:
        context.prec = 2
        assert not decide(replace(ORDER, quantity=D("50.000000001")), NORMAL)
        assert not decide(replace(ORDER, exposure=D(1999001)), NORMAL)
