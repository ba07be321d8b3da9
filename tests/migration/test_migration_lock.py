"""Migrations wait for each other by a lock that nobody below alpha_owner can hold; who holds it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from alpha_db.cli.main import main
from tests.cluster import Server
from tests.fix_database import LoginRole
from tests.migration.desk import LAST, MIGRATION, Desk, registered
from tests.support import MIGRATIONS, SUPERUSER, Connection, as_role, one, query, wait_blocked, wait_until

Root = Callable[[Desk], Connection]

LOCKS = ("lock_migrations", "lock_migrate_sessions")
MODES = (
    "row exclusive",
    "share update exclusive",
    "share",
    "share row exclusive",
    "exclusive",
    "access exclusive",
)
# The keys by which alpha-db 0.1.0 kept migrations apart, which any login could take.
ADVISORY = (
    "select pg_advisory_lock(hashtextextended('alpha-db/migrate', 0)),"
    " pg_advisory_lock(hashtextextended('alpha-db/migrate-session/public', 0))"
)


def migrate(desk: Desk, *arguments: str, user: str | None = None) -> int:
    """alpha-db migrate in this process."""
    return main(["--dsn", desk.server.dsn(desk.dbname, user), "migrate", *arguments])


@pytest.fixture
def holder(one_pending: Desk, login_role: LoginRole) -> Iterator[tuple[Desk, Connection]]:
    """An installation with a migration pending, and a transaction of one who may become alpha_owner."""
    with closing(one_pending.connect(login_role("alpha_owner"), autocommit=False)) as connection:
        yield one_pending, connection


@pytest.mark.reads_only
@pytest.mark.parametrize("role", [None, "app_trading", "app_auditor", "app_risk"])
@pytest.mark.parametrize("mode", MODES)
def test_no_login_below_the_owner_can_hold_it(
    mode: str, role: str | None, database: str, server: Server, login_role: LoginRole
) -> None:
    with closing(psycopg.connect(server.dsn(database, login_role(*[role] if role else [])))) as login:
        for lock in LOCKS:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                login.execute(f"lock table {lock} in {mode} mode")
            login.rollback()


def test_no_login_can_hold_the_name_before_an_install(
    empty: Desk, server: Server, login_role: LoginRole
) -> None:
    with (
        closing(psycopg.connect(server.dsn(empty.dbname, login_role()))) as login,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        login.execute("create table lock_migrations ()")


@pytest.mark.any_server  # nothing asks for an advisory lock
def test_advisory_locks_keep_nobody_waiting(
    empty: Desk, first_files: Path, server: Server, login_role: LoginRole
) -> None:
    with closing(psycopg.connect(server.dsn(empty.dbname, login_role()), autocommit=True)) as login:
        login.execute(ADVISORY)
        assert migrate(empty, "--sources", str(first_files), "--lock-timeout", "0.001") == 0
        empty.server.psql(empty.dbname, "-c", "set lock_timeout = '1s'", "-f", MIGRATION["001"])
        empty.server.psql(
            empty.dbname, "-1", "-c", "set lock_timeout = '1s'", "-f", SUPERUSER / "ddl_guard.sql"
        )


@pytest.mark.parametrize("lock", LOCKS)
def test_who_holds_it_is_told(
    lock: str, holder: tuple[Desk, Connection], capsys: pytest.CaptureFixture[str]
) -> None:
    desk, connection = holder
    connection.execute(f"lock table {lock} in share update exclusive mode")
    assert migrate(desk, "--lock-timeout", "0.6") == 3
    err = capsys.readouterr().err
    assert "waiting for another migrate" in err
    assert f"pid {connection.info.backend_pid} ({connection.info.user}" in err
    assert "--lock-timeout" in err


def test_a_first_install_tells_who_holds_it(
    empty: Desk, first_files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(empty.connect(autocommit=False)) as connection:
        connection.execute("create table lock_migrations ()")
        assert migrate(empty, "--lock-timeout", "0.6") == 3
        assert f"pid {connection.info.backend_pid} (postgres" in capsys.readouterr().err
    assert migrate(empty, "--sources", str(first_files)) == 0


def test_a_prepared_transaction_that_holds_it_is_told(
    holder: tuple[Desk, Connection], root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    desk, connection = holder
    connection.execute("lock table lock_migrations in share update exclusive mode")
    connection.execute("prepare transaction 'orphan'")
    try:
        assert migrate(desk, "--lock-timeout", "0.001") == 3
        assert f"prepared transaction orphan of {connection.info.user}" in capsys.readouterr().err
    finally:
        root(desk).execute("rollback prepared 'orphan'")


def test_a_table_in_the_way_is_told(empty: Desk, root: Root) -> None:
    root(empty).execute("create table lock_migrations ()")
    assert "holds a table or a type lock_migrations, which is not ours" in empty.refused(MIGRATION["001"])


@pytest.mark.parametrize("outcome", ["commits", "rolls back"])
def test_a_second_install_waits_for_the_first(outcome: str, empty: Desk, root: Root) -> None:
    """It finds the first one's work, or does it itself."""
    first = root(empty)
    first.execute("begin")
    first.execute(MIGRATION["001"].read_bytes())
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(empty.run, MIGRATION["001"])
        wait_until(
            root(empty),
            "select exists (select from pg_stat_activity"
            " where datname = current_database() and wait_event_type = 'Lock')",
        )
        first.execute("commit" if outcome == "commits" else "rollback")
        assert second.result().returncode == 0
    assert [row["name"] for row in registered(first)] == [MIGRATION["001"].stem]


def test_migrate_has_nothing_to_wait_for_if_all_is_applied(one_pending: Desk, root: Root) -> None:
    assert migrate(one_pending) == 0
    connection = root(one_pending)
    with connection.transaction():
        connection.execute("lock table lock_migrate_sessions")
        assert migrate(one_pending, "--lock-timeout", "0.001") == 0


def test_the_owner_of_the_locks_is_alpha_owner(installed: Desk, root: Root) -> None:
    rows = query(
        root(installed),
        "select relowner::regrole::text as owner, relacl::text as rights from pg_class where relname = any (%s)",
        [list(LOCKS)],
    )
    assert rows == [{"owner": "alpha_owner", "rights": None}] * 2


def test_a_rollback_waits_for_a_migration(installed: Desk, root: Root) -> None:
    gate, watch = root(installed), root(installed)
    with ThreadPoolExecutor(1) as pool:
        with gate.transaction(), as_role(gate, "alpha_owner"):
            gate.execute("lock table lock_migrations in share update exclusive mode")
            running = pool.submit(installed.roll_back, [LAST])
            find = "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
            wait_until(watch, f"select exists ({find})")
            wait_blocked(watch, int(one(watch, find)))
        running.result()
    assert MIGRATION[LAST].stem not in [row["name"] for row in registered(gate)]


def test_defaults_of_the_database_do_not_stop_it(empty: Desk, first_files: Path, root: Root) -> None:
    connection = root(empty)
    for setting in (
        "default_transaction_read_only = on",
        "default_transaction_isolation = serializable",
        "lock_timeout = 1",
        "idle_in_transaction_session_timeout = 1",
    ):
        connection.execute(f"alter database {empty.dbname} set {setting}")
    assert migrate(empty, "--sources", str(first_files)) == 0
    with closing(empty.connect()) as connection:
        assert [row["name"] for row in registered(connection)] == [file.stem for file in MIGRATIONS[:2]]
