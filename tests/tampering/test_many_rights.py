"""Every attack of those who have many rights: DBA, owner, superuser, and someone with the disk."""

from __future__ import annotations

import pytest

from tests.tampering.catalogue import Attack
from tests.tampering.conftest import MakeStage
from tests.tampering.page import UPPER
from tests.tampering.trial import try_attack


@pytest.mark.parametrize(
    "attack", [a for section in UPPER for a in section.attacks], ids=lambda attack: attack.slug
)
def test_attack(attack: Attack, make_stage: MakeStage) -> None:
    try_attack(attack, make_stage)
