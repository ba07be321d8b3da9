"""docs/exchanges.md: the database takes every word of ours in its tables, and no word of ours is missing there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.support import ROOT, Connection, make_signal, one, query

PAGE = ROOT / "docs" / "exchanges.md"
VENUES = ("Binance spot", "Binance USD-M futures", "Coinbase Advanced", "Kraken", "OKX", "ccxt")
OURS = ("order_type", "status", "event_type")
CHECKS = {"order_type": "order_execution", "status": "order_execution", "event_type": "order_events"}
#: What no exchange says, because we do.
NOT_THEIRS = {"order_type": set[str](), "status": set[str](), "event_type": {"KILL_SWITCH"}}

_WORD = re.compile(r"`([A-Z_]+)`")


@dataclass
class Line:
    """A line of a table: the exchange's words, ours by column, and the prices that the order has."""

    venue: str
    theirs: str
    ours: dict[str, list[str]] = field(default_factory=dict)
    prices: str = ""


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def lines() -> Iterator[Line]:
    for venue in VENUES:
        section = PAGE.read_text(encoding="utf-8").split(f"\n## {venue}\n")[1].split("\n## ")[0]
        for table in re.findall(r"(?:^\|.*\|\n)+", section, re.M):
            head, _, *rows = (cells(line) for line in table.splitlines())
            for row in rows:
                named = dict(zip(head[1:], row[1:], strict=True))
                ours = {name: _WORD.findall(named[f"`{name}`"]) for name in OURS if f"`{name}`" in named}
                assert ours, f"a table without a word of ours: {head}"
                yield Line(venue, row[0], ours, named.get("send", ""))


LINES = list(lines())
ORDERS = [line for line in LINES if line.ours.get("order_type")]


def known(db: Connection, column: str) -> set[str]:
    """The words that the CHECK of a column takes."""
    definition = one(
        db,
        "select pg_get_constraintdef(oid) from pg_constraint where conname = %s",
        [f"{CHECKS[column]}_{column}_is_known"],
    )
    return set(re.findall(r"'([A-Z_]+)'", definition))


@pytest.mark.parametrize("column", OURS)
def test_every_word_of_ours_is_on_the_page_and_no_other(db: Connection, column: str) -> None:
    said = {word for line in LINES for word in line.ours.get(column, [])}
    assert said | NOT_THEIRS[column] == known(db, column)


@pytest.mark.parametrize("venue", VENUES)
def test_every_exchange_has_its_types_and_its_words(venue: str) -> None:
    of_venue = [line for line in LINES if line.venue == venue]
    for column in OURS:
        assert any(line.ours.get(column) for line in of_venue), column


def test_an_order_is_taken_with_the_prices_that_its_line_names(db: Connection) -> None:
    signal = make_signal(db)["correlation_id"]
    for line in ORDERS:
        prices = re.findall(r"`((?:stop_)?price)`", line.prices)
        call = ", ".join(["%s, %s, 'X', 'BUY', 1", *(f"{name} => 100.5" for name in prices)])
        for order_type in line.ours["order_type"]:
            (row,) = query(db, f"select * from record_order({call})", [signal, order_type])
            assert {n for n in ("price", "stop_price") if row[n] is not None} == set(prices), line


def test_every_status_is_taken_under_one_client_order_id(db: Connection) -> None:
    signal = make_signal(db)["correlation_id"]
    for status in sorted({word for line in LINES for word in line.ours.get("status", [])}):
        (row,) = query(
            db,
            "select * from record_order(%s, 'MARKET', 'X', 'BUY', 1, status => %s, client_order_id => 'c-1')",
            [signal, status],
        )
        assert (row["status"], row["is_new"]) == (status, True)


def test_every_event_is_taken_with_what_it_needs(db: Connection) -> None:
    signal = make_signal(db)["correlation_id"]
    order = one(db, "select id from record_order(%s, 'MARKET', 'X', 'BUY', 1)", [signal])
    needed = {
        "FILL": "fill_quantity => 1, fill_price => 2",
        "PARTIAL_FILL": "fill_quantity => 1, fill_price => 2",
        "REJECTED": "rejection_reason => 'no margin'",
    }
    for event_type in sorted({word for line in LINES for word in line.ours.get("event_type", [])}):
        more = f", {needed[event_type]}" if event_type in needed else ""
        (row,) = query(db, f"select * from record_order_event(%s, %s{more})", [order, event_type])
        assert row["event_type"] == event_type
