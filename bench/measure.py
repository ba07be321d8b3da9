"""Figures, and the alternating slices that they come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Slice = Callable[[], list[float]]


@dataclass(frozen=True)
class Figure:
    """What a contestant did in a scenario.

    `ratio` is its median over that of the scenario's baseline, None for the baseline itself. `target` is what
    the median should not exceed.
    """

    part: str
    scenario: str
    contestant: str
    unit: str
    median: float
    p5: float | None
    p95: float | None
    samples: int
    ratio: float | None
    target: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.target is None else self.median <= self.target


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
    targets: Mapping[str, float] | None = None,
    percentiles: bool = True,
) -> list[Figure]:
    """Return a figure for each contestant of a scenario."""
    base = median(samples[baseline])
    return [
        Figure(
            part,
            scenario,
            name,
            unit,
            median(values),
            percentile(values, 0.05) if percentiles else None,
            percentile(values, 0.95) if percentiles else None,
            len(values),
            None if name == baseline or not base else median(values) / base,
            (targets or {}).get(name),
        )
        for name, values in samples.items()
    ]
