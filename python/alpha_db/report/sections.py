"""The sections of a report between the verdict and the trades: figures, charts with their numbers, and lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from alpha_db.pages import Element, Node, element, picture, state
from alpha_db.queries import Row
from alpha_db.report import charts
from alpha_db.report.charts import Buckets
from alpha_db.report.reading import Activity, Part, Period, Reading
from alpha_db.report.texts import brief, duration, percent, plain, short_time, shortened

_FIGURES = {
    "webhook_deliveries": ("webhook deliveries", False),
    "deliveries_without_signal": ("deliveries that became no signal", True),
    "signals": ("signals", False),
    "signals_not_authenticated": ("signals whose signature was not verified", True),
    "ai_answers": ("AI answers", False),
    "ai_timeouts": ("AI time-outs", True),
    "decisions_allowed": ("decisions: allowed", False),
    "decisions_refused": ("decisions: refused", False),
    "orders": ("orders", False),
    "orders_without_permission": ("orders that no permission covers", True),
    "fills": ("fills", False),
    "rejections": ("rejections by the exchange", True),
    "kill_switches": ("kill switches", True),
    "changes_applied": ("changes that agents approved", False),
    "lockdowns_engaged": ("lockdowns engaged", True),
}
#: Columns, how they are called, and what they are multiplied by: the first two are shares.
_LIMITS = {
    "max_position_size_pct": ("largest position, % of equity", 100),
    "daily_drawdown_limit_pct": ("largest loss of a day, %", 100),
    "max_leverage_ratio": ("largest leverage, times", 1),
}
#: Series of a chart; further tables are put together.
_SERIES = 6


def table(head: Sequence[str], rows: Iterable[Sequence[Node]], *, numbers: Sequence[int] = ()) -> Element:
    """Return a table; takes the titles, the cells, and which columns are numbers."""

    def kind(column: int) -> str | None:
        return "number" if column in numbers else None

    return element(
        "div",
        element(
            "table",
            element(
                "thead", element("tr", *(element("th", text, class_=kind(n)) for n, text in enumerate(head)))
            ),
            element(
                "tbody",
                *(
                    element("tr", *(element("td", cell, class_=kind(n)) for n, cell in enumerate(cells)))
                    for cells in rows
                ),
            ),
        ),
        class_="wide",
    )


def section(title: str, *content: Node | None, source: Part | None = None) -> Element:
    """Return a section; if its source could not be read, it says so instead of anything else."""
    if source is not None and source.problem:
        content = (element("p", state("unknown", f"This could not be read: {source.problem}")),)
    return element("section", element("h2", title), *content)


def figures(activity: Activity) -> Element:
    """Return the figures of the period."""
    cards = []
    for row in activity.figures.rows:
        name, is_bad = _FIGURES[row["figure"]]
        number = f"{row['number']:,}"
        shown = state("warn", number) if is_bad and row["number"] else number
        cards.append(
            element("div", element("div", shown, class_="figure"), element("div", name), class_="card")
        )
    return section("Figures of the period", element("div", *cards, class_="cards"), source=activity.figures)


def activity_charts(activity: Activity, period: Period) -> Element:
    """Return the charts, each with what it shows in words and as a table."""
    buckets = Buckets.of(period.begins_at, period.ends_at)
    drawn = [
        _rows_chart(activity, buckets),
        _runs_chart(activity, buckets),
        _refusals_chart(activity, buckets),
        _limits_chart(activity, period),
        _lockdowns_chart(activity, period),
    ]
    return element(
        "section", element("h2", "The period at a glance"), element("div", *drawn, class_="charts")
    )


def _chart(title: str, svg: bytes | None, said: str, numbers: Element | None, source: Part) -> Element:
    if source.problem:
        said, svg, numbers = f"This could not be read: {source.problem}", None, None
    return element(
        "figure",
        element("figcaption", element("b", title), " ", said),
        picture(svg, f"{title}. {said} The numbers are in the table below.") if svg else None,
        element("details", element("summary", "the numbers"), numbers) if numbers else None,
    )


def _bucketed(
    title: str,
    said: str,
    buckets: Buckets,
    series: Sequence[tuple[str, list[float]]],
    what: str,
    source: Part,
) -> Element:
    if not series or not any(any(values) for _, values in series):
        return _chart(title, None, f"None in this period. {said}", None, source)
    head = [f"{buckets.name} from", *(name for name, _ in series)]
    rows = [
        [day.isoformat(), *(f"{values[number]:,.0f}" for _, values in series)]
        for number, day in enumerate(buckets.edges()[:-1])
        if any(values[number] for _, values in series)
    ]
    numbers = table(head, rows, numbers=range(1, len(head)))
    return _chart(title, charts.bars(buckets, series, what), said, numbers, source)


def _rows_chart(activity: Activity, buckets: Buckets) -> Element:
    totals: dict[str, list[tuple[Any, float]]] = {}
    for row in activity.days.rows:
        totals.setdefault(row["table"], []).append((row["day"], row["row_count"]))
    names = sorted(totals, key=lambda name: -sum(number for _, number in totals[name]))
    series = [(name, buckets.sums(totals[name])) for name in names[:_SERIES]]
    if others := names[_SERIES:]:
        rest = [day for name in others for day in totals[name]]
        series.append((f"other chains ({len(others)})", buckets.sums(rest)))
    total = sum(row["row_count"] for row in activity.days.rows)
    said = f"{total:,} rows were recorded, by table."
    return _bucketed(f"Rows a {buckets.name}", said, buckets, series, "rows", activity.days)


def _runs_chart(activity: Activity, buckets: Buckets) -> Element:
    rows = activity.verifications.rows
    series = [
        (name, buckets.sums([(row["day"], row[column]) for row in rows]))
        for name, column in (("all rows", "full_runs"), ("new rows and some older", "partial_runs"))
    ]
    pauses = [row["longest_pause"] for row in rows if row["longest_pause"]]
    longest = f" The longest pause was {duration(max(pauses))}." if pauses else ""
    full, partial = (sum(row[name] for row in rows) for name in ("full_runs", "partial_runs"))
    said = (
        f"Recorded: {full + partial:,}, of which {full:,} read all rows. Each found nothing wrong.{longest}"
        if rows
        else "No verification run was recorded."
    )
    return _bucketed("Verification runs", said, buckets, series, "runs", activity.verifications)


def _refusals_chart(activity: Activity, buckets: Buckets) -> Element:
    rows = activity.verifications.rows
    series = [
        ("refused attempts", buckets.sums([(row["day"], row["refused_attempts"] or 0) for row in rows]))
    ]
    said = (
        "Counted by verification runs: an attempt stands at the run that counted it. After a crash of the server, up "
        "to 32 may be counted that never were."
    )
    return _bucketed("Refused attempts", said, buckets, series, "attempts", activity.verifications)


def _limits_chart(activity: Activity, period: Period) -> Element:
    rows = activity.limits.rows
    title = "Risk limits over time"
    if not any(row[name] is not None for row in rows for name in _LIMITS):
        return _chart(title, None, "No limits were in force in this period.", None, activity.limits)
    times = [row["applied_at"] for row in rows]
    series = [(said, [_times(row[name], by) for row in rows]) for name, (said, by) in _LIMITS.items()]
    svg = charts.steps(period.begins_at, period.ends_at, times, series)
    numbers = table(
        ["in force from", "version", *(said for said, _ in _LIMITS.values())],
        [
            [
                short_time(row["applied_at"]),
                str(row["version"]),
                *(plain(_times(row[name], by)) for name, (_, by) in _LIMITS.items()),
            ]
            for row in rows
        ],
        numbers=range(1, 5),
    )
    return _chart(title, svg, f"Versions in force: {len(rows)}.", numbers, activity.limits)


def _times(number: Decimal | None, by: int) -> Decimal | None:
    return None if number is None else number * by


def _intervals(rows: Sequence[Row]) -> list[tuple[datetime, datetime | None, Row]]:
    found: list[tuple[datetime, datetime | None, Row]] = []
    for row in rows:
        if row["event_type"] == "RELEASED":
            if found and found[-1][1] is None:
                found[-1] = (found[-1][0], row["created_at"], found[-1][2])
        elif not found or found[-1][1] is not None:
            found.append((row["created_at"], None, row))
    return found


def _lockdowns_chart(activity: Activity, period: Period) -> Element:
    every = _intervals(activity.lockdowns.rows)
    mine = [each for each in every if each[1] is None or each[1] >= period.begins_at]
    if not mine:
        return _chart("Lockdowns", None, "No lockdown was engaged in this period.", None, activity.lockdowns)
    svg = charts.spans(period.begins_at, period.ends_at, [(start, end) for start, end, _ in mine])
    numbers = table(
        ["engaged", "released", "found by", "why"],
        [
            [
                short_time(start),
                short_time(end) if end else "not in this period",
                row["recorded_by"],
                row["reason"],
            ]
            for start, end, row in mine
        ],
    )
    return _chart(
        "Lockdowns", svg, f"{len(mine)}; hatched: not released in this period.", numbers, activity.lockdowns
    )


def damage(reading: Reading) -> Element | None:
    """Return the damaged places, the first of each chain; None if there are none."""
    if not reading.checked.damage:
        return None
    content: list[Node] = []
    for name, found in reading.checked.damage.items():
        if found.problem:
            content.append(element("p", state("unknown", f"{name}: {found.problem}")))
            continue
        total = found.rows[0]["total"] if found.rows else 0
        more = f", of which the first {len(found.rows)} are shown" if total > len(found.rows) else ""
        content.append(
            element("h3", f"{name}: {total:,} damaged {'place' if total == 1 else 'places'}{more}")
        )
        rows = [
            [
                "-" if row["id"] is None else str(row["id"]),
                state("bad", row["verdict"].replace("_", " ")),
                element("code", row["expected_hash"] or "-"),
                element("code", row["actual_hash"] or "-"),
                row["detail"] or "",
            ]
            for row in found.rows
        ]
        content.append(table(["row", "what", "hash expected", "hash found", "detail"], rows, numbers=[0]))
    return section("Damage", *content)


def changes(activity: Activity) -> Element | None:
    """Return the changes of limits and agents that applied in the period; None if there were none."""
    rows = [row for row in activity.limits.rows if row["proposal_id"]]
    if not rows and not activity.limits.problem:
        return None
    listed = [
        [
            str(row["version"]),
            short_time(row["applied_at"]),
            row["kind"],
            row["proposer"] or "-",
            ", ".join(name or "?" for name in row["approvers"] or []) or "-",
            brief(row["reason"] or "-"),
            _thresholds(row["kill_thresholds"]),
        ]
        for row in reversed(rows)
    ]
    head = ["version", "applied", "kind", "proposed by", "approved by", "reason", "kill thresholds then"]
    return section("Changes that agents approved", table(head, listed, numbers=[0]), source=activity.limits)


def _thresholds(found: object) -> str:
    if not isinstance(found, list) or not found:
        return "-"
    said = [f"{each.get('asset')} {percent(each.get('kill_loss_pct'))} %" for each in found[:20]]
    return ", ".join(said) + (f" and {len(found) - 20} more" if len(found) > 20 else "")


def proposals(activity: Activity) -> tuple[Element | None, list[dict[str, str]]]:
    """Return the proposals of the period with their votes, and the signatures that the page verifies of them."""
    rows = activity.proposals.rows
    if not rows and not activity.proposals.problem:
        return None, []
    signatures: list[dict[str, str]] = []
    items = [_proposal(row, activity.votes.rows, signatures) for row in rows]
    total = rows[0]["total"] if rows else 0
    said = (
        f"The newest {len(rows)} of {total:,} proposals are shown."
        if total > len(rows)
        else f"{total:,} in all."
    )
    content = (element("p", said), *items)
    return section("Proposals and votes", *content, source=activity.proposals), signatures


def _proposal(row: Row, votes: Sequence[Row], signatures: list[dict[str, str]]) -> Element:
    mine = [vote for vote in votes if vote["proposal_id"] == row["proposal_id"]]
    who = f"the proposal {row['proposal_id']} by {row['proposer_name']}"
    signed = [_signed(row, who, f"proposal-{row['proposal_id']}", signatures)]
    for number, vote in enumerate(mine):
        who = f"the vote of {vote['name']} on {row['proposal_id']}"
        signed.append(_signed(vote, who, f"vote-{row['proposal_id']}-{number}", signatures))
    cast = [
        element("li", f"{vote['name']}: {vote['decision']}, signed {short_time(vote['signed_at'])}")
        for vote in mine
    ]
    return element(
        "details",
        element(
            "summary",
            element("span", short_time(row["created_at"]), class_="time"),
            " ",
            element("b", row["kind"]),
            f" by {row['proposer_name']}: ",
            _status(row),
        ),
        element("p", brief(row["reason"]), class_="value"),
        element("p", f"{row['approvals']} of {row['needed']} approvals that it needs besides the proposer."),
        element("ul", *cast) if cast else None,
        *signed,
        class_="trade",
    )


def _status(row: Row) -> Element:
    if row["status"] in ("PENDING", "EXPIRED"):  # which of the two, only a clock could say
        return state("unknown", f"open until {short_time(row['expires_at'])}, unless it is past")
    return state("good" if row["status"] == "APPLIED" else "warn", row["status"].lower())


def _signed(row: Row, who: str, name: str, signatures: list[dict[str, str]]) -> Element:
    shown, cut = shortened(row["signed_text"])
    text = {} if shown == row["signed_text"] else {"text": row["signed_text"]}
    signatures.append(
        {"who": who, "element": name, "key": row["public_key"], "signature": row["signature"], **text}
    )
    return element(
        "details",
        element("summary", f"the signed text of {who}"),
        element("pre", shown, id=name),
        element("p", f"{cut:,} more characters are left out here.", class_="dim") if cut else None,
    )


def attempts(activity: Activity) -> Element:
    """Return how often each kind of attempt was refused, ever."""
    rows = [row for row in activity.attempts.rows if row["attempts"]]
    listed = table(
        ["code", "table", "operation", "refused"],
        [[row["code"], row["table_name"], row["operation"], f"{row['attempts']:,}"] for row in rows],
        numbers=[3],
    )
    said = "Since the installation, not only in this period, and also those that were rolled back."
    content = (
        (element("p", said, class_="dim"), listed)
        if rows
        else (element("p", "No attempt was ever refused."),)
    )
    return section("Refused attempts", *content, source=activity.attempts)


def archived(activity: Activity) -> Element | None:
    """Return the segments that agents agreed to archive; None if there are none."""
    rows = activity.archived.rows
    if not rows and not activity.archived.problem:
        return None
    listed = [
        [
            row["table"],
            f"{row['first_id']:,} to {row['through_id']:,}",
            short_time(row["last_created_at"]),
            f"{row['still_here']:,}",
            element("code", row["segment_sha256"]),
            short_time(row["created_at"]),
        ]
        for row in rows
    ]
    head = [
        "table",
        "rows",
        "last of them written",
        "still here",
        "SHA-256 of the segment's file",
        "approved",
    ]
    said = "Rows that left by approval. Their segments prove themselves: alpha-db verify-export FILE."
    return section(
        "Archived rows", element("p", said), table(head, listed, numbers=[3]), source=activity.archived
    )
