"""Figures that the pages name are those of the code; each phrase is a page's, with the figure taken from the source."""

from __future__ import annotations

import inspect
import re

import click
import pytest

from alpha_db.cli.common import LOCK_TIMEOUT
from alpha_db.cli.main import cli
from alpha_db.migrate.sources import find_directory, read_files
from alpha_db.risk import CEILINGS, RiskGuardrailService
from alpha_db.verify.cli.engaging import ENGAGE_FOR
from alpha_db.verify.cli.status_report import LONG
from tests.support import AUDIT_TABLES, MIGRATIONS, ROOT, Connection, query

SQL = "\n".join(path.read_text(encoding="utf-8") for path in MIGRATIONS)
_SERVICE = inspect.signature(RiskGuardrailService).parameters
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def default(name: str) -> float:
    """What RiskGuardrailService does if it is not told otherwise."""
    return float(_SERVICE[name].default)


def option(command: str, name: str) -> object:
    """The default of a command's option."""
    found = cli.get_command(click.Context(cli), command)
    assert found
    return next(p.default for p in found.params if p.name == name)


def in_sql(pattern: str) -> str:
    """The figure in the migrations that a pattern's group finds."""
    found = re.search(pattern, SQL)
    assert found, pattern
    return f"{int(found[1]):,}"


ROLES = len(re.findall(r"'\w+'", re.findall(r"foreach role_name in array array\[(.*?)\]", SQL)[0]))

SAID = [
    ("docs/concepts.md", f"**{_WORDS[len(AUDIT_TABLES)]} tables**"),
    ("docs/command-line.md", f"No command waits longer than {LOCK_TIMEOUT:g} s for a lock"),
    ("docs/operations.md", f"to create the {_WORDS[ROLES]} roles"),
    ("docs/operations.md", f"`alpha-db migrate` waits {LOCK_TIMEOUT:g} seconds for them"),
    ("docs/operations.md", f"It waits for a lock for {LOCK_TIMEOUT:g} seconds"),
    ("docs/operations.md", f"held such a lock for more than {LONG:g} seconds"),
    ("docs/operations.md", f"for {ENGAGE_FOR:g} s (`--engage-for SECONDS`)"),
    ("docs/operations.md", f"in ranges of {in_sql(r'rows_per_range bigint default ([0-9]+)')} rows"),
    ("docs/operations.md", f"within `--full-every` runs ({option('verify-chain', 'full_every')})"),
    ("docs/operations.md", f"reads the limits at each poll ({default('poll') * 1000:g} ms)"),
    ("docs/risk.md", f"every {default('poll') * 1000:g} ms"),
    ("docs/risk.md", f"renews the lease ({default('lease'):g} s)"),
    ("docs/risk.md", f"after {_WORDS[int(default('good_reads'))]} consecutive good reads"),
    ("docs/risk.md", f"clocks apart by more than {default('clock_tolerance'):g} s"),
    (
        "docs/risk.md",
        f"position {CEILINGS.max_position_size_pct}, drawdown {CEILINGS.daily_drawdown_limit_pct},"
        f" leverage {CEILINGS.max_leverage_ratio}",
    ),
    ("docs/risk.md", f"a reason at most {in_sql(r'length.reason. <= ([0-9]+)')} characters"),
    ("docs/risk.md", f"at most {in_sql(r'payload -> .damage.. > ([0-9]+)')} places"),
    ("docs/sql/dba.md", f"The default is {in_sql(r'row_limit +bigint[^,]*default ([0-9]+)')}"),
]


@pytest.mark.parametrize(("page", "phrase"), SAID, ids=lambda value: value[:60])
def test_figure(page: str, phrase: str) -> None:
    assert phrase in " ".join((ROOT / page).read_text(encoding="utf-8").split())


def test_source_files_names_every_migration() -> None:
    page = (ROOT / "docs" / "source-files.md").read_text(encoding="utf-8")
    ours = re.findall(r"^\|.+\|.*`migrations/(\w+)\.sql`.*\|$", page, re.M)
    assert sorted(set(ours)) == sorted(file.name for file in read_files(find_directory(None)))


def test_source_files_names_files_that_are_there() -> None:
    page = (ROOT / "docs" / "source-files.md").read_text(encoding="utf-8")
    ours = [cells.split("|")[2] for cells in page.splitlines() if cells.startswith("|")]
    paths = [path for cell in ours for path in re.findall(r"`((?:migrations|python|tests)/[^`]*)`", cell)]
    assert len(paths) > 10
    assert not [path for path in paths if not (ROOT / path).exists()]


@pytest.mark.any_server
@pytest.mark.reads_only
def test_operations_names_every_role(db: Connection) -> None:
    table = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").partition("## Roles")[2]
    named = re.findall(r"^\| `(\w+)` \|", table.partition("\n## ")[0], re.M)
    found = query(db, "select rolname from pg_roles where rolname = any (%s)", [named])
    assert sorted(named) == sorted(row["rolname"] for row in found)
    assert len(named) == ROLES
