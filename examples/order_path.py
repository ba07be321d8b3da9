"""An order path that asks the guardrail, and records its answer, before it sends an order.

    ALPHA_DB_DSN=postgresql://desk_trader@db.example/trading python examples/order_path.py

The login needs to be a member of app_trading. Start it with or without a database: until limits are verified
it is in Safe Mode, where only orders that reduce a position pass, and while no answer can be recorded none
passes. Each line of standard input is an order:

    BUY ETHZAR 0.5 41250.00
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

import alpha_db
from alpha_db.errors import AlphaDbError
from alpha_db.risk import Order, RiskGuardrailService, safe_boot

# What must outlive the process: the highest version seen, and the keys that are trusted (docs/risk.md).
STATE = Path(os.environ.get("DESK_STATE", "."))
PINS = STATE / "keys.json"


@dataclass
class Book:
    """Positions and equity; a real desk asks its exchange, and counts orders that are still working."""

    equity: Decimal = Decimal(1_000_000)
    equity_at_midnight: Decimal = Decimal(1_000_000)
    positions: dict[str, Decimal] = field(default_factory=dict)
    prices: dict[str, Decimal] = field(default_factory=dict)
    entry: dict[str, Decimal] = field(default_factory=dict)

    def order(self, side: str, symbol: str, quantity: Decimal, price: Decimal) -> Order:
        """The order together with the account at this moment, which the guardrail judges it by."""
        prices = {**self.prices, symbol: price}
        position = self.positions.get(symbol, Decimal(0))
        entry = self.entry.get(symbol, price)
        moved = (entry - price) / entry * (1 if position >= 0 else -1)
        return Order(
            symbol=symbol,
            side=side,
            quantity=quantity,
            price=price,
            position=position,
            equity=self.equity,
            exposure=sum((abs(q) * prices[s] for s, q in self.positions.items()), Decimal(0)),
            drawdown_pct=max(Decimal(0), 1 - self.equity / self.equity_at_midnight),
            loss_pct=max(Decimal(0), moved),
        )

    def filled(self, order: Order) -> None:
        """Book a fill."""
        assert order.price is not None
        change = order.quantity if order.side == "BUY" else -order.quantity
        if not order.position:
            self.entry[order.symbol] = order.price
        self.positions[order.symbol] = order.position + change
        self.prices[order.symbol] = order.price


def send(order: Order, guardrail: RiskGuardrailService, book: Book) -> bool:
    """Ask, record the answer, and only then send. An answer that cannot be recorded is no permission."""
    try:
        with alpha_db.connect(autocommit=True) as connection:  # a real desk keeps one: alpha_db.pool()
            decision = guardrail.decide_and_record(connection, order, decision_maker="order_path.py")
    except AlphaDbError as problem:
        print(f"refused, because the decision cannot be recorded: {problem}", flush=True)
        return False
    if not decision:
        print(f"refused: {decision.reason}", flush=True)
        return False
    book.filled(order)  # here stands the call of the exchange
    print(f"sent {order.side} {order.quantity} {order.symbol}: {decision.reason}", flush=True)
    return True


def main() -> None:
    """Read orders until the end of the input."""
    book = Book()
    pins = PINS if PINS.exists() else None
    if pins is None:
        print(f"no keys are pinned: {PINS} is not there", file=sys.stderr, flush=True)
    with_limits = safe_boot(high_water=STATE / "high-water.json", pins=pins, wait=3.0)
    try:
        print(f"{with_limits.state.mode} {with_limits.state.reason}".strip(), flush=True)
        for line in sys.stdin:
            try:
                side, symbol, quantity, price = line.split()
                send(book.order(side, symbol, Decimal(quantity), Decimal(price)), with_limits, book)
            except (ValueError, InvalidOperation):
                print("an order is: SIDE SYMBOL QUANTITY PRICE", flush=True)
    finally:
        with_limits.stop()


if __name__ == "__main__":
    main()
