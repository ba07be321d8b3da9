"""An installation with agents."""

from __future__ import annotations

import pytest

from tests.risk.council import Council, limits
from tests.support import Connection


@pytest.fixture
def council(db: Connection) -> Council:
    """Three agents, ada, ben and cyd, and no limits yet."""
    return Council(db).bootstrap("ada", "ben", "cyd")


@pytest.fixture
def governed(council: Council) -> Council:
    """The same, with limits in force: position 0.05, drawdown 0.03, leverage 2."""
    council.enact("risk_config", limits(), "ada", "ben", "cyd")
    return council
