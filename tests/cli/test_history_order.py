"""`risk history` names approvers in the order in which they signed."""

from __future__ import annotations

from alpha_db.risk.cli.history import approvers


def test_approvers_in_order() -> None:
    votes = (
        '[{"agent_id": "2", "signed_at": "2026-01-25T12:30:02.000000Z"},'
        ' {"agent_id": "1", "signed_at": "2026-01-25T12:30:01.999999Z"}]'
    )
    assert approvers(votes, {"1": "ben", "2": "cyd"}) == ["ben", "cyd"]
    assert approvers("[7]", {}) == ["[7]"]
