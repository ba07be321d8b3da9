"""The Python check and the database agree on whatever content there is, and both find what is changed in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from alpha_db.verify import chain
from tests.chain.by_force import behind_its_back, broken_in_python, filled_book, judge, places, undone
from tests.fix_database import Connect, Prepared
from tests.support import Connection, make_signal, one, query, tamper

PROPERTY = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.generate),
)
# What text and jsonb can hold: everything but NUL and lone surrogates.
characters = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
texts = st.text(characters, max_size=40)


def labels(size: int) -> st.SearchStrategy[str]:
    return st.text(characters, min_size=1, max_size=size).filter(lambda text: text.strip(" ") != "")


amounts = st.integers(1, 10**28 - 1).map(lambda units: Decimal(units).scaleb(-10))
shares = st.integers(0, 10**4).map(lambda units: Decimal(units).scaleb(-4))
numbers = st.one_of(
    st.integers(-(10**30), 10**30),
    st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**12), max_value=10**12),
    st.sampled_from([Decimal("1.50"), Decimal("1E+3"), Decimal("-0.0"), Decimal("1E-20")]),
)
documents = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)
signals = st.fixed_dictionaries(
    {
        "symbol": labels(20),
        "side": st.sampled_from(["BUY", "SELL"]),
        "price": amounts,
        "quantity": amounts,
        "raw_payload": st.dictionaries(
            texts.filter(lambda k: k not in ("price", "quantity")), documents, max_size=4
        ),
        "source_ip": st.one_of(st.none(), st.ip_addresses()),
        "hmac_verified": st.booleans(),
    }
)
CHANGES = {
    "symbol": "left(symbol, 19) || case right(symbol, 1) when 'x' then 'y' else 'x' end",
    "side": "case side when 'BUY' then 'SELL' else 'BUY' end",
    "price": "case when price > 1 then price - 0.0000000001 else price + 0.0000000001 end",
    "quantity": "trim_scale(quantity) + 0.00000000000",
    "raw_payload": 'raw_payload || \'{"price": "1.50", "": {}}\'',
    "source_ip": "case when source_ip = '::' then inet '::1' else inet '::' end",
    "hmac_verified": "not hmac_verified",
    "signal_id": "signal_id || ' '",
    "correlation_id": "gen_random_uuid()",
    "created_at": "created_at + interval '1 microsecond'",
}


def dumps(value: Any) -> str:
    """JSON text whose Decimals are numbers."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {dumps(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dumps, value)) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value)


def write(connection: Connection, rows: list[dict[str, Any]], by_copy: bool) -> None:
    """Write the rows by record_signal or by COPY; a signal_id is a number, so that it is unique."""
    prepared = [
        {**row, "signal_id": f"{n}", "raw_payload": Jsonb(row["raw_payload"], dumps=dumps)}
        for n, row in enumerate(rows)
    ]
    if by_copy:
        names = sorted(prepared[0])
        columns = ", ".join(names)
        with connection.cursor() as cursor, cursor.copy(f"copy signals ({columns}) from stdin") as copy:
            for row in prepared:
                copy.write_row([row[name] for name in names])
    else:
        for row in prepared:
            call = ", ".join(f"{name} => %({name})s" for name in row)
            query(connection, f"select id from record_signal({call})", row)


@given(rows=st.lists(signals, min_size=1, max_size=6), by_copy=st.booleans(), data=st.data())
@PROPERTY
def test_any_content(db: Connection, rows: list[dict[str, Any]], by_copy: bool, data: st.DataObject) -> None:
    with undone(db):
        write(db, rows, by_copy)
        assert judge(db, "signals").verdict == "intact"
        head = one(db, "select head_hash from chain_status() where table_name = 'signals'")
        assert chain.recompute(db, "signals") == chain.Recomputed(len(rows), head, None)
        stored = query(db, "select symbol, price, raw_payload from signals order by id")
        assert [(row["symbol"], row["price"]) for row in stored] == [
            (row["symbol"], row["price"]) for row in rows
        ]

        row_id = data.draw(st.integers(1, len(rows)), label="changed row")
        column = data.draw(st.sampled_from(sorted(CHANGES)), label="changed column")
        with behind_its_back(db, "signals"):
            query(db, f"update signals set {column} = {CHANGES[column]} where id = %s", [row_id])
            assert places(db, "signals") == [(row_id, "content_mismatch")]
            assert broken_in_python(db, "signals") == row_id


@given(
    reason=texts,
    code=st.one_of(st.none(), st.text(characters, max_size=50)),
    positions=st.lists(documents, max_size=3),
)
@PROPERTY
def test_any_text_in_an_event(db: Connection, reason: str, code: str | None, positions: list[Any]) -> None:
    with undone(db):
        correlation_id = make_signal(db, 1)["correlation_id"]
        query(db, "select id from record_order(%s, 'MARKET', 'X', 'BUY', 1)", [correlation_id])
        query(
            db,
            "select id from record_order_event(1, 'CANCELLED', rejection_reason => %s, exchange_error_code => %s,"
            " positions_closed => %s)",
            [reason, code, Jsonb(positions, dumps=dumps)],
        )
        assert judge(db, "order_events").verdict == "intact"
        assert broken_in_python(db, "order_events") is None
        with behind_its_back(db, "order_events"):
            query(
                db,
                "update order_events set exchange_error_code = case when exchange_error_code is null then '' end",
            )
            assert places(db, "order_events") == [(1, "content_mismatch")]
            assert broken_in_python(db, "order_events") == 1


@pytest.fixture
def filled(make_database: Callable[..., str], prepared: Prepared) -> str:
    """Name of a book with rows in each table."""
    return make_database(filled_book(prepared))


def test_the_caller_s_transaction_and_settings_stay_as_they_were(filled: str, connect: Connect) -> None:
    session = connect(dbname=filled, timezone="Asia/Kathmandu", datestyle="German", autocommit=False)
    session.execute("create temp table mine (n int)")
    chain.recompute(session, "signals")
    shown = [session.execute(f"show {name}").fetchone() for name in ("timezone", "datestyle")]
    assert shown == [("Asia/Kathmandu",), ("German, DMY",)]
    assert session.execute("select count(*) from mine").fetchone() == (0,)
    session.rollback()
    assert session.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_the_check_works_in_a_read_only_transaction_and_with_any_row_factory(
    filled: str, connect: Connect
) -> None:
    session = connect(dbname=filled, default_transaction_read_only="on")
    with psycopg.connect(session.info.dsn, row_factory=dict_row) as other:
        other.read_only = True
        assert chain.recompute(other, "signals").rows == chain.recompute(session, "signals").rows == 5


def test_more_rows_than_one_fetch(db: Connection) -> None:
    query(
        db,
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " select 's' || n, 'X', 'BUY', n, 1, '{}' from generate_series(1, 2500) as n",
    )
    assert chain.recompute(db, "signals").rows == 2500
    with behind_its_back(db, "signals"):
        query(db, "update signals set price = 1 where id = 2001")
        found = chain.recompute(db, "signals")
        assert (found.rows, found.broken and found.broken.id) == (2000, 2001)


def test_a_missing_column_and_a_foreign_type_are_errors_not_verdicts(db: Connection) -> None:
    make_signal(db, 1)
    with undone(db):
        query(db, "alter table signals drop column quantity cascade")
        with pytest.raises(KeyError, match="quantity"):
            chain.recompute(db, "signals")
    with undone(db):
        query(db, "alter table signals add column place point")
        with pytest.raises(ValueError, match=r"signals\.place"):
            chain.recompute(db, "signals")
    with pytest.raises(psycopg.errors.UndefinedTable):
        chain.recompute(db, "nothing")


@pytest.mark.any_server
def test_no_limit_of_python_decides_over_a_column_that_came_later() -> None:
    deep, numbers = "[" * 5000 + "]" * 5000, f'{{"n": 1{"0" * 5000}, "é\\"": {{"a": ",}}"}}}}'
    later = chain._Epoch(2, ["id"], f'{{"deep": {deep}, "n\\"": {numbers}, "z": null}}')
    row = {"id": "1", "deep": deep, 'n"': numbers, "z": "null"}
    assert chain._older_values_hold(row, [later])
    assert chain._older_values_hold(row | {"id": "2", "z": "1"}, [later])
    for changed in (
        {"deep": "[[]]"},
        {"deep": deep[1:-1]},
        {'n"': numbers.replace("0,", "1,", 1)},
        {"z": "1"},
    ):
        assert not chain._older_values_hold(row | changed, [later])


def test_sql_and_python_agree_on_a_time_without_end(db: Connection) -> None:
    make_signal(db)
    make_signal(db, 2)
    tamper(db, "update signals set created_at = 'infinity' where id = 2")
    tamper(
        db,
        "update signals as s set row_hash = encode(sha256("
        "decode((select p.row_hash from signals as p where p.id = 1), 'hex') ||"
        " convert_to((select r.row_data from chain_rows('signals', 2, 2) as r), 'UTF8')), 'hex') where s.id = 2",
    )
    assert (judge(db, "signals", None).verdict == "intact") == (chain.recompute(db, "signals").broken is None)
