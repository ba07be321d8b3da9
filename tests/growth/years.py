"""A log that was written over years, made in a moment. Its hashes do not hold: here nothing is verified."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support import Connection, query, quote


def write(db: Connection, rows: int) -> None:
    """Write so many signals in one statement."""
    query(
        db,
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " select 's-' || n, 'BTCUSDT', 'BUY', 1, 1, '{}' from generate_series(1, %s) as n",
        [rows],
    )


def force(db: Connection, table: str, statement: str, parameters: Sequence[object] = ()) -> None:
    """Run a statement that a table's triggers refuse; they stay off."""
    query(db, f"alter table {quote(table)} disable trigger user")
    query(db, statement, parameters)


def spread(db: Connection, days: float) -> None:
    """Let the signals have been written evenly over the last so many days, three at each moment."""
    force(
        db,
        "signals",
        "update signals set created_at = now() - make_interval(secs => %s * 86400.0"
        " * (1 - (id - 1) / 3 * 3.0 / (select max(id) from signals)))",
        [days],
    )
