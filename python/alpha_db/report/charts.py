"""The charts of a report, as SVG: readable on a phone and on paper, without colours, and the same bytes every time.

Colours are those of Okabe and Ito, which the colour-blind tell apart; patterns and markers say the same again.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells at length which fonts it looks at

#: Okabe and Ito: blue, orange, green, vermilion, sky blue, purple, yellow, black
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#000000")
PATTERNS = (
    "",
    "///",
    "\\\\\\",
    "xx",
    "---",
    "|||",
    "++",
    "",
)  # of lines: dots would take ten times as many bytes
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

_STYLE: dict[str, Any] = {
    "svg.hashsalt": "alpha-db",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",  # is part of matplotlib
    "font.size": 10,
    "hatch.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "path.simplify": False,
}
_BARS = 60
_WIDTHS = ((1, "day"), (7, "week"), (28, "four weeks"), (91, "quarter"), (364, "year"))


@dataclass(frozen=True)
class Buckets:
    """How days are put together, so that a chart has few enough bars: how many days each, and what that is called."""

    first: date
    days: int
    name: str
    number: int

    @classmethod
    def of(cls, begins_at: datetime, ends_at: datetime) -> Buckets:
        """Return the buckets of a period: days, if they are not too many."""
        first, last = begins_at.date(), (ends_at - timedelta(microseconds=1)).date()
        total = (last - first).days + 1
        days, name = next((w for w in _WIDTHS if -(-total // w[0]) <= _BARS), _WIDTHS[-1])
        return cls(first, days, name, -(-total // days))

    def index(self, day: date) -> int:
        """Return which bucket a day is in."""
        return min(max((day - self.first).days // self.days, 0), self.number - 1)

    def edges(self) -> list[date]:
        """Return the first day of each bucket, and the day behind the last."""
        return [self.first + timedelta(days=self.days * n) for n in range(self.number + 1)]

    def sums(self, numbers: Sequence[tuple[date, float]]) -> list[float]:
        """Return the sum of what each bucket has."""
        found = [0.0] * self.number
        for day, number in numbers:
            found[self.index(day)] += number
        return found


def bars(buckets: Buckets, series: Sequence[tuple[str, Sequence[float]]], what: str) -> bytes:
    """Return a histogram, the series one upon the other; takes each series with its name, and what is counted."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(2.4)
        edges = [date2num(day) for day in buckets.edges()]
        base = [0.0] * buckets.number
        for number, (name, values) in enumerate(series):
            top = [one + other for one, other in zip(base, values, strict=True)]
            axes.stairs(
                top,
                edges,
                baseline=base,
                fill=True,
                label=name,
                facecolor=COLOURS[number % len(COLOURS)],
                hatch=PATTERNS[number % len(PATTERNS)],
                edgecolor="#ffffff",
                linewidth=0,
            )
            base = top
        axes.set_ylabel(f"{what} a {buckets.name}")
        axes.set_ylim(bottom=0, top=max([*base, 1]) * 1.05)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(_short))
        _dates(axes, edges[0], edges[-1])
        if len(series) > 1:
            _legend(figure, axes)
        return _svg(figure)


def steps(
    begins_at: datetime,
    ends_at: datetime,
    times: Sequence[datetime],
    series: Sequence[tuple[str, Sequence[Decimal | None]]],
) -> bytes:
    """Return lines that change in steps, one panel for each series, because their units differ."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.5, 0.6 + 1.0 * len(series)), layout="constrained")
        panels = figure.subplots(len(series), 1, sharex=True, squeeze=False)[:, 0]
        for number, (axes, (name, values)) in enumerate(zip(panels, series, strict=True)):
            known = [
                (max(time, begins_at), float(value))
                for time, value in zip(times, values, strict=True)
                if value is not None
            ]
            if known:
                x = [*(time for time, _ in known), ends_at]
                y = [*(value for _, value in known), known[-1][1]]
                axes.step(x, y, where="post", color=COLOURS[number], linewidth=1.8)
                axes.plot(x[:-1], y[:-1], MARKERS[number], color=COLOURS[number], markersize=5)
                axes.set_ylim(bottom=0, top=max(y) * 1.25 or 1)
            axes.set_title(name, loc="left", fontsize=10)
            axes.yaxis.set_major_locator(MaxNLocator(3))
            _dates(axes, begins_at, ends_at)
        return _svg(figure)


def spans(
    begins_at: datetime, ends_at: datetime, intervals: Sequence[tuple[datetime, datetime | None]]
) -> bytes:
    """Return when something lasted, on one line of time; an interval without an end lasts still."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(1.2)
        shortest = (ends_at - begins_at) / 150  # or nobody would see it
        for start, end in intervals:
            since = max(start, begins_at)
            axes.barh(
                [0],
                [max((end or ends_at) - since, shortest)],
                left=[since],
                height=0.6,
                color=COLOURS[3],
                hatch="" if end else "///",
                edgecolor="#ffffff",
            )
        axes.set_yticks([])
        axes.set_ylim(-0.6, 0.6)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        _dates(axes, begins_at, ends_at)
        return _svg(figure)


def _figure(height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(4.5, height), layout="constrained")
    return figure, figure.subplots()


def _dates(axes: Any, first: Any, last: Any) -> None:
    axes.set_xlim(first, last)
    locator = AutoDateLocator(minticks=3, maxticks=7, tz="UTC")
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz="UTC"))


def _legend(figure: Figure, axes: Any) -> None:
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False, fontsize=9)


def _short(number: float, _place: object = None) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


def _svg(figure: Figure) -> bytes:
    FigureCanvasSVG(figure)
    stream = io.BytesIO()
    figure.savefig(
        stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    return stream.getvalue()
