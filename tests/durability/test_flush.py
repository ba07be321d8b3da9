"""CALL returns when the row is on disk, not before; and nobody waits for the chain's lock while another flushes.

The WAL writer, the background writer and the checkpointer are held still, so that a flush is the writer's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
import pytest

from tests.concurrency.background import Background
from tests.durability.acknowledged import assert_whole, call_each, call_signal, fresh_key, positions
from tests.durability.conftest import Connecting
from tests.durability.processes import backends, stopped
from tests.support import Connection, one, query, wait_until

SIGNAL = "call append_signal(%s, 'BTC', 'BUY', 1.5, 2, '{}')"
ANY_SIGNAL = "call append_signal(gen_random_uuid()::text, 'BTC', 'BUY', 1.5, 2, '{}')"
RECORD = "select id, row_hash from record_signal(%s, 'BTC', 'BUY', 1.5, 2, '{}')"
VISIBLE = "select exists (select from signals where signal_id = %s)"


@pytest.fixture
def observer(session: Connecting) -> Iterator[Connection]:
    """A session that writes nothing, on a server where nobody flushes of his own accord."""
    connection = session()
    one(connection, VISIBLE, ["-"])
    for _ in range(10):  # what it reads of the catalogues it has read, and marked, before it matters
        positions(connection)
    with stopped(*backends(connection)):
        yield connection


def test_an_acknowledgement_never_precedes_the_flush(session: Connecting, observer: Connection) -> None:
    writer, careless = session(), session(synchronous_commit="off")
    for _ in range(10):
        for acknowledged in call_each(writer):
            # Nobody else writes: the last record is that of the row's own commit or a later one of the CALL.
            inserted, flushed = positions(observer)
            assert flushed >= inserted, acknowledged
        # And whoever asks for no flush gets none: his CALL is not made stricter, and the test can see it.
        for acknowledged in call_each(careless):
            inserted, flushed = positions(observer)
            assert flushed < inserted, acknowledged


@pytest.mark.parametrize("first", ["call", "record"])
@pytest.mark.parametrize("second", ["call", "record", "transaction"])
def test_who_gets_an_earlier_row_waits_until_it_is_on_disk(
    session: Connecting, observer: Connection, first: str, second: str
) -> None:
    """A row that is visible and not yet flushed could still vanish: nobody is told that he has it."""
    careless, retry = session(synchronous_commit="off"), session()
    query(retry, SIGNAL, [fresh_key()])  # what a first call writes by the way is written
    for _ in range(3):
        key = fresh_key()
        (row,) = query(careless, SIGNAL if first == "call" else RECORD, [key])
        inserted, flushed = positions(observer)
        assert flushed < inserted
        if second == "transaction":
            with retry.transaction():
                (again,) = query(retry, RECORD, [key])
        else:
            (again,) = query(retry, SIGNAL if second == "call" else RECORD, [key])
        assert positions(observer)[1] >= inserted
        assert (again["id"], again["row_hash"]) == (row["id"], row["row_hash"])


@contextmanager
def caught_in_its_flush(
    observer: Connection, writers: Sequence[Connection], table: str, call: str
) -> Iterator[list[Background]]:
    """Let the first writer CALL, and stop its backend in the middle of its flush; the second proves by waiting
    for it that it is there. Gives both CALLs, of which neither is acknowledged.
    """
    for writer in writers:
        query(
            writer, "set commit_delay = 100000"
        )  # holds the flush for 100 ms, which are there to be stopped in
        query(writer, "set commit_siblings = 0")
        call_signal(writer)
    for _ in range(20):
        before, key = one(observer, f"select count(*) from {table}"), fresh_key()
        flushing = Background(writers[0], call)
        wait_until(observer, f"select count(*) > %s from {table}", [before])
        with stopped(flushing.pid):
            probe = Background(writers[1], SIGNAL, [key])
            wait_until(observer, VISIBLE, [key])
            if _waits_for_flush(observer, probe.pid):
                yield [flushing, probe]
                return
        flushing.result()  # it was stopped before or after its flush, and held nobody up
        probe.result()
    pytest.fail("no writer was seen in its flush with its row visible")


def _waits_for_flush(observer: Connection, pid: int) -> bool:
    """Wait until a backend that has committed its row is acknowledged or waits for another's flush: the latter?"""
    state = "select {} from pg_stat_activity where pid = %s and (state = 'idle' or wait_event = 'WALWrite')"
    wait_until(observer, f"select exists ({state.format('')})", [pid])
    return one(observer, state.format("wait_event = 'WALWrite'"), [pid]) is True


def test_rows_are_visible_and_the_chain_is_free_while_a_flush_lasts(
    session: Connecting, observer: Connection
) -> None:
    """One backend is stopped in the middle of its flush: the others still take the chain's lock one after the
    other, commit their rows, and all wait for the flush alone.
    """
    writers = [session() for _ in range(6)]
    with caught_in_its_flush(observer, writers, "signals", ANY_SIGNAL) as calls:
        keys = [fresh_key() for _ in writers[2:]]
        calls += [Background(w, SIGNAL, [k]) for w, k in zip(writers[2:], keys, strict=True)]
        for key in keys:
            wait_until(observer, VISIBLE, [key])
        for call in calls[1:]:
            assert _waits_for_flush(observer, call.pid)
        assert not any(call.done for call in calls)
    ids = [call.result()[0]["id"] for call in calls]
    assert sorted(ids) == list(range(min(ids), min(ids) + len(writers)))
    assert_whole(observer)


def test_a_cancel_during_the_flush_does_not_unsay_the_row(session: Connecting, observer: Connection) -> None:
    """As for COMMIT: whoever is cancelled, or times out, while his durable row is flushed is not told that it
    failed, for he would write it again.
    """
    writers = [session(), session()]
    (signal,) = query(writers[0], ANY_SIGNAL)
    (order,) = query(writers[0], "call append_order(%s, 'MARKET', 'X', 'BUY', 1)", [signal["correlation_id"]])
    for table, call in {
        "webhook_deliveries": "call append_webhook('{}')",
        "signals": ANY_SIGNAL,
        "ai_debates": f"call append_ai_debate('{signal['correlation_id']}', 'phi-4', '{{}}', 0.5, 1)",
        "order_execution": f"call append_order('{signal['correlation_id']}', 'MARKET', 'X', 'BUY', 1)",
        "order_events": f"call append_order_event({order['id']}, 'CANCELLED')",
    }.items():
        with caught_in_its_flush(observer, writers, table, call) as calls:
            assert one(observer, "select pg_cancel_backend(%s)", [calls[0].pid])
        (row,) = calls[0].result()
        assert one(observer, f"select row_hash from {table} where id = %s", [row["id"]]) == row["row_hash"]
        calls[1].result()


def test_an_error_in_between_leaves_nothing_open(session: Connecting, observer: Connection) -> None:
    """A CALL that is refused writes nothing, and the session's own synchronous_commit is what it was."""
    writer = session(synchronous_commit="local")
    before = one(observer, "select count(*) from signals")
    with pytest.raises(psycopg.errors.CheckViolation):
        query(writer, "call append_signal(%s, 'BTC', 'HOLD', 1, 1, '{}')", [fresh_key()])
    assert one(writer, "show synchronous_commit") == "local"
    assert writer.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    call_signal(writer)
    assert one(writer, "show synchronous_commit") == "local"
    assert one(observer, "select count(*) from signals") == before + 1
