"""Which decision an order stands on (vw_trade_audit_full), and which orders stand on none (the other view)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.risk.council import Council
from tests.support import Connection, as_role, make_signal, one, query

D = Decimal


class Desk:
    """An order path that decides and sends about one signal, right or wrong."""

    def __init__(self, db: Connection, council: Council) -> None:
        self.db = db
        self.signal = make_signal(db)["correlation_id"]
        self.state = council.state()

    def decide(self, *, allowed: bool = True, **changes: Any) -> int:
        """Record a decision by the limits in force; gives its id."""
        given = {
            "correlation_id": self.signal,
            "symbol": "BTCUSD",
            "side": "BUY",
            "quantity": D(1),
            "price": D(60000),
            "position": D(0),
            "allowed": allowed,
            "reason": "within the limits" if allowed else "too much",
            "mode": "NORMAL",
            "risk_version": self.state["version"],
            "state_hash": self.state["state_hash"],
            "decision_maker": "algo 7",
            **changes,
        }
        call = ", ".join(f'"{name}" => %({name})s' for name in given)
        return int(one(self.db, f"select id from record_decision({call})", given))

    def order(self, client_order_id: str | None = "c-1", status: str = "PENDING", **changes: Any) -> int:
        """Record an order; gives its id."""
        given = {
            "correlation_id": self.signal,
            "order_type": "MARKET",
            "symbol": "BTCUSD",
            "side": "BUY",
            "quantity": D(1),
            "client_order_id": client_order_id,
            "status": status,
            **changes,
        }
        call = ", ".join(f'"{name}" => %({name})s' for name in given)
        return int(one(self.db, f"select id from record_order({call})", given))

    @property
    def problems(self) -> dict[int, str]:
        found = query(self.db, "select order_id, problem from vw_orders_without_permission")
        return {row["order_id"]: row["problem"] for row in found}

    @property
    def decisions(self) -> dict[int | None, int | None]:
        """The decision that vw_trade_audit_full shows beside each order."""
        found = query(self.db, "select order_id, decision_id from vw_trade_audit_full")
        return {row["order_id"]: row["decision_id"] for row in found}


@pytest.fixture
def desk(db: Connection, governed: Council) -> Desk:
    return Desk(db, governed)


def test_an_order_after_its_permission_is_not_listed(desk: Desk) -> None:
    decision = desk.decide()
    orders = [desk.order(), desk.order(status="SUBMITTED", exchange_order_id="x-1")]
    assert desk.problems == {}
    assert desk.decisions == dict.fromkeys(orders, decision)


def test_no_decision(desk: Desk) -> None:
    order = desk.order()
    assert desk.problems == {order: "no decision was recorded before it"}


@pytest.mark.parametrize(
    "changes",
    [{"symbol": "ETHUSD"}, {"side": "SELL"}, {"correlation_id": None}],
    ids=["other symbol", "other side", "no signal"],
)
def test_a_decision_about_something_else_is_none(desk: Desk, changes: dict[str, Any]) -> None:
    desk.decide(**changes)
    order = desk.order()
    assert desk.problems == {order: "no decision was recorded before it"}


def test_a_decision_that_was_recorded_afterwards_is_none(desk: Desk) -> None:
    order = desk.order()
    desk.decide(decided_at="2020-01-01")
    assert desk.problems == {order: "no decision was recorded before it"}
    assert desk.decisions == {order: None}


def test_a_refused_order(desk: Desk) -> None:
    desk.decide(allowed=False)
    order = desk.order()
    assert desk.problems == {order: "it was refused: too much"}


def test_the_latest_decision_counts(desk: Desk) -> None:
    desk.decide(allowed=False)
    desk.decide()
    first = desk.order()
    refusal = desk.decide(allowed=False)
    second = desk.order("c-2")
    assert desk.problems == {second: "it was refused: too much"}
    assert desk.decisions == {first: refusal - 1, second: refusal}


def test_more_than_was_allowed(desk: Desk) -> None:
    desk.decide()
    small = desk.order(quantity=D("0.5"))
    large = desk.order(status="SUBMITTED", quantity=D("1.0000000001"))
    assert small not in desk.problems
    assert desk.problems == {large: "its quantity is 1.0000000001, and 1.0000000000 was allowed"}


@pytest.mark.parametrize("changes", [{"state_hash": "0" * 64}, {"risk_version": 99}])
def test_a_state_that_was_never_applied(desk: Desk, changes: dict[str, Any]) -> None:
    desk.decide(**changes)
    version = changes.get("risk_version", desk.state["version"])
    said = f"the decision names a state that was never applied: version {version}"
    order = desk.order()
    assert desk.problems == {order: said}


def test_a_reduction_in_safe_mode_needs_no_state(desk: Desk) -> None:
    desk.decide(mode="SAFE_MODE", position=D(-1), risk_version=None, state_hash=None)
    desk.order()
    assert desk.problems == {}


def test_but_a_state_that_it_names_must_have_been_applied(desk: Desk) -> None:
    desk.decide(mode="SAFE_MODE", position=D(-1), state_hash="0" * 64)
    version = desk.state["version"]
    order = desk.order()
    assert desk.problems == {order: f"the decision names a state that was never applied: version {version}"}


def test_a_second_order_needs_a_decision_of_its_own(desk: Desk) -> None:
    desk.decide()
    first = desk.order()
    second = [desk.order("c-2"), desk.order("c-2", "SUBMITTED")]
    said = f"order {first} used this permission: it needs a decision of its own"
    assert desk.problems == dict.fromkeys(second, said)
    desk.decide()
    desk.order("c-3")
    assert list(desk.problems) == second


def test_an_order_that_is_recorded_again_keeps_its_decision(desk: Desk) -> None:
    """Another order was decided on between PENDING and SUBMITTED."""
    first = desk.decide()
    pending = desk.order()
    second = desk.decide(allowed=False)
    submitted, other = desk.order(status="SUBMITTED"), desk.order("c-2")
    assert desk.problems == {other: "it was refused: too much"}
    assert desk.decisions == {pending: first, submitted: first, other: second}


def test_without_client_order_id_a_status_that_comes_twice_is_another_order(desk: Desk) -> None:
    decision = desk.decide()
    first = [desk.order(None), desk.order(None, "SUBMITTED")]
    assert desk.problems == {}
    second = [desk.order(None), desk.order(None, "SUBMITTED")]
    said = f"order {first[0]} used this permission: it needs a decision of its own"
    assert desk.problems == dict.fromkeys(second, said)
    assert set(desk.decisions.values()) == {decision}


def test_a_signal_without_an_order_shows_its_latest_decision(desk: Desk) -> None:
    assert desk.decisions == {None: None}
    desk.decide()
    refusal = desk.decide(allowed=False, side="SELL")
    assert desk.decisions == {None: refusal}


def test_both_views_mean_the_same_decision(desk: Desk) -> None:
    """The one joins it for each order, the other for all at once."""
    for number in range(4):
        desk.decide(allowed=False)
        desk.order(f"c-{number}")
        desk.order(None, side="SELL")
        desk.decide(allowed=False, side="SELL", reason=f"refusal {number}")
        desk.order(f"c-{number}", "SUBMITTED")
        desk.order(None, "SUBMITTED", side="SELL")
    found = query(desk.db, "select order_id, decision_id from vw_orders_without_permission")
    assert len(found) == 16
    assert {row["order_id"]: row["decision_id"] for row in found} == desk.decisions


def test_the_audit_view_shows_the_decision_and_the_limits(desk: Desk) -> None:
    decision = desk.decide()
    desk.order()
    (shown,) = query(desk.db, "select * from vw_trade_audit_full")
    (stored,) = query(desk.db, "select * from risk_decisions")
    columns = {
        "decision_id": "id",
        "decision_allowed": "allowed",
        "decision_reason": "reason",
        "decision_mode": "mode",
        "decision_version": "risk_version",
        "decision_limits": "limits",
        "decision_by": "decision_maker",
        "decision_decided_at": "decided_at",
        "decision_hash": "row_hash",
    }
    assert stored["id"] == decision
    assert stored["limits"]["max_leverage_ratio"] == 2.0
    assert list(shown)[-len(columns) :] == list(columns)
    assert {name: shown[name] for name in columns} == {
        name: stored[column] for name, column in columns.items()
    }


@pytest.mark.parametrize("role", ["app_trading", "app_auditor", "app_risk"])
def test_each_role_reads_them(desk: Desk, role: str) -> None:
    order = desk.order()
    with as_role(desk.db, role):
        assert list(desk.problems) == [order]
        assert list(desk.decisions) == [order]


@pytest.mark.parametrize(
    ("side", "position", "price", "is_worse"),
    [("BUY", 0, 60001, True), ("BUY", 0, 59999, False), ("SELL", 1, 59999, True), ("SELL", 1, 60001, False)],
)
def test_a_worse_price_than_the_one_that_was_judged(
    desk: Desk, side: str, position: int, price: int, is_worse: bool
) -> None:
    desk.decide(side=side, position=D(position))
    order = desk.order(side=side, order_type="LIMIT", price=D(price))
    said = f"its price is {price}.0000000000, and it was judged at 60000.0000000000"
    assert desk.problems == ({order: said} if is_worse else {})
