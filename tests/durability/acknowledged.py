"""What the tests of durability write, and what they ask afterwards."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable

from tests.support import AUDIT_TABLES, Connection, query, verdicts

DATABASE = "trading"
INSTALLED = "installed"  #: a database with all migrations, to be cloned
# Nobody flushes in the writers' place: a full flush by the WAL writer every 10 s, the largest it can be.
SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "wal_writer_delay": "'10s'",
    "wal_level": "replica",
    "max_wal_senders": "4",
    "checkpoint_timeout": "'1h'",
    "wal_log_hints": "on",  # pg_rewind needs it, or checksums
    "wal_keep_size": "256MB",  # and the WAL since the last checkpoint before the failover
}
PAGE = 8192
LONGEST_PAGE_HEADER = 40

Acknowledged = tuple[str, int, str]
_numbers = itertools.count(1)


def fresh_key() -> str:
    """A signal_id that nobody has used."""
    return f"d-{next(_numbers)}"


def call_signal(connection: Connection, key: str | None = None) -> Acknowledged:
    """CALL append_signal; gives table, id and row_hash."""
    return _call(connection, "signals", "append_signal(%s, 'BTC', 'BUY', 1.5, 2, '{}')", key or fresh_key())


def call_each(connection: Connection) -> Iterable[Acknowledged]:
    """The five procedures one after the other, each as soon as the one before is acknowledged."""
    delivery = _call(connection, "webhook_deliveries", "append_webhook(%s::bytea)", b"{}")
    yield delivery
    (row,) = query(
        connection,
        "call append_signal(%s, 'BTC', 'BUY', 1.5, 2, '{}', delivery_id => %s)",
        [fresh_key(), delivery[1]],
    )
    yield "signals", row["id"], row["row_hash"]
    correlation_id = row["correlation_id"]
    yield _call(connection, "ai_debates", "append_ai_debate(%s, 'phi-4', '{}', 0.5, 900)", correlation_id)
    order = _call(
        connection, "order_execution", "append_order(%s, 'MARKET', 'BTC', 'BUY', 2)", correlation_id
    )
    yield order
    yield _call(connection, "order_events", "append_order_event(%s, 'CANCELLED')", order[1])
    yield from call_arrays(connection, correlation_id, order[1])


def call_arrays(connection: Connection, correlation_id: object, order: int) -> Iterable[Acknowledged]:
    """The four procedures for arrays, each with two elements."""
    trade = {"correlation_id": str(correlation_id), "symbol": "BTC", "side": "BUY", "quantity": 2}
    debate = {"model_name": "phi-4", "reasoning_json": {}, "confidence_score": 0.5, "elapsed_ms": 900}
    for table, procedure, elements in (
        ("signals", "append_signals", [{**trade, "correlation_id": None, "signal_id": fresh_key(), "price": 1.5,
                                        "raw_payload": {}} for _ in range(2)]),
        ("ai_debates", "append_ai_debates", [{**debate, "correlation_id": str(correlation_id)}] * 2),
        ("order_execution", "append_orders", [{**trade, "order_type": "MARKET"}] * 2),
        ("order_events", "append_order_events", [{"order_execution_id": order, "event_type": "CANCELLED"}] * 2),
    ):  # fmt: skip
        (row,) = query(connection, f"call {procedure}(%s)", [json.dumps(elements)])
        for result in row["results"]:
            yield table, result["id"], result["row_hash"]


def record_each(connection: Connection) -> list[Acknowledged]:
    """A row in each table by the functions, in one transaction; gives them once it is committed."""
    with connection.transaction():
        made = query(connection, "select * from record_webhook('{}')")
        (row,) = query(
            connection, "select * from record_signal(%s, 'BTC', 'BUY', 1.5, 2, '{}')", [fresh_key()]
        )
        made.append(row)
        for statement in (
            "select * from record_ai_debate(%s, 'phi-4', '{}', 0.5, 900)",
            "select * from record_order(%s, 'MARKET', 'BTC', 'BUY', 2)",
        ):
            made += query(connection, statement, [row["correlation_id"]])
        made += query(connection, "select * from record_order_event(%s, 'CANCELLED')", [made[-1]["id"]])
    return [(table, row["id"], row["row_hash"]) for table, row in zip(AUDIT_TABLES, made, strict=True)]


def _call(connection: Connection, table: str, call: str, argument: object) -> Acknowledged:
    (row,) = query(connection, f"call {call}", [argument])
    return table, row["id"], row["row_hash"]


def lost(connection: Connection, acknowledged: Iterable[Acknowledged]) -> list[Acknowledged]:
    """Those of the acknowledged rows that are not there as they were acknowledged."""
    there = {
        (table, row["id"], row["row_hash"])
        for table in AUDIT_TABLES
        for row in query(connection, f"select id, row_hash from {table}")
    }
    return sorted(set(acknowledged) - there)


def assert_whole(connection: Connection) -> None:
    """Every chain is intact, and its ids are 1 to n."""
    for table in AUDIT_TABLES:
        (row,) = query(connection, f"select count(*) as n, min(id) as first, max(id) as last from {table}")
        assert (row["first"], row["last"]) == ((1, row["n"]) if row["n"] else (None, None)), table
    found = {table: verdict.verdict for table, verdict in verdicts(connection).items()}
    assert set(found.values()) == {"intact"}, found


def positions(connection: Connection) -> tuple[int, int]:
    """Where the last WAL record ends, and up to where the WAL is on disk.

    Exact only while nobody writes. Behind a full page the server names the place after the next page's header.
    """
    (row,) = query(
        connection,
        "select (pg_current_wal_insert_lsn() - '0/0')::bigint as inserted,"
        " (pg_current_wal_flush_lsn() - '0/0')::bigint as flushed",
    )
    inserted, flushed = row["inserted"], row["flushed"]
    if inserted % PAGE <= LONGEST_PAGE_HEADER:
        inserted -= inserted % PAGE
    return inserted, flushed
