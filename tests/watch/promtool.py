"""Which alerts fire over what was scraped: promtool runs the rules over series that are made of scrapes."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from alpha_db.queries import Row
from tests.support import ROOT

RULES = ROOT / "examples" / "prometheus"
PROGRAM = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROGRAM is None, reason="no promtool here (Debian: apt-get install prometheus)"
)
#: Rules are looked at every five minutes.
STEP = 300
#: What Prometheus itself adds to every series.
TARGET = {"job": "alpha-db", "instance": "desk"}


@dataclass(frozen=True)
class Scrape:
    """Figures, and when they were scraped; up is false if nothing answered."""

    figures: Sequence[Row]
    up: bool = True
    at: float = field(default_factory=time.time)

    def by_series(self) -> dict[str, float]:
        """The value of each series, by the name and labels that Prometheus gives it."""
        own = {"name": "up", "labels": {}, "value": float(self.up)}
        return {_series(row): float(row["value"]) for row in (*self.figures, own)}


def assert_firing(
    folder: Path,
    expected: Collection[str],
    *scrapes: Scrape,
    hours: float = 3,
    before: float = 0.5,
    lasting: Collection[str] = (),
) -> None:
    """Assert that exactly these alerts fire after so many hours, of which things were as first scraped before, and have
    been as last scraped since.

    `lasting` names figures that count the seconds for which something lasts, and so go on.
    """
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(expected)]
    query = 'group by (alertname) (ALERTS{alertstate="firing"})'
    _assert_results(folder, {query: samples}, _input(scrapes, hours * 3600, before * 3600, lasting), hours)


def assert_found(folder: Path, queries: Mapping[str, bool], scrape: Scrape) -> None:
    """Assert which queries find something if things are as scraped, and which find nothing."""
    expected = {
        f"count({query}) > bool 0": [{"labels": "{}", "value": 1}] if found else []
        for query, found in queries.items()
    }
    _assert_results(folder, expected, _input([scrape], 3600, 1800, ()), 1)


def _assert_results(folder: Path, expected: Mapping[str, object], series: object, hours: float) -> None:
    test = {
        "rule_files": [str(RULES / "alpha-db.rules.yml")],
        "evaluation_interval": f"{STEP}s",
        "tests": [
            {
                "interval": f"{STEP}s",
                "input_series": series,
                "promql_expr_test": [
                    {"expr": query, "eval_time": f"{hours * 60:.0f}m", "exp_samples": samples}
                    for query, samples in expected.items()
                ],
            }
        ],
    }
    file = folder / "scraped.test.yml"
    file.write_text(json.dumps(test), encoding="utf-8")  # JSON is YAML
    run = subprocess.run(
        [str(PROGRAM), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def _input(
    scrapes: Sequence[Scrape], seconds: float, before: float, lasting: Collection[str]
) -> list[dict[str, str]]:
    first, last = scrapes[0].by_series(), scrapes[-1].by_series()
    counts = round(before / STEP) - 1, round((seconds - before) / STEP)
    found = []
    for series in sorted(first.keys() | last.keys()):
        name = series.split("{")[0]
        ends = []
        for values, count in zip((first, last), counts, strict=True):
            if series not in values:
                ends.append(f"_x{count}")
                continue
            value = values[series]
            if name.endswith("_timestamp_seconds"):  # of the clock that begins with 0
                value += seconds - scrapes[-1].at
            ends.append(f"{value!r}+{STEP if name in lasting else 0}x{count}")
        found.append({"series": series, "values": " ".join(ends)})
    return found


def _series(row: Row) -> str:
    labels = ",".join(f"{name}={json.dumps(str(text))}" for name, text in {**TARGET, **row["labels"]}.items())
    return f"{row['name']}{{{labels}}}"
