"""What the guardrail answered is recorded whatever the order was, with the limits that the database finds for it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from alpha_db import aio
from alpha_db import connect as connect_to
from alpha_db.aio.writers import run
from alpha_db.errors import AlphaDbError, DecimalError, UnknownReference, WrongCall, WrongType
from alpha_db.risk import Order, RiskGuardrailService, append_decision, record_decision, to_record
from alpha_db.risk.decisions import prepare
from alpha_db.risk.source import PostgresSource
from tests.cluster import Server
from tests.fix_database import LoginRole
from tests.risk.council import Council, threshold
from tests.support import Connection, Row, changed_guards, make_signal, one, query, tamper, verdicts

D = Decimal
ORDER = Order("BTCUSD", "BUY", D("0.25"), D(0), D(60000), D(1000000), D(0), D(0))
LONG = replace(ORDER, side="SELL", position=D(1))


@pytest.fixture
def trader(server: Server, database: str, login_role: LoginRole) -> Iterator[psycopg.Connection[Any]]:
    """A login of the order path, as alpha_db.connect gives it, in autocommit."""
    with connect_to(server.dsn(database, user=login_role("app_trading")), autocommit=True) as connection:
        yield connection


class Desk:
    """A guardrail that reads when the test says so, with the lease's clock in the test's hands."""

    def __init__(self, trader: psycopg.Connection[Any]) -> None:
        self.now = 1000.0
        self.source = PostgresSource(lambda: connect_to(trader.info.dsn, autocommit=True), 5.0)
        self.service = RiskGuardrailService(
            source=lambda: self.source, clock=lambda: self.now, good_reads=1, lease=30.0
        )
        self.source.open()

    def read(self) -> Desk:
        self.service.read_once(self.source)
        return self


@pytest.fixture
def desk(governed: Council, trader: psycopg.Connection[Any]) -> Iterator[Desk]:  # noqa: ARG001
    """A guardrail with limits in force."""
    desk = Desk(trader)
    yield desk
    desk.source.close()


def decisions(connection: Connection) -> list[Row]:
    return query(connection, "select * from risk_decisions order by id")


def decision(**changes: Any) -> dict[str, Any]:
    """The arguments of a permission in Safe Mode."""
    given = {
        "correlation_id": None,
        "symbol": "BTCUSD",
        "side": "SELL",
        "quantity": "0.25",
        "price": None,
        "position": "0.25",
        "allowed": True,
        "reason": "it reduces a position",
        "mode": "SAFE_MODE",
    }
    return {**given, **changes}


# --------------------------------------------------------------------------------------------------
# decide_and_record


def test_a_permission_is_recorded_with_the_limits_in_force(
    desk: Desk, db: Connection, trader: psycopg.Connection[Any], governed: Council
) -> None:
    governed.enact("asset_kill_threshold", threshold("BTCUSD", "0.1", "30000"), "ada", "ben")
    signal = make_signal(db)["correlation_id"]
    answer = desk.read().service.decide_and_record(
        trader, ORDER, correlation_id=signal, decision_maker="algo 7"
    )
    assert answer
    assert answer.decided_at is not None
    (row,) = decisions(db)
    state = governed.state()
    assert row["limits"] == {
        "max_position_size_pct": 0.05,
        "daily_drawdown_limit_pct": 0.03,
        "max_leverage_ratio": 2.0,
        "kill_threshold": {"asset": "BTCUSD", "kill_loss_pct": 0.1, "kill_price": 30000.0},
    }
    assert '"max_leverage_ratio": 2.00' in one(db, "select limits::text from risk_decisions")
    expected = {
        "correlation_id": signal,
        "symbol": "BTCUSD",
        "side": "BUY",
        "quantity": D("0.25"),
        "price": D(60000),
        "position": D(0),
        "allowed": True,
        "reason": answer.reason,
        "mode": "NORMAL",
        "risk_version": state["version"],
        "state_hash": state["state_hash"],
        "decision_maker": "algo 7",
        "decided_at": answer.decided_at,
    }
    assert {name: row[name] for name in expected} == expected


def test_a_refusal_is_recorded_with_its_reason(
    desk: Desk, db: Connection, trader: psycopg.Connection[Any]
) -> None:
    answer = desk.read().service.decide_and_record(trader, replace(ORDER, quantity=D(100)))
    assert not answer
    (row,) = decisions(db)
    assert (row["allowed"], row["reason"], row["quantity"]) == (False, answer.reason, D(100))


def test_in_safe_mode_a_refusal_and_a_reduction_are_recorded(
    desk: Desk, db: Connection, trader: psycopg.Connection[Any]
) -> None:
    assert not desk.service.decide_and_record(trader, ORDER)
    assert desk.service.decide_and_record(trader, LONG)
    refused, allowed = decisions(db)
    assert (refused["allowed"], refused["mode"], refused["limits"]) == (False, "SAFE_MODE", None)
    assert (allowed["allowed"], allowed["mode"], allowed["state_hash"]) == (True, "SAFE_MODE", None)


def test_in_a_lockdown_decisions_are_recorded(
    desk: Desk, db: Connection, trader: psycopg.Connection[Any]
) -> None:
    make_signal(db)
    tamper(db, "update signals set price = price + 1")
    query(db, "select * from verify_chain_integrity()")
    assert not desk.read().service.decide_and_record(trader, ORDER)
    assert desk.service.decide_and_record(trader, LONG)
    assert [row["allowed"] for row in decisions(db)] == [False, True]


class Hostile:
    """Raises, whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no \0 such thing \ud83d")


NONSENSE = {
    "quantity is NaN": replace(ORDER, quantity=D("NaN")),
    "quantity is infinite": replace(ORDER, quantity=D("Infinity")),
    "quantity is a float": replace(ORDER, quantity=0.25),  # type: ignore[arg-type]
    "price is a float": replace(ORDER, price=math.pi),  # type: ignore[arg-type]
    "position is a text": replace(ORDER, position="1"),  # type: ignore[arg-type]
    "side is unknown": replace(ORDER, side="HOLD"),
    "side is half an emoji": replace(ORDER, side="\ud83d"),
    "symbol is no text": replace(ORDER, symbol=5),  # type: ignore[arg-type]
    "symbol holds NUL": replace(ORDER, symbol="BTC\0USD"),
    "symbol is half an emoji": replace(ORDER, symbol="\ud83d"),
    "symbol is blank": replace(ORDER, symbol=" "),
    "symbol is long": replace(ORDER, symbol="x" * 501),
    "no order": None,
    "an order that raises": Hostile(),
}


@pytest.mark.parametrize("order", NONSENSE.values(), ids=NONSENSE)
@pytest.mark.parametrize("is_normal", [True, False], ids=["normal", "safe mode"])
def test_nonsense_is_refused_and_recorded(
    desk: Desk, db: Connection, trader: psycopg.Connection[Any], order: Any, is_normal: bool
) -> None:
    if is_normal:
        desk.read()
    answer = desk.service.decide_and_record(trader, order)
    assert not answer
    (row,) = decisions(db)
    assert not row["allowed"]
    assert row["reason"]


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"quantity": D("0.25000000001")}, "quantity"),
        ({"price": D("60000.00000000001")}, "price"),
        ({"position": D("0.00000000001")}, "position"),
        ({"symbol": "x" * 501}, "symbol"),
        ({"symbol": ""}, "symbol"),
    ],
)
def test_an_allowed_order_that_cannot_be_recorded_exactly_is_refused(
    desk: Desk, db: Connection, trader: psycopg.Connection[Any], changes: dict[str, Any], column: str
) -> None:
    order = replace(ORDER, **changes)
    assert desk.read().service.allows(order)
    answer = desk.service.decide_and_record(trader, order)
    assert not answer
    assert f"it cannot be recorded as it would be sent: {column} " in answer.reason
    (row,) = decisions(db)
    assert (row["allowed"], row["reason"], row[column]) == (False, answer.reason, None)


def test_a_reduction_needs_no_price(desk: Desk, db: Connection, trader: psycopg.Connection[Any]) -> None:
    for price in (None, D("60000.00000000001"), 1.5):
        assert desk.service.decide_and_record(trader, replace(LONG, price=price))  # type: ignore[arg-type]
    assert [row["price"] for row in decisions(db)] == [None, None, None]


def test_what_cannot_be_recorded_is_not_allowed(
    desk: Desk, db: Connection, trader: psycopg.Connection[Any]
) -> None:
    desk.read()
    with pytest.raises(UnknownReference):
        desk.service.decide_and_record(trader, ORDER, correlation_id=uuid4())
    with pytest.raises(AlphaDbError) as caught:
        desk.service.decide_and_record(trader, ORDER, decision_maker="x" * 101)
    assert caught.value.code == "AUD-012"
    trader.close()
    with pytest.raises(AlphaDbError):
        desk.service.decide_and_record(trader, ORDER)
    assert decisions(db) == []


def test_a_lease_that_ends_while_the_row_is_written_refuses(
    desk: Desk, db: Connection, trader: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.read()
    allows: Callable[[Order], Any] = desk.service.allows

    def slow(order: Order) -> Any:
        answer = allows(order)
        desk.now += 31.0
        return answer

    monkeypatch.setattr(desk.service, "allows", slow)
    answer = desk.service.decide_and_record(trader, ORDER)
    assert not answer
    assert "the lease ended" in answer.reason
    assert [row["allowed"] for row in decisions(db)] == [True, False]


def test_in_a_transaction_the_decision_is_part_of_it(
    desk: Desk, db: Connection, trader: psycopg.Connection[Any]
) -> None:
    desk.read()
    with trader.transaction(force_rollback=True):
        assert desk.service.decide_and_record(trader, ORDER)
    assert decisions(db) == []
    with trader.transaction():
        assert desk.service.decide_and_record(trader, ORDER)
    assert len(decisions(db)) == 1


def test_an_asynchronous_order_path_records_by_the_same_parts(
    desk: Desk, db: Connection, trader: psycopg.Connection[Any]
) -> None:
    async def order_path() -> Any:
        answer, given = to_record(ORDER, desk.service.allows(ORDER))
        async with await aio.connect(trader.info.dsn, autocommit=True) as connection:
            call = prepare("append_decision", connection, given, is_async=True)
            return answer, await run(connection, call)

    desk.read()
    answer, where = asyncio.run(order_path())
    (row,) = decisions(db)
    assert answer
    assert (row["id"], row["row_hash"]) == (where["id"], where["row_hash"])
    with pytest.raises(WrongType):
        prepare("append_decision", trader, decision(), is_async=True)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------------
# The writers


def test_record_and_append_give_what_was_stored(db: Connection, trader: psycopg.Connection[Any]) -> None:
    row = record_decision(trader, **decision())
    where = append_decision(trader, **decision(side="BUY", position="-1"))
    first, second = decisions(db)
    assert {**first, "is_new": True} == {**row, "is_new": row["is_new"]}
    assert (row["is_new"], where["is_new"]) == (True, True)
    assert (where["id"], where["row_hash"]) == (second["id"], second["row_hash"])


@pytest.mark.parametrize("column", ["quantity", "price", "position"])
def test_a_float_is_refused(db: Connection, trader: psycopg.Connection[Any], column: str) -> None:
    with pytest.raises(DecimalError) as caught:
        record_decision(trader, **decision(**{column: 0.25}))
    assert caught.value.column == column
    amounts = {**dict.fromkeys(["quantity", "price", "position"], "0.25"), column: "0.25::real"}
    with pytest.raises(psycopg.Error, match="AUD-001"):
        db.execute(
            f"select record_decision(null, 'B', 'SELL', {amounts['quantity']}, {amounts['price']},"
            f" {amounts['position']}, false, 'why', 'NORMAL')"
        )
    assert decisions(db) == []


@pytest.mark.parametrize(
    ("column", "length"),
    [("symbol", 500), ("side", 10), ("mode", 20), ("state_hash", 64), ("decision_maker", 100)],
)
def test_a_text_that_is_too_long_is_refused_by_name(
    trader: psycopg.Connection[Any], column: str, length: int
) -> None:
    with pytest.raises(AlphaDbError) as caught:
        record_decision(trader, **decision(**{column: "x" * (length + 1)}))
    assert (caught.value.code, caught.value.column) == ("AUD-012", column)


def test_wrong_names_and_missing_ones_are_refused(trader: psycopg.Connection[Any]) -> None:
    with pytest.raises(WrongCall):
        record_decision(trader, **decision(limits={}))
    given = decision()
    del given["reason"]
    with pytest.raises(WrongType, match="reason is missing"):
        record_decision(trader, **given)
    with pytest.raises(WrongType, match="decided_at"):
        record_decision(trader, **decision(decided_at=datetime(2026, 1, 1)))


# --------------------------------------------------------------------------------------------------
# What the database refuses, and what it adds

INSERT = (
    "insert into risk_decisions (symbol, side, quantity, position, allowed, reason, mode, risk_version, state_hash,"
    " limits, decided_at) values (%(symbol)s, %(side)s, %(quantity)s, %(position)s, %(allowed)s, %(reason)s, %(mode)s,"
    " %(version)s, %(hash)s, %(limits)s, %(decided_at)s) returning *"
)
PERMISSION = {
    "symbol": "BTCUSD",
    "side": "BUY",
    "quantity": 1,
    "position": 0,
    "allowed": True,
    "reason": "within the limits",
    "mode": "NORMAL",
    "version": 1,
    "hash": "0" * 64,
    "limits": '{"max_leverage_ratio": 100}',
    "decided_at": "2026-01-25T12:00:00Z",
}
INCOMPLETE: dict[str, dict[str, Any]] = {
    "symbol": {"symbol": None},
    "blank symbol": {"symbol": " "},
    "side": {"side": None},
    "quantity": {"quantity": None},
    "zero": {"quantity": 0},
    "negative": {"quantity": -1},
    "version": {"version": None},
    "hash": {"hash": None},
    "safe mode opens": {"mode": "SAFE_MODE"},
    "safe mode, no position": {"mode": "SAFE_MODE", "position": None},
    "safe mode adds": {"mode": "SAFE_MODE", "position": 1},
    "safe mode goes through zero": {"mode": "SAFE_MODE", "position": D("-0.5")},
    "safe mode sells a short": {"mode": "SAFE_MODE", "side": "SELL", "position": -1},
}
ANY_WRONG: dict[str, dict[str, Any]] = {
    "mode": {"mode": "normal"},
    "no mode": {"mode": None},
    "no reason": {"reason": None},
    "blank reason": {"reason": " "},
    "never": {"decided_at": "infinity"},
    "no time": {"decided_at": None},
    "a side of its own": {"side": "HOLD"},
}


@pytest.mark.parametrize("changes", INCOMPLETE.values(), ids=INCOMPLETE)
def test_a_permission_that_is_not_complete_is_refused_and_a_refusal_is_not(
    db: Connection, changes: dict[str, Any]
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        query(db, INSERT, {**PERMISSION, **changes})
    query(db, INSERT, {**PERMISSION, **changes, "allowed": False})


@pytest.mark.parametrize("changes", ANY_WRONG.values(), ids=ANY_WRONG)
def test_a_row_without_mode_reason_or_time_is_refused(db: Connection, changes: dict[str, Any]) -> None:
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.NotNullViolation)):
        query(db, INSERT, {**PERMISSION, **changes, "allowed": False})


def test_safe_mode_permits_a_reduction_to_zero(db: Connection) -> None:
    for side, position in (("BUY", -1), ("SELL", 1)):
        query(
            db,
            INSERT,
            {
                **PERMISSION,
                "mode": "SAFE_MODE",
                "side": side,
                "position": position,
                "hash": None,
                "version": None,
            },
        )


def test_the_limits_are_not_the_writer_s_word(db: Connection, governed: Council) -> None:
    state = governed.state()
    right = {**PERMISSION, "version": state["version"], "hash": state["state_hash"]}
    assert query(db, INSERT, right)[0]["limits"]["max_leverage_ratio"] == 2.0
    for wrong in ({"version": state["version"] + 1}, {"hash": "0" * 64}, {"allowed": False, "version": None}):
        assert query(db, INSERT, {**right, **wrong})[0]["limits"] is None


def test_an_older_state_keeps_its_limits(db: Connection, governed: Council) -> None:
    old = governed.state()
    governed.enact("asset_kill_threshold", threshold("BTCUSD"), "ada", "ben")
    (row,) = query(db, INSERT, {**PERMISSION, "version": old["version"], "hash": old["state_hash"]})
    assert row["limits"] == {
        "max_position_size_pct": 0.05,
        "daily_drawdown_limit_pct": 0.03,
        "max_leverage_ratio": 2.0,
        "kill_threshold": None,
    }


def test_a_state_without_limits_has_none(db: Connection, council: Council) -> None:
    council.enact("asset_kill_threshold", threshold("BTCUSD"), "ada", "ben")
    state = council.state()
    (row,) = query(db, INSERT, {**PERMISSION, "version": state["version"], "hash": state["state_hash"]})
    assert row["limits"]["max_leverage_ratio"] is None
    assert row["limits"]["kill_threshold"]["asset"] == "BTCUSD"


def test_the_table_is_verified_and_guarded(db: Connection) -> None:
    query(db, INSERT, {**PERMISSION, "allowed": False})
    assert verdicts(db)["risk_decisions"].verdict == "intact"
    tamper(db, "update risk_decisions set allowed = true, state_hash = repeat('0', 64)")
    assert verdicts(db)["risk_decisions"].verdict == "content_mismatch"
    db.execute("alter table risk_decisions disable trigger zzz_chain")
    assert [row["object_name"] for row in changed_guards(db)] == ["risk_decisions.zzz_chain"]
