"""The demo's text fits 80 columns, however slow the machine and however long what it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alpha_db.demo import render
from alpha_db.demo.paragraph import line
from alpha_db.demo.story import Step

Lines = Any


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Lines:
    def lines() -> list[str]:
        return capsys.readouterr().out.splitlines()

    return lines


def test_a_line_is_broken_at_blanks(shown: Lines) -> None:
    line("   one", (" two" * 30, "bold"))
    found = shown()
    assert all(len(one) <= 80 and one.startswith("   ") and one == one.rstrip() for one in found)
    assert " ".join(one.strip() for one in found) == "one" + " two" * 30


def test_what_cannot_be_broken_is_left_whole(shown: Lines) -> None:
    line("   " + "x" * 100)
    assert shown() == ["   " + "x" * 100]


def test_a_line_that_fits_is_left_alone(shown: Lines) -> None:
    line("   a  b" + "c" * 73)
    assert shown() == ["   a  b" + "c" * 73]


@pytest.mark.parametrize("seconds", [0.1, 10.0, 100.0, 12345.6])
def test_sections_with_times(shown: Lines, seconds: float) -> None:
    render.server("18.4 (Debian 18.4-1.pgdg120+1)", Path("/x"), seconds)
    replay = {
        "writer": {"member_of": ["app_trading"], "is_superuser": False, "login": "desk_trader"},
        "webhooks": 3238, "candles": 1000, "seconds": seconds, "batch": 25,
        "rows": {"total": 9876543, "webhook_deliveries": 3238, "signals": 3238, "ai_debates": 1, "order_execution": 2,
                 "order_events": 3},
        "delivered_again": {"webhooks": 25, "rows": {"webhook_deliveries": 25, "signals": 0}},
    }  # fmt: skip
    render.step(2, Step("replay", replay))
    verdict = {"table_name": "signals", "is_valid": True, "rows_checked": 1234567890}
    verify = {
        "verdicts": [verdict], "internal": [], "heads": {"signals": "ab" * 32}, "intact": True, "seconds": seconds
    }  # fmt: skip
    render.step(3, Step("verify", verify))
    render.conclusion(ok=False, seconds=seconds, connect=None)
    assert [one for one in shown() if len(one) > 80] == []
