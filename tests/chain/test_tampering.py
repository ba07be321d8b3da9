"""Every change behind the triggers' back is found, at its place, by the SQL and by the Python check."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from alpha_db.verify import chain
from tests.chain.by_force import (
    TABLES,
    behind_its_back,
    broken_in_python,
    fill_all,
    judge,
    places,
    rehash,
)
from tests.cluster import Server
from tests.fix_database import Prepared
from tests.support import Connection, make_signal, one, query, quote, tamper

# Other values for a column of a base type; what leaves the value as it is, is skipped.
CHANGES = {
    "int4": ["{} + 1", "0"],
    "int8": ["{} + 1", "0"],
    "numeric": ["{} * 2 + 1", "trim_scale({})", "{} + 0.000000000000", "0"],
    "text": ["{} || 'x'", "{} || ' '", "upper({})", "''"],
    "varchar": ["{} || 'x'", "{} || ' '", "lower({})", "''"],
    "bpchar": ["repeat('0', 64)"],
    "bool": ["not {}", "false"],
    "uuid": ["gen_random_uuid()"],
    "inet": ["{} + 1", "set_masklen({}, 24)", "'::'"],
    "jsonb": ["jsonb_build_array({})", "jsonb_build_object('n', 1)", "'[]'"],
    "bytea": ["{} || '\\x00'::bytea", "substr({}, 2)", "'\\x'"],
    "timestamptz": ["{} + interval '1 microsecond'", "{} - interval '1 day'"],
    "_text": ["{} || 'x'::text", "'{{}}'"],
}


@pytest.fixture(scope="module")
def book(server: Server, prepared: Prepared) -> Iterator[Connection]:
    """At least four rows in each chained table; every test undoes what it did there."""
    name = prepared("book_to_tamper_with", lambda connection: fill_all(connection, released=False))
    with psycopg.connect(server.dsn(name), autocommit=True) as connection:
        yield connection


def test_these_are_all_the_chained_tables(db: Connection) -> None:
    found = [row["table_name"] for row in query(db, "select table_name from chains")]
    consensus = ["agents", "agent_revocations", "proposals", "votes", "risk_change_log"]  # tests/risk
    memory = ["verification_runs"]  # tests/chain/test_verification_runs.py
    retention = ["archived_segments"]  # tests/retention
    assert sorted(found) == sorted([*TABLES, *memory, *consensus, *retention])


@pytest.mark.parametrize("table", TABLES)
def test_an_untouched_chain_is_intact(book: Connection, table: str) -> None:
    rows = one(book, f"select count(*) from {table}")
    verdict = judge(book, table, from_id=None)
    assert (verdict.verdict, verdict.is_valid, verdict.rows_checked) == ("intact", True, rows)
    assert (verdict.first_id, verdict.last_id, verdict.broken_id, verdict.error_code) == (1, rows, None, None)
    assert rows >= 4
    assert places(book, table) == []
    head = one(book, "select head_hash from chain_status() where table_name = %s", [table])
    assert chain.recompute(book, table) == chain.Recomputed(rows, head, None)


@pytest.mark.parametrize("table", TABLES)
def test_every_hashed_column_of_every_row_is_covered(
    book: Connection, table: str, pytestconfig: pytest.Config
) -> None:
    columns = query(
        book,
        "select a.attname as name, coalesce(b.typname, t.typname) as type from pg_attribute as a"
        " join pg_type as t on t.oid = a.atttypid left join pg_type as b on b.oid = t.typbasetype"
        " where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped"
        " and a.attname not in ('id', 'row_hash')",
        [table],
    )
    assert len(columns) >= 4
    # Guard states are large: which row and which change it is, is for the other tables to show.
    large = table == "guard_states"
    ids = [3] if large else [1, 3, one(book, f"select max(id) from {table}")]
    first = -1 if large and not pytestconfig.getoption("--all") else 0
    with behind_its_back(book, table):
        for column in columns:
            changed = 0
            for change in ["null", *CHANGES[column["type"]]][first:]:
                for row_id in ids:
                    changed += _is_found(book, table, row_id, quote(column["name"]), change)
            assert changed, f"no change of {table}.{column['name']} was tried"


def _is_found(connection: Connection, table: str, row_id: int, column: str, change: str) -> bool:
    expression = change.format(column)
    different = f"select {column}::text is distinct from ({expression})::text from {table} where id = %s"
    if not one(connection, different, [row_id]):
        return False
    with connection.transaction(force_rollback=True):
        query(connection, f"update {table} set {column} = {expression} where id = %s", [row_id])
        verdict = judge(connection, table)
        message = f"{table} row {row_id}: {column} = {change}"
        if table == "chain_columns":
            # Entries for chain_columns itself say how to read it: where they are nonsense, nothing can be checked.
            assert verdict.verdict == "not_run" or verdict.broken_id == row_id, message
            return True
        assert (verdict.verdict, verdict.broken_id, verdict.error_code) == (
            "content_mismatch",
            row_id,
            "AUD-009",
        ), message
        assert (verdict.expected_hash, verdict.is_valid) != (verdict.actual_hash, True), message
        assert places(connection, table) == [(row_id, "content_mismatch")], message
        assert broken_in_python(connection, table) == row_id, message
    return True


def test_expected_and_actual_hash_are_those_of_the_row(book: Connection) -> None:
    stored = one(book, "select row_hash from signals where id = 3")
    with behind_its_back(book, "signals"):
        query(book, "update signals set price = 1 where id = 3")
        verdict = judge(book, "signals")
        row_data = one(book, "select row_data from chain_rows('signals', 3, 3)")
        expected = chain.row_hash(one(book, "select row_hash from signals where id = 2"), row_data)
        assert (verdict.actual_hash, verdict.expected_hash) == (stored, expected)
        found = chain.recompute(book, "signals").broken
        assert found == chain.Broken(3, "row or its link does not give its hash", expected, stored)
        assert "row 3" in verdict.detail


@pytest.mark.parametrize("change", ["'{\"n\": 1.50}'", '\'{"n": 1.5, "m": null}\'', '\'{"n": "1.5"}\''])
def test_an_edit_inside_a_payload_is_found(db: Connection, change: str) -> None:
    make_signal(db, 1, raw_payload='{"n": 1.5}')
    make_signal(db, 2)
    with behind_its_back(db, "signals"):
        query(db, f"update signals set raw_payload = {change} where id = 1")
        assert places(db, "signals") == [(1, "content_mismatch")]
        assert broken_in_python(db, "signals") == 1


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("webhook_deliveries", "signature"),
        ("ai_debates", "model_version"),
        ("order_execution", "exchange_order_id"),
        ("order_execution", "client_order_id"),
        ("order_execution", "decision_maker"),
        ("order_execution", "exchange_status"),
        ("order_events", "rejection_reason"),
        ("order_events", "exchange_error_code"),
        ("order_events", "exchange_event_id"),
        ("order_events", "exchange_status"),
    ],
)
def test_null_and_the_empty_string_are_different(book: Connection, table: str, column: str) -> None:
    """A concatenation of texts takes them for the same."""
    row_id = one(book, f"select min(id) from {table} where {column} is null")
    with behind_its_back(book, table):
        query(book, f"update {table} set {column} = '' where id = %s", [row_id])
        assert places(book, table) == [(row_id, "content_mismatch")]
        rehash(book, table, row_id)
        assert places(book, table) == []
        query(book, f"update {table} set {column} = null where id = %s", [row_id])
        assert places(book, table) == [(row_id, "content_mismatch")]
        assert broken_in_python(book, table) == row_id


def test_text_moved_from_one_column_to_the_next_is_found(book: Connection) -> None:
    """Hashing columns without a delimiter takes 'ab' || 'c' for 'a' || 'bc'."""
    with behind_its_back(book, "order_events"):
        query(book, "update order_events set rejection_reason = 'ab', exchange_error_code = 'c' where id = 3")
        rehash(book, "order_events", 3)
        query(book, "update order_events set rejection_reason = 'a', exchange_error_code = 'bc' where id = 3")
        assert places(book, "order_events") == [(3, "content_mismatch")]


@pytest.mark.parametrize("gone", [[1], [3], [4], [1, 2], [2, 4], [1, 2, 3, 4]])
def test_deleted_rows_are_missing(book: Connection, gone: list[int]) -> None:
    with behind_its_back(book, "signals"):
        query(book, "delete from signals where id = any(%s)", [gone])
        verdict = judge(book, "signals")
        assert (verdict.verdict, verdict.broken_id, verdict.error_code) == (
            "missing_rows",
            gone[0],
            "AUD-009",
        )
        # The hash of the row behind the gap, so that a gap that grows is another place.
        behind = min(id_ for id_ in range(gone[0], 6) if id_ not in gone)
        actual = one(book, "select row_hash from signals where id = %s", [behind])
        alone = one(
            book,
            "select encode(sha256(convert_to(row_data, 'UTF8')), 'hex') from chain_rows('signals', %s, %s)",
            [behind, behind],
        )
        assert (verdict.expected_hash, verdict.actual_hash) == (alone, actual)
        starts = [id_ for id_ in gone if id_ - 1 not in gone]
        assert places(book, "signals") == [(id_, "missing_rows") for id_ in starts]
        assert broken_in_python(book, "signals") == gone[0]


def test_two_rows_swapped_are_found(book: Connection) -> None:
    with behind_its_back(book, "signals"):
        for old, new in ((2, -2), (3, 2), (-2, 3)):
            query(book, "update signals set id = %s where id = %s", [new, old])
        assert places(book, "signals") == [(id_, "content_mismatch") for id_ in (2, 3, 4)]
        assert broken_in_python(book, "signals") == 2


@pytest.mark.parametrize(
    ("row_hash", "where"),
    [("f" * 64, "a wrong hash"), ("not hex, and no digit is" + " " * 40, "no hash at all"), ("", "empty")],
)
def test_a_row_with_a_forged_hash_is_found(book: Connection, row_hash: str, where: str) -> None:
    with behind_its_back(book, "signals"):
        query(
            book,
            "insert into signals select 6, gen_random_uuid(), 'forged', symbol, side, price, quantity, raw_payload,"
            " source_ip, hmac_verified, delivery_id, %s, created_at, recorded_by from signals where id = 5",
            [row_hash],
        )
        assert places(book, "signals") == [(6, "content_mismatch")], where
        assert judge(book, "signals").broken_id == 6
        assert broken_in_python(book, "signals") == 6


def test_a_hash_can_not_be_null(book: Connection) -> None:
    with pytest.raises(psycopg.errors.NotNullViolation):
        tamper(book, "update signals set row_hash = null where id = 2")


@pytest.mark.parametrize("change", ["upper(row_hash)", "'x' || substr(row_hash, 2)", "repeat('0', 64)", "''"])
def test_an_edited_hash_is_found_at_its_row_and_the_next(book: Connection, change: str) -> None:
    with behind_its_back(book, "signals"):
        query(book, "update signals set row_hash = 'a' || substr(row_hash, 2) where id = 3")
        rehash(book, "signals", 4)  # so that upper() always has a letter to change
        rehash(book, "signals", 3)
        query(book, f"update signals set row_hash = {change} where id = 3")
        assert places(book, "signals") == [(3, "content_mismatch"), (4, "content_mismatch")]
        assert broken_in_python(book, "signals") == 3


def test_a_rewritten_suffix_is_found_where_it_begins(book: Connection) -> None:
    with behind_its_back(book, "signals"):
        query(book, "update signals set price = 1 where id >= 3")
        rehash(book, "signals", 3, previous="ab" * 32)
        assert places(book, "signals") == [(3, "content_mismatch")]
        assert broken_in_python(book, "signals") == 3


def test_an_id_that_stands_twice_is_found(book: Connection) -> None:
    with behind_its_back(book, "signals"):
        query(book, "alter table signals drop constraint signals_pkey cascade")
        query(
            book,
            "alter table signals drop constraint signals_signal_id_key,"
            " drop constraint signals_correlation_id_key cascade",
        )
        query(book, "insert into signals select * from signals where id = 2")
        verdict = judge(book, "signals")
        assert (verdict.verdict, verdict.broken_id, verdict.rows_checked) == ("content_mismatch", 2, 6)
        assert "twice" in verdict.detail
        assert places(book, "signals") == [(2, "content_mismatch")]
        assert broken_in_python(book, "signals") == 2


@pytest.mark.parametrize("row_id", [0, -1, -(2**63) + 1])
def test_a_row_before_the_first_is_found_and_only_that(book: Connection, row_id: int) -> None:
    with behind_its_back(book, "signals"):
        query(
            book,
            "insert into signals select %s, gen_random_uuid(), 'forged', symbol, side, price, quantity, raw_payload,"
            " source_ip, hmac_verified, delivery_id, row_hash, created_at, recorded_by from signals where id = 1",
            [row_id],
        )
        assert places(book, "signals") == [(row_id, "content_mismatch")]
        assert judge(book, "signals", from_id=None).broken_id == row_id
        assert broken_in_python(book, "signals") == row_id


def test_a_time_that_goes_back_is_found_though_the_hashes_are_right(book: Connection) -> None:
    with behind_its_back(book, "signals"):
        query(book, "update signals set created_at = created_at - interval '1 day' where id = 3")
        rehash(book, "signals", 3)
        verdict = judge(book, "signals")
        assert (verdict.verdict, verdict.broken_id, verdict.error_code) == ("order_violation", 3, "AUD-009")
        assert verdict.expected_hash == verdict.actual_hash
        assert places(book, "signals") == [(3, "order_violation")]
        assert broken_in_python(book, "signals") == 3


def test_every_broken_place_is_listed(book: Connection) -> None:
    with behind_its_back(book, "signals"):
        for n in range(6, 11):
            query(
                book,
                "insert into signals select %s, gen_random_uuid(), %s, symbol, side, price, quantity, raw_payload,"
                " source_ip, hmac_verified, delivery_id, '', created_at, recorded_by from signals where id = 5",
                [n, f"tv-{n}"],
            )
        rehash(book, "signals", 6)
        query(book, "update signals set created_at = created_at - interval '1 day' where id = 9")
        rehash(book, "signals", 9)
        query(book, "delete from signals where id in (3, 4)")
        query(book, "update signals set side = 'SELL', price = 7 where id in (1, 7)")
        assert places(book, "signals") == [
            (1, "content_mismatch"),
            (3, "missing_rows"),
            (7, "content_mismatch"),
            (9, "order_violation"),
        ]
        verdict = judge(book, "signals")
        assert (verdict.broken_id, verdict.verdict) == (1, "content_mismatch")
        assert "4 places" in verdict.detail


def test_what_a_chain_alone_can_not_find(book: Connection) -> None:
    """A tail that was cut off, and a chain re-hashed from the edit to its end: checkpoints find both."""
    with behind_its_back(book, "signals"):
        query(book, "delete from signals where id >= 4")
        assert judge(book, "signals").verdict == "intact"
        query(book, "update signals set price = 1 where id = 2")
        rehash(book, "signals", 2)
        assert judge(book, "signals").verdict == "intact"
        query(book, "delete from signals")
        assert judge(book, "signals").verdict == "intact"
        assert broken_in_python(book, "signals") is None


def test_chains_do_not_lend_rows_to_each_other(book: Connection) -> None:
    """The table's name is in the genesis: a row hashed for another table's chain is no row of this one."""
    with behind_its_back(book, "signals"):
        query(book, "delete from signals where id > 1")
        rehash(book, "signals", 1, previous=chain.genesis("order_events"))
        assert places(book, "signals") == [(1, "content_mismatch")]
