"""Figures, and the alternating slices that they come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

Slice = Callable[[], list[float]]


@dataclass(frozen=True)
class Target:
    """What a figure should be: its median or its ratio, at most or at least the limit."""

    limit: float
    of: Literal["median", "ratio"] = "median"
    bound: Literal["at most", "at least"] = "at most"


@dataclass(frozen=True)
class Figure:
    """What a contestant did in a scenario.

    `ratio` is its median over that of the scenario's baseline, None for the baseline itself.
    """

    part: str
    scenario: str
    contestant: str
    unit: str
    median: float
    p5: float | None
    p95: float | None
    p99: float | None
    samples: int
    ratio: float | None
    target: Target | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        value = self.median if self.target.of == "median" else self.ratio
        if value is None:
            return None
        return value <= self.target.limit if self.target.bound == "at most" else value >= self.target.limit


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that is not exceeded by this share of the values (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def alternate(contestants: Mapping[str, Slice], rounds: int) -> dict[str, list[float]]:
    """Run a slice of each contestant in turn, in the opposite order every second round; return their samples.

    What disturbs the machine for longer than a slice disturbs all of them.
    """
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        names = list(contestants)
        for name in reversed(names) if number % 2 else names:
            samples[name] += contestants[name]()
    return samples


def figures(
    part: str,
    scenario: str,
    unit: str,
    samples: Mapping[str, Sequence[float]],
    *,
    baseline: str,
    targets: Mapping[str, Target] | None = None,
    percentiles: Sequence[float] = (0.05, 0.95),
) -> list[Figure]:
    """Return a figure for each contestant of a scenario, with those of the 5th, 95th and 99th percentile asked for."""
    base = median(samples[baseline])
    found = []
    for name, values in samples.items():
        p5, p95, p99 = (percentile(values, p) if p in percentiles else None for p in (0.05, 0.95, 0.99))
        middle = median(values)
        ratio = None if name == baseline or not base else middle / base
        goal = (targets or {}).get(name)
        found.append(Figure(part, scenario, name, unit, middle, p5, p95, p99, len(values), ratio, goal))
    return found
