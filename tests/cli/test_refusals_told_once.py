"""A refusal that reaches the command line is told once: message, DETAIL and HINT each say something of their own."""

from __future__ import annotations

import pytest

from tests.cli.bad_values import complaints
from tests.cli.desk import Desk

pytest_plugins = ["tests.cli.fix_desk"]
pytestmark = pytest.mark.any_server

LEVERAGE = ("risk", "update-param", "max_leverage_ratio")


def test_refused_votes_and_proposals(governed: Desk) -> None:
    applied = governed.propose("ada", *LEVERAGE, "1.5")
    rejected = governed.propose("ada", *LEVERAGE, "1.4")
    governed.run("risk", "reject", rejected, *governed.sign("ben"))
    pending = governed.propose("ada", *LEVERAGE, "3")
    governed.approve(pending, "ben")
    said = {
        "RSK-004 own": governed.run("risk", "approve", pending, *governed.sign("ada"), expect=1),
        "RSK-004 twice": governed.run("risk", "approve", pending, *governed.sign("ben"), expect=1),
        "RSK-006 rejected": governed.run("risk", "approve", rejected, *governed.sign("cyd"), expect=1),
        "RSK-006 unknown": governed.run("risk", "approve", "0" * 8, *governed.sign("cyd"), expect=1),
        "RSK-003 whom": governed.run(
            "agents", "revoke", "eve", "--reason", "x", *governed.sign("ada"), expect=1
        ),
        "RSK-003 key": governed.run(
            *LEVERAGE, "1", "--reason", "x", "--agent", "ben", *governed.sign("ada")[2:], expect=1
        ),
        "RSK-001 value": governed.run(*LEVERAGE, "300", "--reason", "x", *governed.sign("ada"), expect=1),
        "RSK-001 NaN": governed.run(*LEVERAGE, "NaN", "--reason", "x", *governed.sign("ada"), expect=1),
        "RSK-001 reason": governed.run(*LEVERAGE, "1", "--reason", " ", *governed.sign("ada"), expect=1),
    }
    governed.approve(applied, "ben")
    said["RSK-006 applied"] = governed.run("risk", "approve", applied, *governed.sign("cyd"), expect=1)
    said["RSK-005 stale"] = governed.run("risk", "approve", pending, *governed.sign("cyd"), expect=1)
    for name, result in said.items():
        assert result.err.count(name.split()[0]) == 1, result.err
        assert "HINT: " in result.err, result.err
        assert not list(complaints(result.code, "", result.err)), result.err
