"""Every attack of those who have few rights: application, auditor, risk, agents, a stranger."""

from __future__ import annotations

import pytest

from tests.tampering.catalogue import Attack
from tests.tampering.conftest import MakeStage
from tests.tampering.page import LOWER
from tests.tampering.trial import try_attack


@pytest.mark.parametrize(
    "attack", [a for section in LOWER for a in section.attacks], ids=lambda attack: attack.slug
)
def test_attack(attack: Attack, make_stage: MakeStage) -> None:
    try_attack(attack, make_stage)


def test_an_untouched_book_shows_nothing(make_stage: MakeStage) -> None:
    """What every “openly not found” rests on: whatever is found was caused by its attack."""
    stage = make_stage()
    assert stage.inside() == []
    assert stage.guardrail().state.is_normal
