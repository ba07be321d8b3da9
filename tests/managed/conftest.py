"""Each provider's server, once a module; and copies of its database, in which the migrations were applied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fix_database import fresh_name
from tests.managed.provider import SUPERUSERS, Provider, provided
from tests.risk.conftest import named
from tests.risk.council import Council
from tests.support import Connection

AGENTS = ("ada", "ben", "cyd")
#: Where the default round migrates: nobody interferes more. It looks at three servers before the migrations, and the
#: long round does everything on all of them.
DEFAULT = "supabase"
#: Where docs/managed.md sends people into a schema of its own, they go there; elsewhere into public, which is harder.
OWN_SCHEMA = {"cloud_sql": "audit", "azure": "audit"}
_LONG = ("rds", "neon")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each provider's server; after the migrations the default round starts no other than that one."""
    if "bare" in metafunc.fixturenames:
        long = [n for n in SUPERUSERS if n != DEFAULT] if "migrated" in metafunc.fixturenames else _LONG
        names = [pytest.param(n, marks=pytest.mark.long if n in long else ()) for n in SUPERUSERS]
        metafunc.parametrize("bare", names, indirect=True, scope="package")


@pytest.fixture(scope="package")
def bare(request: pytest.FixtureRequest, binaries: Path) -> Iterator[Provider]:
    """The provider's database, before the migrations."""
    with provided(request.param, binaries) as provider:
        yield provider


@pytest.fixture(scope="package")
def migrated(bare: Provider) -> Iterator[Provider]:
    """Another database of it, with all migrations, applied by the customer's administrator. Do not change it."""
    with bare.copy("migrated", OWN_SCHEMA.get(bare.name)) as provider:
        provider.make_schema()
        provider.migrate()
        provider.make_logins()
        with provider.connect() as admin:
            Council(admin).bootstrap(*AGENTS)
        yield provider


@pytest.fixture
def book(migrated: Provider) -> Iterator[Provider]:
    """A copy to write into."""
    with migrated.copy(fresh_name("book")) as provider:
        yield provider


@pytest.fixture
def admin(book: Provider) -> Iterator[Connection]:
    """The customer's administrator."""
    with book.connect() as connection:
        yield connection


@pytest.fixture
def root(book: Provider) -> Iterator[Connection]:
    """The provider's own superuser."""
    with book.root() as connection:
        yield connection


@pytest.fixture
def trader(book: Provider) -> Iterator[Connection]:
    """A login that the administrator made a member of app_trading."""
    with book.connect("trader") as connection:
        yield connection


@pytest.fixture
def auditor(book: Provider) -> Iterator[Connection]:
    """Likewise of app_auditor."""
    with book.connect("auditor") as connection:
        yield connection


@pytest.fixture
def council(book: Provider) -> Iterator[Council]:
    """Three agents, who propose and vote as a member of app_risk."""
    with book.connect("approver") as connection:
        yield named(connection)
