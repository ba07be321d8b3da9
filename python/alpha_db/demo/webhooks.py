"""Webhook bodies as TradingView sends them, made from real candles: alerts of moving-average crossovers.

Deterministic and exact: prices are the candles' own digits, averages are Decimals, and a crossover is found
by comparing sums, not quotients.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from functools import cache
from importlib import resources
from typing import Any

from alpha_db.exact_json import dumps

TICKER = "ETHBTC"

#: Window lengths (fast, slow) of the averages that cross; 1 is the price itself.
PAIRS = (
    (1, 5), (1, 10), (2, 5), (2, 8), (3, 8), (3, 10), (5, 10), (5, 13), (5, 20), (8, 21), (9, 26), (10, 30),
    (12, 26), (20, 50), (50, 200),
)  # fmt: skip

#: Addresses that TradingView sends webhooks from, as it publishes them.
SENDERS = ("52.89.214.238", "34.212.75.30", "54.218.53.128", "52.32.178.7")

_INTERVAL = timedelta(minutes=5)
_SATOSHI = Decimal("0.00000001")
_LOT = Decimal("0.001")
_STAKE_BTC = Decimal("0.25")
# Nobody's secret: the demo signs and verifies in one process.
_KEY = b"alpha-db demo"


@dataclass(frozen=True)
class Candle:
    """Five minutes of a market: prices in BTC, volume in ETH."""

    time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True)
class Webhook:
    """What the sender posts: the body's text, the HMAC of its bytes, and the address it comes from."""

    body: str
    signature: str
    source_ip: str
    #: Position of the candle at whose close the alert fired.
    bar: int

    def verified(self) -> bool:
        """Whether the signature is that of the body."""
        return hmac.compare_digest(self.signature, sign(self.body))

    def parse(self) -> dict[str, Any]:
        """Return the body as a dict, its numbers as Decimals."""
        document: dict[str, Any] = json.loads(self.body, parse_float=Decimal)
        return document


@cache
def read_candles() -> tuple[Candle, ...]:
    """Return the candles that the package ships."""
    text = resources.files("alpha_db.demo").joinpath("ethbtc_5m.csv").read_text(encoding="utf-8")
    return tuple(
        Candle(
            datetime.fromisoformat(row["open_time_utc"]),
            *(Decimal(row[name]) for name in ("open", "high", "low", "close", "volume")),
        )
        for row in csv.DictReader(text.splitlines())
    )


def crossovers(closes: Sequence[Decimal], fast: int, slow: int) -> Iterator[tuple[int, str]]:
    """Yield the positions at which the fast average crosses the slow one, and "buy" (upwards) or "sell".

    Raises ValueError unless 0 < fast < slow.
    """
    if not 0 < fast < slow:
        raise ValueError(f"windows of {fast} and {slow}: the fast one must be the shorter")
    side = 0
    for bar in range(slow - 1, len(closes)):
        # averages compared without dividing
        difference = _total(closes, bar, fast) * slow - _total(closes, bar, slow) * fast
        now = (difference > 0) - (difference < 0)
        if now and side and now != side:
            yield bar, "buy" if now > 0 else "sell"
        side = now or side


def make_webhooks(
    candles: Sequence[Candle] | None = None,
    pairs: Sequence[tuple[int, int]] = PAIRS,
    *,
    limit: int | None = None,
) -> list[Webhook]:
    """Return the alerts that the crossovers of these pairs give on these candles, in the order of time.

    Takes the candles (default: those that are shipped), the window pairs, and how many alerts at most.
    """
    candles = read_candles() if candles is None else candles
    closes = [candle.close for candle in candles]
    found = sorted(
        (bar, fast, slow, side) for fast, slow in pairs for bar, side in crossovers(closes, fast, slow)
    )
    return [_webhook(candles, number, *alert) for number, alert in enumerate(found[:limit])]


def sign(body: str) -> str:
    """Return the HMAC-SHA256 of a body's bytes under the demo's key, in hex."""
    return hmac.new(_KEY, body.encode(), hashlib.sha256).hexdigest()


def _webhook(candles: Sequence[Candle], number: int, bar: int, fast: int, slow: int, side: str) -> Webhook:
    candle = candles[bar]
    closes = [item.close for item in candles[bar - slow + 1 : bar + 1]]
    fires = candle.time + _INTERVAL
    quick = "Close" if fast == 1 else f"SMA {fast}"
    body = dumps(
        {
            "id": f"{TICKER.lower()}-5m-sma{fast}x{slow}-{fires.astimezone(UTC):%Y%m%dT%H%MZ}",
            "alert": f"{quick} crossed {'above' if side == 'buy' else 'below'} SMA {slow}",
            "ticker": TICKER,
            "interval": "5",
            "action": side,
            "price": candle.close,
            "quantity": (_STAKE_BTC / candle.close).quantize(_LOT, ROUND_DOWN),
            "time": _iso(candle.time),
            "timenow": _iso(fires),
            "bar": {name: getattr(candle, name) for name in ("open", "high", "low", "close", "volume")},
            "fast": {"length": fast, "value": _average(closes, fast)},
            "slow": {"length": slow, "value": _average(closes, slow)},
        }
    )
    return Webhook(body, sign(body), SENDERS[number % len(SENDERS)], bar)


def _total(closes: Sequence[Decimal], bar: int, length: int) -> Decimal:
    return sum(closes[bar - length + 1 : bar + 1], Decimal(0))


def _average(closes: Sequence[Decimal], length: int) -> Decimal:
    return (_total(closes, len(closes) - 1, length) / length).quantize(_SATOSHI, ROUND_HALF_EVEN)


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
