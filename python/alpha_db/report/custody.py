"""The chain of custody of each trade: a line for each row, in words, and below it the row as it was hashed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from alpha_db.pages import Element, Node, element, state
from alpha_db.pages.tree import State
from alpha_db.queries import Row
from alpha_db.report.proofs import Place, Proofs, embedded_row
from alpha_db.report.reading import MAX_SHOWN, Trade, Trades
from alpha_db.report.texts import brief, percent, plain, short_time, shortened

#: Bytes that the rows of all trades may take. With them a page stays below 5 MB.
BUDGET = 3_600_000

_NAMES = {
    "webhook_deliveries": "Delivery",
    "signals": "Signal",
    "ai_debates": "AI answer",
    "risk_decisions": "Decision",
    "order_execution": "Order",
    "order_events": "Event",
}

#: Events that end a trade with a sign; after any other nothing is decided, or nothing is wrong.
_SIGNED_EVENTS: Mapping[str, State] = {
    "FILL": "good",
    "REJECTED": "bad",
    "LIQUIDATION": "bad",
    "KILL_SWITCH": "bad",
}


@dataclass(frozen=True)
class Custody:
    """The trades as elements, the newest first, what the page verifies of them, and how many there was room for."""

    elements: list[Element]
    embedded: list[dict[str, Any]]
    left_out: int = 0


@dataclass
class _Room:
    """What is embedded already, and how much of the page it takes."""

    embedded: list[dict[str, Any]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    bytes: int = 0


def custody(trades: Trades, proofs: Proofs) -> Custody:
    """Return the trades that there is room for; one trade alone is shown whole."""
    room, elements = _Room(), []
    for trade in trades.shown:
        if room.bytes > BUDGET:
            break
        elements.append(_trade(trade, trades, proofs, room, is_open=len(trades.shown) == 1))
    return Custody(elements, room.embedded, len(trades.shown) - len(elements))


def _trade(trade: Trade, trades: Trades, proofs: Proofs, room: _Room, *, is_open: bool) -> Element:
    contents = [(place, _content(trades.rows.get(place))) for place in trade.rows]
    steps = [_step(place, content, trades, proofs, room) for place, content in contents]
    signal = next((content for place, content in contents if place[0] == "signals"), {})
    is_without = any(_permission_problem(place, trades) for place in trade.rows)
    return element(
        "details",
        element(
            "summary",
            element("span", _time(signal), class_="time"),
            " ",
            element("b", _what(signal), class_="value"),
            " → ",
            _outcome(contents),
            " " if is_without else None,
            state("warn", "an order without permission") if is_without else None,
        ),
        element("p", "correlation_id ", element("code", str(trade.correlation_id)), class_="dim"),
        element("ol", *steps, class_="custody"),
        *(element("p", _left_out(trade, table), class_="dim") for table in trade.left_out),
        class_="trade",
        open=is_open,
    )


def _content(row: Row | None) -> dict[str, Any]:
    """The members of a row, numbers as they are printed; none of a row that is not there, or is no object."""
    if row is None:
        return {}
    try:
        # the database gives no members of a row that may have a NUL; it gives the text, which may be cut
        found = json.loads(row["members"] or row["row_data"], parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _left_out(trade: Trade, table: str) -> str:
    return (
        f"{trade.left_out[table]:,} more rows of {table}, before the last one, are left out here. "
        f"alpha-db report --correlation {trade.correlation_id} shows them."
    )


def _permission_problem(place: Place, trades: Trades) -> str | None:
    return trades.without_permission.get(place[1]) if place[0] == "order_execution" else None


def _step(place: Place, content: dict[str, Any], trades: Trades, proofs: Proofs, room: _Room) -> Element:
    table, row_id = place
    head: list[Node] = [
        element("b", f"{_NAMES[table]} {row_id}"),
        " ",
        element("span", _time(content), class_="time"),
    ]
    row = trades.rows.get(place)
    if row is None:
        return element("li", *head, " ", state("unknown", "not in the database: archived, or missing"))
    facts = (
        element("div", _SAY[table](content), class_="value")
        if content
        else element("div", state("unknown", "this row could not be put into words"))
    )
    extra = _permission_problem(place, trades)
    warning = element("div", state("warn", f"No permission covers this order: {extra}")) if extra else None
    name = f"row-{table.replace('_', '-')}-{row_id}"
    shown, _ = shortened(row["row_data"])
    if name in room.names:  # two signals of one delivery
        return element(
            "li", *head, facts, warning, element("p", "The row stands with a trade above.", class_="dim")
        )
    room.names.add(name)
    embedded = embedded_row(place, row, name, shown, proofs)
    room.embedded.append(embedded)
    room.bytes += 900 + len(escape(shown).encode()) + len(embedded.get("text", "").encode())
    return element("li", *head, facts, warning, _as_hashed(row, name, shown, table))


def _as_hashed(row: Row, name: str, shown: str, table: str) -> Element:
    cut = max(row["characters"] - MAX_SHOWN, 0)
    left = f"{cut:,} more characters are left out. alpha-db prove {table} {row['id']} writes all."
    said = element("p", left, class_="dim") if cut else None
    hashes = element("p", "row_hash ", element("code", row["row_hash"]), class_="dim")
    return element(
        "details",
        element("summary", "the row as it was hashed"),
        hashes,
        element("pre", shown, id=name),
        said,
    )


def _time(content: Mapping[str, Any]) -> str:
    return short_time(content.get("created_at"))


def _what(content: Mapping[str, Any]) -> str:
    if not content:
        return "a trade whose signal cannot be read"
    price = f" at {plain(content['price'])}" if content.get("price") is not None else ""
    return f"{content.get('side')} {plain(content.get('quantity'))} {brief(content.get('symbol'))}{price}"


def _outcome(contents: list[tuple[Place, dict[str, Any]]]) -> Element:
    """Return how a trade ended. A sign stands at a fill, and at what somebody should look at."""

    def last(table: str) -> dict[str, Any]:
        return next((content for place, content in reversed(contents) if place[0] == table), {})

    if event := last("order_events"):
        kind = str(event.get("event_type"))
        said = kind.lower().replace("_", " ")
        if kind in _SIGNED_EVENTS:
            return state(_SIGNED_EVENTS[kind], said)
    elif order := last("order_execution"):
        said = f"order {str(order.get('status')).lower()}, no event"
    elif (decision := last("risk_decisions")) and not decision.get("allowed"):
        return state("warn", "refused by the guardrail")
    else:
        said = "no order"
    return element("span", said, class_="dim")


def _delivery(row: Mapping[str, Any]) -> str:
    sender = f"from {row.get('source_ip')}, " if row.get("source_ip") else ""
    return f"{sender}{row.get('body_size')} bytes, SHA-256 {str(row.get('body_sha256'))[:16]}…, {_hmac(row)}"


def _hmac(row: Mapping[str, Any]) -> str:
    return "signature verified by the application" if row.get("hmac_verified") else "signature not verified"


def _signal(row: Mapping[str, Any]) -> str:
    return f"{_what(row)}, signal_id {brief(row.get('signal_id'))}, {_hmac(row)}"


def _debate(row: Mapping[str, Any]) -> str:
    version = f" ({brief(row['model_version'])})" if row.get("model_version") else ""
    model = f"{brief(row.get('model_name'))}{version}"
    if row.get("is_timeout"):
        return f"{model}: timed out after {row.get('elapsed_ms')} ms"
    return f"{model}: confidence {plain(row.get('confidence_score'))} in {row.get('elapsed_ms')} ms"


def _decision(row: Mapping[str, Any]) -> str:
    word = "allowed" if row.get("allowed") else "refused"
    by = f", by {brief(row['decision_maker'])}" if row.get("decision_maker") else ""
    about = f"{row.get('side') or '-'} {plain(row.get('quantity'))} {brief(row.get('symbol') or '-')}"
    return f"{about}: {word}, {brief(row.get('reason'))}{by}. {_in_force(row)}"


def _in_force(row: Mapping[str, Any]) -> str:
    limits = row.get("limits")
    if not isinstance(limits, dict):
        return f"Limits in force: none (mode {row.get('mode')})."
    threshold = limits.get("kill_threshold")
    loss = threshold.get("kill_loss_pct") if isinstance(threshold, dict) else None
    return (
        f"Limits in force (version {row.get('risk_version')}): "
        f"position {percent(limits.get('max_position_size_pct'))} %, "
        f"daily loss {percent(limits.get('daily_drawdown_limit_pct'))} %, "
        f"leverage {plain(limits.get('max_leverage_ratio'))}, kill at a loss of {percent(loss)} %."
    )


def _order(row: Mapping[str, Any]) -> str:
    price = f" at {plain(row['price'])}" if row.get("price") is not None else ""
    stop = f", stop {plain(row['stop_price'])}" if row.get("stop_price") is not None else ""
    by = f", responsible: {brief(row['decision_maker'])}" if row.get("decision_maker") else ""
    known = f", at the exchange {brief(row['exchange_order_id'])}" if row.get("exchange_order_id") else ""
    what = (
        f"{row.get('order_type')} {row.get('side')} {plain(row.get('quantity'))} {brief(row.get('symbol'))}"
    )
    return f"{what}{price}{stop}: {row.get('status')}{known}{by}"


def _event(row: Mapping[str, Any]) -> str:
    about = f"Order {row['order_execution_id']}: " if row.get("order_execution_id") else ""
    said = f"{about}{row.get('event_type')}"
    if row.get("fill_quantity") is not None:
        said += f" {plain(row['fill_quantity'])} at {plain(row.get('fill_price'))}"
    if row.get("rejection_reason"):
        said += f": {brief(row['rejection_reason'])}"
    if row.get("exchange_error_code"):
        said += f" ({brief(row['exchange_error_code'])})"
    if row.get("zar_equity") is not None:
        said += f", equity {plain(row['zar_equity'])} ZAR"
    if isinstance(row.get("positions_closed"), list):
        said += f", positions closed: {len(row['positions_closed'])}"
    return said


_SAY: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "webhook_deliveries": _delivery,
    "signals": _signal,
    "ai_debates": _debate,
    "risk_decisions": _decision,
    "order_execution": _order,
    "order_events": _event,
}
