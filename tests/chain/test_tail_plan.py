"""How the chain's tail is read does not depend on statistics: counted in rows read, not in seconds."""

from __future__ import annotations

import pytest

from tests.support import AUDIT_TABLES, Connection, fill, one, query

ROWS = 5000
ONE_PAGE = 60


class Reads:
    """Rows that scans of a table returned, and scans of the whole table, since this was made in this transaction."""

    def __init__(self, connection: Connection, table: str) -> None:
        self.connection, self.table = connection, table
        self._rows, self._scans = self._now()

    def _now(self) -> tuple[int, int]:
        (found,) = query(
            self.connection,
            "select coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) as rows, coalesce(seq_scan, 0) as scans"
            " from pg_stat_xact_user_tables where relid = %s::regclass",
            [self.table],
        )
        return found["rows"], found["scans"]

    @property
    def rows(self) -> int:
        return self._now()[0] - self._rows

    @property
    def whole_scans(self) -> int:
        return self._now()[1] - self._scans


@pytest.mark.parametrize("plans", ["auto", "force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("path", ["insert", "record_signal"])
def test_a_plan_made_on_an_empty_table_does_not_read_the_full_one(
    db: Connection, plans: str, path: str
) -> None:
    """The cached plan of an empty, analysed table was a Seq Scan and a Sort: every insert read all rows."""
    query(db, "vacuum analyze signals")
    query(db, f"set plan_cache_mode = {plans}")
    statements = {
        "insert": "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
                  " select 's' || n, 'X', 'BUY', 1, 1, '{}' from generate_series(%s::int, %s::int) as n",
        "record_signal": "select count(record_signal('s' || n, 'X', 'BUY', 1, 1, '{}'))"
                         " from generate_series(%s::int, %s::int) as n",
    }  # fmt: skip
    rows = ROWS if path == "insert" else ROWS // 5
    with db.transaction():
        reads = Reads(db, "signals")
        for number, first in enumerate((1, rows + 1), start=1):
            query(db, statements[path], [first, first + rows - 1])
            # One row for the tail. A table of one page may be read whole, because that is planned anew each time.
            assert reads.rows <= rows * number + ONE_PAGE**2
        assert reads.whole_scans <= ONE_PAGE
    assert one(db, "select count(*) from signals") == 2 * rows


def test_references_are_looked_up_by_an_index_too(db: Connection) -> None:
    for table in AUDIT_TABLES:
        query(db, f"vacuum analyze {table}")
    fill(db)
    correlation_id = one(db, "select correlation_id from signals where id = 1")
    # PostgreSQL plans the foreign keys' own look-ups, with statistics; ours is the one that is counted here.
    query(db, "alter table order_execution drop constraint order_execution_correlation_id_fkey")
    query(db, "alter table order_events drop constraint order_events_order_execution_id_fkey")
    with db.transaction():
        signals, events = Reads(db, "signals"), Reads(db, "order_events")
        for _ in range(2):
            query(
                db,
                "insert into order_execution (correlation_id, order_type, symbol, side, quantity)"
                " select %s, 'MARKET', 'X', 'BUY', 1 from generate_series(1, 500)",
                [correlation_id],
            )
            query(
                db,
                "insert into order_events (order_execution_id, event_type)"
                " select o.id, 'CANCELLED' from order_execution as o",
            )
        assert signals.rows == 1000  # there is one signal
        assert events.rows <= one(db, "select count(*) from order_events") + ONE_PAGE**2


def test_the_heads_are_read_by_an_index(db: Connection) -> None:
    fill(db)
    query(db, "vacuum analyze signals")
    with db.transaction():
        reads = Reads(db, "signals")
        query(db, "select * from chain_status()")
        assert reads.rows == 1


def test_verification_reads_each_row_once(db: Connection) -> None:
    """And sorts nothing: the rows come in id order from the primary key."""
    query(
        db,
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " select 's' || n, 'X', 'BUY', 1, 1, '{}' from generate_series(1, 1000) as n",
    )
    for analyze in ("select", "vacuum analyze signals"):
        query(db, analyze)
        with db.transaction():
            reads = Reads(db, "signals")
            query(db, "select * from verify_chain_integrity('signals')")
            assert reads.rows == 1000
            query(db, "select * from verify_chain_integrity('signals', 501, 600)")
            assert reads.rows <= 1000 + 102  # the row before the range is looked up, and read
