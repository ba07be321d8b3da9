"""What the guardrail service makes of what it reads, step by step: a source and clocks that the test sets."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from alpha_db.errors import ConnectionFailed
from alpha_db.risk import hydrator
from alpha_db.risk.guardrail import Ceilings
from alpha_db.risk.hydrator import RiskGuardrailService
from alpha_db.risk.pins import Pins
from alpha_db.security import config_integrity
from alpha_db.security.evidence import Reading
from tests.risk.council import PLACE, agent_id, limits, private_key, public_hex
from tests.risk.signed_history import NOON, Book, FakeSource, governed_book, sha, state_text

RELEASE = {"damage": [PLACE]}


class Desk:
    """A service whose source, lease clock and wall clock the test holds."""

    def __init__(self, **options: Any) -> None:
        self.book = governed_book()
        self.now = 1000.0
        self.wall = NOON
        self.asked: list[int] = []
        self.give: Callable[[int], Reading] = self.book.reading
        self.source = FakeSource(self._give)
        self.service = RiskGuardrailService(
            source=lambda: self.source,
            clock=lambda: self.now,
            wall=lambda: self.wall,
            **{"good_reads": 2, "lease": 2.0, **options},
        )

    def _give(self, since: int) -> Reading:
        self.asked.append(since)
        return self.give(since)

    def read(self, times: int = 1) -> None:
        for _ in range(times):
            self.service.read_once(self.source)

    def returns(self, **changes: Any) -> None:
        self.give = lambda since: self.book.reading(since, **changes)

    def raises(self, problem: Exception) -> None:
        def give(_: int) -> Reading:
            raise problem

        self.give = give

    @property
    def is_normal(self) -> bool:
        return self.service.state.is_normal

    @property
    def reason(self) -> str:
        return self.service.state.reason


@pytest.fixture
def desk() -> Desk:
    """A desk in normal mode."""
    desk = Desk()
    desk.read(2)
    assert desk.is_normal
    return desk


def recovers(desk: Desk) -> None:
    desk.read()
    assert not desk.is_normal, "one good read is not enough"
    desk.read()
    assert desk.is_normal


def test_a_state_that_verifies_is_in_force_after_consecutive_reads() -> None:
    desk = Desk()
    assert not desk.is_normal
    recovers(desk)
    state = desk.service.state
    assert (state.max_position_size_pct, state.max_leverage_ratio, state.version) == (
        Decimal("0.05"),
        Decimal(2),
        1,
    )
    assert state.verified_at == NOON


def refuse(name: str) -> psycopg.Error:
    """An error that the server reports, by its SQLSTATE."""
    return psycopg.errors.lookup(name)("from the server")


OUTAGES = {
    "connection lost": refuse("57P01"),
    "connection refused": ConnectionFailed("connection refused"),
    "permission revoked": refuse("42501"),
    "function missing": refuse("42883"),
    "schema missing": refuse("3F000"),
    "statement timeout": refuse("57014"),
    "too many connections": refuse("53300"),
    "anything": OSError("no route to host"),
}


@pytest.mark.parametrize("problem", OUTAGES.values(), ids=OUTAGES)
def test_what_cannot_be_read_is_safe_mode_when_the_lease_ends(desk: Desk, problem: Exception) -> None:
    desk.raises(problem)
    desk.read(5)
    assert desk.is_normal, "an outage proves nothing before the lease ends"
    desk.now += 2
    assert not desk.is_normal
    assert "RSK-007" not in desk.reason, "and it never says tampered"
    desk.returns()
    recovers(desk)


@pytest.mark.parametrize("state", ["21000", "22P02", "22003", "23514"])
def test_data_that_cannot_be_right_trips_at_once(desk: Desk, state: str) -> None:
    desk.raises(refuse(state))
    desk.read()
    assert not desk.is_normal
    assert "RSK-007" in desk.reason
    desk.returns()
    recovers(desk)


def tampered_text(book: Book) -> dict[str, Any]:
    text = state_text(1, "0.5000 0.0300 2.00")
    return {"active": (replace(book.active(), state_text=text, state_hash=sha(text)),)}


def tampered_hash(book: Book) -> dict[str, Any]:
    return {"active": (replace(book.active(), state_hash=sha("x")),)}


def tampered_entry(book: Book) -> dict[str, Any]:
    return {"changes": (replace(book.changes[0], reason="another"),)}


def swapped_signature(book: Book) -> dict[str, Any]:
    votes = json.loads(book.changes[0].approvals)
    votes[0]["signature"], votes[1]["signature"] = votes[1]["signature"], votes[0]["signature"]
    return {"changes": (replace(book.changes[0], approvals=json.dumps(votes)),)}


def replaced_key(book: Book) -> dict[str, Any]:
    mallory = public_hex(private_key("mallory"))
    return {"agents": (*book.agents[:2], replace(book.agents[2], public_key=mallory))}


def no_row(book: Book) -> dict[str, Any]:
    del book
    return {"active": ()}


def two_rows(book: Book) -> dict[str, Any]:
    return {"active": (book.active(), book.active())}


def nulls(book: Book) -> dict[str, Any]:
    nothing = dict.fromkeys(("version", "state_text", "state_hash"))
    return {"active": (replace(book.active(), **nothing),)}  # type: ignore[arg-type]


def unknown_lockdown(book: Book) -> dict[str, Any]:
    return {"active": (replace(book.active(), is_locked=None),)}  # type: ignore[arg-type]


def not_a_number(book: Book) -> dict[str, Any]:
    text = state_text(1, "NaN 0.0300 2.00")
    return {"active": (replace(book.active(), state_text=text, state_hash=sha(text)),)}


def out_of_range(book: Book) -> dict[str, Any]:
    text = state_text(1, "0.0500 0.0300 200.00")
    return {"active": (replace(book.active(), state_text=text, state_hash=sha(text)),)}


def other_origin(book: Book) -> dict[str, Any]:
    return {"active": (replace(book.active(), origin="99999999-2222-4333-8444-555555555555"),)}


def moved_start(book: Book) -> dict[str, Any]:
    return {"active": (replace(book.active(), limits_valid_from=NOON - timedelta(days=1)),)}


TAMPERED = [tampered_text, tampered_hash, tampered_entry, swapped_signature, replaced_key, no_row, two_rows, nulls,
            unknown_lockdown, not_a_number, out_of_range, other_origin, moved_start]  # fmt: skip


@pytest.mark.parametrize("act", TAMPERED, ids=lambda act: act.__name__)
def test_tampering_is_safe_mode_before_the_next_order(
    desk: Desk, act: Callable[[Book], dict[str, Any]]
) -> None:
    desk.returns(**act(desk.book))
    desk.read()
    assert not desk.is_normal
    assert "RSK-007" in desk.reason
    desk.returns()
    recovers(desk)


def test_a_validity_that_begins_in_the_future_is_refused(desk: Desk) -> None:
    later = NOON + timedelta(seconds=1)
    desk.book.edit(1, applied_at=later)
    desk.book.limits_since = later
    desk.read()
    assert "hold only from" in desk.reason


def test_pinned_keys_are_what_counts() -> None:
    true = governed_book()
    desk = Desk(pins=Pins(true.pins, true.origin))
    recovers(desk)
    forged = Book.of("mallory", "trudy", "oscar")
    forged.apply(
        "risk_config", limits("0.06"), "mallory", "trudy", "oscar", to=state_text(1, "0.0600 0.0300 2.00")
    )
    assert config_integrity.IntegrityChecker().check(forged.reading())
    desk.give = forged.reading
    desk.read()
    assert "pinned" in desk.reason


def test_pins_that_cannot_be_read_are_safe_mode_until_they_can(tmp_path: Path) -> None:
    desk = Desk(pins=tmp_path / "pins.json")
    desk.read(3)
    assert "cannot read the pinned keys" in desk.reason
    (tmp_path / "pins.json").write_text(json.dumps({a: k.hex() for a, k in desk.book.pins.items()}))
    recovers(desk)


def test_an_older_state_is_found_by_the_mark_on_disk(tmp_path: Path) -> None:
    first = Desk(high_water=tmp_path / "mark")
    first.book.apply("risk_config", limits("0.01"), "ada", "ben", to=state_text(2, "0.0100 0.0300 2.00"))
    first.read(2)
    assert first.is_normal
    second = Desk(high_water=tmp_path / "mark")
    second.read(3)
    assert "version is 1, and 2 was seen before" in second.reason


def test_a_lockdown_is_safe_mode_at_once_and_ends_by_a_release_only(desk: Desk) -> None:
    desk.book.locked = True
    desk.read()
    assert desk.service.state.is_locked
    assert "lockdown" in desk.reason
    desk.read(3)
    desk.book.locked = False
    desk.read(3)
    assert "without an approved release" in desk.reason
    desk.book.apply("lockdown_release", RELEASE, "ada", "ben", "cyd", to=desk.book.text.replace(":1,", ":2,"))
    recovers(desk)
    assert desk.service.state.version == 2


def test_without_limits_there_is_nothing_to_risk() -> None:
    desk = Desk()
    desk.book = Book.of("ada", "ben", "cyd")
    desk.returns()
    desk.read(3)
    assert desk.reason == "no risk limits were approved yet"


def test_what_the_agents_approve_above_a_ceiling_is_refused(desk: Desk) -> None:
    desk.book.apply(
        "risk_config", limits("0.51"), "ada", "ben", "cyd", to=state_text(2, "0.5100 0.0300 2.00")
    )
    desk.read(3)
    assert "above the compiled-in ceiling" in desk.reason
    lower = Desk(ceilings=Ceilings(Decimal("0.04")))
    lower.read(3)
    assert "ceiling 0.04" in lower.reason


@pytest.mark.parametrize("skew", [timedelta(seconds=6), timedelta(seconds=-6), timedelta(days=-365)])
def test_clocks_that_disagree_renew_no_lease(desk: Desk, skew: timedelta) -> None:
    desk.wall += skew
    desk.read(3)
    assert desk.is_normal
    desk.now += 2
    assert "clocks disagree" in desk.reason
    desk.wall = NOON + timedelta(seconds=4)
    recovers(desk)


@pytest.mark.parametrize(
    ("lag", "good"),
    [(None, False), (2.1, False), (3600.0, False), (0.0, True), (1.9, True), (-4.9, True), (-5.1, False)],
)
def test_a_standby_that_may_be_behind_renews_no_lease(desk: Desk, lag: float | None, good: bool) -> None:
    desk.returns(in_recovery=True, replay_lag=lag)
    desk.now += 1.9
    desk.read()
    desk.now += 0.1
    assert desk.is_normal is good
    assert good or re.search("standby may be behind|primary's clock is 5.1 s ahead", desk.reason)


def test_an_exception_inside_the_verification_is_safe_mode_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch, caplog.at_level(logging.CRITICAL):
        patch.setattr(config_integrity.IntegrityChecker, "check", fail)
        desk.read()
    assert "the verification itself failed: ZeroDivisionError" in desk.reason
    recovers(desk)


@pytest.mark.parametrize("junk", [None, 1, "x", (), [{}]])
def test_junk_instead_of_a_reading_is_safe_mode(desk: Desk, junk: Any) -> None:
    desk.give = lambda _: junk
    with_log = logging.getLogger("alpha_db.risk")
    level = with_log.level
    with_log.setLevel(logging.CRITICAL + 1)
    try:
        desk.read()
    finally:
        with_log.setLevel(level)
    assert not desk.is_normal


def test_a_process_that_slept_asks_no_old_limits(desk: Desk) -> None:
    desk.now += 3600
    assert not desk.is_normal
    desk.wall += timedelta(hours=1)
    desk.book.read_at = desk.wall
    recovers(desk)


def test_a_read_that_took_longer_than_the_lease_counts_for_nothing(desk: Desk) -> None:
    def slow(since: int) -> Reading:
        desk.now += 3
        return desk.book.reading(since)

    desk.give = slow
    desk.read(4)
    assert not desk.is_normal


def test_a_long_log_is_read_in_full_now_and_then_and_after_every_doubt(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hydrator, "SMALL_LOG", 0)
    desk.asked.clear()
    desk.read(2)
    assert desk.asked == [1, 1]
    desk.returns(**tampered_hash(desk.book))
    desk.read()
    desk.returns()
    desk.read(3)
    assert desk.asked == [1, 1, 1, 0, 1, 1]
    desk.now += hydrator.FULL_EVERY
    desk.read(2)
    assert desk.asked[-2:] == [0, 1]
    # an old entry is edited: found at the next full read, and not forgotten by the partial one after it
    desk.book.edit(1, reason="another")
    desk.read()
    assert desk.is_normal
    desk.now += hydrator.FULL_EVERY
    desk.read(3)
    assert "change 1 does not hold" in desk.reason
    assert desk.asked[-3:] == [0, 0, 0]


def test_a_revoked_agent_is_out_at_once(desk: Desk) -> None:
    gone = {"agent_id": str(agent_id("cyd"))}
    desk.book.apply("agent_revoke", gone, "ada", "ben", to=state_text(2, "0.0500 0.0300 2.00"))
    desk.read()
    assert "agents are not those" in desk.reason, "the log revoked it, and the table has it still"
    desk.book.revoke("cyd")
    recovers(desk)


def test_options_that_make_no_sense_are_refused() -> None:
    for options in (
        {"lease": 0.5},
        {"poll": 0},
        {"read_deadline": 3.0},
        {"good_reads": 0},
        {"clock_tolerance": -1},
    ):
        with pytest.raises(ValueError):
            RiskGuardrailService(**options)


def test_a_stopped_service_stays_in_safe_mode(desk: Desk) -> None:
    desk.service.stop()
    desk.read(3)
    assert desk.reason == "the guardrail service was stopped"
