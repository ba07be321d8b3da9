"""What growth() says of a table whose oldest rows have left."""

from __future__ import annotations

from tests.retention.shelf import Shelf
from tests.support import one, query

ORDER_EVENTS = "select * from growth() where table_name = 'order_events'"


def test_rows_that_left_are_not_stored(shelf: Shelf) -> None:
    shelf.leave({"order_events": 256})
    (found,) = query(shelf.connection, ORDER_EVENTS)
    stored = one(shelf.connection, "select count(*) from order_events")
    assert (found["oldest_id"], found["rows_stored"]) == (257, stored)
    assert found["rows_a_day"] == stored
    assert found["oldest_created_at"] == one(
        shelf.connection, "select created_at from order_events where id = 257"
    )


def test_rows_that_may_leave_are_overdue_until_they_have_left(shelf: Shelf) -> None:
    query(shelf.connection, "set alpha.maintenance = 'a test'")
    query(shelf.connection, "select set_retention_policy('order_events', '1 microsecond')")
    before = query(shelf.connection, ORDER_EVENTS)[0]["rows_overdue"]
    assert before == one(shelf.connection, "select count(*) from order_events")
    shelf.leave({"order_events": 256})
    assert query(shelf.connection, ORDER_EVENTS)[0]["rows_overdue"] == before - 256
