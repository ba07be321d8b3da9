"""A pretended exchange, with what the receiver needs of a real one: it takes a client_order_id once."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from decimal import Decimal

from alpha_db.risk import Order


@dataclass(frozen=True)
class Fill:
    """What the exchange did: its number of the order, and of the trade."""

    exchange_order_id: str
    trade_id: str
    price: Decimal


@dataclass
class Exchange:
    """Fills every order at once at its price. A client_order_id that it has seen is the fill that was."""

    equity: Decimal = Decimal(1_000_000)
    fills: dict[str, Fill] = field(default_factory=dict)
    positions: dict[str, Decimal] = field(default_factory=dict)
    exposure: Decimal = Decimal(0)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def order(self, symbol: str, side: str, quantity: Decimal, price: Decimal) -> Order:
        """The order together with the account at this moment, which the guardrail judges it by."""
        with self._lock:
            return Order(
                symbol=symbol,
                side=side,
                quantity=quantity,
                price=price,
                position=self.positions.get(symbol, Decimal(0)),
                equity=self.equity,
                exposure=self.exposure,
                drawdown_pct=Decimal(0),
                loss_pct=Decimal(0),
            )

    def has(self, client_order_id: str) -> bool:
        """Ask whether the order with this client_order_id is there."""
        with self._lock:
            return client_order_id in self.fills

    def place(self, client_order_id: str, order: Order) -> Fill:
        """Send an order, or ask what became of the one with this client_order_id."""
        assert order.price is not None
        with self._lock:
            if client_order_id not in self.fills:
                sign = 1 if order.side == "BUY" else -1
                held = self.positions.get(order.symbol, Decimal(0)) + sign * order.quantity
                self.positions[order.symbol] = held
                self.exposure += order.quantity * order.price
                self.fills[client_order_id] = Fill(
                    f"x-{client_order_id}", f"t-{client_order_id}", order.price
                )
            return self.fills[client_order_id]
