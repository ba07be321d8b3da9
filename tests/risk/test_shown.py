"""A proposal on the screen: nothing that its proposer wrote passes for something else."""

from __future__ import annotations

import pytest

from alpha_db.cli.output import Part
from alpha_db.risk.agent import Row
from alpha_db.risk.cli.shown import change_lines, lines_of

PROPOSAL: Row = {
    "proposal_id": "0f5c3e1a",
    "kind": "risk_config",
    "status": "APPLIED",
    "direction": "loosen",
    "proposer_name": "ada",
    "created_at": "today",
    "changes": [],
    "votes": [],
    "expires_at": "tomorrow",
    "expires_in_seconds": None,
}


def plain(lines: list[list[Part]]) -> list[str]:
    return ["".join(part if isinstance(part, str) else part[0] for part in line) for line in lines]


@pytest.mark.parametrize("letter", ["x", "語"])
def test_a_long_reason_cannot_begin_a_line_of_the_terminal(
    monkeypatch: pytest.MonkeyPatch, letter: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    reason = letter * 30 + " " * 80 + "  changes  max_leverage_ratio  2.00 → 1.00  tightens"
    lines = plain(lines_of(PROPOSAL | {"reason": reason}))
    assert [line[:11] for line in lines[1:-1]] == ["  by       ", *["         | "] * (len(lines) - 3)]
    assert all(len(line) + line.count("語") <= 80 for line in lines)
    assert "".join(line[11:] for line in lines[1:-1]).endswith(reason)


def test_letters_that_are_not_ascii_are_named() -> None:
    change = {"name": "agent", "old": None, "new": "\u0430da (risk)", "direction": "govern"}
    (line,) = plain(change_lines([change]))
    assert "none → \u0430da (risk) (not ASCII: U+0430)  changes who decides" in line
