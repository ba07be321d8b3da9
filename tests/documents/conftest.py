"""What the pages begin with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.documents.desk import Beginnings


@pytest.fixture(scope="session")
def beginnings(binaries: Path) -> Iterator[Beginnings]:
    """The clusters that the pages of this process begin with."""
    with ExitStack() as stack:
        yield Beginnings(binaries, stack)
