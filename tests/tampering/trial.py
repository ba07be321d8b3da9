"""How an attack is tried."""

from __future__ import annotations

import psycopg
import pytest

from tests.tampering.catalogue import Attack
from tests.tampering.conftest import MakeStage
from tests.tampering.outcomes import REFUSED, Refused
from tests.tampering.stage import Stage


def leaves_nothing(attack: Attack) -> bool:
    """Whether it is one statement that is refused, and so rolled back, with nothing done before or asked afterwards."""
    alone = attack.untouched and not (attack.prepare or attack.cleanup)
    return alone and all(isinstance(outcome, Refused) for outcome in attack.outcomes)


def try_attack(attack: Attack, make_stage: MakeStage) -> None:
    """Prepare, attack, and assert every outcome. What is not refused must not raise."""
    stage = make_stage(attack.login, attack.begins, attack.cleanup, is_shared=leaves_nothing(attack))
    if not attack.only[0] <= stage.server.major <= attack.only[1]:
        pytest.skip(f"for PostgreSQL {attack.only[0]} to {attack.only[1]}")
    try:
        _try(attack, stage)
    except BaseException:
        stage.db.close()  # so that no other attack is given what this one may have left
        raise


def _try(attack: Attack, stage: Stage) -> None:
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
