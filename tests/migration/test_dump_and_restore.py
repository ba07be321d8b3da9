"""A dump restored elsewhere verifies, its guards are as installed, and writing goes on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster import Server
from tests.migration.desk import Desk, facts
from tests.support import (
    AUDIT_TABLES,
    Connection,
    assert_healthy,
    changed_guards,
    fill,
    one,
    query,
    quote,
    verdicts,
)

Root = Callable[[Desk], Connection]


def heads(connection: Connection) -> list[dict[str, object]]:
    """The head of every chain."""
    return query(connection, "select table_name, last_id, head_hash, last_created_at from chain_status()")


def custom(source: Desk, target: Desk, tmp_path: Path) -> None:
    file = tmp_path / "dump"
    source.server.program("pg_dump", "-Fc", "-f", file, "-d", source.server.dsn(source.dbname))
    target.server.program("pg_restore", "--exit-on-error", "-1", "-d", target.server.dsn(target.dbname), file)


def directory_with_two_jobs(source: Desk, target: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "dump"
    source.server.program("pg_dump", "-Fd", "-j", "2", "-f", folder, "-d", source.server.dsn(source.dbname))
    target.server.program(
        "pg_restore", "--exit-on-error", "-j", "2", "-d", target.server.dsn(target.dbname), folder
    )


def plain(source: Desk, target: Desk, tmp_path: Path) -> None:
    file = tmp_path / "dump.sql"
    source.server.program("pg_dump", "-f", file, "-d", source.server.dsn(source.dbname))
    target.server.psql(target.dbname, "-1", "-o", tmp_path / "out", "-f", file)


def inserts(source: Desk, target: Desk, tmp_path: Path) -> None:
    """As INSERTs the rows come before the triggers too."""
    file = tmp_path / "dump.sql"
    source.server.program("pg_dump", "--inserts", "-f", file, "-d", source.server.dsn(source.dbname))
    target.server.psql(target.dbname, "-1", "-o", tmp_path / "out", "-f", file)


@pytest.mark.parametrize(
    ("schema", "way"),
    [
        # Most tests below go by `custom`, and INSERTs differ from `plain` in how the rows are written.
        ("public", directory_with_two_jobs),
        ("Desk A", plain),
        pytest.param("public", custom, marks=pytest.mark.long),
        pytest.param("public", inserts, marks=pytest.mark.long),
        pytest.param("Desk A", custom, marks=pytest.mark.long),
        pytest.param("Desk A", directory_with_two_jobs, marks=pytest.mark.long),
        pytest.param("public", plain, marks=pytest.mark.long),
        pytest.param("Desk A", inserts, marks=pytest.mark.long),
    ],
)
def test_whole_database(
    schema: str,
    way: Callable[[Desk, Desk, Path], None],
    request: pytest.FixtureRequest,
    make_database: Callable[..., str],
    root: Root,
    tmp_path: Path,
) -> None:
    """That of desk A has public's desk, too."""
    source: Desk = request.getfixturevalue("installed" if schema == "public" else "beside")
    written = root(source)
    fill(written)
    target = replace(source, dbname=make_database())
    way(source, target, tmp_path)

    restored = root(target)
    assert heads(restored) == heads(written)
    assert facts(restored) == facts(written)
    assert_healthy(restored)
    fill(restored, first=100)
    assert one(restored, "select max(id) from signals") == 6
    assert_healthy(restored)


def test_restored_rows_are_protected(
    installed: Desk, make_database: Callable[..., str], root: Root, tmp_path: Path
) -> None:
    """ALWAYS triggers are ALWAYS again."""
    fill(root(installed))
    target = replace(installed, dbname=make_database())
    custom(installed, target, tmp_path)
    restored = root(target)
    restored.execute("set session_replication_role = replica")
    for table in AUDIT_TABLES:
        for command in (f"update {table} set id = id", f"delete from {table}", f"truncate {table} cascade"):
            run = target.server.psql(
                target.dbname, command, check=False,
                environment={"PGOPTIONS": "-c session_replication_role=replica"},
            )  # fmt: skip
            assert re.search("AUD-0(0|1[34])", run.stderr), command
    assert_healthy(restored)


def test_restored_lockdown_is_engaged(
    installed: Desk, make_database: Callable[..., str], root: Root, tmp_path: Path
) -> None:
    """A restore is no way out of a lockdown."""
    written = root(installed)
    fill(written)
    one(written, "select _engage_lockdown('a test', '[]')")
    target = replace(installed, dbname=make_database())
    custom(installed, target, tmp_path)
    assert one(root(target), "select is_locked from lockdown_status()") is True


def test_ddl_guard_is_restored_too(
    installed: Desk, make_database: Callable[..., str], root: Root, tmp_path: Path
) -> None:
    installed.guard_ddl()
    fill(root(installed))
    target = replace(installed, dbname=make_database())
    custom(installed, target, tmp_path)
    restored = root(target)
    assert_healthy(restored)
    run = target.server.psql(target.dbname, "alter table signals add column note text", check=False)
    assert "AUD-011" in run.stderr


def copy_rows(source: Connection, target: Connection) -> None:
    """The four tables' rows, by COPY, from one session into another."""
    for table in AUDIT_TABLES:
        with source.cursor().copy(f"copy {table} to stdout") as out:
            rows = b"".join(bytes(block) for block in out)
        with target.cursor().copy(f"copy {table} from stdin") as into:
            into.write(rows)


def test_rows_alone_into_another_schema_keep_their_hashes(beside: Desk, root: Root) -> None:
    """As a replica, so that the chain's trigger does not write history anew."""
    source = root(replace(beside, schema="public"))
    fill(source)
    target = root(beside)
    target.execute("set session_replication_role = replica")
    copy_rows(source, target)
    target.execute("reset session_replication_role")

    ours = [head for head in heads(source) if head["table_name"] in AUDIT_TABLES]
    assert [head for head in heads(target) if head["table_name"] in AUDIT_TABLES] == ours
    assert_healthy(target)
    fill(target, first=100)
    assert_healthy(target)
    assert_healthy(source)


def test_rows_alone_by_pg_dump_keep_their_hashes(
    installed: Desk, make_database: Callable[..., str], template: str, root: Root, tmp_path: Path
) -> None:
    written = root(installed)
    fill(written)
    file = tmp_path / "rows.sql"
    tables = [argument for table in AUDIT_TABLES for argument in ("-t", table)]
    installed.server.program(
        "pg_dump", "-a", *tables, "-f", file, "-d", installed.server.dsn(installed.dbname)
    )
    target = replace(installed, dbname=make_database(template))
    target.server.psql(
        target.dbname, "-1", "-o", tmp_path / "out", "-f", file,
        environment={"PGOPTIONS": "-c session_replication_role=replica"},
    )  # fmt: skip
    restored = root(target)
    assert heads(restored)[:4] == heads(written)[:4]
    assert_healthy(restored)
    fill(restored, first=100)
    assert_healthy(restored)


def test_rows_alone_without_that_are_a_new_history(
    installed: Desk, make_database: Callable[..., str], template: str, root: Root
) -> None:
    """The trap that the test above avoids: an intact chain, but another one."""
    written = root(installed)
    fill(written)
    restored = root(replace(installed, dbname=make_database(template)))
    copy_rows(written, restored)
    assert heads(restored)[0]["last_id"] == heads(written)[0]["last_id"]
    assert heads(restored)[0]["head_hash"] != heads(written)[0]["head_hash"]
    assert_healthy(restored)


def test_whole_cluster_without_owners_is_reported(
    installed: Desk, make_database: Callable[..., str], root: Root, tmp_path: Path
) -> None:
    """pg_restore --no-owner loses guards: rows verify, verify_guards() says what is wrong."""
    written = root(installed)
    fill(written)
    file = tmp_path / "dump"
    installed.server.program("pg_dump", "-Fc", "-f", file, "-d", installed.server.dsn(installed.dbname))
    target = replace(installed, dbname=make_database())
    target.server.program("pg_restore", "--no-owner", "-x", "-d", target.server.dsn(target.dbname), file)
    restored = root(target)
    assert heads(restored) == heads(written)
    assert changed_guards(restored)
    found = {verdict.verdict for verdict in verdicts(restored, engage_lockdown=False).values()}
    assert "guard_changed" in found


# ---------------------------------------------------------------------------------------------------
# From one major version to another


@pytest.fixture
def older_and_newer(
    request: pytest.FixtureRequest, server: Server, all_majors: dict[int, Path]
) -> tuple[int, int]:
    """The major versions to go from and to: an older one, and the tested server's."""
    older: int = request.param
    if older >= server.major or older not in all_majors:
        pytest.skip(f"needs a PostgreSQL {older} and a newer one to be tested")
    return older, server.major


def roles_of(source: Server, target: Server, tmp_path: Path) -> None:
    """The cluster's roles, with the newer version's program, as PostgreSQL's documentation asks."""
    file = tmp_path / "roles.sql"
    target.program("pg_dumpall", "--roles-only", "-f", file, "-d", source.dsn("postgres"))
    target.psql("postgres", "-v", "ON_ERROR_STOP=0", "-f", file)


@pytest.mark.parametrize(
    "older_and_newer",
    [15, *(pytest.param(major, marks=pytest.mark.long) for major in (16, 17))],
    indirect=True,
)
def test_dump_of_an_older_version_in_a_newer_one(
    older_and_newer: tuple[int, int],
    all_majors: dict[int, Path],
    server: Server,
    prefix: str,
    make_database: Callable[..., str],
    root: Root,
    tmp_path: Path,
) -> None:
    """The roles are not there yet: their prefix is new."""
    there = Desk(server, make_database())
    with Server(all_majors[older_and_newer[0]]) as source:
        here = Desk(source, "book", prefix=prefix)
        source.psql("postgres", "create database book")
        here.migrate()
        here.guard_ddl()
        with here.connect() as written:
            fill(written)
            expected = heads(written)

        roles_of(source, server, tmp_path)
        file = tmp_path / "dump"
        server.program("pg_dump", "-Fc", "-f", file, "-d", source.dsn("book"))
    server.program("pg_restore", "--exit-on-error", "-1", "-d", server.dsn(there.dbname), file)
    restored = root(there)
    assert heads(restored) == expected
    assert_healthy(restored)
    fill(restored, first=100)
    assert_healthy(restored)


@pytest.mark.long
@pytest.mark.parametrize("older_and_newer", [15, 16, 17], indirect=True)
def test_pg_upgrade(older_and_newer: tuple[int, int], all_majors: dict[int, Path]) -> None:
    older, newer = (all_majors[major] for major in older_and_newer)
    if not (newer / "pg_upgrade").exists():
        pytest.skip("these binaries have no pg_upgrade")
    with Server(older) as source:
        source.psql("postgres", "create database book")
        Desk(source, "book").migrate()
        Desk(source, "book").guard_ddl()
        with Desk(source, "book").connect() as written:
            fill(written)
            expected = heads(written)
        source.stop("fast", keep=True)
        # 18 has data checksums by default, what comes from before has not.
        target = Server(newer, initdb_options=("--no-data-checksums",) if older_and_newer[1] >= 18 else ())
        try:
            target.start().stop("fast", keep=True)
            target.as_server_user(
                "pg_upgrade", "-b", source.bin, "-B", target.bin, "-d", source.data, "-D", target.data,
                "-U", target.superuser, "-s", target.directory, "-O", "-c autovacuum=off",
            )  # fmt: skip
            target.start()
            with Desk(target, "book").connect() as upgraded:
                assert heads(upgraded) == expected
                assert_healthy(upgraded)
                fill(upgraded, first=100)
                assert_healthy(upgraded)
        finally:
            target.stop()


def test_one_desk_among_several(
    beside: Desk, make_database: Callable[..., str], origin: str, root: Root, tmp_path: Path
) -> None:
    """Into another database, beside the desk that is there; the schemas are `public` and desk A in both."""
    target = replace(beside, dbname=make_database(origin))
    neighbours = [root(replace(desk, schema="public")) for desk in (beside, target)]
    for signals, neighbour in enumerate(neighbours, 1):
        fill(neighbour, signals=signals)
    written, file, schema = root(beside), tmp_path / "desk_a", quote(beside.schema)
    fill(written)
    beside.server.program("pg_dump", "-Fc", "-n", schema, "-f", file, "-d", beside.server.dsn(beside.dbname))
    target.server.program("pg_restore", "--exit-on-error", "-1", "-d", target.server.dsn(target.dbname), file)

    restored = root(target)
    assert heads(restored) == heads(written)
    assert facts(restored) == facts(written)
    fill(restored, first=100)
    written.execute(f"drop schema {schema} cascade")
    for signals, neighbour in enumerate(neighbours, 1):
        assert_healthy(neighbour)
        assert one(neighbour, "select max(id) from signals") == signals
    assert_healthy(restored)
