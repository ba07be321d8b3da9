"""A log goes with its rows: into a dump and out of it, and not from one desk to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg

from tests.cluster import Server
from tests.fix_database import Connect
from tests.merkle.logs import damage, nodes, root, seal, tree_of, write_signals
from tests.migration.desk import Desk
from tests.support import Connection, assert_healthy, install_options, one, query


def verdict(connection: Connection, size: int, root_hash: bytes) -> str:
    return str(one(connection, "select (verify_checkpoint('signals', %s, %s)).verdict", [size, root_hash]))


def test_dump_and_restore(
    logged: Connection, server: Server, make_database: Callable[..., str], connect: Connect, tmp_path: Path
) -> None:
    seal(logged)
    target, file = make_database(), tmp_path / "dump"
    server.program("pg_dump", "-Fc", "-f", file, "-d", server.dsn(logged.info.dbname))
    server.program("pg_restore", "--exit-on-error", "-1", "-d", server.dsn(target), file)
    restored = connect(dbname=target)
    assert_healthy(restored)
    assert nodes(restored, "signals") == [(8, 0)]
    assert damage(restored, "signals") == []
    assert verdict(restored, 300, root(logged, "signals", 300)) == "intact"
    assert one(restored, "select guards_hash()") == one(logged, "select guards_hash()")
    write_signals(restored, 212, first=301)
    assert seal(restored) == [("signals", 257, 512)]
    assert root(restored, "signals", 512) == tree_of(restored, "signals").root(512)


def test_rows_laundered_by_a_data_only_restore(
    logged: Connection, server: Server, template: str, make_database: Callable[..., str], connect: Connect
) -> None:
    """Restored through the triggers, every row gets a new time and hash: a valid chain of other rows."""
    seal(logged)
    kept = root(logged, "signals", 300)
    target = make_database(template)
    for table, options in (("signals", ""), ("log_nodes", "-c session_replication_role=replica")):
        dump = server.program(
            "pg_dump", "--data-only", "-t", table, "-d", server.dsn(logged.info.dbname)
        ).stdout
        server.psql(target, "-1", "-f", "-", stdin=dump, environment={"PGOPTIONS": options})
    laundered = connect(dbname=target)
    assert one(laundered, "select count(*) from signals") == 300
    assert damage(laundered, "signals") == [(8, 0)]
    assert verdict(laundered, 300, kept) == "checkpoint_mismatch"
    assert one(laundered, "select is_locked from lockdown_status()")


def test_two_desks(server: Server, make_database: Callable[..., str], template: str) -> None:
    """Each has logs, nodes and origins of its own."""
    name = make_database(template)
    server.psql(name, 'create schema "Desk A"')
    first = Desk(server, name, "Desk A")
    first.migrate()
    second = replace(first, schema="public")
    with first.connect() as a, second.connect() as b:
        write_signals(a, 300)
        write_signals(b, 260, first=501)
        assert seal(a) == [("signals", 1, 256)]
        assert nodes(b, "signals") == []
        assert seal(b) == [("signals", 1, 256)]
        for connection, size in ((a, 300), (b, 260)):
            assert root(connection, "signals", size) == tree_of(connection, "signals").root(size)
            assert damage(connection, "signals") == []
        assert verdict(b, 256, root(a, "signals", 256)) == "checkpoint_mismatch"
        assert not one(a, "select is_locked from lockdown_status()")
        assert one(b, "select is_locked from lockdown_status()")
        origins = [one(c, "select origin from checkpoint_facts() limit 1") for c in (a, b)]
        assert origins[0] != origins[1]


def test_a_caller_whose_search_path_is_elsewhere(server: Server, logged: Connection) -> None:
    """Every function finds its own desk."""
    options = install_options("pg_catalog")
    with psycopg.connect(server.dsn(logged.info.dbname, options=options), autocommit=True) as caller:
        for call in (
            "seal_log()",
            "checkpoint_facts()",
            "inclusion_proof('signals', 5, 300)",
            "consistency_proof('signals', 5, 300)",
            "find_log_damage('signals')",
            "verify_checkpoint('signals', 300, public.log_root('signals', 300))",
            "recompute_log_root('signals', 300)",
        ):
            query(caller, f"select public.{call}")
