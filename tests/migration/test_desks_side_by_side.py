"""Desks of one database migrate side by side: the lock of migrations is the schema's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest

from alpha_db.cli.main import main
from tests.migration.desk import MIGRATION, Desk, registered
from tests.support import MIGRATIONS, Connection, assert_healthy, wait_until

Root = Callable[[Desk], Connection]


ROLES = ("alpha_owner", "app_trading", "app_auditor", "app_risk")


@pytest.fixture
def desks(empty: Desk, root: Root, migrator: str, prefix: str) -> tuple[Desk, Desk]:
    """Two schemas of one login that is no superuser, which has made their roles."""
    connection = root(empty)
    for schema in ("desk_a", "desk_b"):
        connection.execute(f"create schema {schema} authorization {migrator}")
    desk = replace(empty, user=migrator, prefix=prefix)
    with desk.connect(migrator) as login:
        for role in ROLES:
            login.execute(f"create role {prefix}{role}")
    return replace(desk, schema="desk_a"), replace(desk, schema="desk_b")


@pytest.fixture
def open_migration(desks: tuple[Desk, Desk]) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A transaction of desk_a's first migration, which has done all and does not end."""
    with closing(desks[0].connect(desks[0].user, autocommit=False)) as connection:
        connection.execute(f"set alpha.role_prefix = '{desks[0].prefix}'")
        connection.execute(MIGRATION["001"].read_bytes())
        yield connection


def test_one_installs_wholly_while_the_first_migration_of_another_is_open(
    desks: tuple[Desk, Desk], root: Root, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = desks
    options = " with inherit true, set true" if a.server.major >= 16 else ""
    root(a).execute(f"grant {a.prefix}alpha_owner to {a.user}{options}")
    open_migration = request.getfixturevalue("open_migration")
    arguments = ["migrate", "--schema", "desk_b", "--role-prefix", str(b.prefix), "--lock-timeout", "5"]
    assert main(["--dsn", b.server.dsn(b.dbname, b.user), *arguments]) == 0
    assert "waiting" not in capsys.readouterr().err
    open_migration.commit()
    for desk, files in ((a, MIGRATIONS[:1]), (b, MIGRATIONS)):
        assert [row["name"] for row in registered(root(desk))] == [file.stem for file in files]
    assert_healthy(root(b))


def test_two_first_installs_of_one_login_become_the_owner_at_once(
    desks: tuple[Desk, Desk], open_migration: Connection, root: Root
) -> None:
    """Both grant it alpha_owner, which is one row of the cluster: the second waits, and then has it."""
    a, b = desks
    watch = root(replace(a, schema="public"))
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(b.run, MIGRATION["001"])
        wait_until(
            watch,
            "select exists (select from pg_stat_activity"
            " where cardinality(pg_blocking_pids(pid)) > 0 and datname = %s)",
            [a.dbname],
        )
        open_migration.commit()
        assert second.result().returncode == 0
    for desk in (a, b):
        assert [row["name"] for row in registered(root(desk))] == [MIGRATION["001"].stem]
