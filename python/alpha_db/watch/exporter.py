"""What Prometheus is given at a scrape."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

import alpha_db
from alpha_db.errors import AlphaDbError
from alpha_db.queries import Row
from alpha_db.watch.catalog import HELP
from alpha_db.watch.database import Asks, TooSlowError


def figure(name: str, value: float, **labels: str) -> Row:
    """Return a figure as metrics() gives them."""
    return {"name": name, "labels": labels, "value": value}


def code_of(problem: AlphaDbError) -> str:
    """Return the code of an error as a label: few values, and none of them text of the server's."""
    return (
        "timeout"
        if isinstance(problem, TooSlowError)
        else problem.code or problem.sqlstate or type(problem).__name__
    )


class Exporter(Collector):
    """Asks at each scrape. If the database cannot be asked, there is alpha_db_up 0, and no figure of the database's.

    Takes the database, and what gives the figures that others gather: `costly` those of the database, left out with
    the others, `more` those that hold in any case.
    """

    def __init__(
        self,
        database: Asks,
        costly: Callable[[], Iterable[Row]],
        more: Callable[[], Iterable[Row]] = list,
        tell: Callable[[str], object] = lambda _text: None,
    ) -> None:
        self._database, self._costly, self._more, self._tell = database, costly, more, tell
        self._errors: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.is_up: bool | None = None

    def figures(self) -> list[Row]:
        """Return all figures of this moment. Raises nothing."""
        begin = time.monotonic()
        problem: AlphaDbError | None = None
        rows: list[Row] = []
        try:
            rows = [*self._database.ask("metrics"), *self._costly()]
        except AlphaDbError as failed:
            problem = failed
        took = time.monotonic() - begin
        self.note(problem)
        return [*self.own(problem, took), *self._more(), *rows]

    def down(self, problem: AlphaDbError) -> list[Row]:
        """Return the figures of a moment in which the database was not asked, because of this."""
        with self._lock:
            self.is_up = None
            self._errors[code_of(problem)] += 1
        return [*self.own(problem, 0.0), *self._more()]

    def own(self, problem: AlphaDbError | None, took: float) -> list[Row]:
        """Return what the exporter says of itself."""
        own = [
            figure("alpha_db_up", int(problem is None)),
            figure("alpha_db_scrape_duration_seconds", took),
            figure("alpha_db_build_info", 1, version=alpha_db.__version__),
        ]
        if problem is not None:
            own.append(figure("alpha_db_last_error_info", 1, code=code_of(problem)))
        with self._lock:
            own.extend(
                figure("alpha_db_errors_total", n, code=code) for code, n in sorted(self._errors.items())
            )
        return own

    def note(self, problem: AlphaDbError | None) -> None:
        """Count an error, and tell once when the database cannot be asked any more, or can again."""
        with self._lock:
            was_up, self.is_up = self.is_up, problem is None
            if problem is not None:
                self._errors[code_of(problem)] += 1
        if problem is not None and was_up is not False:
            self._tell(f"the database cannot be asked: {problem.message}")
        elif problem is None and was_up is False:
            self._tell("the database answers again")

    @staticmethod
    def text(figures: Iterable[Row]) -> str:
        """Return figures in Prometheus' text format."""
        registry = CollectorRegistry()
        registry.register(_Given(list(figures)))
        return generate_latest(registry).decode()

    def collect(self) -> Iterator[Metric]:
        """Yield the figures as prometheus_client takes them, in the order of the catalog."""
        return families(self.figures())


@dataclass(frozen=True, eq=False)
class _Given(Collector):
    figures: Sequence[Row]

    def collect(self) -> Iterator[Metric]:
        return families(self.figures)


def families(figures: Iterable[Row]) -> Iterator[Metric]:
    """Yield figures as Prometheus' families: a name that ends with _total is a counter, every other is a gauge."""
    by_name: dict[str, list[Row]] = {}
    for row in figures:
        by_name.setdefault(row["name"], []).append(row)
    order = [*(name for name in HELP if name in by_name), *sorted(by_name.keys() - HELP.keys())]
    for name in order:
        kind = "counter" if name.endswith("_total") else "gauge"
        family = Metric(name.removesuffix("_total") if kind == "counter" else name, _help(name), kind)
        for row in by_name[name]:
            family.add_sample(
                name, {key: str(text) for key, text in row["labels"].items()}, float(row["value"])
            )
        yield family


def _help(name: str) -> str:
    return HELP.get(name, "Not known to this version of the exporter, which is older than the database.")
