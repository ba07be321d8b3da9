"""The state that an order path asks, its lease, and the rules by which Safe Mode is entered and left."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from alpha_db.risk.clock import Clock, boottime
from alpha_db.security.config_integrity import Verified
from alpha_db.security.state import KillThreshold, Limits

_ZERO = Decimal(0)
_NOTHING: Mapping[str, KillThreshold] = MappingProxyType({})


class Mode(StrEnum):
    """NORMAL or SAFE_MODE."""

    NORMAL = "NORMAL"
    SAFE_MODE = "SAFE_MODE"


@dataclass(frozen=True)
class Ceilings:
    """What no database may ask this process to exceed."""

    max_position_size_pct: Decimal = Decimal("0.50")
    daily_drawdown_limit_pct: Decimal = Decimal("0.25")
    max_leverage_ratio: Decimal = Decimal("10")

    def lowered(self, other: Ceilings | None) -> Ceilings:
        """The lower of each."""
        if other is None:
            return self
        names = self.__dataclass_fields__
        return Ceilings(**{name: min(getattr(self, name), getattr(other, name)) for name in names})

    def exceeded(self, limits: Limits) -> str | None:
        """The first limit that is above its ceiling, as a sentence; None if none is."""
        for name in self.__dataclass_fields__:
            if getattr(limits, name) > getattr(self, name):
                return (
                    f"{name} is {getattr(limits, name)}, above the compiled-in ceiling {getattr(self, name)}"
                )
        return None


#: Compiled in: a service can be given lower ones, never higher.
CEILINGS = Ceilings()


@dataclass(frozen=True)
class GuardrailState:
    """What holds now. In Safe Mode nothing may be risked, and `reason` says why."""

    mode: Mode
    reason: str
    max_position_size_pct: Decimal = _ZERO
    daily_drawdown_limit_pct: Decimal = _ZERO
    max_leverage_ratio: Decimal = _ZERO
    kill_thresholds: Mapping[str, KillThreshold] = field(default_factory=lambda: _NOTHING)
    version: int | None = None
    state_hash: str | None = None
    verified_at: datetime | None = None
    is_locked: bool = False

    @property
    def is_normal(self) -> bool:
        """Whether the limits hold; otherwise liquidate only."""
        return self.mode is Mode.NORMAL


@dataclass(frozen=True)
class _Published:
    state: GuardrailState
    lease_end: float
    problem: str = "no answer from the database"


class Guardrail:
    """Holds the published state. Questions read one reference and one clock: no lock, no network.

    Takes the lease in seconds, and how many good reads in a row it takes to leave Safe Mode.
    """

    def __init__(self, lease: float = 2.0, good_reads: int = 3, clock: Clock = boottime) -> None:
        self._lease, self._good_reads, self._clock = lease, good_reads, clock
        self._good = 0
        self._closed = False
        self._writing = threading.RLock()
        #: notified at every change of what is published
        self.changed = threading.Condition(self._writing)
        self._published = _Published(_safe("no verified state yet"), 0.0)

    @property
    def state(self) -> GuardrailState:
        """What holds at this moment."""
        now = self._published
        if now.state.is_normal and not self._clock() < now.lease_end:
            return replace(_safe(f"the lease ended: {now.problem}"), version=now.state.version)
        return now.state

    @property
    def lease_left(self) -> float:
        """Seconds until the lease ends, 0 in Safe Mode."""
        now = self._published
        return max(0.0, now.lease_end - self._clock()) if now.state.is_normal else 0.0

    def renew(self, verified: Verified, started: float) -> None:
        """Publish a state that verified, by a read that began at `started` on the lease's clock."""
        with self._writing:
            lease_end = started + self._lease
            if not self._clock() < lease_end:
                self.miss("the read took longer than the lease")
                return
            if not self.state.is_normal:
                self._good += 1
                if self._good < self._good_reads:
                    reason = f"{self._good} of {self._good_reads} good reads in a row"
                    self._publish(_Published(replace(_safe(reason), version=verified.state.version), 0.0))
                    return
            self._good = 0  # after a lapse they are counted anew
            self._publish(_Published(_normal(verified), lease_end))

    def miss(self, problem: str) -> None:
        """A read did not complete: the lease is not renewed, and good reads are counted anew."""
        with self._writing:
            self._good = 0
            now = self._published
            if now.state.is_normal:
                self._publish(replace(now, problem=problem))
            else:
                self._publish(_Published(_safe(problem), 0.0))

    def trip(self, problem: str, *, is_locked: bool = False) -> None:
        """Enter Safe Mode at once."""
        with self._writing:
            self._good = 0
            self._publish(_Published(replace(_safe(problem), is_locked=is_locked), 0.0))

    def close(self, reason: str) -> None:
        """Enter Safe Mode for good."""
        with self._writing:
            self.trip(reason)
            self._closed = True

    def _publish(self, new: _Published) -> None:
        if self._closed:
            return
        self._published = new
        self.changed.notify_all()


def _safe(reason: str) -> GuardrailState:
    return GuardrailState(Mode.SAFE_MODE, reason)


def _normal(verified: Verified) -> GuardrailState:
    limits = verified.state.limits
    assert limits is not None
    return GuardrailState(
        Mode.NORMAL,
        "",
        limits.max_position_size_pct,
        limits.daily_drawdown_limit_pct,
        limits.max_leverage_ratio,
        verified.state.kill_thresholds,
        verified.state.version,
        verified.state_hash,
        verified.read_at,
    )
