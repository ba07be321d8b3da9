"""CALL append_signal in a pipeline, as docs/sql/application.md tells it of each version; never half a row."""

from __future__ import annotations

import psycopg
import pytest

from tests.cluster import Server
from tests.support import Connection, assert_healthy, one


def test_calls_in_a_pipeline(server: Server, db: Connection) -> None:
    refused = False
    try:
        with db.pipeline():
            for n in range(3):
                db.execute("call append_signal(%s, 'BTCUSD', 'BUY', 1, 1, '{}')", [f"tv-{n}"])
    except psycopg.errors.InvalidTransactionTermination:
        refused = True
    rows = one(db, "select count(*) from signals")
    if server.major == 17:
        pytest.skip(f"the page says nothing of 17: refused {refused}, {rows} rows")
    assert (refused, rows) == ((True, 1) if server.major >= 18 else (False, 3))
    assert_healthy(db)
