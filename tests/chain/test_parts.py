"""A long range is read in parts, by several processes: they may only say "all hold" where one pass finds nothing."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.chain.by_force import behind_its_back, judge, rehash, shared
from tests.cluster import Server
from tests.fix_database import Prepared
from tests.support import Connection, make_signal, one, query

ROWS = 12
LONG = 100_001


def _write(connection: Connection) -> None:
    for n in range(1, ROWS + 1):
        make_signal(connection, n)


def _write_many(connection: Connection) -> None:
    query(
        connection,
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " select 's' || n, 'X', 'BUY', 1, 1, '{}' from generate_series(1, %s::int) as n",
        [LONG],
    )
    query(connection, "vacuum analyze signals")


@pytest.fixture(scope="module")
def short(server: Server, prepared: Prepared) -> Iterator[Connection]:
    with shared(server, prepared, prepared("ranges_book", _write), "parts_book") as connection:
        yield connection


@pytest.fixture(scope="module")
def long(server: Server, prepared: Prepared) -> Iterator[Connection]:
    with psycopg.connect(server.dsn(prepared("long_book", _write_many)), autocommit=True) as connection:
        yield connection


@pytest.fixture
def book(short: Connection) -> Connection:
    """Twelve signals, and the settings of verify_chain."""
    query(short, "reset all")
    _set_as(short, "verify_chain(text, bigint, bigint)")
    return short


@pytest.fixture
def long_book(long: Connection) -> Connection:
    """As many signals as several processes read."""
    query(long, "reset all")
    return long


def _set_as(connection: Connection, function: str) -> None:
    query(
        connection,
        "select set_config(split_part(s, '=', 1), substr(s, strpos(s, '=') + 1), false)"
        " from pg_proc as p cross join unnest(p.proconfig) as s"
        " where p.oid = %s::regprocedure and s not like 'search_path=%%'",
        [function],
    )


def _hold(connection: Connection, first_id: int, last_id: int, rows_per_part: int) -> bool:
    found: bool = one(
        connection,
        "select holds from _check_in_parts('signals', %s, %s, %s)",
        [first_id, last_id, rows_per_part],
    )
    return found


@pytest.mark.parametrize(
    "rows_per_part",
    [1, pytest.param(2, marks=pytest.mark.long), 5, 12, pytest.param(100, marks=pytest.mark.long)],
)
def test_parts_of_any_size_of_an_intact_chain_hold(book: Connection, rows_per_part: int) -> None:
    for first_id in range(1, ROWS + 1):
        for last_id in range(first_id, ROWS + 1):
            assert _hold(book, first_id, last_id, rows_per_part)
    last = one(book, "select created_at from signals where id = 12")
    assert one(book, "select latest from _check_in_parts('signals', 1, 12, 5)") == last


DAMAGE = {
    "content": "update signals set price = 2 where id = 6",
    "hash": "update signals set row_hash = repeat('0', 64) where id = 6",
    "hash in capitals": "update signals set row_hash = upper(row_hash) where id = 6",
    "hash not hex": "update signals set row_hash = repeat('x', 64) where id = 6",
    "hash too short": "update signals set row_hash = left(row_hash, 62) where id = 6",
    "no hash": "update signals set row_hash = null where id = 6",
    "first row": "update signals set price = 2 where id = 1",
    "last row": "update signals set price = 2 where id = 12",
    "row gone": "delete from signals where id = 6",
    "first row gone": "delete from signals where id = 1",
    "last row gone": "delete from signals where id = 12",
    "id moved": "update signals set id = 60 where id = 6",
    "before the first": "update signals set id = 0 where id = 1",
    "time back": "update signals set created_at = created_at - interval '1 day' where id = 6",
    "no time": "update signals set created_at = null where id = 6",
    "infinite": "update signals set created_at = 'infinity' where id = 12",
    "minus infinite": "update signals set created_at = '-infinity' where id = 1",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("hashed_again", [False, True])
def test_parts_do_not_hold_over_damage(book: Connection, damage: str, hashed_again: bool) -> None:
    with behind_its_back(book, "signals"):
        query(book, DAMAGE[damage])
        if hashed_again:
            rehash(book, "signals", 1)
        for rows_per_part in (2, 3, 5, 12):
            holds = _hold(book, 1, ROWS, rows_per_part)
            found = judge(book, "signals", 1, ROWS)
            assert holds == (found.verdict == "intact"), rows_per_part


@pytest.mark.parametrize("rows_per_part", [2, 3, 5, 12])
def test_a_row_that_stands_twice_does_not_stand_in_for_a_missing_one(
    book: Connection, rows_per_part: int
) -> None:
    """The same row twice and the next one gone: as many rows as ids, and each hash fits to the row before it."""
    with behind_its_back(book, "signals"):
        for constraint in ("signals_pkey", "signals_signal_id_key", "signals_correlation_id_key"):
            query(book, f"alter table signals drop constraint {constraint} cascade")
        query(book, "create index on signals (id)")
        query(book, "delete from signals where id = 7")
        query(book, "insert into signals select * from signals where id = 6")
        rehash(book, "signals", 8, previous=one(book, "select min(row_hash) from signals where id = 6"))
        assert not _hold(book, 1, ROWS, rows_per_part)


def test_a_forged_id_does_not_make_the_parts_endless(book: Connection) -> None:
    with behind_its_back(book, "signals"):
        query(book, "update signals set id = 9223372036854775807 where id = 12")
        assert not _hold(book, 1, 9223372036854775807, 5)


def test_whole_parts_are_shared_out(book: Connection) -> None:
    """Neither a window nor a function that may not run in a worker, and rows that come in id order by the index."""
    _set_as(book, "_check_in_parts(text, bigint, bigint, integer, bigint, text, timestamptz)")
    query(book, "set max_parallel_workers_per_gather = 2")
    statement = one(
        book, "select _chain_parts_sql('signals', 1, 12, 6, 0, chain_genesis('signals'), '-infinity')"
    )
    plan = [row["QUERY PLAN"].strip() for row in query(book, "explain (costs off) " + statement)]
    assert [
        line for line in plan if line.startswith(("->  Gather", "->  Parallel", "Workers", "->  Sort"))
    ] == [
        "->  Gather",
        "Workers Planned: 2",
        "->  Parallel Append",
    ]
    assert sum("Index Scan using signals_pkey" in line for line in plan) == 4


@pytest.mark.parametrize(
    ("workers", "encoding"),
    [
        (0, "UTF8"),
        (2, "LATIN1"),
        pytest.param(2, "UTF8", marks=pytest.mark.long),
        pytest.param(0, "LATIN1", marks=pytest.mark.long),
    ],
)
def test_a_long_chain_gets_the_same_verdict_from_one_process_and_from_several(
    long_book: Connection, workers: int, encoding: str
) -> None:
    query(long_book, f"set max_parallel_workers_per_gather = {workers}")
    query(long_book, f"set client_encoding = {encoding}")
    intact = judge(long_book, "signals")
    assert (intact.verdict, intact.rows_checked, intact.detail) == ("intact", LONG, f"{LONG} rows")
    assert (intact.first_id, intact.last_id) == (1, LONG)
    with behind_its_back(long_book, "signals"):
        query(long_book, "update signals set price = 2 where id in (70000, 90000)")
        found = judge(long_book, "signals")
        assert (found.verdict, found.broken_id, found.rows_checked) == ("content_mismatch", 70000, LONG)
        assert "(first of 2 places)" in found.detail


def test_without_its_primary_key_a_long_chain_is_not_read_once_for_each_part(long_book: Connection) -> None:
    query(long_book, "set max_parallel_workers_per_gather = 2")
    query(long_book, "set max_parallel_workers = 0")  # the counters are this session's
    with behind_its_back(long_book, "signals"):
        query(long_book, "alter table signals drop constraint signals_pkey cascade")
        before = _whole_scans(long_book)
        assert judge(long_book, "signals").verdict == "intact"
        assert 0 < _whole_scans(long_book) - before < 8


def _whole_scans(connection: Connection) -> int:
    found: int = one(
        connection, "select seq_scan from pg_stat_xact_user_tables where relid = 'signals'::regclass"
    )
    return found
