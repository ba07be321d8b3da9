"""How long to wait before the next attempt to connect."""

from __future__ import annotations

import random


class Backoff:
    """Exponential, with jitter: many hydrators that lost one server do not come back in one moment."""

    def __init__(self, first: float = 0.05, longest: float = 2.0, seed: int | None = None) -> None:
        self._first, self._longest = first, longest
        self._failures = 0
        self._random = random.Random(seed)

    def reset(self) -> None:
        """Begin anew: an attempt succeeded."""
        self._failures = 0

    def next(self) -> float:
        """Return the seconds to wait, between half of a doubling bound and all of it."""
        bound = min(self._longest, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return bound * self._random.uniform(0.5, 1.0)
