"""What the demo prints: a numbered section for each step, no line longer than a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from alpha_db.cli.output import BAD, DIM, GOOD, HEAD, clean
from alpha_db.demo.desk import MODELS
from alpha_db.demo.paragraph import line
from alpha_db.demo.render_cut import cut
from alpha_db.demo.render_risk import risk
from alpha_db.demo.render_years import years
from alpha_db.demo.replay import Listener
from alpha_db.demo.story import AUDITOR, COPY, CUT_COPY, DATABASE, RISK_COPY, TRADER, YEARS_COPY, Step
from alpha_db.shell.columns import rows
from alpha_db.verify.cli.progress import progress_bar

_SHORT = 16

_WHAT = {
    "webhook_deliveries": "each webhook, byte for byte",
    "signals": "what each of them says",
    "ai_debates": f"{len(MODELS)} models (scripted) on every eighth",
    "order_execution": "each PENDING before it is sent, and SUBMITTED",
    "order_events": "fills, cancellations, and the kill switch",
}


@contextmanager
def progress(total: int) -> Iterator[Listener]:
    """Show a progress bar of so many webhooks, on a terminal's stderr only."""
    with progress_bar("replaying", total) as tell:
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            tell(done)

        yield advance


def title() -> None:
    """Say what this is."""
    line(("alpha-db demo: an audit log that shows when somebody has tampered with it.", HEAD))


def server(version: str, directory: Path, seconds: float) -> None:
    """Print the section of the server, which is there before the story begins."""
    _heading(1, "A PostgreSQL server of its own")
    line(f"   PostgreSQL {clean(version)}, started in {seconds:.1f} s, reached by a private socket only, in")
    line(f"   {clean(directory)}")


def step(number: int, found: Step) -> None:
    """Print the section of a step."""
    heading, body = _SECTIONS[found.name]
    _heading(number, heading)
    body(found.data)
    if not found.ok:
        line(("   THIS IS NOT WHAT ALPHA-DB PROMISES", BAD))


def conclusion(*, ok: bool, seconds: float, connect: dict[str, str] | None) -> None:
    """Print how it ended, and how to go on if the server stays."""
    line()
    said = ("All of it was as promised", GOOD) if ok else ("Not everything was as promised: see above", BAD)
    line(
        said, f", in {seconds:.1f} s." if connect else f", in {seconds:.1f} s; nothing of the server is left."
    )
    if connect:
        line(
            f"The server stays: {DATABASE}; {COPY}, {CUT_COPY}, {RISK_COPY} and {YEARS_COPY} were tampered with."
        )
        for what in ("url", "psql", "verify", "stop"):
            line((f"  {what:<8}", DIM), connect[what])


def _heading(number: int, text: str) -> None:
    line()
    line((f"{number}. {text}", HEAD))


def _migrate(data: dict[str, Any]) -> None:
    lines = [(event["name"], f"{event['milliseconds']} ms") for event in data["applied"]]
    rows(lines, right=[1], indent="   ")


def _replay(data: dict[str, Any]) -> None:
    writer = data["writer"]
    member = ", ".join(writer["member_of"] or ["no role"])
    power = "and a superuser" if writer["is_superuser"] else "no superuser"
    alerts, candles, seconds = f"{data['webhooks']:,}", f"{data['candles']:,}", f"{data['seconds']:.1f}"
    line(f"   {alerts} alerts like TradingView's: crossovers of moving averages on {candles}")
    line(f"   real five-minute candles of ETH/BTC. Written as {clean(writer['login'])}, a member of")
    written = data["rows"]
    total = f"{written['total']:,} rows in {seconds} s"
    line(f"   {clean(member)} and {power}, {data['batch']} a transaction, {total}:")
    rows([(name, f"{written[name]:,}", what) for name, what in _WHAT.items()], right=[1], indent="     ")
    again = data["delivered_again"]
    more = again["rows"]
    twice = {name: number for name, number in more.items() if number and name != "webhook_deliveries"}
    outcome = ("no signal, order or fill is there twice", GOOD) if not twice else (f"AND TWICE: {twice}", BAD)
    line(f"   {again['webhooks']} of them are delivered again: ", outcome)


def _verify(data: dict[str, Any]) -> None:
    line("   Each row's hash covers the row and the hash of the row before it.")
    verdicts = data["verdicts"]
    # alpha-db's own chains in one line, unless one of them is not as it should be
    quiet = [row for row in verdicts if row["table_name"] in data["internal"] and row["is_valid"] is True]
    shown = [row for row in verdicts if row not in quiet]
    lines = [
        (
            "ok" if row["is_valid"] is True else "not ok",
            row["table_name"],
            f"{row['rows_checked']:,}",
            f"{(data['heads'][row['table_name']] or '-')[:_SHORT]}",
        )
        for row in shown
        if row["rows_checked"] or row["is_valid"] is not True
    ]
    own = f"{sum(row['rows_checked'] for row in quiet):,}"
    lines.append(("ok", f"{len(quiet)} of alpha-db's own", own, "guards, agents, votes, limits ..."))
    styles = [GOOD if first == "ok" else BAD for first, *_ in lines]
    rows(lines, head=("", "chain", "rows", "last hash"), styles=styles, right=[2], indent="   ")
    count = sum(row["rows_checked"] for row in verdicts)
    outcome = ("Intact", GOOD) if data["intact"] else ("NOT INTACT", BAD)
    line(
        "   ", outcome, f": {count:,} rows in {len(verdicts)} chains, recomputed in {data['seconds']:.2f} s."
    )


def _views(data: dict[str, Any]) -> None:
    signals, orders = f"{data['signals']:,}", f"{data['order_rows']:,}"
    line(f"   vw_trade_audit_full: {signals} signals with {orders} order records, among them")
    trade = data["trade"]
    if trade is None:
        line("     (no trade was filled)")
    else:
        rows(list(_trade(trade)), indent="     ")
    line("   vw_kill_switch_events:")
    for event in data["kill_switches"]:
        closed = "; ".join(
            f"{_number(item['quantity'])} {item['symbol']} at {_number(item['price'])}, {item['reason']}"
            for item in event["positions_closed"]
        )
        order = f"{event['order_type']} {event['order_side']} {_number(event['order_quantity'])}"
        lines = [
            (f"event {event['event_id']}", f"account worth {event['zar_equity']:,} rand"),
            ("closed", closed or "nothing: no position was open"),
            (f"order {event['order_id']}", f"{order}, from signal {event['signal_row_id']}"),
        ]
        rows(lines, indent="     ")


def _trade(trade: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    price, quantity = _number(trade["price"]), _number(trade["quantity"])
    yield f"signal {trade['id']}", trade["signal_hash"][:_SHORT], f"{trade['side']} {quantity} at {price}"
    for model, column in (("deepseek", "deepseek_reasoning"), ("llama", "llama_sentiment")):
        answer = trade[column]
        yield model, trade[f"{model}_hash"][:_SHORT], f"{answer['stance']}: {answer['argument']}"
    yield "combined", "", f"confidence {trade['combined_confidence']}"
    limit = "" if trade["order_price"] is None else f" at {_number(trade['order_price'])}"
    order = f"{trade['order_type']} {trade['order_side']} {_number(trade['order_quantity'])}{limit}"
    yield f"order {trade['order_id']}", trade["order_hash"][:_SHORT], order
    fill = f"{_number(trade['event_fill_quantity'])} at {_number(trade['event_fill_price'])}"
    yield f"event {trade['event_id']}", trade["event_hash"][:_SHORT], f"{trade['event_type']} {fill}"


def _refusals(data: dict[str, Any]) -> None:
    line(f"   {data['copied_by']}")
    line("   As the superuser:")
    rows(data["refused"], styles=[GOOD] * len(data["refused"]), indent="     ")
    for statement in data["not_refused"]:
        line(("     NOT REFUSED: ", BAD), statement)
    for code, _ in data["by_privilege"]:
        line(f"   As {TRADER}, the first of them: ", (clean(code), GOOD), ", from PostgreSQL itself")
    line(f"   vw_rejected_attempts counts {data['attempts']}: rolling back does not undo that.")


def _tampering(data: dict[str, Any]) -> None:
    for statement in data["statements"]:
        line(f"     {statement}")
    found = data["found"]
    if found is None:
        line(("   Verification found ", BAD), f"{len(data['broken'])} broken chains")
        return
    place = f"{clean(found['table'])}, row {clean(found['id'])}"
    line(f"   Then {AUDITOR} verifies the chains again:")
    line(("     not ok", BAD), f"  {place}: {clean(found['verdict'])} ({clean(found['code'])})")
    line(("     expected  ", DIM), clean(found["expected_hash"]))
    line(("     actual    ", DIM), clean(found["actual_hash"]))


def _lockdown(data: dict[str, Any]) -> None:
    status = data["status"]
    state = ("engaged", GOOD) if status["is_locked"] else ("NOT ENGAGED", BAD)
    line("   ", state, f": {clean(status['reason'])}")
    line(f"   {TRADER} tries to record another signal:")
    line("     ", (clean(data["message"]), GOOD) if data["code"] else ("NOT REFUSED", BAD))


def _number(value: Decimal | int) -> str:
    return f"{Decimal(value).normalize():f}"


_SECTIONS: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "migrate": ("The migrations: plain SQL, no extension", _migrate),
    "replay": ("Webhooks, written through the stored functions", _replay),
    "verify": (f"The hash chains, verified as {AUDITOR}", _verify),
    "views": ("The two views", _views),
    "refusals": ("What is refused, in a copy of the database", _refusals),
    "tampering": ("A superuser switches the trigger off, edits a row, and switches it on again", _tampering),
    "lockdown": ("What follows: the lockdown", _lockdown),
    "cut": ("The end of a log is cut off, and only a signed checkpoint shows it", cut),
    "risk": ("Risk limits, which no agent and no superuser loosens alone", risk),
    "years": ("A log to live with for years", years),
}
