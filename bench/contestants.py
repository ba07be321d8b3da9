"""Who is compared: the plain table, the chain as it is usually written, and ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.host import Host

PLAIN, USUAL, OURS, CALL = "plain table", "usual chain", "ours, INSERT", "ours, CALL"

TABLES = {PLAIN: "plain_signals", USUAL: "usual_signals", OURS: "signals"}

COLUMNS = "signal_id, symbol, side, price, quantity, raw_payload"

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

#: What stands behind signal_id in a row of any of them.
CONTENT = f"'ETHBTC', 'BUY', 0.0712340000, 1.5000000000, '{PAYLOAD}'"


def insert(contestant: str, rows: int) -> str:
    """Return one statement that inserts so many rows."""
    return (
        f"insert into {TABLES[contestant]} ({COLUMNS})"
        f" select gen_random_uuid()::text, {CONTENT} from generate_series(1, {rows})"
    )


@contextmanager
def arena(host: Host, name: str) -> Iterator[str]:
    """Make a database with all contestants in it, return its DSN, and drop it at the end."""
    dsn = host.database(name)
    try:
        with host.connect(dsn) as conn:
            for file in ("contestants.sql", "usual_chain.sql"):
                conn.execute(Path(__file__).with_name(file).read_bytes())
        yield dsn
    finally:
        host.drop(name)
