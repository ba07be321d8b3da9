"""The clock of the lease: it goes on while the machine sleeps, and nobody can set it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

Clock = Callable[[], float]


def _boot_clock() -> int | None:
    if sys.platform == "darwin":
        return time.CLOCK_MONOTONIC  # there it counts suspend; time.monotonic() does not
    return getattr(time, "CLOCK_BOOTTIME", None)


_CLOCK = _boot_clock()


def boottime() -> float:
    """Seconds since some moment, counting suspend where the system has such a clock."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
