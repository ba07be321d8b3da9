"""A run that was made while the server's clock was wrong: runs are in the order of the write-ahead log then."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alpha_db.evidence.checkpoint.history import Run, in_order, open_signed
from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.checkpoint.note import Facts, Position, compose, run_name
from alpha_db.evidence.checkpoint.store import Store
from tests.checkpoint.book import Book, run
from tests.checkpoint.test_unreadable import cut_tail
from tests.support import query

# The command line and the files; the SQL behind them is tested on every server elsewhere.
pytestmark = pytest.mark.any_server


def sign_at(book: Book, time: datetime) -> str:
    """A run as the command would have made it, had the clock said so: gives its name."""
    with book.connect() as conn:
        facts = [
            Facts(
                row["origin"],
                row["table_name"],
                row["size"],
                bytes(row["root"]),
                str(row["installation_id"]),
                row["guards_hash"],
                Position(str(row["system_identifier"]), row["timeline"], str(row["wal_lsn"])),
                time,
            )
            for row in query(conn, "select * from checkpoint_facts()")
        ]
    name = run_name(time)
    Store(book.checkpoints).write(name, compose(facts, SigningKey.load(book.key)))
    return name


@pytest.mark.parametrize("year", [2036, 2016], ids=["ahead", "behind"])
def test_a_wrong_clock_blocks_nothing(book: Book, year: int) -> None:
    wrong = sign_at(book, datetime(year, 1, 1, tzinfo=UTC))
    book.verify()
    made = book.create(book.checkpoints, "--json")
    assert made.json["previous"] == wrong
    assert made.json["out_of_order"] is (year == 2036)
    assert ("A clock is or was wrong" in made.err) is (year == 2036)
    book.write(30)
    latest = book.sign()
    document = book.verify()["checkpoints"]
    assert document["latest"] == latest
    assert document["runs"] == 6
    done = run("checkpoint", "verify", book.checkpoints, "--trust", book.vkey)
    early = [line.split()[1] for line in done.out.splitlines() if "a clock was wrong" in line]
    assert early == ([wrong] if year == 2036 else [path.name for path in book.runs[1:4]])
    assert document["out_of_order"] == early
    with book.connect() as conn:
        cut_tail(conn)
    assert book.findings()["order_events"]["run"] == latest
    book.create(book.checkpoints, expect=1)


def test_guards_accepted_since_are_compared_with_the_later_run(book: Book) -> None:
    """With as many rows as before, only the write-ahead log tells which run is the later one."""
    sign_at(book, datetime(2036, 1, 1, tzinfo=UTC))
    with book.connect() as conn:
        query(conn, "alter table signals set (fillfactor = 90)")
        assert list(book.findings()) == ["guards"]
        book.sign()
        assert book.findings() == {}, "the chain's own verdict stays"


SERVER = Position("7", 1, "0/1000")
TIME = datetime(2026, 1, 1, tzinfo=UTC)


def made_at(day: int, size: int, offset: int) -> Facts:
    position = replace(SERVER, lsn=f"0/{offset:X}")
    installation = "6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f"
    return Facts(
        f"alpha-db/{installation}/a", "a", size, bytes(32), installation, "g", position, TIME + timedelta(day)
    )


@pytest.mark.parametrize(
    ("runs", "order"),
    [
        ([(1, 1, 10), (2, 2, 20), (3, 3, 30)], [0, 1, 2]),
        ([(1, 1, 10), (9, 2, 20), (3, 3, 30)], [0, 1, 2]),
        ([(1, 1, 10), (9, 2, 20), (3, 2, 30)], [0, 1, 2]),
        ([(9, 1, 10), (8, 2, 20), (7, 3, 30)], [0, 1, 2]),
        # fewer rows later, by clock and by position: it stays there, and is refused
        ([(1, 1, 10), (3, 2, 30), (2, 3, 20)], [0, 2, 1]),
        # a copy of the server's files was put back, and it went on: the clock and the rows say in which order
        ([(1, 5, 50), (2, 6, 40)], [0, 1]),
    ],
)
def test_the_order_of_runs(runs: list[tuple[int, int, int]], order: list[int]) -> None:
    key = SigningKey.generate("x")
    made = []
    for day, size, offset in runs:
        facts = made_at(day, size, offset)
        signed = open_signed(compose([facts], key)["a"], [key.trusted])
        made.append(Run(run_name(facts.time), {"a": signed}))
    assert [made.index(found) for found in in_order(made)] == order
