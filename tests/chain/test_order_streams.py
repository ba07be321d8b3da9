"""Streams of orders as exchanges send them: delivered twice, late, by liquidation, with more digits than a column has.

Each test is what an application records for one order, by the rules and tables of docs/exchanges.md.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.support import Connection, Row, make_signal, one, query

HASH = "0x" + "5f3a" * 16  # a transaction of Ethereum: 66 characters


@pytest.fixture
def signal(db: Connection) -> str:
    """The correlation_id of a signal."""
    return str(make_signal(db, raw_payload='{"timeInForce": "GTC"}')["correlation_id"])


def call(db: Connection, function: str, **arguments: Any) -> Row:
    named = ", ".join(f"{name} => %({name})s" for name in arguments)
    return query(db, f"select * from {function}({named})", arguments)[0]


def order(db: Connection, signal: str, order_type: str, **arguments: Any) -> Row:
    given = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.25", **arguments}
    return call(db, "record_order", correlation_id=signal, order_type=order_type, **given)


def event(db: Connection, order_id: int | None, event_type: str, **arguments: Any) -> Row:
    return call(db, "record_order_event", order_execution_id=order_id, event_type=event_type, **arguments)


def trade(db: Connection, order_id: int, trade_id: int, quantity: str, price: str, **arguments: Any) -> Row:
    """A trade of an order; the last one says so itself, so it is recorded the same whenever it arrives."""
    given = {"exchange_event_id": str(trade_id), "exchange_status": "PARTIALLY_FILLED", **arguments}
    event_type = "FILL" if given["exchange_status"] == "FILLED" else "PARTIAL_FILL"
    return event(db, order_id, event_type, fill_quantity=quantity, fill_price=price, **given)


def story(db: Connection, *orders: Row) -> list[tuple[str, str | None]]:
    """What happened to these orders: event type and the exchange's word, in the order of the log."""
    found = query(
        db,
        "select event_type, exchange_status from order_events where order_execution_id = any (%s) order by id",
        [[row["id"] for row in orders]],
    )
    return [(row["event_type"], row["exchange_status"]) for row in found]


def filled(db: Connection, order_id: int) -> tuple[Decimal, Decimal]:
    """How much of an order is filled, and what it cost."""
    (row,) = query(
        db,
        "select sum(fill_quantity) as quantity, sum(fill_quantity * fill_price) as cost"
        " from order_events where order_execution_id = %s",
        [order_id],
    )
    return row["quantity"], row["cost"]


def intact(db: Connection) -> bool:
    return bool(one(db, "select bool_and(is_valid) from verify_chain_integrity(engage_lockdown => false)"))


def test_a_market_order_with_many_fills_that_arrive_twice_and_out_of_order(
    db: Connection, signal: str
) -> None:
    client = signal.replace("-", "")
    order(db, signal, "MARKET", quantity="12.5", client_order_id=client)
    sent = order(
        db, signal, "MARKET", quantity="12.5", client_order_id=client, exchange_order_id="4293153",
        status="SUBMITTED", exchange_status="NEW",
    )  # fmt: skip
    parts = [(3000 + n, f"0.{n:02}00000001", f"64120.{n:08}") for n in range(1, 50)]
    rest = Decimal("12.5") - sum(Decimal(quantity) for _, quantity, _ in parts)
    arriving = [(*part, "PARTIALLY_FILLED") for part in parts] + [(3050, str(rest), "64121.5", "FILLED")]
    expected = sum(Decimal(quantity) * Decimal(price) for _, quantity, price, _ in arriving)
    twice = arriving + arriving
    random.Random(13).shuffle(twice)

    new = [
        trade(db, sent["id"], number, quantity, price, exchange_status=word)["is_new"]
        for number, quantity, price, word in twice
    ]

    assert new.count(True) == len(arriving)
    assert filled(db, sent["id"]) == (Decimal("12.5"), expected)
    assert sorted(word for word, _ in story(db, sent)).count("FILL") == 1
    assert intact(db)


def test_a_trade_id_with_other_content_is_refused(db: Connection, signal: str) -> None:
    sent = order(db, signal, "MARKET")
    trade(db, sent["id"], 3001, "0.1", "64120")
    with pytest.raises(psycopg.Error, match="AUD-010") as caught:
        trade(db, sent["id"], 3001, "0.10000001", "64120")
    assert "fill_quantity" in str(caught.value.diag.message_detail)


def test_a_trade_id_counts_within_its_order(db: Connection, signal: str) -> None:
    first, second = order(db, signal, "MARKET"), order(db, signal, "MARKET", symbol="ETHUSDT")
    assert [trade(db, row["id"], 7, "0.25", "10")["is_new"] for row in (first, second)] == [True, True]


def test_cancel_and_replace(db: Connection, signal: str) -> None:
    old = order(
        db, signal, "LIMIT", price="64000", client_order_id="a-1", exchange_order_id="1", status="SUBMITTED"
    )
    event(db, old["id"], "ACKNOWLEDGED", exchange_event_id="NEW:1", exchange_status="NEW")
    trade(db, old["id"], 3001, "0.1", "64000")
    event(db, old["id"], "REPLACED", exchange_event_id="CANCELED:2", exchange_status="CANCELED")
    new = order(
        db, signal, "LIMIT", price="64010", quantity="0.15", client_order_id="a-2", exchange_order_id="2",
        status="SUBMITTED",
    )  # fmt: skip
    trade(db, new["id"], 3002, "0.15", "64010", exchange_status="FILLED")

    assert story(db, old, new) == [
        ("ACKNOWLEDGED", "NEW"),
        ("PARTIAL_FILL", "PARTIALLY_FILLED"),
        ("REPLACED", "CANCELED"),
        ("FILL", "FILLED"),
    ]
    total = one(
        db,
        "select sum(e.fill_quantity) from order_events as e"
        " join order_execution as o on o.id = e.order_execution_id where o.correlation_id = %s",
        [signal],
    )
    assert total == Decimal("0.25")


def test_a_limit_order_that_expires_in_match(db: Connection, signal: str) -> None:
    sent = order(db, signal, "LIMIT", price="64000", exchange_order_id="1", status="SUBMITTED")
    trade(db, sent["id"], 3001, "0.05", "64000")
    event(
        db, sent["id"], "EXPIRED", exchange_event_id="TRADE_PREVENTION:5", exchange_status="EXPIRED_IN_MATCH"
    )
    assert story(db, sent)[-1] == ("EXPIRED", "EXPIRED_IN_MATCH")
    assert filled(db, sent["id"])[0] == Decimal("0.05")


def test_a_stop_that_is_acknowledged_triggers_and_fills(db: Connection, signal: str) -> None:
    sent = order(
        db, signal, "STOP", side="SELL", stop_price="60000", client_order_id="s-1", exchange_order_id="9",
        status="SUBMITTED",
    )  # fmt: skip
    for _ in range(2):
        event(db, sent["id"], "ACKNOWLEDGED", exchange_event_id="new:1", exchange_status="new")
        event(db, sent["id"], "TRIGGERED", exchange_event_id="status:2", exchange_status="triggered")
        trade(db, sent["id"], 3001, "0.25", "59987.65", exchange_status="FILLED")
    assert [word for word, _ in story(db, sent)] == ["ACKNOWLEDGED", "TRIGGERED", "FILL"]
    assert filled(db, sent["id"]) == (Decimal("0.25"), Decimal("14996.9125"))


def test_a_take_profit_limit_order_has_both_prices(db: Connection, signal: str) -> None:
    sent = order(db, signal, "TAKE_PROFIT_LIMIT", side="SELL", price="70000", stop_price="70100.5")
    assert (sent["price"], sent["stop_price"]) == (70000, Decimal("70100.5"))
    event(db, sent["id"], "TRIGGERED", exchange_status="effective")
    trade(db, sent["id"], 3001, "0.25", "70000.5", exchange_status="FILLED")
    assert filled(db, sent["id"]) == (Decimal("0.25"), Decimal("17500.125"))


@pytest.mark.parametrize("activation", ["65000", None])
def test_a_trailing_stop_needs_no_price(db: Connection, signal: str, activation: str | None) -> None:
    sent = order(db, signal, "TRAILING_STOP", side="SELL", stop_price=activation)
    assert (sent["price"], sent["stop_price"]) == (None, activation and Decimal(activation))
    event(db, sent["id"], "TRIGGERED", exchange_status="TRIGGERED")
    trade(db, sent["id"], 3001, "0.25", "64350", exchange_status="FILLED")
    assert [word for word, _ in story(db, sent)] == ["TRIGGERED", "FILL"]


def test_a_rejected_order_keeps_the_exchanges_code(db: Connection, signal: str) -> None:
    sent = order(db, signal, "LIMIT", price="64000", client_order_id="r-1")
    for _ in range(2):
        row = event(
            db, sent["id"], "REJECTED", exchange_event_id="response", exchange_status="REJECTED",
            rejection_reason="Account has insufficient balance for requested action.", exchange_error_code="-2010",
        )  # fmt: skip
    assert (row["exchange_error_code"], row["is_new"]) == ("-2010", False)
    assert len(story(db, sent)) == 1


def test_a_liquidation_without_an_order_of_ours_that_is_sent_twice(db: Connection, signal: str) -> None:
    liquidation = {
        "fill_quantity": "1.5", "fill_price": "58123.45", "exchange_event_id": "binance:BTCUSDT:3002",
        "exchange_status": "autoclose-",
    }  # fmt: skip
    rows = [event(db, None, "LIQUIDATION", **liquidation) for _ in range(2)]
    assert [row["is_new"] for row in rows] == [True, False]
    assert rows[0]["id"] == rows[1]["id"]
    other = event(db, None, "LIQUIDATION", **{**liquidation, "exchange_event_id": "okx:BTC-USDT-SWAP:3002"})
    assert other["is_new"]
    assert order(db, signal, "MARKET")["is_new"]


def test_one_kill_switch_over_several_positions_without_an_order(db: Connection) -> None:
    positions = (
        '[{"symbol": "BTCUSDT", "quantity": "0.25"}, {"symbol": "ETHUSDT", "quantity": "-3.1"},'
        ' {"symbol": "PEPEUSDT", "quantity": "123456789.123456789012345678"}]'
    )
    kill = {
        "zar_equity": "970000.55",
        "positions_closed": positions,
        "exchange_event_id": "drawdown:2026-11-28",
    }
    assert [event(db, None, "KILL_SWITCH", **kill)["is_new"] for _ in range(2)] == [True, False]
    (row,) = query(db, "select * from vw_kill_switch_events")
    assert (row["order_id"], row["zar_equity"]) == (None, Decimal("970000.55"))
    assert [p["quantity"] for p in row["positions_closed"]] == [
        "0.25",
        "-3.1",
        "123456789.123456789012345678",
    ]


def test_any_other_event_needs_an_order(db: Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="order_events_order_is_given"):
        event(db, None, "CANCELLED")


@pytest.mark.parametrize("exact", ["1.000000000000000001", "1000000000000000001"], ids=["ether", "wei"])
def test_a_number_with_too_many_digits_is_refused_and_the_payload_keeps_it(
    db: Connection, exact: str
) -> None:
    payload = f'{{"ticker": "WETH", "quantity": "{exact}"}}'
    with pytest.raises(psycopg.Error, match="AUD-001") as caught:
        make_signal(db, quantity=exact, raw_payload=payload)
    assert "as text in the payload" in str(caught.value.diag.message_hint)
    row = make_signal(db, quantity="1", raw_payload=payload)
    assert row["quantity"] == 1
    assert one(db, "select raw_payload ->> 'quantity' from signals") == exact
    assert exact in one(db, "select row_data from chain_rows('signals')")


@pytest.mark.parametrize(
    ("column", "value"),
    [("symbol", "BTC-USD-261225-90000-C"), ("exchange_order_id", HASH)],
    ids=["option", "transaction"],
)
def test_an_id_that_is_too_long_is_refused_by_name(
    db: Connection, signal: str, column: str, value: str
) -> None:
    with pytest.raises(psycopg.Error, match="AUD-012") as caught:
        order(db, signal, "MARKET", **{column: value})
    assert caught.value.diag.column_name == column
    assert str(len(value)) in str(caught.value.diag.message_detail)
    assert one(db, "select count(*) from order_execution") == 0


def test_the_option_is_taken_once_the_column_is_wider(db: Connection, signal: str) -> None:
    with db.transaction():
        db.execute("set local alpha.maintenance = 'options'")
        db.execute("select widen_column('order_execution', 'symbol', 40)")
    assert order(db, signal, "MARKET", symbol="BTC-USD-261225-90000-C")["symbol"] == "BTC-USD-261225-90000-C"
    assert intact(db)


def test_a_transaction_hash_fits_without_its_0x(db: Connection, signal: str) -> None:
    assert order(db, signal, "MARKET", exchange_order_id=HASH[2:])["exchange_order_id"] == HASH[2:]


@pytest.mark.parametrize("prices", [{"price": "0"}, {"price": "64000", "stop_price": "0.00000000"}])
def test_a_price_that_an_order_does_not_have_is_null_not_0(
    db: Connection, signal: str, prices: dict[str, str]
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="price_is_positive"):
        order(db, signal, "STOP_LIMIT", **prices)
