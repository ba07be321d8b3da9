"""A paper desk: what it makes of the alerts. Pure decisions, no database.

Every eighth alert is put to three models, whose answers are scripted; if they agree, an order follows. Fills
come from the candle after the alert. When the equity has fallen too far below its peak, or with the last
alert at the latest, the kill switch closes the position, and no order follows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import Any

from alpha_db.demo.webhooks import TICKER, Candle, Webhook

MODELS = ("deepseek-r1", "llama-3.1", "phi-4")

_DEBATE_EVERY = 8
_AGREED = Decimal("0.70")
_MAX_DRAWDOWN = Decimal("0.03")
_TIMEOUT_MS = 30_000
# Rand for a bitcoin: a constant, so that nothing but the candles moves the equity.
_RAND = Decimal(170_000)
_CENT = Decimal("0.01")
_THIN_VOLUME = Decimal(250)
_LOT = Decimal("0.001")
_SATOSHI = Decimal("0.00000001")
# A limit order stands a little below the alert's price, so some are not reached.
_BELOW = Decimal("0.9992")


@dataclass(frozen=True)
class Debate:
    """What a model says about an alert."""

    model_name: str
    reasoning: dict[str, Any]
    confidence: Decimal
    elapsed_ms: int
    is_timeout: bool


@dataclass(frozen=True)
class Order:
    """An order; price is None for MARKET."""

    order_type: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal | None
    exchange_order_id: str


@dataclass(frozen=True)
class Event:
    """What becomes of the order that an alert led to; values are named as the columns."""

    alert_id: str
    event_type: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Decision:
    """An alert and everything that follows from it."""

    alert_id: str
    webhook: Webhook
    debates: tuple[Debate, ...] = ()
    order: Order | None = None
    events: tuple[Event, ...] = ()


@dataclass
class Desk:
    """The desk's money and what it has open."""

    candles: Sequence[Candle]
    cash: Decimal = Decimal(5)
    position: Decimal = Decimal(0)
    peak: Decimal = Decimal(0)
    opened_by: str = ""
    halted: bool = False
    orders: int = field(default=0, init=False)

    def decide(self, webhooks: Sequence[Webhook]) -> Iterator[Decision]:
        """Yield a decision for each alert, in their order."""
        for number, webhook in enumerate(webhooks):
            alert = webhook.parse()
            debates: tuple[Debate, ...] = ()
            order: Order | None = None
            events: list[Event] = []
            if number % _DEBATE_EVERY == 0:
                debates = tuple(_debate(model, alert) for model in MODELS)
                if _agreed(debates) and not self.halted:
                    order, events = self._trade(webhook.bar, alert)
            is_last = number == len(webhooks) - 1
            events += self._kill_switch(alert["price"], is_last=is_last)
            yield Decision(alert["id"], webhook, debates, order, tuple(events))

    def _trade(self, bar: int, alert: dict[str, Any]) -> tuple[Order | None, list[Event]]:
        buys = alert["action"] == "buy"
        quantity = alert["quantity"] if buys else min(alert["quantity"], self.position)
        if not quantity:
            return None, []
        self.orders += 1
        order = Order(
            "LIMIT" if buys else "MARKET",
            alert["ticker"],
            alert["action"].upper(),
            quantity,
            (alert["price"] * _BELOW).quantize(_SATOSHI, ROUND_DOWN) if buys else None,
            f"paper-{self.orders:05d}",
        )
        return order, list(self._fill(order, bar, alert["id"]))

    def _fill(self, order: Order, bar: int, alert_id: str) -> Iterator[Event]:
        if bar + 1 >= len(self.candles):
            return  # still open when the candles end
        candle = self.candles[bar + 1]
        price = candle.open if order.price is None else min(candle.open, order.price)
        if order.price is not None and candle.low > order.price:
            yield Event(alert_id, "CANCELLED", {})
            return
        rest = order.quantity
        if candle.volume < _THIN_VOLUME:
            part = rest - (rest / 2).quantize(_LOT, ROUND_DOWN)
            rest -= part
            yield Event(alert_id, "PARTIAL_FILL", {"fill_quantity": part, "fill_price": price})
        if rest:
            yield Event(alert_id, "FILL", {"fill_quantity": rest, "fill_price": price})
        signed = order.quantity if order.side == "BUY" else -order.quantity
        self.position += signed
        self.cash -= signed * price
        if order.side == "BUY":
            self.opened_by = alert_id

    def _kill_switch(self, price: Decimal, *, is_last: bool) -> list[Event]:
        equity = self.cash + self.position * price
        self.peak = max(self.peak, equity)
        fallen = equity < self.peak * (1 - _MAX_DRAWDOWN)
        if self.halted or not self.opened_by or not (fallen or is_last):
            return []
        reason = f"equity {(1 - equity / self.peak) * 100:.2f} % below its peak" if fallen else "drill"
        what = {"symbol": TICKER, "quantity": self.position, "price": price, "reason": reason}
        closed = [what] if self.position else []
        self.halted, self.cash, self.position = True, equity, Decimal(0)
        values = {"zar_equity": (equity * _RAND).quantize(_CENT), "positions_closed": closed}
        return [Event(self.opened_by, "KILL_SWITCH", values)]


def _debate(model: str, alert: dict[str, Any]) -> Debate:
    digest = int.from_bytes(hashlib.sha256(f"{model} {alert['id']}".encode()).digest()[:8])
    elapsed = 800 + digest % 9_000
    if digest % 20 == 0:
        reasoning = {"error": "no answer in time", "scripted": True}
        return Debate(model, reasoning, Decimal(0), _TIMEOUT_MS, is_timeout=True)
    confidence = Decimal(5_000 + digest // 20 % 4_500).scaleb(-4)
    reasoning = {
        "stance": "follow" if confidence >= _AGREED else "wait",
        "argument": f"{alert['alert']} at {alert['price']}",
        "scripted": True,
    }
    return Debate(model, reasoning, confidence, elapsed, is_timeout=False)


def _agreed(debates: Sequence[Debate]) -> bool:
    scores = [debate.confidence for debate in debates if not debate.is_timeout]
    return bool(scores) and sum(scores) / len(scores) >= _AGREED
