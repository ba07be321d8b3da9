"""Writing books of several "years", and archiving what is old."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from tests.risk.council import Council
from tests.support import Connection, Row, one, query, quote

TABLES = ("webhook_deliveries", "signals", "ai_debates", "order_execution", "order_events", "risk_decisions")


def write_year(connection: Connection, first: int, number: int) -> None:
    """Signals from a number on, each with a delivery and a debate, every second with an order and its fill."""
    last = first + number - 1
    for statement in (
        "insert into webhook_deliveries (raw_body, body_sha256, hmac_verified)"
        " select convert_to(i::text, 'UTF8'), repeat('0', 64), false from generate_series(%s::int, %s) as i",
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload, delivery_id)"
        " select 's-' || i, 'BTCUSD', 'BUY', 1, 1, '{}', i from generate_series(%s::int, %s) as i",
        "insert into ai_debates (correlation_id, model_name, reasoning_json, confidence_score, elapsed_ms)"
        " select correlation_id, 'phi-4', '{}', 0.5, 1 from signals where id between %s and %s order by id",
        "insert into order_execution (correlation_id, order_type, symbol, side, quantity)"
        " select correlation_id, 'MARKET', symbol, side, quantity from signals"
        " where id between %s and %s and id %% 2 = 0 order by id",
    ):
        query(connection, statement, [first, last])
    query(
        connection,
        "insert into order_events (order_execution_id, event_type, fill_quantity, fill_price)"
        " select o.id, 'FILL', 1, 1 from order_execution as o join signals as s using (correlation_id)"
        " where s.id between %s and %s order by o.id",
        [first, last],
    )


@dataclass
class Shelf:
    """A book, and the agents who decide what leaves it."""

    connection: Connection
    council: Council

    def segment(self, table: str, through_id: int) -> Row:
        """What an archive proposal says of a table's rows up to one."""
        row_hash = one(self.connection, f"select row_hash from {quote(table)} where id = %s", [through_id])
        root = one(self.connection, "select encode(log_root(%s, %s), 'hex')", [table, through_id])
        return {
            "table": table,
            "through_id": through_id,
            "row_hash": row_hash,
            "root": root,
            "segment_sha256": "ab" * 32,
        }

    def plan(self, before: str = "now()") -> dict[str, int | None]:
        """How far each table could be archived."""
        rows = query(self.connection, f"select planned_table, through_id from retention_plan({before})")
        return {row["planned_table"]: row["through_id"] for row in rows}

    def archive(self, ends: dict[str, int]) -> UUID:
        """Approve that rows of these tables leave, each up to an id."""
        segments = [self.segment(table, end) for table, end in ends.items()]
        return self.council.enact("archive", {"segments": segments}, "ada", "ben", "cyd")

    def hold(self, table: str, from_id: int) -> UUID:
        return self.council.enact("hold", {"table": table, "from_id": from_id}, "ada", "ben")

    def unhold(self, hold: UUID) -> UUID:
        return self.council.enact("unhold", {"hold": str(hold)}, "ada", "ben", "cyd")

    def prune(self, *tables: str, batch: int = 1024) -> None:
        for table in tables:
            query(self.connection, "call prune_archived(%s, %s)", [table, batch])

    def leave(self, ends: dict[str, int]) -> UUID:
        """Approve, and remove, those that refer to others first."""
        proposal = self.archive(ends)
        self.prune(*(table for table in reversed(TABLES) if table in ends))
        return proposal

    def first_ids(self, tables: Iterable[str] = TABLES) -> dict[str, int]:
        return {table: one(self.connection, f"select min(id) from {table}") for table in tables}


#: All that may go of the first year: whole blocks of 256, and no row that stays refers to them.
FIRST_YEAR = {
    "webhook_deliveries": 512,
    "signals": 512,
    "ai_debates": 512,
    "order_execution": 256,
    "order_events": 256,
}
