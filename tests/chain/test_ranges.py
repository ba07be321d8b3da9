"""Ranges: each needs only the hash of the row before it, and together they say what the whole says."""

from __future__ import annotations

import psycopg
import pytest

from tests.chain.by_force import behind_its_back, judge, places
from tests.fix_database import Prepared
from tests.support import AUDIT_TABLES, Connection, make_signal, query, verdicts

ROWS = 12


def _write(connection: Connection) -> None:
    for n in range(1, ROWS + 1):
        make_signal(connection, n)


@pytest.fixture
def origin(prepared: Prepared) -> str:
    return prepared("ranges_book", _write)


@pytest.fixture
def book(db: Connection) -> Connection:
    """Twelve signals."""
    return db


@pytest.mark.parametrize(
    ("from_id", "to_id", "first", "last"),
    [
        (None, None, 1, 12),
        (1, 1, 1, 1),
        (5, None, 5, 12),
        (None, 5, 1, 5),
        (5, 9, 5, 9),
        (12, 12, 12, 12),
    ],
)
def test_a_range_checks_its_rows_and_no_others(
    book: Connection, from_id: int | None, to_id: int | None, first: int, last: int
) -> None:
    verdict = judge(book, "signals", from_id, to_id)
    assert (verdict.verdict, verdict.is_valid) == ("intact", True)
    assert (verdict.first_id, verdict.last_id, verdict.rows_checked) == (first, last, last - first + 1)


@pytest.mark.parametrize(
    ("from_id", "to_id", "rows", "said"),
    [
        (10, 99, 3, "3 rows; rows 13 to 99 are not there: signals ends with row 12"),
        (50, 99, 0, "0 rows; rows 50 to 99 are not there: signals ends with row 12"),
        (13, 13, 0, "0 rows; row 13 is not there: signals ends with row 12"),
        (50, None, 0, "0 rows; rows from 50 on are not there: signals ends with row 12"),
        (13, None, 0, "0 rows; rows from 13 on are not there: signals ends before"),
        (
            2,
            9223372036854775807,
            11,
            "11 rows; rows 13 to 9223372036854775807 are not there: signals ends with row 12",
        ),
    ],
)
def test_rows_beyond_the_end_are_not_there(
    book: Connection, from_id: int, to_id: int | None, rows: int, said: str
) -> None:
    """Neither intact nor damage: what is there is verified."""
    verdict = judge(book, "signals", from_id, to_id)
    assert (verdict.verdict, verdict.is_valid, verdict.error_code) == ("not_there", None, None)
    assert (verdict.rows_checked, verdict.detail) == (rows, said)


def test_damage_outweighs_rows_that_are_not_there(book: Connection) -> None:
    with behind_its_back(book, "signals"):
        query(book, "update signals set price = 1 where id = 11")
        assert judge(book, "signals", 10, 99).verdict == "content_mismatch"


def test_rows_that_the_last_run_read_are_missing_not_absent(book: Connection) -> None:
    query(book, "select record_verification(true, '{\"signals\": 12}', 12)")
    with behind_its_back(book, "signals"):
        query(book, "delete from signals where id > 9")
        assert [judge(book, "signals", *ids).verdict for ids in ((8, 12), (11,), (13, 20))] == [
            "tail_missing"
        ] * 3


def test_only_the_hash_of_the_row_before_is_needed(book: Connection) -> None:
    """Other damage before the range, also in the row before it, is that range's, not this one's."""
    with behind_its_back(book, "signals"):
        query(book, "delete from signals where id < 5")
        query(book, "update signals set price = 1 where id = 6")
        assert judge(book, "signals", 7).verdict == "intact"
        assert judge(book, "signals", 6).broken_id == 6
        query(book, "update signals set row_hash = repeat('0', 64) where id = 6")
        assert (judge(book, "signals", 7).verdict, judge(book, "signals", 7).broken_id) == (
            "content_mismatch",
            7,
        )


@pytest.mark.parametrize(
    ("gone", "from_id", "to_id", "broken"),
    [
        ([5], 5, 8, 5),  # at the start
        ([5, 6], 5, 8, 5),
        ([8], 5, 8, 8),  # at the end, where no row of the range shows it
        ([7, 8], 5, 8, 7),
        ([8, 9, 10], 5, 8, 8),
        ([5, 6, 7, 8], 5, 8, 5),  # all of it
        ([6], 5, 8, 6),
        ([4], 5, 8, 4),  # the row before, without which row 5 cannot be checked
        ([3, 4], 5, 8, 3),
        ([9], 5, 8, None),  # after it
        ([3], 5, 8, None),
        ([1], None, 8, 1),
    ],
)
def test_gaps(book: Connection, gone: list[int], from_id: int | None, to_id: int, broken: int | None) -> None:
    with behind_its_back(book, "signals"):
        query(book, "delete from signals where id = any(%s)", [gone])
        verdict = judge(book, "signals", from_id, to_id)
        if broken is None:
            assert verdict.verdict == "intact"
            assert places(book, "signals", from_id, to_id) == []
        else:
            assert (verdict.verdict, verdict.broken_id) == ("missing_rows", broken)
            assert places(book, "signals", from_id, to_id) == [(broken, "missing_rows")]


def test_ranges_find_together_what_the_whole_finds(book: Connection) -> None:
    with behind_its_back(book, "signals"):
        query(book, "update signals set price = 1 where id in (1, 4, 5, 12)")
        query(book, "delete from signals where id in (8, 9)")
        whole = set(places(book, "signals"))
        assert {id_ for id_, _ in whole} == {1, 4, 5, 8, 12}
        for width in range(1, ROWS + 1):
            found = set()
            for start in range(1, ROWS + 1, width):
                found |= set(places(book, "signals", start, start + width - 1))
            # A gap is one place, also for a range that begins or ends inside it.
            assert found == whole, width


def test_ranges_of_an_intact_chain_sum_up_to_it(book: Connection) -> None:
    for width in range(1, ROWS + 1):
        starts = range(1, ROWS + 1, width)
        ranges = [judge(book, "signals", start, min(start + width - 1, ROWS)) for start in starts]
        assert sum(verdict.rows_checked for verdict in ranges) == ROWS
        assert {verdict.verdict for verdict in ranges} == {"intact"}


@pytest.mark.parametrize(("from_id", "to_id"), [(0, 5), (-1, None), (5, 4), (2, 1), (None, 0), (None, -3)])
def test_what_is_no_range_is_refused(book: Connection, from_id: int | None, to_id: int | None) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="range"):
        judge(book, "signals", from_id, to_id)


@pytest.mark.parametrize(
    "table", ["nothing", "", "chains", "lock_signals", "public.signals", "Signals", "signals; drop"]
)
@pytest.mark.reads_only
@pytest.mark.parametrize("function", ["verify_chain_integrity", "find_chain_damage", "chain_rows"])
def test_an_unknown_table_is_an_error_that_names_the_known_ones(
    db: Connection, table: str, function: str
) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable) as caught:
        query(db, f"select * from {function}(%s)", [table])
    assert "signals, ai_debates, order_execution, order_events" in str(caught.value.diag.message_hint)


def test_no_table_means_all_in_lock_order(book: Connection) -> None:
    found = verdicts(book)
    assert list(found)[:5] == list(AUDIT_TABLES)
    assert list(found) == [
        row["table_name"] for row in query(book, "select table_name from chains order by position")
    ]
    assert {verdict.verdict for verdict in found.values()} == {"intact"}


def test_one_table_gives_one_row(book: Connection) -> None:
    assert list(verdicts(book, table_name="ai_debates")) == ["ai_debates"]
