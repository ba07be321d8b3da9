"""A row whose text is too large, or a value too long for its column, is refused (AUD-012) before the chain's lock."""

from __future__ import annotations

import psycopg
import pytest

from tests.chain.by_force import judge
from tests.fix_database import Connect
from tests.security.refusals import refused
from tests.support import VARCHARS, Connection, fill, make_signal, one, query

MIB = 1 << 20
BOMB = "[" + "1e131071," * 150 + "1]"  # 1.4 kB that print to 19 MB
PAYLOADS = {
    "short numbers with long texts": BOMB,
    "nested": '{"a": {"b": ' + BOMB + "}}",
    "a long string": '"' + "x" * (17 * MIB) + '"',
    "a string of escapes": '"' + "\\u0001" * (3 * MIB) + '"',
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_a_row_that_prints_too_large_is_refused(db: Connection, payload: str) -> None:
    with refused("AUD-012", "signals"):
        make_signal(db, raw_payload=payload)
    with refused("AUD-012", "signals"):
        db.execute(
            "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
            " values ('a', 'BTCUSD', 'BUY', 1, 1, %s)",
            [payload],
        )
    assert one(db, "select count(*) from signals") == 0


def test_a_row_that_no_text_can_hold_is_refused_with_the_same_code(db: Connection) -> None:
    with refused("AUD-012", "signals"):
        make_signal(db, raw_payload="[" + "1e131071," * 9000 + "1]")


def test_a_compressed_document_is_measured_too(db: Connection) -> None:
    db.execute("create temporary table kept (doc jsonb)")
    db.execute("insert into kept values (%s)", ["[" + "1e131071," * 900 + "1]"])
    assert one(db, "select pg_column_compression(doc) is not null from kept")
    with refused("AUD-012", "signals"):
        db.execute(
            "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
            " select 'a', 'BTCUSD', 'BUY', 1, 1, doc from kept"
        )


@pytest.mark.parametrize("column", ["rejection_reason", "positions_closed"])
def test_every_long_column_counts(db: Connection, column: str) -> None:
    order = fill(db).limit_order
    value = {"rejection_reason": "\x01" * (3 * MIB), "positions_closed": BOMB}[column]
    with refused("AUD-012", "order_events"):
        db.execute(
            f"select record_order_event(%s, 'REJECTED', rejection_reason => 'no', {column} => %s)"
            if column != "rejection_reason"
            else "select record_order_event(%s, 'REJECTED', rejection_reason => %s)",
            [order, value],
        )


def test_what_is_refused_took_no_lock(db: Connection, connect: Connect) -> None:
    with connect() as writer, writer.transaction():
        make_signal(writer)  # has the chain until it commits
        with refused("AUD-012", "signals"):
            db.execute("set lock_timeout = '1ms'")
            make_signal(db, 2, raw_payload=BOMB)


def test_the_limit_can_be_raised(db: Connection) -> None:
    with db.transaction():
        db.execute("set local role alpha_owner")
        db.execute("set local alpha.maintenance = 'larger documents'")
        db.execute("select chain_limit('signals', %s)", [64 * MIB])
        db.execute("select record_guards('larger documents')")
    make_signal(db, raw_payload='"' + "x" * (20 * MIB) + '"')
    assert judge(db, "signals").verdict == "intact"


@pytest.mark.parametrize("limit", [0, -1, 65535, 134217729, None])
def test_a_limit_out_of_bounds_is_refused(db: Connection, limit: int | None) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        db.execute("select chain_limit('signals', %s)", [limit])


#: What a table's writing function needs, each value as SQL.
NEEDED: dict[str, tuple[str, dict[str, str]]] = {
    "signals": (
        "record_signal",
        {"signal_id": "'a'", "symbol": "'X'", "side": "'BUY'", "price": "1", "quantity": "1", "raw_payload": "'{}'"},
    ),
    "ai_debates": (
        "record_ai_debate",
        {"correlation_id": "gen_random_uuid()", "model_name": "'m'", "reasoning_json": "'{}'",
         "confidence_score": "1", "elapsed_ms": "1"},
    ),
    "order_execution": (
        "record_order",
        {"correlation_id": "gen_random_uuid()", "order_type": "'MARKET'", "symbol": "'X'", "side": "'BUY'",
         "quantity": "1"},
    ),
    "risk_decisions": (
        "record_decision",
        {"correlation_id": "null", "symbol": "'X'", "side": "'BUY'", "quantity": "1", "price": "1", '"position"': "0",
         "allowed": "false", "reason": "'no'", "mode": "'NORMAL'"},
    ),
    "order_events": ("record_order_event", {"order_execution_id": "1", "event_type": "'FILL'"}),
}  # fmt: skip


def test_a_value_too_long_is_refused_with_its_column(db: Connection) -> None:
    """Of blanks at the end too, which PostgreSQL would cut without a word."""
    columns = query(db, VARCHARS)
    assert len(columns) > 12
    for item in columns:
        function, needed = NEEDED[item["table"]]
        for end in ("x", " "):
            given = needed | {item["column"]: "'" + "k" * item["length"] + end + "'"}
            call = ", ".join(f"{name} => {value}" for name, value in given.items())
            with refused("AUD-012", item["table"]) as caught:
                db.execute(f"select {function}({call})")
            assert caught.value.diag.column_name == item["column"]
            assert f"takes {item['length']}." in str(caught.value.diag.message_detail)
            assert "again" not in str(caught.value.diag.message_hint)


def test_a_hash_too_long_is_refused_with_its_column(db: Connection) -> None:
    """A column of a fixed length, which widen_column does not change."""
    with refused("AUD-012", "risk_decisions") as caught:
        db.execute(
            "select record_decision(null, 'X', 'BUY', 1, 1, 0, false, 'no', 'NORMAL', state_hash => repeat('0', 65))"
        )
    assert caught.value.diag.column_name == "state_hash"
    assert "widen_column" not in str(caught.value.diag.message_hint)


def test_a_key_as_long_as_its_column_is_found_again(db: Connection) -> None:
    first = make_signal(db, signal_id="k" * 63 + " ")
    assert make_signal(db, signal_id="k" * 63 + " ") == {**first, "is_new": False}
