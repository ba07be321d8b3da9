"""The sections of a report between the verdict and the trades: figures, and charts with their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from alpha_db.pages import Element, Node, element, picture, state
from alpha_db.queries import Row
from alpha_db.report import charts
from alpha_db.report.charts import Buckets
from alpha_db.report.reading import Activity, Part, Period
from alpha_db.report.texts import duration, plain, short_time

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
#: Series of a chart; further tables are put together. Rows of the numbers below that of the limits.
_SERIES, _MOST = 6, 200


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


def activity_charts(activity: Activity) -> Element:
    """Return the charts, each with what it shows in words and as a table."""
    period = activity.covered
    if period is None:
        return section("The period at a glance", element("p", "There is no row of any table in this period."))
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
        for name, column in (
            ("the last of all rows", "full_runs"),
            ("new rows and some older", "partial_runs"),
        )
    ]
    pauses = [row["longest_pause"] for row in rows if row["longest_pause"]]
    longest = f" The longest pause was {duration(max(pauses))}." if pauses else ""
    full, partial = (sum(row[name] for row in rows) for name in ("full_runs", "partial_runs"))
    said = (
        f"Recorded: {full + partial:,}. {full:,} of them ended a reading of all rows."
        f" Each found nothing wrong.{longest}"
        if rows
        else "No verification run was recorded."
    )
    return _bucketed("Verification runs", said, buckets, series, "runs", activity.verifications)


def _refusals_chart(activity: Activity, buckets: Buckets) -> Element:
    rows = activity.verifications.rows
    if not rows:
        said = "Not counted in this period, because no verification run was recorded. See the list below."
        return _chart("Refused attempts", None, said, None, activity.verifications)
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
            for row in rows[-_MOST:]
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
