"""Whether an order is within the limits. Nothing here waits, or asks anybody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from alpha_db.errors import shown
from alpha_db.security.state import EXACT, KillThreshold

if TYPE_CHECKING:
    from alpha_db.risk.guardrail import GuardrailState

_ZERO = Decimal(0)


class Side(StrEnum):
    """BUY or SELL."""

    BUY = "BUY"
    SELL = "SELL"


@dataclass(frozen=True)
class Order:
    """An order as it would be sent, and the account at that moment.

    Amounts are Decimal, never float. `position` is signed (short: negative). Not needed to reduce a position,
    and refused if missing for any other order: `price` (for MARKET the price to value it at), `equity`,
    `exposure` (value of all open positions and working orders, this position included), `drawdown_pct`
    (today's loss as a share of equity, 0 if none), and `loss_pct` of the position, if its asset has a kill
    threshold. `asset` is what a kill threshold names; default: the symbol.
    """

    symbol: str
    side: Side | str
    quantity: Decimal
    position: Decimal = _ZERO
    price: Decimal | None = None
    equity: Decimal | None = None
    exposure: Decimal | None = None
    drawdown_pct: Decimal | None = None
    loss_pct: Decimal | None = None
    asset: str | None = None


@dataclass(frozen=True)
class Decision:
    """Whether an order may be sent, why, and by which version of the limits.

    `state_hash` is the hash of that state, None in Safe Mode, where none holds; `mode` NORMAL or SAFE_MODE;
    `decided_at` the service's clock.
    """

    allowed: bool
    reason: str
    version: int | None = None
    state_hash: str | None = None
    mode: str = "SAFE_MODE"
    decided_at: datetime | None = None

    def __bool__(self) -> bool:
        return self.allowed


def decide(order: Order, state: GuardrailState, decided_at: datetime | None = None) -> Decision:
    """Decide on an order in a state. Raises nothing: what cannot be judged is refused."""
    try:
        problem = _problem(order, state)
    except Exception as exc:  # fail closed, whatever it is
        problem = f"the order cannot be judged: {type(exc).__name__}: {exc}"
    reason = problem or (
        "it reduces a position" if reduces(order) else f"within the limits of version {state.version}"
    )
    return Decision(problem is None, reason, state.version, state.state_hash, state.mode, decided_at)


def reduces(order: Order) -> bool:
    """Return whether an order strictly reduces the position, at most to zero."""
    against = order.position < 0 if Side(order.side) is Side.BUY else order.position > 0
    return against and order.quantity <= order.position.copy_abs()


def _problem(order: Order, state: GuardrailState) -> str | None:
    _amount("quantity", order.quantity)
    _amount("position", order.position)
    if order.quantity <= 0:
        return f"quantity is not positive: {order.quantity}"
    if reduces(order):
        return None
    if not state.is_normal:
        return f"Safe Mode, liquidate only: {state.reason}"
    price, equity = _amount("price", order.price), _amount("equity", order.equity)
    exposure, drawdown = _amount("exposure", order.exposure), _amount("drawdown_pct", order.drawdown_pct)
    if price <= 0 or equity <= 0 or exposure < 0 or drawdown < 0:
        return "price and equity are positive, exposure and drawdown_pct not negative"
    if drawdown >= state.daily_drawdown_limit_pct:
        return f"drawdown {drawdown} has reached the limit {state.daily_drawdown_limit_pct}"

    change = order.quantity if Side(order.side) is Side.BUY else -order.quantity
    position = EXACT.add(order.position, change)
    threshold = state.kill_thresholds.get(order.asset or order.symbol)
    if threshold and (problem := _killed(order, position, price, threshold)):
        return problem
    before, after = (
        EXACT.multiply(order.position.copy_abs(), price),
        EXACT.multiply(position.copy_abs(), price),
    )
    if after > EXACT.multiply(state.max_position_size_pct, equity):
        return f"the position would be worth {after}, more than {state.max_position_size_pct} of {equity}"
    # an exposure that leaves out this very position is not believed
    others = max(_ZERO, EXACT.subtract(exposure, before))
    total = EXACT.add(others, after)
    if total > EXACT.multiply(state.max_leverage_ratio, equity):
        return f"the exposure would be {total}, more than {state.max_leverage_ratio} times {equity}"
    return None


def _killed(order: Order, position: Decimal, price: Decimal, threshold: KillThreshold) -> str | None:
    if order.position != 0:
        loss = _amount("loss_pct", order.loss_pct)
        if loss >= threshold.kill_loss_pct:
            return f"{threshold.asset} lost {loss}, its kill threshold is {threshold.kill_loss_pct}"
    limit = threshold.kill_price
    if limit is not None and (price <= limit if position > 0 else price >= limit):
        return f"{threshold.asset} at {price} has reached its kill price {limit}"
    return None


def _amount(name: str, value: Decimal | None) -> Decimal:
    if not isinstance(value, Decimal) or not value.is_finite():
        raise ValueError(f"{name} is {shown(value, 40)}, not a finite Decimal")
    return value
