"""What is hashed is what is stored, whatever became of the columns' types, or it is refused and nothing is lost."""

from __future__ import annotations

import pytest

from tests.chain.by_force import judge
from tests.security.refusals import refused
from tests.support import Connection, make_signal, one

VIEWS = "drop view vw_trade_audit_full, vw_kill_switch_events cascade"


def alter(connection: Connection, column: str, new_type: str) -> None:
    connection.execute(VIEWS)
    connection.execute(f"alter table signals alter column {column} type {new_type}")


@pytest.mark.parametrize("new_type", ["varchar(60)", "varchar"])
@pytest.mark.parametrize("column", ["symbol", "signal_id"])
def test_a_column_made_wider_keeps_the_whole_value(db: Connection, column: str, new_type: str) -> None:
    alter(db, column, new_type)
    value = "BINANCE:1000SHIBUSDT.P" + "x" * 30
    stored = make_signal(db, 1, **{column: value})
    assert stored[column] == value
    assert one(db, f"select r.row_data::json ->> '{column}' from chain_rows('signals') as r") == value
    assert judge(db, "signals").verdict == "intact"


@pytest.mark.parametrize(
    ("column", "new_type"),
    [
        ("symbol", "char(60)"),
        ("symbol", "text"),
        ("price", "numeric(38,18)"),
        ("price", "double precision"),
        ("price", "numeric"),
        ("source_ip", "cidr"),
        ("created_at", "timestamp"),
        ("created_at", "date"),
        ("hmac_verified", "text"),
    ],
)
def test_a_column_of_another_type_is_refused_with_its_name(
    db: Connection, column: str, new_type: str
) -> None:
    alter(db, column, new_type)
    with refused("AUD-011", "signals") as caught:
        db.execute(
            "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
            " values ('a', 'BTCUSD', 'BUY', 1, 1, '{}')"
        )
    assert column in str(caught.value.diag.message_detail)
    assert one(db, "select count(*) from signals") == 0


def test_a_document_of_another_type_is_hashed_as_it_is_stored(db: Connection) -> None:
    """json keeps blanks that jsonb does not."""
    db.execute(VIEWS)
    db.execute("alter table ai_debates alter column reasoning_json type json")
    db.execute(
        "insert into ai_debates (correlation_id, model_name, reasoning_json, confidence_score, elapsed_ms)"
        " values (%s, 'm', '{\"a\":   1.50}', 1, 1)",
        [make_signal(db, 1)["correlation_id"]],
    )
    assert '{"a":   1.50}' in one(db, "select row_data from chain_rows('ai_debates')")
    assert judge(db, "ai_debates").verdict == "intact"


@pytest.mark.parametrize("new_type", ["timestamptz", "bytea", "float8", "interval", "timestamptz[]"])
def test_a_text_that_becomes_what_a_setting_prints_is_refused(db: Connection, new_type: str) -> None:
    db.execute("alter table signals add column note text")
    with db.transaction():
        db.execute("set local role alpha_owner")
        db.execute("select chain_extend('signals')")
    db.execute(f"alter table signals alter column note type {new_type} using null")
    with refused("AUD-011", "signals") as caught:
        make_signal(db, 1)
    assert "note" in str(caught.value.diag.message_detail)


@pytest.mark.parametrize("new_type", ["timestamptz", "bytea", "text"])
def test_a_new_column_refuses_no_row_before_the_chain_covers_it(db: Connection, new_type: str) -> None:
    db.execute(f"alter table signals add column note {new_type}")
    make_signal(db, 1)
    assert judge(db, "signals").verdict == "intact"
