"""Decimals never lose a digit silently: AUD-001 on every path (docs/sql/application.md)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pytest

from tests.cluster import Server
from tests.security.refusals import Connection, a_signal, attempts, copy_in, denied, refused, undone
from tests.support import make_signal, one, query

CORRELATION = "00000000-0000-4000-8000-000000000001"

# table: the columns of a good row, as text
ROWS = {
    "signals": {
        "signal_id": "'d-1'", "symbol": "'B'", "side": "'BUY'", "price": "'1'", "quantity": "'1'",
        "raw_payload": "'{}'",
    },
    "ai_debates": {
        "correlation_id": f"'{CORRELATION}'", "model_name": "'m'", "reasoning_json": "'{}'",
        "confidence_score": "'0.5'", "elapsed_ms": "1",
    },
    "order_execution": {
        "correlation_id": f"'{CORRELATION}'", "order_type": "'LIMIT'", "symbol": "'B'", "side": "'BUY'",
        "quantity": "'1'", "price": "'1'",
    },
    "order_events": {
        "order_execution_id": "1", "event_type": "'FILL'", "fill_quantity": "'1'", "fill_price": "'1'",
        "zar_equity": "'1'",
    },
}  # fmt: skip
WRITERS = {
    "signals": "record_signal",
    "ai_debates": "record_ai_debate",
    "order_execution": "record_order",
    "order_events": "record_order_event",
}
# (table, column): (digits, scale)
MONEY = {
    ("signals", "price"): (28, 10),
    ("signals", "quantity"): (28, 10),
    ("ai_debates", "confidence_score"): (5, 4),
    ("order_execution", "quantity"): (28, 10),
    ("order_execution", "price"): (28, 10),
    ("order_events", "fill_quantity"): (28, 10),
    ("order_events", "fill_price"): (28, 10),
    ("order_events", "zar_equity"): (28, 2),
}
COLUMNS = pytest.mark.parametrize(("table", "column"), MONEY)
NOT_AMOUNTS = ("NaN", "Infinity", "-Infinity", "nan", "inf")


def too_much(digits: int, scale: int) -> list[str]:
    """Values that decimal(digits, scale) cannot hold exactly."""
    whole = digits - scale
    return [
        "1" * whole + "." + "1" * scale + "1",  # one digit more than the column has
        "0." + "0" * scale + "1",  # one decimal more
        "0." + "9" * scale + "5",  # would be rounded up to 1
        f"1e-{scale + 1}",
        "1" + "0" * whole,  # one digit more before the point
        "-1" + "0" * whole,
        f"1e{whole}",
        "9" * whole + "." + "9" * scale + "9",
        "1e400",
        *NOT_AMOUNTS,
    ]


def insert(table: str, *changes: dict[str, str], cast: str = "") -> str:
    """INSERT of one good row for each set of changes (column to SQL)."""
    names = ", ".join({**ROWS[table], **changes[0]})
    rows = []
    for changed in changes:
        given = {**ROWS[table], **changed}
        rows.append(
            "(" + ", ".join(value + (cast if name in changed else "") for name, value in given.items()) + ")"
        )
    return f"insert into {table} ({names}) values {', '.join(rows)}"


def call(table: str, **changes: str) -> str:
    given = {**ROWS[table], **changes}
    return f"select * from {WRITERS[table]}({', '.join(f'{n} => {v}' for n, v in given.items())})"


@pytest.fixture(scope="module")
def session(server: Server, admin: Connection, template: str) -> Iterator[Connection]:
    """A database with one signal and one order; every test rolls back what it does."""
    admin.execute(f"create database security_decimals template {template}")
    with psycopg.connect(server.dsn("security_decimals"), autocommit=True) as connection:
        make_signal(connection, 1, correlation_id=CORRELATION)
        connection.execute("select record_order(%s, 'MARKET', 'B', 'BUY', 1)", [CORRELATION])
        yield connection


@COLUMNS
@pytest.mark.parametrize(
    "path", ["insert", "numeric", "multi-row", "select", "copy", "call", "numeric call", "cast"]
)
def test_what_a_column_cannot_hold_is_refused(
    session: Connection, table: str, column: str, path: str
) -> None:
    digits, scale = MONEY[table, column]
    domain = f"decimal_{digits}_{scale}"
    for value in too_much(digits, scale):
        literal = f"'{value}'"
        with undone(session), refused("AUD-001", domain) as caught:
            if path == "insert":
                session.execute(insert(table, {column: literal}))
            elif path == "numeric":
                session.execute(insert(table, {column: literal}, cast="::numeric"))
            elif path == "multi-row":
                good = ROWS[table][column]
                session.execute(insert(table, {column: good}, {column: literal}))
            elif path == "select":
                session.execute(
                    f"with v as (select {literal}::numeric as bad) "
                    + insert(table, {column: "(select bad from v)"})
                )
            elif path == "copy":
                row = {**ROWS[table], column: literal}
                copy_in(session, f"{table} ({', '.join(row)})", "\t".join(v.strip("'") for v in row.values()))
            elif path == "call":
                session.execute(call(table, **{column: literal}))
            elif path == "numeric call":
                session.execute(call(table, **{column: literal + "::numeric"}))
            else:
                session.execute(f"select {literal}::numeric::{domain}")
        assert f"decimal({digits},{scale}) cannot hold" in str(caught.value)


@COLUMNS
def test_full_scale_is_stored(session: Connection, table: str, column: str) -> None:
    """1.5 is stored as 1.5000000000; digits beyond the scale are no loss if they are zeros."""
    scale = MONEY[table, column][1]
    for value in ("0.5", ".5", "0.50", "5e-1", "0.5" + "0" * 40, "0.500000000000"):
        for statement in (
            insert(table, {column: f"'{value}'"}) + " returning *",
            call(table, **{column: f"'{value}'"}),
        ):
            with undone(session):
                stored = query(session, statement)[0]
            assert str(stored[column]) == "0.5" + "0" * (scale - 1), (value, statement)


@COLUMNS
def test_the_largest_and_the_smallest_fit(session: Connection, table: str, column: str) -> None:
    digits, scale = MONEY[table, column]
    smallest = "0." + "0" * (scale - 1) + "1"
    largest = "1" if column == "confidence_score" else "9" * (digits - scale) + "." + "9" * scale
    for value in (smallest, largest):
        for statement in (
            insert(table, {column: f"'{value}'"}) + " returning *",
            call(table, **{column: f"'{value}'"}),
        ):
            with undone(session):
                assert query(session, statement)[0][column] == Decimal(value)


def test_python_decimals_arrive_exactly(session: Connection) -> None:
    """As a driver sends them: bound parameters, text and binary."""
    exact = Decimal("123456789012345678.0123456789")
    for binary in (False, True):
        with undone(session), session.cursor(binary=binary) as cursor:
            cursor.execute("select (record_signal('p', 'B', 'BUY', %s, %s, '{}')).*", [exact, Decimal("0.1")])
            row = cursor.fetchone()
            assert row is not None
            assert exact in row
        with undone(session), refused("AUD-001", "decimal_28_10"), session.cursor(binary=binary) as cursor:
            cursor.execute(
                "select record_signal('p', 'B', 'BUY', %s, %s, '{}')", [Decimal("0.12345678901"), Decimal(1)]
            )


@COLUMNS
@pytest.mark.parametrize("float_type", ["float8", "float4"])
def test_a_binary_float_argument_is_refused(
    session: Connection, table: str, column: str, float_type: str
) -> None:
    """Named, and together with every kind of other money argument."""
    others = [c for t, c in MONEY if t == table and c != column]
    before = attempts(session).get(("AUD-001", "float", "CAST"), 0)
    count = 0
    for other in ("'1'", "1", "1.5", "1::numeric", "null", "'1'::float8", "1::bigint"):
        with undone(session), refused("AUD-001", "float") as caught:
            session.execute(call(table, **{column: f"0.5::{float_type}", **dict.fromkeys(others, other)}))
        count += 1
        assert "binary float" in str(caught.value)
    assert attempts(session)["AUD-001", "float", "CAST"] == before + count


@pytest.mark.parametrize(
    "arguments",
    [
        "record_signal('x', 'B', 'BUY', {f}, 1, '{{}}')",
        "record_signal('x', 'B', 'BUY', 1, {f}, '{{}}')",
        "record_signal('x', 'B', 'BUY', '1', {f}, '{{}}')",
        "record_signal('x', 'B', 'BUY', 1.5, {f}, '{{}}', null, false, null)",
        "record_ai_debate('{c}', 'm', '{{}}', {f}, 1)",
        "record_ai_debate('{c}', 'm', '{{}}', {f}, 1, false)",
        "record_order('{c}', 'MARKET', 'B', 'BUY', {f})",
        "record_order('{c}', 'LIMIT', 'B', 'BUY', 1, {f})",
        "record_order('{c}', 'LIMIT', 'B', 'BUY', {f}, 1)",
        "record_order('{c}', 'LIMIT', 'B', 'BUY', '1', {f}, 'x', 'PENDING')",
        "record_order_event(1, 'FILL', {f}, 1)",
        "record_order_event(1, 'FILL', 1, {f})",
        "record_order_event(1, 'FILL', 1, 1, {f})",
        "record_order_event(1, 'FILL', '1', '1', {f}, '[]')",
    ],
)
@pytest.mark.parametrize(
    "value", ["0.5::float8", "0.5::float4", "0::float8", "'NaN'::float8", "pg_temp.f", "float8 '1e300'"]
)
def test_a_positional_binary_float_is_refused(session: Connection, arguments: str, value: str) -> None:
    with undone(session):
        if value == "pg_temp.f":
            session.execute("create domain pg_temp.f as float8")
            value = "'0.5'::pg_temp.f"
        with refused("AUD-001", "float"), session.transaction():
            session.execute("select " + arguments.format(f=value, c=CORRELATION))


def test_a_python_float_is_refused(session: Connection) -> None:
    with undone(session), refused("AUD-001", "float"):
        session.execute("select record_signal('x', 'B', 'BUY', %s, %s, '{}')", [0.5, Decimal(1)])


EXACT = ("'1'", "1", "1::smallint", "1::bigint", "1.0", "'1'::numeric", "1::decimal_28_10", "1::numeric(5,2)")


@pytest.mark.parametrize("table", WRITERS)
def test_exact_arguments_are_taken_in_every_mix(session: Connection, table: str) -> None:
    """Untyped literals, integers, numerics and domains, in all combinations."""
    columns = [c for t, c in MONEY if t == table]
    for mix in itertools.product(EXACT, repeat=len(columns)):
        with undone(session):
            stored = query(session, call(table, **dict(zip(columns, mix, strict=True))))[0]
        assert [stored[c] for c in columns] == [Decimal(1)] * len(columns), mix


def test_null_amounts_where_the_column_takes_them(session: Connection) -> None:
    with undone(session):
        event = query(session, "select * from record_order_event(1, 'CANCELLED', null, null, null)")[0]
        assert event["fill_quantity"] is None
        order = query(
            session, "select * from record_order(%s, 'MARKET', 'B', 'BUY', '1', null)", [CORRELATION]
        )[0]
        assert order["price"] is None
    with undone(session), denied("23502"):
        session.execute("select record_signal('x', 'B', 'BUY', null, 1, '{}')")
    with undone(session), denied("23514"):
        session.execute("select record_signal('x', 'B', 'BUY', 0, 1, '{}')")
    with undone(session), denied("23514"):
        session.execute("select record_signal('x', 'B', 'BUY', 1, -1, '{}')")


# --------------------------------------------------------------------------------------------------
# The payload against the columns

LOST = [
    # payload's number, what the column would hold: neither it nor its rounding, but nearer to it than 2^-23
    ("64123.55", "64123.5498046875"),  # single precision
    ("64123.55", "64123.551"),
    ("0.0873051234567", "0.08730512"),
    ("0.0873051234567", "0.0873051234"),  # cut, not rounded
    ("0.123456789012345678", "0.1234567891"),
    ("1.0000000001", "1"),  # ten decimals, none of which need be lost
    ("0.9999999999", "1"),
    ("1.00000000005001", "1"),
    ("123456789012345678.5", "123456789012345680"),  # double precision
]
ROUNDED = [
    # payload's number, what the column holds: the number rounded to ten decimals
    ("0.0873051234567", "0.0873051235"),
    ("64123.55000000001", "64123.55"),
    ("1.00000000004999", "1.0"),
    ("0.123456789012345678", "0.123456789"),
    ("123456789012345678.00000000001", "123456789012345678"),
    ("0.00000000015", "0.0000000001"),  # a tie, to even
    ("0.00000000015", "0.0000000002"),  # and up
]
DRIFT = [
    '{"price": "64123.55000000001", "quantity": "1.00000000001"}',  # strings
    '{"price": 65000, "quantity": 17}',  # other numbers
    '{"price": 64123.56, "quantity": 1.0000002}',  # a tick away; farther than 2^-23 of it
    '{"nested": {"price": 1.00000000001}, "list": [{"quantity": 1.00000000001}]}',
    '{"Price": 1.00000000001, "QUANTITY": 1.00000000001}',
    '{"price": null, "quantity": true}',
    '{"price": [1.00000000001], "quantity": {"n": 1.00000000001}}',
    '{"price": 1e131071, "quantity": 1e-16383}',
    '{"price": -1.00000000001, "quantity": 0}',
    '{"price": 1.000000000000000000, "quantity": 1e0}',  # equal
    '{"price": 10e-1, "quantity": 0.1e1}',
    "{}",
    "[1.00000000001]",
    '"price"',
    "1.00000000001",
    "null",
]  # fmt: skip


@pytest.mark.parametrize("member", ["price", "quantity"])
@pytest.mark.parametrize(("payload", "column"), LOST)
def test_a_payload_that_lost_digits_is_refused(
    session: Connection, member: str, payload: str, column: str
) -> None:
    changes = {member: f"'{column}'", "raw_payload": f"""'{{"{member}": {payload}}}'"""}
    row = {**ROWS["signals"], **changes}
    before = attempts(session).get(("AUD-001", "signals", "INSERT"), 0)
    for statement in (insert("signals", changes), call("signals", **changes)):
        with undone(session), refused("AUD-001", "signals") as caught:
            session.execute(statement)
        assert payload in caught.value.diag.message_detail
        assert member in str(caught.value)
    with undone(session), refused("AUD-001", "signals"):
        copy_in(session, f"signals ({', '.join(row)})", "\t".join(v.strip("'") for v in row.values()))
    assert attempts(session)["AUD-001", "signals", "INSERT"] == before + 3


@pytest.mark.parametrize("member", ["price", "quantity"])
@pytest.mark.parametrize(("payload", "column"), ROUNDED)
def test_a_payload_with_more_digits_than_the_column_is_stored_rounded(
    session: Connection, member: str, payload: str, column: str
) -> None:
    changes = {member: f"'{column}'", "raw_payload": f"""'{{"{member}": {payload}}}'"""}
    with undone(session):
        (row,) = query(
            session, insert("signals", changes) + f" returning {member}, raw_payload ->> '{member}' as said"
        )
        assert (row[member], row["said"]) == (Decimal(column), payload)


@pytest.mark.parametrize("payload", DRIFT)
def test_schema_drift_in_a_payload_is_stored(session: Connection, payload: str) -> None:
    """Every webhook makes a signal, whatever its sender renamed or moved."""
    with undone(session):
        # Only the id comes back: Python's json has a limit for long integers that jsonb has not.
        statement = insert("signals", {"signal_id": "'d-0'", "raw_payload": f"'{payload}'"}) + " returning id"
        assert one(session, statement) == 2
        assert one(session, call("signals", raw_payload=f"'{payload}'").replace("*", "id", 1)) == 3
        assert one(session, "select raw_payload = %s::jsonb from signals where id = 2", [payload])
        assert one(session, "select bool_and(verdict = 'intact') from verify_chain_integrity('signals')")


def test_a_float_in_a_plain_insert_is_the_documented_limit(session: Connection) -> None:
    """PostgreSQL casts it to 15 digits before any of our code runs (docs/sql/application.md)."""
    with undone(session):
        statement = insert("signals", {"price": "0.1234567890123456789::float8::numeric(28,10)"})
        assert query(session, statement + " returning price")[0]["price"] == Decimal("0.1234567890")
    with undone(session), refused("AUD-001", "decimal_28_10"):
        session.execute(insert("signals", {"price": "0.1234567890123456789::float8"}))


def test_correlation_of_the_fixture(session: Connection) -> None:
    assert a_signal(session) == CORRELATION


def test_a_domain_over_a_float_is_a_float(db: Connection) -> None:
    query(db, "create domain public.amount as double precision")
    with pytest.raises(psycopg.Error) as caught:
        query(
            db,
            "select record_signal('s', 'B', 'BUY', 0.1::amount, 1::amount, '{}', money_type => null::amount)",
        )
    assert caught.value.sqlstate == "AUD01"
