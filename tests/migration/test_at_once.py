"""Many migrations at once: they wait for each other, and one of them does the work."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.cluster import Server
from tests.migration.desk import MIGRATION, Desk, guard_log, registered
from tests.migration.test_three_ways import by_alpha_db, by_psql, by_yoyo
from tests.support import (
    MIGRATIONS,
    Connection,
    assert_healthy,
    changed_guards,
    fill,
    one,
    query,
    wait_until,
)

Root = Callable[[Desk], Connection]

# A first install waits at the name of its first table, every later migration for that table's lock.
HELD = "create table lock_migrations ()"
HELD_LATER = "lock table only lock_migrations in share update exclusive mode"
WAITING = "select count(*) >= %s from pg_stat_activity where wait_event_type = 'Lock' and datname = %s"


def all_at_once(desk: Desk, ways: list[Callable[[Desk], None]], root: Root) -> None:
    """Start them all while the name of the lock is taken, let go when all wait for it, and see one installation."""
    gate, watch = root(desk), root(desk)
    query(gate, "begin")
    query(gate, HELD)
    with ThreadPoolExecutor(len(ways)) as pool:
        running = [pool.submit(way, desk) for way in ways]
        try:
            wait_until(watch, WAITING, [len(ways), desk.dbname])
        finally:
            query(gate, "rollback")
        for done in running:
            done.result()
    assert [row["name"] for row in registered(gate)] == [file.stem for file in MIGRATIONS]
    assert guard_log(gate) == [f"migration {file.stem}" for file in MIGRATIONS]
    fill(gate)
    assert_healthy(gate)


@pytest.mark.parametrize("psqls", [6, pytest.param(20, marks=pytest.mark.long)])
def test_many_psql(psqls: int, empty: Desk, root: Root) -> None:
    all_at_once(empty, [by_psql] * psqls, root)


def test_psql_of_another_file_each(empty: Desk, root: Root) -> None:
    """Four files at once on what the first made: the later ones fail cleanly or find their turn."""
    empty.migrate(["001"])
    gate, watch = root(empty), root(empty)
    query(gate, "begin")
    query(gate, HELD_LATER)
    with ThreadPoolExecutor(6) as pool:
        running = [
            pool.submit(empty.run, MIGRATION[n], False) for n in ("002", "002", "002", "003", "004", "001")
        ]
        wait_until(watch, WAITING, [5, empty.dbname])
        query(gate, "rollback")
        results = [done.result() for done in running]
    assert [run.returncode for run in results[:3]] == [0, 0, 0]
    empty.migrate()
    fill(gate)
    assert_healthy(gate)


@pytest.mark.parametrize("commands", [3, pytest.param(8, marks=pytest.mark.long)])
def test_many_alpha_db(commands: int, empty: Desk, root: Root) -> None:
    with ThreadPoolExecutor(commands) as pool:
        for done in [pool.submit(by_alpha_db, empty) for _ in range(commands)]:
            done.result()
    connection = root(empty)
    assert guard_log(connection) == [f"migration {file.stem}" for file in MIGRATIONS]
    fill(connection)
    assert_healthy(connection)


@pytest.mark.long
def test_psql_yoyo_and_alpha_db_together(empty: Desk, root: Root) -> None:
    """yoyo and alpha-db make yoyo's tables: they run one after the other, each among psqls."""
    for way in (by_yoyo, by_alpha_db):
        with ThreadPoolExecutor(6) as pool:
            for done in [pool.submit(by, empty) for by in (by_psql, way, by_psql, by_psql)]:
                done.result()
    connection = root(empty)
    assert guard_log(connection) == [f"migration {file.stem}" for file in MIGRATIONS]
    assert_healthy(connection)


# The owner is granted to the migrator as well; the others are made alike.
@pytest.mark.parametrize(
    ("role", "other"),
    [
        ("alpha_owner", "commits"),
        ("app_risk", "rolls back"),
        *(
            pytest.param(role, other, marks=pytest.mark.long)
            for role, other in [
                ("alpha_owner", "rolls back"),
                ("app_trading", "commits"),
                ("app_trading", "rolls back"),
                ("app_auditor", "commits"),
                ("app_auditor", "rolls back"),
                ("app_risk", "commits"),
            ]
        ),
    ],
)
def test_another_database_creates_a_role_at_the_same_moment(
    role: str, other: str, empty: Desk, root: Root, admin: Connection, prefix: str
) -> None:
    """Both found that the role does not exist. The lock of migrations does not reach across databases."""
    desk = Desk(empty.server, empty.dbname, prefix=prefix)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(empty.server.dsn("postgres")) as session:
        query(session, f"create role {prefix}{role} nologin")
        running = pool.submit(desk.run, MIGRATION["001"])  # which makes all roles
        try:
            wait_until(
                admin,
                "select exists (select from pg_stat_activity where datname = %s"
                " and cardinality(pg_blocking_pids(pid)) > 0)",
                [desk.dbname],
            )
        finally:
            if other == "commits":
                session.commit()
            else:
                session.rollback()
        running.result()
    connection = root(desk)
    assert one(connection, "select count(*) from pg_roles where starts_with(rolname, %s)", [prefix]) == 4
    assert [row["name"] for row in registered(connection)] == [MIGRATION["001"].stem]
    assert changed_guards(connection) == []


@pytest.mark.parametrize("databases", [2, pytest.param(4, marks=pytest.mark.long)])
def test_databases_of_a_cluster_at_once(
    databases: int, server: Server, prefix: str, make_database: Callable[..., str], root: Root
) -> None:
    desks = [Desk(server, make_database(), prefix=prefix) for _ in range(databases)]
    with ThreadPoolExecutor(databases) as pool:
        for done in [pool.submit(desk.migrate) for desk in desks]:
            done.result()
    for desk in desks:
        assert_healthy(root(desk))


def test_migration_waits_its_turn_and_not_longer(empty: Desk, root: Root) -> None:
    """The lock ends with the transaction: after a failed migration nobody has to break it."""
    empty.refused(MIGRATION["002"])
    empty.server.psql(empty.dbname, "-1", "-c", "set local lock_timeout = '2s'", "-f", MIGRATION["001"])
    assert one(root(empty), "select count(*) from installed_migrations") == 1
