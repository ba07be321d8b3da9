"""The demo's webhooks: exact, deterministic, and what the tables accept; and the desk that acts on them."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from alpha_db.demo import webhooks
from alpha_db.demo.desk import Decision, Desk
from alpha_db.demo.webhooks import Candle, Webhook, crossovers, make_webhooks, read_candles

ROOT = Path(__file__).resolve().parents[2]
CSV = Path(webhooks.__file__).with_name("ethbtc_5m.csv")
# Of all bodies, a line each.
GOLDEN = "9819cefed43b7bb9e4978ab0fc303dbf6b75e48fcbe96d5dcebaf1baa19be026"


@pytest.fixture(scope="module")
def alerts() -> list[Webhook]:
    return make_webhooks()


@pytest.fixture(scope="module")
def decisions(alerts: list[Webhook]) -> list[Decision]:
    return list(Desk(read_candles()).decide(alerts))


def test_candles_are_complete() -> None:
    candles = read_candles()
    assert len(candles) == 2000
    assert {later.time - earlier.time for earlier, later in pairwise(candles)} == {timedelta(minutes=5)}
    assert all(c.low <= min(c.open, c.close) <= max(c.open, c.close) <= c.high for c in candles)


def test_webhooks_are_the_same_for_ever(alerts: list[Webhook]) -> None:
    # Whoever replays them twice gets the rows that are there already: signal_id is an idempotency key.
    assert len(alerts) == 3238
    text = "\n".join(alert.body for alert in alerts)
    assert hashlib.sha256(text.encode()).hexdigest() == GOLDEN
    assert make_webhooks() == alerts


def test_prices_are_the_candles_own_digits(alerts: list[Webhook]) -> None:
    with CSV.open(encoding="utf-8") as file:
        closes = [row["close"] for row in csv.DictReader(file)]
    for alert in alerts:
        assert f'"price": {closes[alert.bar]}, ' in alert.body


def test_what_the_tables_accept(alerts: list[Webhook]) -> None:
    documents = [alert.parse() for alert in alerts]
    assert len({document["id"] for document in documents}) == len(documents)
    assert max(len(document["id"]) for document in documents) <= 64
    assert {document["action"] for document in documents} == {"buy", "sell"}
    for document in documents:
        for number in (document["price"], document["quantity"]):
            assert isinstance(number, Decimal)
            assert number > 0
            assert number.as_tuple().exponent >= -10  # type: ignore[operator]
    assert [document["timenow"] for document in documents] == sorted(d["timenow"] for d in documents)


def test_limit_takes_the_first(alerts: list[Webhook]) -> None:
    assert make_webhooks(limit=7) == alerts[:7]


@pytest.mark.parametrize("pair", [(1, 5), (5, 13), (50, 200)])
def test_crossovers_are_those_of_the_averages(pair: tuple[int, int]) -> None:
    fast, slow = pair
    closes = [candle.close for candle in read_candles()]

    def above(bar: int) -> bool:
        quick, slack = (sum(map(Fraction, closes[bar - n + 1 : bar + 1])) / n for n in (fast, slow))
        assert quick != slack, "the simple rule below would not do"
        return quick > slack

    side = {bar: above(bar) for bar in range(slow - 1, len(closes))}
    expected = [
        (bar, "buy" if side[bar] else "sell")
        for bar in range(slow, len(closes))
        if side[bar] != side[bar - 1]
    ]
    assert list(crossovers(closes, fast, slow)) == expected


def test_touching_is_not_crossing() -> None:
    # Falls, touches its average (bar 3), falls on; then rises above it.
    closes = [Decimal(n) for n in (4, 3, 2, 2, 1, 3)]
    assert list(crossovers(closes, 1, 2)) == [(5, "buy")]


@pytest.mark.parametrize("pair", [(0, 5), (5, 5), (8, 3)])
def test_windows_that_make_no_sense(pair: tuple[int, int]) -> None:
    with pytest.raises(ValueError):
        list(crossovers([Decimal(1)] * 20, *pair))


def test_signature_covers_every_byte(alerts: list[Webhook]) -> None:
    alert = alerts[0]
    assert alert.verified()
    assert not dataclasses.replace(alert, body=alert.body.replace("buy", "sell")).verified()
    assert not dataclasses.replace(alert, signature="0" * 64).verified()


def test_examples_are_webhooks_of_the_demo(alerts: list[Webhook]) -> None:
    files = sorted((ROOT / "examples" / "webhooks").glob("*.json"))
    assert len(files) >= 4
    bodies = {f"{alert.parse()['id']}-{alert.parse()['action']}.json": alert.body for alert in alerts}
    for file in files:
        assert file.read_text(encoding="utf-8") == bodies[file.name] + "\n"


@pytest.mark.parametrize("limit", [1, 2, 3, 20, 50, 51, 400, 1999])
def test_one_kill_switch_however_few(limit: int) -> None:
    events = [e for d in Desk(read_candles()).decide(make_webhooks(limit=limit)) for e in d.events]
    assert [event.event_type for event in events].count("KILL_SWITCH") == 1


def test_kill_switch_stops_trading(decisions: list[Decision]) -> None:
    killed = next(n for n, d in enumerate(decisions) if any(e.event_type == "KILL_SWITCH" for e in d.events))
    assert killed < len(decisions) - 1, "it is the drawdown that triggers it, not the end"
    after = decisions[killed + 1 :]
    assert not any(decision.order or decision.events for decision in after)
    assert any(decision.debates for decision in after)


def test_there_is_something_of_everything(decisions: list[Decision]) -> None:
    kinds = Counter(event.event_type for decision in decisions for event in decision.events)
    assert set(kinds) == {"FILL", "PARTIAL_FILL", "CANCELLED", "KILL_SWITCH"}
    orders = [decision.order for decision in decisions if decision.order]
    assert {order.order_type for order in orders} == {"LIMIT", "MARKET"}
    assert all((order.price is None) == (order.order_type == "MARKET") for order in orders)
    debates = [debate for decision in decisions for debate in decision.debates]
    assert any(debate.is_timeout for debate in debates)
    assert all((debate.confidence == 0) == debate.is_timeout for debate in debates)


def test_fills_are_those_of_the_next_candle(decisions: list[Decision]) -> None:
    candles = read_candles()
    position = Decimal(0)
    for decision in decisions:
        fills = [event.values for event in decision.events if event.event_type.endswith("FILL")]
        if not fills or decision.order is None:
            continue
        candle: Candle = candles[decision.webhook.bar + 1]
        assert all(candle.low <= fill["fill_price"] <= candle.high for fill in fills)
        assert sum(fill["fill_quantity"] for fill in fills) == decision.order.quantity
        position += decision.order.quantity * (1 if decision.order.side == "BUY" else -1)
        assert position >= 0
