"""Rows of an own table: INSERT, COPY, record_row, append_row."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from alpha_db.errors import ChainMismatch, DecimalError, KeyConflict, ValueRefused, ValueTooLarge, WrongType
from alpha_db.tables.rows import append_row, record_row
from tests.concurrency.background import Background
from tests.fix_database import Connect, LoginRole
from tests.own_tables.books import HOSTILE_NAME, TYPES, chain, chain_holds, make_all_types, rows_of
from tests.security.refusals import attempts, denied, refused
from tests.support import Connection, assert_healthy, one, query, quote


def append(connection: Connection, table: Any, content: Any) -> dict[str, Any]:
    """CALL append_row; gives its result."""
    text = None if content is None else json.dumps(content)
    found: dict[str, Any] = one(connection, "call append_row(%s, %s::text::jsonb)", [table, text])
    return found


@pytest.fixture
def trader(trades: Connection, connect: Connect, login_role: LoginRole) -> Connection:
    """A login that has app_trading alone."""
    del trades
    return connect(login_role("app_trading"))


def test_insert_assigns_what_is_the_chains(trader: Connection) -> None:
    query(
        trader,
        "insert into trades (ref, id, created_at, row_hash, recorded_by) values ('a', 9, 'epoch', 'x', 'y')",
    )
    [row] = rows_of(trader, "trades")
    assert (row["id"], row["recorded_by"], len(row["row_hash"])) == (1, trader.info.user, 64)
    assert row["created_at"].year > 2000


def test_copy(trader: Connection, trades: Connection) -> None:
    with trader.cursor() as cursor, cursor.copy("copy trades (ref, price) from stdin") as copy:
        for number in range(1000):
            copy.write_row((f"r{number}", Decimal(number)))
    assert one(trades, "select max(id) from trades") == 1000
    assert chain_holds(trades, "trades")
    assert_healthy(trades)


def test_append_is_committed_and_numbered(trader: Connection, trades: Connection) -> None:
    first = append(trader, "trades", {"ref": "a", "price": 1.5})
    second = append(trader, "trades", {"ref": "b"})
    stored = rows_of(trades, "trades")
    assert first == {"id": 1, "row_hash": stored[0]["row_hash"], "is_new": True}
    assert second == {"id": 2, "row_hash": stored[1]["row_hash"], "is_new": True}
    assert stored[0]["price"] == Decimal("1.50")
    assert_healthy(trades)


def test_append_in_a_transaction_is_2d000(trader: Connection) -> None:
    with denied("2D000"), trader.transaction():
        append(trader, "trades", {"ref": "a"})


def test_record_joins_the_transaction(trader: Connection) -> None:
    with trader.transaction(force_rollback=True):
        assert one(trader, """select record_row('trades', '{"ref": "a"}')""")["is_new"] is True
    assert rows_of(trader, "trades") == []


def test_append_flushes_after_it_let_go(trades: Connection, connect: Connect) -> None:
    """The row's own commit does not wait for the disk; a message stands after it, and the CALL's commit does."""
    position = one(trades, "select pg_current_wal_insert_lsn()")
    append(connect(synchronous_commit="on"), "trades", {"ref": "a"})
    assert one(trades, "select pg_current_wal_flush_lsn() > %s", [position]) is True


def test_a_retry_finds_its_row(trader: Connection) -> None:
    first = append(trader, "trades", {"ref": "a", "price": "1.50", "note": None})
    assert append(trader, "trades", {"price": 1.5, "ref": "a"}) == {**first, "is_new": False}
    assert append(trader, "trades", {"ref": "a"}) == {**first, "is_new": False}
    assert len(rows_of(trader, "trades")) == 1


def test_a_key_with_other_content(trader: Connection) -> None:
    append(trader, "trades", {"ref": "a", "price": 1})
    with refused("AUD-010", "trades") as caught:
        append(trader, "trades", {"ref": "a", "price": 2})
    assert "the difference is in price" in str(caught.value)
    assert attempts(trader)["AUD-010", "trades", "INSERT"] == 1


def test_a_key_of_several_columns(db: Connection) -> None:
    query(db, "create table legs (trade int, leg int, side text, unique (trade, leg))")
    chain(db, "legs")
    first = append(db, "legs", {"trade": 1, "leg": 2, "side": "BUY"})
    assert append(db, "legs", {"trade": 1, "leg": 2, "side": "BUY"}) == {**first, "is_new": False}
    assert append(db, "legs", {"trade": 1, "leg": 3, "side": "BUY"})["is_new"] is True
    with refused("AUD-010", "legs") as caught:
        append(db, "legs", {"trade": 1, "leg": 2, "side": "SELL"})
    assert "trade, leg '1, 2' was used before" in str(caught.value)


def test_a_key_that_cannot_be_found_is_a_duplicate(db: Connection) -> None:
    query(db, "create table words (word text); create unique index on words (lower(word))")
    chain(db, "words")
    append(db, "words", {"word": "a"})
    with denied("23505"):
        append(db, "words", {"word": "A"})


def test_two_retries_at_once_make_one_row(trades: Connection, connect: Connect) -> None:
    open_one = connect(autocommit=False)
    open_one.execute("""select record_row('trades', '{"ref": "a"}')""")
    call = Background(connect(), """call append_row('trades', '{"ref": "a"}')""").blocked(trades)
    open_one.commit()
    assert call.result()[0]["result"]["is_new"] is False
    assert_healthy(trades)


@pytest.mark.parametrize("price", [1.005, "1.005", "0.001", 12345678.123])
def test_a_number_that_would_be_rounded(trader: Connection, price: Any) -> None:
    with refused("AUD-001", "trades") as caught:
        append(trader, "trades", {"ref": "a", "price": price})
    assert caught.value.diag.column_name == "price"
    assert rows_of(trader, "trades") == []
    assert attempts(trader)["AUD-001", "trades", "INSERT"] == 1


@pytest.mark.parametrize(
    ("column", "value"), [("numeric(4,1)[]", [1, 2.25]), ("float8", 0.12345678901234567890123)]
)
def test_numbers_are_exact_in_arrays_and_floats(db: Connection, column: str, value: Any) -> None:
    query(db, f"create table t (a {column})")
    chain(db, "t")
    text = '{"a": 0.12345678901234567890123}' if column == "float8" else json.dumps({"a": value})
    with refused("AUD-001", "t"):
        query(db, "call append_row('t', %s::text::jsonb)", [text])
    assert append(db, "t", {"a": [1, 2.5] if isinstance(value, list) else 0.1})["is_new"] is True


def test_numbers_of_a_document_keep_their_digits(db: Connection) -> None:
    query(db, "create table t (a jsonb)")
    chain(db, "t")
    query(db, """call append_row('t', '{"a": {"p": 64123.5500000000000000000001}}')""")
    assert one(db, "select a ->> 'p' from t") == "64123.5500000000000000000001"


def test_a_text_that_is_too_long(trader: Connection) -> None:
    with refused("AUD-012", "trades") as caught:
        append(trader, "trades", {"ref": "a", "note": "x" * 11})
    assert "widen_column('trades', 'note', 11)" in str(caught.value)


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("trades", {"ref": "a", "symbol": 1}, "trades has no column symbol"),
        ("trades", {"ref": "a", "id": 1}, "id of trades is not given"),
        ("trades", {"ref": "a", "row_hash": None}, "row_hash of trades is not given"),
        ("trades", {"ref": "a", "recorded_by": "x"}, "recorded_by of trades is not given"),
        ("trades", [], "a JSON array, not a JSON object"),
        ("trades", None, "NULL, not a JSON object"),
        ("signals", {}, "signals has functions of its own"),
        ("chains", {}, "chains is not a chained table"),
        ("guard_states", {}, "guard_states has functions of its own"),
        (None, {}, "NULL is not a chained table"),
    ],
)
def test_what_is_no_row(trader: Connection, table: Any, content: Any, message: str) -> None:
    with pytest.raises(psycopg.Error, match=message) as caught:
        append(trader, table, content)
    assert caught.value.sqlstate in ("22023", "42P01")
    assert caught.value.diag.message_hint


def test_every_type_arrives_as_it_was_given(db: Connection) -> None:
    make_all_types(db, rows=1)
    chain(db, "every_type")
    query(
        db,
        "select record_row('every_type', (select to_jsonb(e.*)"
        " - '{id,created_at,recorded_by,row_hash}'::text[] || '{\"key\": 7}' from every_type as e where id = 1))",
    )
    columns = ", ".join(f"c{n}::text" for n in range(len(TYPES)))
    first, second = query(db, f"select {columns} from every_type where id in (1, 3) order by id")
    # a decimal gets its full scale, and json is printed as jsonb prints it
    assert {**first, "c5": "1.5000000000", "c15": second["c15"]} == second
    assert chain_holds(db, "every_type")


def test_no_member_at_all(db: Connection) -> None:
    query(db, "create table t (a int default 7)")
    chain(db, "t")
    append(db, "t", {})
    append(db, "t", {"a": None})
    assert [row["a"] for row in rows_of(db, "t")] == [7, 7]


def test_a_lockdown_closes_it(trader: Connection, trades: Connection) -> None:
    first = append(trader, "trades", {"ref": "a"})
    query(trades, "select _engage_lockdown('a drill', '[]')")
    for statement in (
        "insert into trades (ref) values ('b')",
        """call append_row('trades', '{"ref": "b"}')""",
    ):
        with refused("AUD-009", "trades"):
            query(trader, statement)
    assert append(trader, "trades", {"ref": "a"}) == {**first, "is_new": False}


def test_one_that_a_lockdown_leaves_open(db: Connection) -> None:
    query(db, "create table t (a int)")
    chain(db, "t", open_in_lockdown=True)
    query(db, "select _engage_lockdown('a drill', '[]')")
    assert append(db, "t", {"a": 1})["is_new"] is True


def test_from_python(trader: Connection, trades: Connection) -> None:
    written = append_row(trader, "trades", {"ref": "a", "price": Decimal("1.50")})
    assert written == append_row(trader, "trades", {"ref": "a"}) | {"is_new": True}
    with trader.transaction():
        assert record_row(trader, "trades", {"ref": "b"})["id"] == 2
        assert append_row(trader, "trades", {"ref": "c"})["id"] == 3
    assert_healthy(trades)


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"ref": "a", "price": 1.5}, DecimalError),
        ({"ref": "a", "price": Decimal("1.005")}, DecimalError),
        ({"ref": "a", "price": Decimal("nan")}, DecimalError),
        ({"ref": "first", "price": 2}, KeyConflict),
        ({"nothing": 1}, ValueRefused),
        ({"ref": "a", "note": "x" * 11}, ValueTooLarge),
        ({"ref": object()}, WrongType),
        ([], WrongType),
    ],
)
def test_what_python_raises(trader: Connection, row: Any, error: type[Exception]) -> None:
    append_row(trader, "trades", {"ref": "first"})
    with pytest.raises(error):
        append_row(trader, "trades", row)


def test_python_raises_in_a_lockdown(trader: Connection, trades: Connection) -> None:
    query(trades, "select _engage_lockdown('a drill', '[]')")
    with pytest.raises(ChainMismatch):
        append_row(trader, "trades", {"ref": "a"})


def test_a_name_that_needs_quoting(db: Connection) -> None:
    query(db, f"create table {quote(HOSTILE_NAME)} ({quote(HOSTILE_NAME)} text primary key)")
    chain(db, HOSTILE_NAME)
    first = append_row(db, HOSTILE_NAME, {HOSTILE_NAME: "a"})
    assert append_row(db, HOSTILE_NAME, {HOSTILE_NAME: "a"}) == {**first, "is_new": False}
    with pytest.raises(ValueRefused):
        append_row(db, HOSTILE_NAME, {"x": "a"})
