"""A guardrail that was started before the agents were: it goes on when they come, also after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from alpha_db.risk import RiskGuardrailService
from tests.cluster import Server
from tests.fix_database import LoginRole
from tests.risk.council import Council, limits
from tests.support import PATIENCE, Connection


@pytest.mark.parametrize("restarts", [False, True])
def test_the_bootstrap_may_come_after_the_first_look(
    server: Server, database: str, db: Connection, login_role: LoginRole, tmp_path: Path, restarts: bool
) -> None:
    dsn, mark = server.dsn(database, login_role("app_trading")), tmp_path / "high-water.json"
    with RiskGuardrailService(dsn, high_water=mark, poll=0.05, lease=PATIENCE) as early:
        assert early.wait_for(lambda state: "approved" in state.reason, PATIENCE)
        assert mark.exists()
        Council(db).bootstrap("ada", "ben", "cyd").enact("risk_config", limits(), "ada", "ben", "cyd")
        if not restarts:
            assert early.wait_for(lambda state: state.is_normal, PATIENCE)
    if restarts:
        with RiskGuardrailService(dsn, high_water=mark, poll=0.05, lease=PATIENCE) as late:
            assert late.wait_for(lambda state: state.is_normal, PATIENCE)


def test_agents_that_were_seen_are_not_forgotten(
    server: Server, database: str, db: Connection, login_role: LoginRole, tmp_path: Path
) -> None:
    """An installation without agents is taken for one before its bootstrap only by who has seen none."""
    dsn, mark = server.dsn(database, login_role("app_trading")), tmp_path / "high-water.json"
    Council(db).bootstrap("ada", "ben", "cyd").enact("risk_config", limits(), "ada", "ben", "cyd")
    with RiskGuardrailService(dsn, high_water=mark, poll=0.05, lease=PATIENCE) as first:
        assert first.wait_for(lambda state: state.is_normal, PATIENCE)
    said = mark.read_text(encoding="utf-8")
    mark.write_text(said.replace('"agents": "', '"agents": "f'), encoding="utf-8")
    with RiskGuardrailService(dsn, high_water=mark, poll=0.05, lease=PATIENCE) as second:
        assert second.wait_for(lambda state: "seen before" in state.reason, PATIENCE)
