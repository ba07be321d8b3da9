"""An installation with agents, which each test gets as a clone of one."""

from __future__ import annotations

import pytest

from tests.fix_database import Prepared
from tests.risk.council import Council, limits, private_key
from tests.support import Connection

NAMES = ("ada", "ben", "cyd")


def _bootstrap(connection: Connection) -> None:
    Council(connection).bootstrap(*NAMES)


def _govern(connection: Connection) -> None:
    named(connection).enact("risk_config", limits(), *NAMES)


def named(connection: Connection) -> Council:
    """The agents of an installation that has them already."""
    return Council(connection, {name: private_key(name) for name in NAMES})


def council_book(prepared: Prepared) -> str:
    """Name of a database with agents, to be cloned."""
    return prepared("risk_council", _bootstrap)


def governed_book(prepared: Prepared) -> str:
    """Name of a database with agents and limits, to be cloned."""
    return prepared("risk_governed", _govern, council_book(prepared))


@pytest.fixture
def origin(request: pytest.FixtureRequest, prepared: Prepared, template: str) -> str:
    """With agents, or with limits too, for tests that ask for a council or a governed one."""
    if "council" not in request.fixturenames:
        return template
    if "governed" in request.fixturenames:
        return governed_book(prepared)
    return council_book(prepared)


@pytest.fixture
def council(db: Connection) -> Council:
    """Three agents, ada, ben and cyd, and no limits yet."""
    return named(db)


@pytest.fixture
def governed(council: Council) -> Council:
    """The same, with limits in force: position 0.05, drawdown 0.03, leverage 2."""
    return council
