"""Lease, Safe Mode, ceilings and the clock, by a clock that the test sets."""

from __future__ import annotations

import random
import time
from decimal import Decimal

import pytest

from alpha_db.risk import clock as clocks
from alpha_db.risk.guardrail import CEILINGS, Ceilings, Guardrail, Mode
from alpha_db.security.config_integrity import IntegrityChecker, Verified
from alpha_db.security.state import Limits
from alpha_db.service.backoff import Backoff
from tests.risk.signed_history import governed_book


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def verified() -> Verified:
    return IntegrityChecker().check(governed_book().reading())


def test_a_guardrail_begins_in_safe_mode(clock: Clock) -> None:
    state = Guardrail(clock=clock).state
    assert state.mode is Mode.SAFE_MODE
    nothing = {state.max_position_size_pct, state.daily_drawdown_limit_pct, state.max_leverage_ratio}
    assert nothing == {Decimal(0)}
    assert state.reason == "no verified state yet"


def test_leaving_takes_good_reads_in_a_row(clock: Clock, verified: Verified) -> None:
    guardrail = Guardrail(good_reads=3, clock=clock)
    guardrail.renew(verified, clock.now)
    guardrail.renew(verified, clock.now)
    assert "2 of 3" in guardrail.state.reason
    guardrail.miss("no answer")
    for _ in range(2):
        guardrail.renew(verified, clock.now)
    assert not guardrail.state.is_normal
    guardrail.renew(verified, clock.now)
    state = guardrail.state
    assert state.is_normal
    assert (state.max_position_size_pct, state.version) == (Decimal("0.0500"), 1)


def test_the_lease_ends_at_the_question_without_any_timer(clock: Clock, verified: Verified) -> None:
    guardrail = Guardrail(lease=2, good_reads=1, clock=clock)
    guardrail.renew(verified, clock.now)
    clock.now += 1.999
    assert guardrail.state.is_normal
    assert guardrail.lease_left == pytest.approx(0.001)
    clock.now += 0.001
    assert not guardrail.state.is_normal
    assert "lease ended" in guardrail.state.reason
    assert guardrail.lease_left == 0


def test_a_machine_that_slept_wakes_up_in_safe_mode(clock: Clock, verified: Verified) -> None:
    guardrail = Guardrail(lease=2, good_reads=2, clock=clock)
    for _ in range(2):
        guardrail.renew(verified, clock.now)
    assert guardrail.state.is_normal
    clock.now += 8 * 3600
    assert not guardrail.state.is_normal
    guardrail.renew(verified, clock.now)
    assert not guardrail.state.is_normal, "one good read is not enough after a lapse"


def test_the_lease_counts_from_the_beginning_of_the_read(clock: Clock, verified: Verified) -> None:
    guardrail = Guardrail(lease=2, good_reads=1, clock=clock)
    guardrail.renew(verified, clock.now - 1.5)
    assert guardrail.lease_left == pytest.approx(0.5)
    guardrail.renew(verified, clock.now - 2)
    clock.now += 0.5
    assert not guardrail.state.is_normal
    guardrail.renew(verified, clock.now - 2)
    assert "longer than the lease" in guardrail.state.reason


def test_a_missed_read_keeps_the_lease_and_a_tripwire_does_not(clock: Clock, verified: Verified) -> None:
    guardrail = Guardrail(lease=2, good_reads=1, clock=clock)
    guardrail.renew(verified, clock.now)
    guardrail.miss("connection refused")
    assert guardrail.state.is_normal
    clock.now += 2
    assert guardrail.state.reason == "the lease ended: connection refused"
    guardrail.renew(verified, clock.now)
    assert guardrail.state.is_normal
    guardrail.trip("RSK-007: a row was changed")
    assert not guardrail.state.is_normal
    assert guardrail.state.reason == "RSK-007: a row was changed"


def test_a_closed_guardrail_stays_closed(clock: Clock, verified: Verified) -> None:
    guardrail = Guardrail(good_reads=1, clock=clock)
    guardrail.close("stopped")
    guardrail.renew(verified, clock.now)
    assert guardrail.state.reason == "stopped"


def test_ceilings_can_only_be_lowered() -> None:
    asked = Ceilings(Decimal("0.9"), Decimal("0.01"), Decimal(99))
    assert CEILINGS.lowered(asked) == Ceilings(Decimal("0.5"), Decimal("0.01"), Decimal(10))
    assert CEILINGS.lowered(None) is CEILINGS


def test_a_limit_above_its_ceiling_is_named() -> None:
    limits = Limits(Decimal("0.5"), Decimal("0.25"), Decimal("10.01"))
    assert "max_leverage_ratio" in str(CEILINGS.exceeded(limits))
    assert CEILINGS.exceeded(Limits(Decimal("0.5"), Decimal("0.25"), Decimal(10))) is None


def test_a_question_takes_microseconds(verified: Verified) -> None:
    guardrail = Guardrail(lease=60, good_reads=1)
    guardrail.renew(verified, clocks.boottime())
    rounds = 2000
    begun = time.thread_time()
    for _ in range(rounds):
        assert guardrail.state.is_normal
    assert (time.thread_time() - begun) / rounds < 100e-6


def test_the_clock_counts_suspend_where_the_system_can() -> None:
    if hasattr(time, "CLOCK_BOOTTIME"):
        assert abs(clocks.boottime() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1


def test_backoff_doubles_to_its_longest_with_jitter() -> None:
    backoff = Backoff(0.05, 2.0, seed=random.randrange(2**32))
    waits = [backoff.next() for _ in range(60)]
    for n, wait in enumerate(waits):
        bound = min(2.0, 0.05 * 2**n)
        assert bound / 2 <= wait <= bound
    assert len(set(waits[10:])) > 40
    backoff.reset()
    assert backoff.next() <= 0.05
