"""A standby that cancels what is read, because replaying must not wait: it is read again, or said to be not read.

A reader is held by a lock on a table that it reads last; then a lock on one that it has read already conflicts with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import psycopg
import pytest

from alpha_db.connection import connect
from alpha_db.errors import RecoveryConflict
from alpha_db.service.backoff import Backoff
from alpha_db.verify import ranges
from alpha_db.verify.again import TRIES, Reader
from alpha_db.verify.ranges import FEW_ROWS, LAST_TRIES, Range, read_range
from tests.checkpoint.book import run
from tests.standby.pair import DATABASE, Pair
from tests.support import one, query, wait_until


class Task(Future[Any]):
    """Something that runs in a thread while the test does something else."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self._work = work

    def start(self) -> Task:
        """Begin."""
        pool = ThreadPoolExecutor(1)
        pool.submit(self._run)
        pool.shutdown(wait=False)
        return self

    def _run(self) -> None:
        try:
            self.set_result(self._work())
        except BaseException as problem:
            self.set_exception(problem)


def command(*arguments: object) -> Task:
    """A command that will run."""
    return Task(partial(run, *arguments, expect=None))


@contextmanager
def conflict_with(
    pair: Pair, start: Callable[[], Any], last: str, *, first: str = "signals"
) -> Iterator[Any]:
    """Start what reads `first` and then `last`, and have the standby cancel it in between.

    What the block does, it does while `last` cannot be read yet.
    """
    with pair.connect(pair.primary) as holder, pair.connect(pair.standby) as copy:
        holder.autocommit = False
        query(holder, f"lock table {last} in access exclusive mode")
        query(holder, "select pg_logical_emit_message(true, 'test', '')")
        pair.catch_up()
        started = start()
        held = (
            "select l.virtualtransaction from pg_stat_activity as a join pg_locks as l on l.pid = a.pid"
            " where a.wait_event_type = 'Lock' and l.granted and l.relation = %s::regclass"
        )
        wait_until(copy, f"select exists ({held})", [first])
        reader = one(copy, held, [first])
        with pair.connect(pair.primary) as other:
            query(other, f"begin; lock table {first} in access exclusive mode; commit")
        gone = "select not exists (select from pg_locks where virtualtransaction = %s)"
        wait_until(copy, gone, [reader])
        yield started
        holder.rollback()


def test_verify_chain_goes_on(pair: Pair) -> None:
    """The session is ended: what the plan reads stands in a block that catches errors."""
    verify = command("--dsn", pair.standby.dsn(DATABASE, "auditor"), "verify-chain", "--jobs", "1", "--json")
    with conflict_with(pair, verify.start, "order_events"):
        pass
    found = verify.result(60)
    assert found.code == 0, found
    assert {row["verdict"] for row in found.json["tables"]} == {"intact"}
    assert "this standby cancelled what was read, to go on replaying, once; it was read again" in found.err


def test_a_range_is_read_again_over_another_connection(pair: Pair) -> None:
    reader = Reader(lambda: connect(pair.standby.dsn(DATABASE, "auditor"), autocommit=True))
    before = reader.conn
    work = partial(read_range, reader, Range("signals", 1, None), engage_lockdown=True)
    with closing(reader):
        with conflict_with(pair, Task(work).start, "verification_runs") as task:
            pass
        assert task.result(60)["verdict"] == "intact"
        assert (before.closed, reader.conflicts) == (True, 1)


def test_what_cannot_go_on_says_what_to_do(pair: Pair) -> None:
    """Half a snapshot is no evidence: nothing is left of it."""
    file = pair.folder / "signals.jsonl"
    auditor = ("--dsn", pair.standby.dsn(DATABASE, "auditor"))
    export = command(*auditor, "export", "--output", file, "--table", "signals")
    with conflict_with(pair, export.start, "order_events"):
        pass
    found = export.result(60)
    assert found.code == 3
    assert "[40001]" in found.err
    assert "conflict with recovery" in found.err
    assert "HINT: run it again; if that happens often, raise max_standby_streaming_delay" in found.err
    assert not file.exists()


def test_a_snapshot_that_is_older_than_a_truncate_compares_no_history(pair: Pair) -> None:
    """TRUNCATE empties the table for every snapshot, and its entry in the history is not in an older one."""
    with pair.connect(pair.standby, "auditor") as copy, pair.connect(pair.primary) as primary:
        query(primary, "create table short (id integer primary key); insert into short values (1)")
        query(primary, "select track_table('short')")
        pair.catch_up()
        query(copy, "begin isolation level repeatable read")
        assert query(copy, "select * from verify_tracked('short')") == []
        query(copy, "rollback")
        query(copy, "begin isolation level repeatable read")
        query(copy, "select 1 from pg_class limit 1")
        query(primary, "truncate short")
        pair.catch_up()
        with pytest.raises(psycopg.errors.SerializationFailure, match="a history has grown since"):
            query(copy, "select * from verify_tracked('short')")
        query(copy, "rollback")
        assert query(copy, "select * from verify_tracked('short')") == []


class Cancelled:
    """Stands for a standby that cancels each range of more rows than `most`."""

    def __init__(self, most: int) -> None:
        self.most, self.read, self.closed = most, list[tuple[int, int]](), False

    def __call__(self, _conn: Any, item: Range, **_wish: bool) -> Any:
        first, last = item.from_id or 1, item.to_id or 10_000
        if last - first >= self.most:
            raise RecoveryConflict("canceling statement due to conflict with recovery")
        self.read.append((first, last))
        return intact(item.table, first, last)


def intact(table: str, first: int, last: int) -> Any:
    rows = last - first + 1
    found = ranges.not_run(Range(table), f"{rows} rows")
    return found | {
        "verdict": "intact",
        "is_valid": True,
        "rows_checked": rows,
        "first_id": first,
        "last_id": last,
    }


@pytest.fixture
def never_again(monkeypatch: pytest.MonkeyPatch) -> Reader:
    """A reader without a server, that does not pause."""
    monkeypatch.setattr(Backoff, "next", lambda _: 0.0)
    monkeypatch.setattr(ranges, "ask_one", lambda *_, **_names: 0)
    monkeypatch.setattr(ranges, "ask", lambda *_: [{"table_name": "signals", "last_id": 10_000}])
    nothing: Any = Cancelled(0)
    return Reader(lambda: nothing, nothing)


@pytest.mark.parametrize("first", [None, 1])
def test_a_range_that_is_too_long_is_read_in_parts(
    never_again: Reader, monkeypatch: pytest.MonkeyPatch, first: int | None
) -> None:
    standby = Cancelled(3000)
    monkeypatch.setattr(ranges, "verify_range", standby)
    found = read_range(never_again, Range("signals", first, None), engage_lockdown=False)
    assert standby.read == [(1, 2500), (2501, 5000), (5001, 7500), (7501, 10_000)]
    assert (found["verdict"], found["rows_checked"], found["last_id"]) == ("intact", 10_000, 10_000)
    assert never_again.conflicts == 3 * TRIES


@pytest.mark.parametrize("first", [None, 1])
def test_what_is_never_read_is_neither_fine_nor_tampered(
    never_again: Reader, monkeypatch: pytest.MonkeyPatch, first: int | None
) -> None:
    monkeypatch.setattr(ranges, "verify_range", Cancelled(FEW_ROWS // 4))
    found = read_range(never_again, Range("signals", first, None), engage_lockdown=False)
    assert (found["verdict"], found["is_valid"]) == ("not_run", None)
    place = f"rows {first or 'before the first'} to 625"
    said = f"this standby cancelled what read {place}, {TRIES + LAST_TRIES} times (40001)"
    assert found["detail"] == said
    assert never_again.conflicts <= 6 * TRIES + LAST_TRIES
