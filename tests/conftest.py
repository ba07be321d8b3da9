"""Options and rules of all tests; the fixtures stand in fix_*.py.

--pg 15|16|17|18|DIR   the PostgreSQL to test on (default: the newest found)
--all               also the tests marked `long`
-m "not any_server" without those that are the same on every PostgreSQL
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# The checkout is what is tested, whether or not it is installed.
for folder in (ROOT, ROOT / "python"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

pytest.register_assert_rewrite("tests.support", "tests.migration.desk")
pytest_plugins = ["tests.fix_server", "tests.fix_database", "tests.fix_browser", "tests.checkpoint.fix_book"]

# Nothing of the caller's own databases may leak into a test.
for name in [n for n in os.environ if n.startswith(("PG", "ALPHA_"))]:
    del os.environ[name]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("alpha-db")
    group.addoption(
        "--pg", metavar="15|16|17|18|DIR", help="PostgreSQL to test on (default: the newest found)"
    )
    group.addoption("--all", action="store_true", help="run the long tests too")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes long; runs only with --all")
    config.addinivalue_line(
        "markers", "any_server: the same on every PostgreSQL; set where no server is used"
    )
    config.addinivalue_line("markers", "reads_only: shares one database, in which it can change nothing")
    config.addinivalue_line("filterwarnings", "error")


def pytest_report_header(config: pytest.Config) -> str:
    from tests.cluster import choose_binaries, major_of

    try:
        binaries = choose_binaries(config.getoption("--pg"))
    except LookupError as problem:
        return f"PostgreSQL: {problem}"
    return f"PostgreSQL {major_of(binaries)} in {binaries}"


@pytest.hookimpl(tryfirst=True)  # before -m looks at the markers
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        # --pg reaches a test through this fixture alone.
        if "binaries" not in getattr(item, "fixturenames", ()):
            item.add_marker("any_server")
    if config.getoption("--all"):
        return
    skip = pytest.mark.skip(reason="long; runs with --all")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(skip)
