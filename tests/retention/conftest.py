"""A book of some hundred signals with what hangs on them, and agents who may archive it."""

from __future__ import annotations

import pytest

from tests.fix_database import Prepared
from tests.retention.shelf import Shelf, write_year
from tests.risk.conftest import named
from tests.risk.council import Council
from tests.support import Connection


def _two_years(connection: Connection) -> None:
    Council(connection).bootstrap("ada", "ben", "cyd")
    write_year(connection, 1, 600)
    write_year(connection, 601, 500)


@pytest.fixture
def origin(prepared: Prepared, template: str) -> str:
    return prepared("retention_two_years", _two_years)


@pytest.fixture
def shelf(db: Connection) -> Shelf:
    """1,100 signals with a debate each, an order for every second and an event for each order, in two "years"; and the
    agents ada, ben and cyd."""
    return Shelf(db, named(db))
