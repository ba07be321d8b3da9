"""Twenty-five writers over all four tables while the book is verified: no fork, no gap, no deadlock, no false alarm.

False alarms under concurrent inserts are the commonest fault of hash chains in PostgreSQL.
"""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event

import psycopg
import pytest

from tests.chain.by_force import broken_in_python, judge, places
from tests.fix_database import Connect, LoginRole
from tests.support import AUDIT_TABLES, PATIENCE, Connection, fill, one, query, verdicts

WRITERS = 25
LEVELS = ("read committed", "repeatable read", "serializable")


@dataclass
class Writer:
    """One session that writes whole transactions in the documented order of tables, over and over."""

    connection: Connection
    number: int
    levels: tuple[str, ...]
    committed: Counter[str] = field(default_factory=Counter)
    retries: int = 0

    def run(self, rounds: int, enough: Event) -> None:
        chance = random.Random(self.number)
        done = 0
        while done < rounds or not enough.is_set():
            self._until_it_is_through(chance, f"w{self.number}-{done}")
            done += 1

    def _until_it_is_through(self, chance: random.Random, key: str) -> None:
        plan = [chance.random() for _ in range(6)]
        level = chance.choice(self.levels)
        for _ in range(2000):
            try:
                written = self._transaction(level, plan, key)
            except psycopg.errors.SerializationFailure:
                self.retries += 1
                continue
            self.committed.update(written)
            return
        raise AssertionError(f"{key} never got through at {level}")

    def _transaction(self, level: str, plan: list[float], key: str) -> Counter[str]:
        written: Counter[str] = Counter()
        session = self.connection
        with session.transaction(force_rollback=plan[0] < 0.15):
            query(session, f"set transaction isolation level {level}")
            correlation_id = self._signals(key, plan[1], written)
            if plan[2] < 0.7:
                self._debate(correlation_id)
                written["ai_debates"] += 1
                if plan[2] < 0.2:
                    with session.transaction(force_rollback=True):
                        self._debate(correlation_id)
            if plan[3] < 0.7:
                order = one(
                    session, "select id from record_order(%s, 'MARKET', 'X', 'BUY', 1)", [correlation_id]
                )
                written["order_execution"] += 1
                events = 1 + int(plan[4] * 3)
                for _ in range(events):
                    query(session, "select id from record_order_event(%s, 'CANCELLED')", [order])
                written["order_events"] += events
        return Counter() if plan[0] < 0.15 else written

    def _signals(self, key: str, choice: float, written: Counter[str]) -> object:
        """One signal by the function, and more by other ways."""
        session = self.connection
        if choice < 0.3:
            with session.transaction(force_rollback=True):
                query(session, f"select id from record_signal('{key}-undone', 'X', 'BUY', 1, 1, '{{}}')")
        elif choice < 0.5:
            columns = "signal_id, symbol, side, price, quantity, raw_payload"
            with session.cursor() as cursor, cursor.copy(f"copy signals ({columns}) from stdin") as copy:
                for n in range(3):
                    copy.write_row([f"{key}-copied-{n}", "X", "SELL", 2, 1, "{}"])
            written["signals"] += 3
        elif choice < 0.6:
            query(
                session,
                "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
                " values ('shared', 'X', 'BUY', 1, 1, '{}') on conflict do nothing",
            )
        written["signals"] += 1
        return one(session, "select correlation_id from record_signal(%s, 'X', 'BUY', 1, 1, '{}')", [key])

    def _debate(self, correlation_id: object) -> None:
        query(self.connection, "select id from record_ai_debate(%s, 'phi-4', '{}', 0.5, 1)", [correlation_id])


# The mixture has all levels.
ALONE = [
    pytest.param((level,), marks=[pytest.mark.any_server, pytest.mark.long], id=level) for level in LEVELS
]


@pytest.mark.parametrize("levels", [*ALONE, pytest.param(LEVELS, id="mixed")])
@pytest.mark.parametrize(("rounds", "verifications"), [(2, 5), pytest.param(40, 20, marks=pytest.mark.long)])
def test_many_writers(
    db: Connection,
    connect: Connect,
    login_role: LoginRole,
    levels: tuple[str, ...],
    rounds: int,
    verifications: int,
) -> None:
    login = login_role("app_trading")
    fill(db)
    query(
        db,
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " values ('shared', 'X', 'BUY', 1, 1, '{}')",
    )
    before = {table: one(db, f"select count(*) from {table}") for table in AUDIT_TABLES}
    writers = [
        Writer(connect(user=login, statement_timeout=f"{PATIENCE}s"), number, levels)
        for number in range(WRITERS)
    ]
    enough = Event()
    runs: list[set[str]] = []
    with ThreadPoolExecutor(WRITERS) as pool:
        futures = [pool.submit(writer.run, rounds, enough) for writer in writers]
        try:
            while len(runs) < verifications:
                runs.append({verdict.verdict for verdict in verdicts(db).values()})
        finally:
            enough.set()
    # Whatever but 40001 a writer got is raised here: a deadlock, a 23505, a refusal by a false lockdown.
    for future in futures:
        future.result()
    assert runs == [{"intact"}] * verifications
    assert one(db, "select is_locked from lockdown_status()") is False

    committed = sum((writer.committed for writer in writers), Counter[str]())
    for table in AUDIT_TABLES:
        rows = before[table] + committed[table]
        assert one(db, f"select count(*) from {table}") == rows
        assert query(db, f"select min(id) as first, max(id) as last from {table}") == [
            {"first": 1, "last": rows}
        ]
        assert places(db, table) == []
        assert judge(db, table).rows_checked == rows
        assert broken_in_python(db, table) is None
        assert (
            one(
                db,
                "select count(*) from (select created_at < lag(created_at) over (order by id) as back"
                f" from {table}) as t where back",
            )
            == 0
        )
    if levels == ("read committed",):
        assert sum(writer.retries for writer in writers) == 0


def test_verification_by_ranges_during_writing(db: Connection, connect: Connect) -> None:
    """Ranges verify side by side, each in a session of its own, while rows are added."""
    query(
        db,
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " select 's' || n, 'X', 'BUY', 1, 1, '{}' from generate_series(1, 2000) as n",
    )
    enough = Event()
    writer = Writer(connect(), 1, LEVELS)
    sessions = [connect() for _ in range(4)]

    def verify(session: Connection, first: int) -> tuple[str, int]:
        verdict = verdicts(session, table_name="signals", from_id=first, to_id=first + 499)["signals"]
        return verdict.verdict, verdict.rows_checked

    with ThreadPoolExecutor(5) as pool:
        writing = pool.submit(writer.run, 5, enough)
        try:
            for _ in range(5):
                found = list(pool.map(verify, sessions, (1, 501, 1001, 1501)))
                assert found == [("intact", 500)] * 4
        finally:
            enough.set()
        writing.result()
    assert judge(db, "signals").verdict == "intact"
