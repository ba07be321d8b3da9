"""How an attack is tried."""

from __future__ import annotations

import psycopg
import pytest

from tests.tampering.catalogue import Attack
from tests.tampering.conftest import MakeStage
from tests.tampering.outcomes import REFUSED


def try_attack(attack: Attack, make_stage: MakeStage) -> None:
    """Prepare, attack, and assert every outcome. What is not refused must not raise."""
    stage = make_stage(attack.login, attack.begins, attack.cleanup)
    if not attack.only[0] <= stage.server.major <= attack.only[1]:
        pytest.skip(f"for PostgreSQL {attack.only[0]} to {attack.only[1]}")
    for statement in attack.prepare:
        stage.db.execute(statement)
    before = stage.heads() if attack.untouched and REFUSED in attack.kinds else None
    error: psycopg.Error | None = None
    try:
        attack.run(stage)
    except psycopg.Error as problem:
        if REFUSED not in attack.kinds:
            raise
        error = problem
    for outcome in attack.outcomes:
        outcome.check(stage, error)
    if before is not None:
        assert stage.heads() == before, "what was refused wrote a row"
