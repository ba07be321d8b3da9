"""Inserts that are refused: unknown references, a lockdown, an idempotency key used again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fix_database import Connect, LoginRole, Prepared
from tests.security.refusals import Connection, a_signal, attempts, copy_in, denied, head, refused
from tests.support import AUDIT_TABLES, as_role, fill, make_delivery, make_signal, one, query, tamper

NOBODY = "99999999-9999-4999-8999-999999999999"

# ----------------------------------------------------------------------------------------------------
# AUD-008

UNKNOWN = [
    ("signals", "select record_signal('u', 'B', 'BUY', 1, 1, '{}', delivery_id => 99)"),
    (
        "signals",
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload, delivery_id)"
        " values ('u', 'B', 'BUY', 1, 1, '{}', 0)",
    ),
    ("ai_debates", f"select record_ai_debate('{NOBODY}', 'm', '{{}}', 0.5, 1)"),
    (
        "ai_debates",
        "insert into ai_debates (correlation_id, model_name, reasoning_json, confidence_score, elapsed_ms)"
        f" values ('{NOBODY}', 'm', '{{}}', 0.5, 1)",
    ),
    ("order_execution", f"select record_order('{NOBODY}', 'MARKET', 'B', 'BUY', 1)"),
    (
        "order_execution",
        "insert into order_execution (correlation_id, order_type, symbol, side, quantity)"
        " select c, 'MARKET', 'B', 'BUY', 1"
        f" from (select correlation_id from signals union all select '{NOBODY}') as t(c)",
    ),
    ("order_events", "select record_order_event(99, 'CANCELLED')"),
    ("order_events", "select record_order_event(-1, 'CANCELLED')"),
    ("order_events", "insert into order_events (order_execution_id, event_type) values (0, 'CANCELLED')"),
    ("order_events", "select record_order_event(99, 'CANCELLED', exchange_event_id => 'x')"),
]


# The strictest level for one statement of each table; the other combinations with --all.
STRICT = dict(reversed(UNKNOWN))
LEVELS = ("read committed", "repeatable read", "serializable")
AT_LEVELS = [
    pytest.param(
        table,
        statement,
        level,
        marks=()
        if level == "read committed" or (level == "serializable" and STRICT[table] == statement)
        else pytest.mark.long,
    )
    for level in LEVELS
    for table, statement in UNKNOWN
]


@pytest.mark.parametrize(("table", "statement", "isolation"), AT_LEVELS)
def test_unknown_reference(db: Connection, table: str, statement: str, isolation: str) -> None:
    make_signal(db)
    before = head(db)
    with refused("AUD-008", table) as caught, db.transaction():
        db.execute(f"set transaction isolation level {isolation}")
        db.execute(statement)
    wrong = {"signals": "delivery", "order_events": "order"}.get(table, NOBODY)
    assert wrong in caught.value.diag.message_detail
    assert head(db) == before
    assert attempts(db) == {("AUD-008", table, "INSERT"): 1}


def test_unknown_reference_in_copy(db: Connection) -> None:
    make_signal(db)
    known = a_signal(db)
    with refused("AUD-008", "ai_debates"):
        copy_in(
            db,
            "ai_debates (correlation_id, model_name, reasoning_json, confidence_score, elapsed_ms)",
            f"{known}\tm\t{{}}\t0.5\t1",
            f"{NOBODY}\tm\t{{}}\t0.5\t1",
        )
    assert one(db, "select count(*) from ai_debates") == 0


def test_a_missing_reference_is_an_ordinary_null(db: Connection) -> None:
    for statement in (
        "select record_ai_debate(null, 'm', '{}', 0.5, 1)",
        "select record_order(null, 'MARKET', 'B', 'BUY', 1)",
    ):
        with denied("23502"):
            db.execute(statement)
    with denied("23514"):
        db.execute("select record_order_event(null, 'CANCELLED')")
    # A signal need not have a delivery, nor a kill switch or a liquidation an order.
    make_signal(db, delivery_id=None)
    db.execute("select record_order_event(null, 'LIQUIDATION')")
    db.execute("select record_order_event(null, 'KILL_SWITCH', zar_equity => 1, positions_closed => '[]')")
    assert attempts(db) == {}


# ----------------------------------------------------------------------------------------------------
# AUD-009

LOCKED = {
    "signals": [
        "select record_signal('late', 'B', 'BUY', 1, 1, '{}')",
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " values ('late', 'B', 'BUY', 1, 1, '{}') on conflict do nothing",
    ],
    "ai_debates": [
        "select record_ai_debate((select min(correlation_id::text)::uuid from signals), 'm', '{}', 0.5, 1)",
        "insert into ai_debates (correlation_id, model_name, reasoning_json, confidence_score, elapsed_ms)"
        " select correlation_id, 'm', '{}', 0.5, 1 from signals",
    ],
    "order_execution": [
        "select record_order((select min(correlation_id::text)::uuid from signals), 'MARKET', 'B', 'BUY', 1)",
        "insert into order_execution (correlation_id, order_type, symbol, side, quantity)"
        " select correlation_id, 'MARKET', 'B', 'BUY', 1 from signals",
    ],
}


def _damage(db: Connection) -> None:
    fill(db)
    tamper(db, "update signals set symbol = 'CHANGED' where id = 2")
    assert one(db, "select count(*) from verify_chain_integrity() where error_code = 'AUD-009'") == 1


@pytest.fixture
def origin(request: pytest.FixtureRequest, prepared: Prepared, template: str) -> str:
    return prepared("security_locked", _damage) if "locked" in request.fixturenames else template


@pytest.fixture
def locked(db: Connection) -> Connection:
    """A database in lockdown: one signal was changed behind its back, and verification found it."""
    return db


@pytest.mark.parametrize("user", ["superuser", "app_trading", "alpha_owner"])
def test_lockdown_refuses_writes(
    locked: Connection, connect: Connect, login_role: LoginRole, user: str
) -> None:
    writer = connect(None if user == "superuser" else login_role(user))
    before = head(locked)
    for table, statements in LOCKED.items():
        for statement in statements:
            with refused("AUD-009", table) as caught:
                writer.execute(statement)
            assert "content_mismatch at signals 2" in caught.value.diag.message_detail
        assert attempts(locked)["AUD-009", table, "INSERT"] == len(statements)
    with refused("AUD-009", "signals"):
        copy_in(
            writer,
            "signals (signal_id, symbol, side, price, quantity, raw_payload)",
            "late\tB\tBUY\t1\t1\t{}",
        )
    assert head(locked) == before


def test_order_events_stay_open_in_a_lockdown(
    locked: Connection, connect: Connect, login_role: LoginRole
) -> None:
    """So that a liquidation can be recorded against the opening order."""
    trader = connect(login_role("app_trading"))
    before = one(locked, "select count(*) from order_events")
    trader.execute(
        "select record_order_event(1, 'KILL_SWITCH', zar_equity => 1.25, positions_closed => '[]')"
    )
    copy_in(trader, "order_events (order_execution_id, event_type)", "1\tCANCELLED")
    assert one(locked, "select count(*) from order_events") == before + 2


def test_deliveries_stay_open_in_a_lockdown(
    locked: Connection, connect: Connect, login_role: LoginRole
) -> None:
    """So that what arrives is kept."""
    trader = connect(login_role("app_trading"))
    before = one(locked, "select count(*) from webhook_deliveries")
    trader.execute("select record_webhook('late')")
    trader.execute("call append_webhook('late')")
    copy_in(trader, "webhook_deliveries (raw_body)", "late")
    assert one(locked, "select count(*) from webhook_deliveries") == before + 3


def test_a_retry_writes_nothing_and_is_answered_in_a_lockdown(
    db: Connection, connect: Connect, login_role: LoginRole
) -> None:
    """Of every key, from every writer, alone and in an array."""
    correlation = make_signal(db)["correlation_id"]
    payload = '{"ticker": "BTCUSD", "n": 1}'
    signal = f"'tv-000001', 'BTCUSD', 'BUY', 60001.55, 0.25, '{payload}'"
    order = f"'{correlation}', 'MARKET', 'BTCUSD', 'BUY', 1, client_order_id => 'c'"
    event = "1, 'FILL', 1, 1, exchange_event_id => 'e'"
    db.execute(f"select record_order({order}), record_order_event({event})")
    tamper(db, "update signals set symbol = 'CHANGED' where id = 1")
    assert one(db, "select count(*) from verify_chain_integrity() where error_code = 'AUD-009'") == 1
    tamper(db, "update signals set symbol = 'BTCUSD' where id = 1")
    trader, before = connect(login_role("app_trading")), head(db)
    arrays = {
        "signals": f'[{{"signal_id": "tv-000001", "symbol": "BTCUSD", "side": "BUY", "price": 60001.55,'
        f' "quantity": 0.25, "raw_payload": {payload}}}]',
        "orders": f'[{{"correlation_id": "{correlation}", "order_type": "MARKET", "symbol": "BTCUSD",'
        ' "side": "BUY", "quantity": 1, "client_order_id": "c"}]',
        "order_events": '[{"order_execution_id": 1, "event_type": "FILL", "fill_quantity": 1, "fill_price": 1,'
        ' "exchange_event_id": "e"}]',
    }
    for name, arguments in (("signal", signal), ("order", order), ("order_event", event)):
        for statement in (f"select * from record_{name}({arguments})", f"call append_{name}({arguments})"):
            (row,) = query(trader, statement)
            assert (row["id"], row["is_new"]) == (1, False), statement
    for name, array in arrays.items():
        (row,) = query(trader, f"select * from record_{name}(%s)", [array])
        assert (row["id"], row["is_new"]) == (1, False), name
        (result,) = query(trader, f"call append_{name}(%s)", [array])[0]["results"]
        assert (result["id"], result["is_new"]) == (1, False), name
    assert head(db) == before


@pytest.mark.parametrize("role", ["app_trading", "app_auditor", "app_risk"])
def test_everybody_can_ask_for_the_lockdown(locked: Connection, role: str) -> None:
    with as_role(locked, role):
        status = query(locked, "select * from lockdown_status()")[0]
    assert status["is_locked"] is True
    assert status["event_id"] == 1
    assert status["damage"][0]["table"] == "signals"
    assert status["damage"][0]["id"] == 2


def test_a_lockdown_is_not_released_by_hand(locked: Connection, connect: Connect, owner_login: str) -> None:
    for writer in (locked, connect(owner_login)):
        with refused("AUD-009", "lockdown_events"), as_role(writer, "alpha_owner"):
            writer.execute(
                "insert into lockdown_events (event_type, reason, damage) values ('RELEASED', 'please', '[]')"
            )
    assert one(locked, "select is_locked from lockdown_status()") is True


# ----------------------------------------------------------------------------------------------------
# AUD-010

SIGNAL: dict[str, Any] = {
    "signal_id": "key",
    "symbol": "BTCUSD",
    "side": "BUY",
    "price": "1.5",
    "quantity": "2",
    "raw_payload": '{"a": 1, "b": [1.50]}',
    "hmac_verified": True,
    "source_ip": "10.0.0.1",
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("symbol", "ETHUSD"),
        ("symbol", "btcusd"),
        ("side", "SELL"),
        ("price", "1.5000000001"),
        ("quantity", "3"),
        ("raw_payload", '{"a": 1, "b": [1.50], "c": null}'),
        ("raw_payload", "{}"),
    ],
)
def test_signal_id_used_again_with_other_content(db: Connection, field: str, value: object) -> None:
    make_signal(db, **SIGNAL)
    before = head(db)
    with refused("AUD-010", "signals") as caught:
        make_signal(db, **{**SIGNAL, field: value})
    assert "'key'" in str(caught.value)
    assert caught.value.diag.message_detail.endswith(f"the difference is in {field}.")
    assert head(db) == before
    assert attempts(db) == {("AUD-010", "signals", "INSERT"): 1}


def test_all_differences_are_named(db: Connection) -> None:
    make_signal(db, **SIGNAL)
    with refused("AUD-010") as caught:
        make_signal(db, signal_id="key", side="SELL")
    assert caught.value.diag.message_detail.endswith(
        "the difference is in price, quantity, raw_payload, side."
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"source_ip": "192.168.7.7"},
        {"source_ip": None},
        {"price": "1.50000000000000"},
        {"raw_payload": '{"b":[1.50],"a":1}'},
        {"correlation_id": NOBODY},
        {"hmac_verified": False},
        {"delivery_id": 1},
    ],
)
def test_a_retry_gets_the_row_that_is_there(db: Connection, changes: dict[str, Any]) -> None:
    make_delivery(db)
    first = make_signal(db, **SIGNAL)
    assert first["is_new"] is True
    assert make_signal(db, **{**SIGNAL, **changes}) == {**first, "is_new": False}
    assert one(db, "select count(*) from signals") == 1
    assert attempts(db) == {}


def test_a_plain_insert_of_a_used_key_is_a_unique_violation(db: Connection) -> None:
    make_signal(db, **SIGNAL)
    with denied("23505"):
        db.execute(
            "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
            " values ('key', 'B', 'BUY', 1, 1, '{}')"
        )
    assert query(db, "select verdict from verify_chain_integrity('signals')") == [{"verdict": "intact"}]


def test_the_tables_of_the_audit_log_are_these(db: Connection) -> None:
    """What this file and test_refused_changes.py list is what the database has."""
    found = query(
        db, "select table_name, open_in_lockdown from chains where not is_internal order by position"
    )
    assert [row["table_name"] for row in found if row["table_name"] in AUDIT_TABLES] == list(AUDIT_TABLES)
    closed = {row["table_name"] for row in found if not row["open_in_lockdown"]}
    assert closed & set(AUDIT_TABLES) == set(LOCKED)
