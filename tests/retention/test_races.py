"""What happens beside a pruning: another one, a writer who refers to a row that goes, a killed session."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.fix_database import Connect
from tests.retention.shelf import FIRST_YEAR, Shelf
from tests.support import assert_healthy, one, query, wait_blocked

CALL = "call prune_archived('ai_debates', 256)"


def test_two_prunings_take_turns(shelf: Shelf, connect: Connect) -> None:
    shelf.archive({"ai_debates": 1024})
    first, second = connect(), connect()
    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(query, connection, CALL) for connection in (first, second)]
        deleted = [result.result()[0]["result"]["deleted"] for result in results]
    assert sum(deleted) == 1024
    assert_healthy(shelf.connection)


def test_a_writer_who_refers_to_a_row_that_goes_is_refused(shelf: Shelf, connect: Connect) -> None:
    correlation = one(shelf.connection, "select correlation_id from signals where id = 1")
    shelf.archive(FIRST_YEAR)
    shelf.prune("order_events", "order_execution", "ai_debates")
    pruning = connect(autocommit=False)
    query(pruning, "select _prune_batch('signals', 256)")
    writer = connect()
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(query, writer, "select record_ai_debate(%s, 'phi-4', '{}', 0.5, 1)", [correlation])
        wait_blocked(shelf.connection, writer.info.backend_pid)
        pruning.commit()
        with pytest.raises(psycopg.Error, match=r"AUD-008|ai_debates_correlation_id_fkey"):
            late.result()
    assert_healthy(shelf.connection)


def test_a_row_that_was_referred_to_meanwhile_stays(shelf: Shelf, connect: Connect) -> None:
    correlation = one(shelf.connection, "select correlation_id from signals where id = 1")
    shelf.archive(FIRST_YEAR)
    shelf.prune("order_events", "order_execution", "ai_debates")
    writer = connect(autocommit=False)
    query(writer, "select record_ai_debate(%s, 'phi-4', '{}', 0.5, 1)", [correlation])
    pruning = connect()
    with ThreadPoolExecutor(1) as pool:
        refused = pool.submit(query, pruning, "call prune_archived('signals')")
        wait_blocked(shelf.connection, pruning.info.backend_pid)
        writer.commit()
        with pytest.raises(
            psycopg.Error, match="AUD-016: row 1 of signals is still referred to by ai_debates"
        ):
            refused.result()
    assert shelf.first_ids(["signals"]) == {"signals": 1}
    assert_healthy(shelf.connection)


def test_a_killed_pruning_leaves_whole_blocks(shelf: Shelf, connect: Connect) -> None:
    shelf.archive({"ai_debates": 1024})
    holder = connect(autocommit=False)
    query(holder, "select 1 from ai_debates where id = 600 for key share")
    pruning = connect()
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(query, pruning, CALL)
        wait_blocked(shelf.connection, pruning.info.backend_pid)
        query(shelf.connection, "select pg_terminate_backend(%s)", [pruning.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            killed.result()
    assert shelf.first_ids(["ai_debates"]) == {"ai_debates": 513}
    assert_healthy(shelf.connection)
    holder.rollback()
    shelf.prune("ai_debates")
    assert shelf.first_ids(["ai_debates"]) == {"ai_debates": 1025}
    assert_healthy(shelf.connection)


def test_of_two_proposals_only_one_is_applied(shelf: Shelf) -> None:
    first, second = (
        shelf.council.propose("archive", shelf.segment("ai_debates", end), "ada") for end in (256, 512)
    )
    assert [shelf.council.vote(first, name) for name in ("ben", "cyd")] == ["PENDING", "APPLIED"]
    with pytest.raises(psycopg.Error, match="RSK-005"):
        shelf.council.vote(second, "ben")


def test_a_writer_of_the_chain_does_not_wait(shelf: Shelf, connect: Connect) -> None:
    """A row is recorded while a batch is being removed."""
    shelf.archive({"ai_debates": 1024})
    pruning = connect(autocommit=False)
    query(pruning, "select _prune_batch('ai_debates', 256)")
    correlation = one(shelf.connection, "select correlation_id from signals where id = 1100")
    writer = connect(options="-c lock_timeout=1s")
    query(writer, "select record_ai_debate(%s, 'phi-4', '{}', 0.5, 1)", [correlation])
    pruning.commit()
    assert_healthy(shelf.connection)


def test_a_transaction_with_an_older_snapshot_removes_nothing(shelf: Shelf, connect: Connect) -> None:
    """It would not see a legal hold that was approved since."""
    shelf.archive({"ai_debates": 512})
    pruning = connect(autocommit=False)
    query(pruning, "set transaction isolation level repeatable read")
    query(pruning, "select 1")
    shelf.hold("ai_debates", 1)
    with pytest.raises(psycopg.Error, match="rows are removed in READ COMMITTED only"):
        query(pruning, "select _prune_batch('ai_debates', 256)")
    pruning.rollback()
    assert shelf.first_ids(["ai_debates"]) == {"ai_debates": 1}
