"""Random changes by several sessions at once: table_as_of shows what a plain copy saw, and nothing is reported."""

from __future__ import annotations

import random
from contextlib import suppress
from threading import Event, Thread

import psycopg
import pytest

from tests.fix_database import Connect
from tests.history.tracked import differences, history_verdict, rows_as_of, track
from tests.support import Connection, one, query

TABLES = """
    create schema app;
    create table app.owners (id integer not null, v numeric, note text,
                             constraint owners_pkey primary key (id) deferrable);
    create table app.books (id integer primary key, v numeric);
    create table app.lots (book integer not null references app.books on update cascade on delete cascade,
                           n integer not null, v numeric, constraint lots_pkey primary key (book, n));
    insert into app.owners select n, n, 'owner' from generate_series(1, 20) as n;
    insert into app.books select n, n from generate_series(1, 20) as n;
    insert into app.lots select n, m, n * m from generate_series(1, 20) as n, generate_series(1, 2) as m;
"""
COLUMNS = {"app.owners": ("id", "v", "note"), "app.books": ("id", "v"), "app.lots": ("book", "n", "v")}
#: {a} and {b} are random ids, {x} is a random number.
STATEMENTS = (
    "insert into app.owners select {a} + n, {x}, null from generate_series(0, 3) as n"
    " where not exists (select from app.owners where id = {a} + n)",
    "update app.owners set v = v + {x} where id between {a} and {a} + 5",
    "update app.owners set v = v where id < {a}",
    "update app.owners set id = case id when {a} then {b} else {a} end where id in ({a}, {b})"
    " and 2 = (select count(*) from app.owners where id in ({a}, {b}))",
    "delete from app.owners where id in ({a}, {b})",
    "merge into app.owners as o using generate_series({a}, {a} + 4) as n on o.id = n"
    " when matched and n % 3 = 0 then delete when matched then update set v = {x}"
    " when not matched then insert values (n, {x}, 'merged')",
    "insert into app.books values ({a}, {x}), ({b}, {x}) on conflict (id) do nothing",
    "insert into app.books values ({a}, {x}) on conflict (id) do update set v = app.books.v + excluded.v",
    "insert into app.lots select id, {b}, {x} from app.books where id < {a} on conflict do nothing",
    "update app.books set id = id + 1000 where id = {a}",  # cascades
    "update app.books set id = id - 1000 where id > 1000 and not exists"
    " (select from app.books as b where b.id = app.books.id - 1000)",
    "delete from app.books where id = {b}",  # cascades
    "with gone as (delete from app.lots where n = {b} returning book) update app.books set v = {x}"
    " where id in (select book from gone)",
    "truncate app.lots",
    "truncate app.books cascade",
)


def change(connection: Connection, chance: random.Random) -> None:
    """A transaction of one to four statements, some of them rolled back to a savepoint."""
    with connection.transaction():
        for _ in range(chance.randint(1, 4)):
            statement = chance.choices(STATEMENTS, [3] * (len(STATEMENTS) - 2) + [1, 1])[0]
            a, b = chance.sample(range(1, 31), 2)
            with connection.transaction(force_rollback=chance.random() < 0.2):
                connection.execute(statement.format(a=a, b=b, x=chance.choice(["1", "1.50", "-0.001"])))


class Worker(Thread):
    """Changes the tables until it is told to stop."""

    def __init__(self, connection: Connection, seed: int, stop: Event) -> None:
        super().__init__()
        self.connection, self.chance, self.stop = connection, random.Random(seed), stop
        self.error: BaseException | None = None
        self.changes = 0

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                try:
                    change(self.connection, self.chance)
                    self.changes += 1
                except (psycopg.IntegrityError, psycopg.errors.DeadlockDetected):
                    pass  # what a random change may meet in any table
        except BaseException as problem:
            self.error = problem


def copy_of(connection: Connection, table: str) -> list[dict[str, str | None]]:
    """The rows of a table, each value as text."""
    columns = ", ".join(f"{name}::text" for name in COLUMNS[table])
    return query(connection, f"select {columns} from {table}")


def ordered(rows: list[dict[str, str | None]]) -> list[str]:
    return sorted(str(sorted(row.items())) for row in rows)


@pytest.mark.parametrize(
    "seed", [1, pytest.param(2, marks=pytest.mark.long), pytest.param(3, marks=pytest.mark.long)]
)
def test_the_table_at_fifty_moments(db: Connection, connect: Connect, seed: int) -> None:
    """The copies are taken under the lock of the history's chain, so with no transaction half-way; verify_tracked
    runs meanwhile, and must find nothing either."""
    db.execute(TABLES + "set deadlock_timeout = '10ms'")
    for table in COLUMNS:
        track(db, table)
    stop = Event()
    workers = [Worker(connect(deadlock_timeout="10ms"), seed * 10 + number, stop) for number in range(3)]
    copies: list[tuple[object, dict[str, list[dict[str, str | None]]]]] = []
    last = None
    for worker in workers:
        worker.start()
    try:
        while len(copies) < 50 and all(worker.is_alive() for worker in workers):
            with suppress(psycopg.errors.DeadlockDetected), db.transaction():
                db.execute(
                    f"lock table {', '.join(COLUMNS)} in access share mode"
                )  # as a writer: tables first
                db.execute("lock table lock_table_changes in share update exclusive mode")
                tail = one(db, "select max(id) from table_changes")
                if tail != last:
                    moment = one(db, "select clock_timestamp()")
                    copies.append((moment, {table: copy_of(db, table) for table in COLUMNS}))
                last = tail
            with suppress(psycopg.errors.DeadlockDetected):
                assert differences(db) == []
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert [worker.error for worker in workers] == [None] * len(workers)
    assert len(copies) == 50
    for moment, copy in copies:
        for table, rows in copy.items():
            assert ordered(rows_as_of(db, table, moment)) == ordered(rows), (seed, moment, table)
    assert differences(db) == []
    assert history_verdict(db) == ("intact", None, True)


def test_entries_of_one_transaction_stand_together(db: Connection, connect: Connect) -> None:
    db.execute(TABLES)
    track(db, "app.owners")
    stop = Event()
    workers = [Worker(connect(deadlock_timeout="10ms"), number, stop) for number in range(3)]
    for worker in workers:
        worker.start()
    while one(db, "select count(distinct transaction_id) from table_changes") < 20:
        assert all(worker.is_alive() for worker in workers)
    stop.set()
    for worker in workers:
        worker.join()
    assert [worker.error for worker in workers] == [None] * len(workers)
    runs = one(
        db,
        "select count(*) filter (where starts) - count(distinct transaction_id) from ("
        " select transaction_id, transaction_id is distinct from lag(transaction_id) over (order by id) as starts"
        " from table_changes) as c",
    )
    assert runs == 0


def test_a_moment_inside_a_transaction(db: Connection) -> None:
    """A transaction counts whole, from its last entry on."""
    db.execute(TABLES)
    track(db, "app.owners")
    with db.transaction():
        db.execute("update app.owners set v = 100 where id = 1")
        db.execute("update app.owners set v = 200 where id = 2")
    first, last = (
        row["created_at"]
        for row in query(db, "select created_at from table_changes where operation = 'UPDATE' order by id")
    )
    before, after = rows_as_of(db, "app.owners", first), rows_as_of(db, "app.owners", last)
    assert {row["v"] for row in before if row["id"] in ("1", "2")} == {"1", "2"}
    assert {row["v"] for row in after if row["id"] in ("1", "2")} == {"100", "200"}
