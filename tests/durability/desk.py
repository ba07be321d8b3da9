"""Writers under load, and what was acknowledged to them."""

from __future__ import annotations

import json
import threading

from tests.durability.acknowledged import Acknowledged, call_each, call_signal, fresh_key, record_each
from tests.support import PATIENCE, Connection, query


class Desk:
    """Writers, each in a thread of its own, and what was acknowledged to any of them."""

    def __init__(self) -> None:
        self.acknowledged: list[Acknowledged] = []
        self.calm = threading.Event()
        self._news = threading.Condition()

    def note(self, *rows: Acknowledged) -> None:
        with self._news:
            self.acknowledged += rows
            self._news.notify_all()

    def wait_for_more(self, rows: int) -> None:
        with self._news:
            enough = len(self.acknowledged) + rows
            assert self._news.wait_for(lambda: len(self.acknowledged) >= enough, timeout=PATIENCE)

    def call(self, connection: Connection, shared: str) -> None:
        """One after the other until the server is gone; every round one signal that others send, too."""
        while True:
            for row in call_each(connection):
                self.note(row)
            self.note(call_signal(connection, f"{shared}-{len(self.acknowledged) // 50}"))

    def record(self, connection: Connection) -> None:
        """Transactions with all tables, until calm is asked for: whose flush would be the others', too."""
        while not self.calm.is_set():
            self.note(*record_each(connection))

    def insert(self, connection: Connection) -> None:
        """Plain INSERTs, each a transaction, until the server is gone."""
        statement = (
            "insert into signals (correlation_id, signal_id, symbol, side, price, quantity, raw_payload)"
            " values (gen_random_uuid(), %s, 'BTC', 'BUY', 1.5, 2, '{}') returning id, row_hash"
        )
        while True:
            (row,) = query(connection, statement, [fresh_key()])
            self.note(("signals", row["id"], row["row_hash"]))

    def record_many(self, connection: Connection) -> None:
        """record_signals with three signals, each time a transaction, until the server is gone."""
        signal = {"symbol": "BTC", "side": "BUY", "price": 1.5, "quantity": 2, "raw_payload": {}}
        while True:
            elements = [signal | {"signal_id": fresh_key()} for _ in range(3)]
            rows = query(connection, "select id, row_hash from record_signals(%s)", [json.dumps(elements)])
            self.note(*(("signals", row["id"], row["row_hash"]) for row in rows))
