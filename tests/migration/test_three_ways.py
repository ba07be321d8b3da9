"""psql, yoyo and alpha-db leave the same installation behind."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.cluster import Server, client_environment
from tests.migration.desk import (
    MIGRATION,
    Desk,
    dumped_schema,
    facts,
    few,
    guard_log,
    last_writes,
    registered,
)
from tests.support import MIGRATIONS, ROOT, Connection, assert_healthy, fill, install_options, query

Root = Callable[[Desk], Connection]


def environment(desk: Desk) -> dict[str, str]:
    """libpq's environment for a desk, and the checkout's package."""
    return client_environment(
        {
            "PGHOST": str(desk.server.directory),
            "PGUSER": desk.user or desk.server.superuser,
            "PGDATABASE": desk.dbname,
            "PGOPTIONS": install_options(desk.schema, desk.prefix),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT / "python"), os.environ.get("PYTHONPATH")])),
        }
    )


def run_program(desk: Desk, *command: str) -> subprocess.CompletedProcess[str]:
    run = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(desk),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run


def yoyo(desk: Desk, *arguments: str) -> subprocess.CompletedProcess[str]:
    """yoyo at the root of the checkout, where yoyo.ini names the files, and libpq's environment the database."""
    return run_program(desk, "-m", "yoyo.scripts.main", *arguments)


def by_psql(desk: Desk) -> None:
    """One psql for each file, as docs say."""
    for file in MIGRATIONS:
        desk.run(file)


def by_psql_in_one_transaction(desk: Desk) -> None:
    files = [argument for file in MIGRATIONS for argument in ("-f", file)]
    desk.server.psql(
        desk.dbname,
        "-1",
        *files,
        user=desk.user,
        environment={"PGOPTIONS": install_options(desk.schema, desk.prefix)},
    )


def by_yoyo(desk: Desk) -> None:
    yoyo(desk, "apply")


def by_alpha_db(desk: Desk) -> None:
    run_program(desk, "-m", "alpha_db", "migrate")


Way = Callable[[Desk], None]
WAYS: list[Way] = [by_psql, by_yoyo, by_alpha_db]
# All files in one transaction, by a migrator of few rights, stand in test_where_and_as_whom.py too.
ALL_WAYS = [*WAYS, pytest.param(by_psql_in_one_transaction, marks=pytest.mark.long)]
# Each way once before and once after another one.
IN_TURN = [(by_psql, by_yoyo), (by_yoyo, by_alpha_db), (by_alpha_db, by_psql)]


@pytest.fixture(scope="module")
def templates(server: Server, admin: Connection) -> Callable[[Way], str]:
    """Names of databases, each migrated in one way when it is first asked for: do not change them."""
    made: dict[str, str] = {}

    def migrated(way: Way) -> str:
        name = way.__name__
        if name not in made:
            admin.execute(f"create database {name} template template0")
            way(Desk(server, name))
            made[name] = name
        return made[name]

    return migrated


@pytest.fixture
def migrated(
    server: Server, templates: Callable[[Way], str], make_database: Callable[..., str]
) -> Callable[[Way], Desk]:
    """Factory: migrated(by_yoyo) is schema public of a clone of what yoyo migrated."""
    return lambda way: Desk(server, make_database(templates(way)))


@pytest.mark.parametrize("way", ALL_WAYS)
def test_ways_of_migrating_give_one_schema(
    way: Way, migrated: Callable[[Way], Desk], template: str, server: Server, root: Root
) -> None:
    """The template was migrated by one psql."""
    desk = migrated(way)
    new, reference = root(desk), root(Desk(server, template))
    assert facts(new) == facts(reference)
    assert dumped_schema(server, desk.dbname) == dumped_schema(server, template)
    assert guard_log(new) == guard_log(reference) == [f"migration {file.stem}" for file in MIGRATIONS]
    fill(new)
    assert_healthy(new)


@pytest.mark.parametrize("way", ALL_WAYS)
def test_recorded_checksum_is_that_of_the_text_between_the_tags(
    way: Way, migrated: Callable[[Way], Desk], root: Root
) -> None:
    desk = migrated(way)
    recorded = registered(root(desk))
    expected = {}
    for file in MIGRATIONS:
        body = re.search(r"do \$migration\$.*\$migration\$", file.read_text(encoding="utf-8"), re.DOTALL)
        assert body is not None
        expected[file.stem] = hashlib.sha256(body[0].encode("utf-8")).hexdigest()
    assert {row["name"]: row["checksum"] for row in recorded} == expected
    assert {row["applied_by"] for row in recorded} == {"postgres"}
    assert all(row["server_version"].startswith(str(desk.server.major)) for row in recorded)


@pytest.mark.parametrize(
    ("first", "way"),
    [
        pytest.param(first, way, marks=() if (first, way) in IN_TURN else pytest.mark.long)
        for first in WAYS
        for way in WAYS
    ],
)
def test_one_way_after_another_changes_nothing(
    first: Way, way: Way, migrated: Callable[[Way], Desk], root: Root
) -> None:
    desk = migrated(first)
    before = last_writes(root(desk), "public")
    way(desk)
    after = last_writes(root(desk), "public")
    # What yoyo and alpha-db do to yoyo's own tables is theirs.
    yoyos = {"pg_class", "pg_type", "pg_constraint", "pg_attribute"}
    assert {k: v for k, v in after.items() if k not in yoyos} == {
        k: v for k, v in before.items() if k not in yoyos
    }


@pytest.mark.parametrize("number", few(MIGRATION))
def test_each_migration_that_yoyo_forgot_is_marked_again_without_harm(
    number: str, migrated: Callable[[Way], Desk], root: Root
) -> None:
    """Killed between a file's commit and its mark."""
    desk = migrated(by_yoyo)
    connection = root(desk)
    before = last_writes(connection, "public")
    connection.execute("delete from _yoyo_migration where migration_id >= %s", [number])
    by_yoyo(desk)
    assert last_writes(connection, "public") == before
    marks = query(connection, "select migration_id from _yoyo_migration order by 1")
    assert [row["migration_id"] for row in marks] == [file.stem for file in MIGRATIONS]


def test_yoyo_rolls_back_and_applies_again(
    migrated: Callable[[Way], Desk], template: str, server: Server, root: Root
) -> None:
    desk = migrated(by_yoyo)
    yoyo(desk, "rollback", "--all")
    connection = root(desk)
    assert query(connection, "select to_regclass('installed_migrations') as found") == [{"found": None}]
    by_yoyo(desk)
    assert facts(connection) == facts(root(Desk(server, template)))
    fill(connection)
    assert_healthy(connection)
