"""Who is compared: the plain table, three other ways to keep a trail, and ours; and the alert that all of them get."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.host import Host

PLAIN = "plain table"
USUAL = "usual chain"
SUPA = "supa_audit's way"
PGHISTORY = "pghistory's way"
OURS = "ours, INSERT"
RECORD = "ours, record_signal"
CALL = "ours, CALL"

TABLES = {
    PLAIN: "plain_signals",
    USUAL: "usual_signals",
    SUPA: "supa_signals",
    PGHISTORY: "pgh_signals",
    OURS: "signals",
}
#: What makes the tables that are not ours.
FILES = ("contestants.sql", "usual_chain.sql", "supa_audit.sql", "pghistory.sql")

# An alert as a chart service sends it; its price and quantity are compared with the columns.
_ALERT = {
    "strategy": "sma5x20",
    "symbol": "ETHBTC",
    "exchange": "BINANCE",
    "side": "BUY",
    "price": 0.071234,
    "quantity": 1.5,
    "interval": "5",
    "time": "2026-01-25T12:00:00Z",
    "bar": {"open": 0.071195, "high": 0.071248, "low": 0.071171, "close": 0.071234, "volume": 18231.44},
    "plots": {"sma5": 0.0711801, "sma20": 0.0710442, "rsi14": 57.31, "atr14": 0.00041, "macd": 0.0000812},
    "order": {"id": "long-5x20", "comment": "sma5 crossed sma20", "contracts": 1.5, "position": "long"},
    "text": "ETHBTC, 5: buy 1.5",
}
PAYLOAD = json.dumps(_ALERT)
assert 490 <= len(PAYLOAD) <= 510, len(PAYLOAD)


@contextmanager
def arena(host: Host, name: str) -> Iterator[str]:
    """Make a database with all contestants in it, return its DSN, and drop it at the end."""
    dsn = host.database(name)
    try:
        with host.connect(dsn) as conn:
            for file in FILES:
                conn.execute(Path(__file__).with_name(file).read_bytes())
        yield dsn
    finally:
        host.drop(name)
