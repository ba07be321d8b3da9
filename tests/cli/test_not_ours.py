"""A register of migrations that belongs to somebody else is no installation."""

from __future__ import annotations

from tests.checkpoint.book import run
from tests.cluster import Server
from tests.support import Connection


def test_a_role_that_is_only_named_alike_installs_nothing(
    server: Server, empty_database: str, admin: Connection
) -> None:
    admin.execute('drop role if exists "x-alpha-owner"; create role "x-alpha-owner"')
    dsn = server.dsn(empty_database)
    server.psql(
        empty_database,
        "-c",
        'create table installed_migrations (name text); alter table installed_migrations owner to "x-alpha-owner"',
    )
    said = run("--dsn", dsn, "status", expect=None)
    assert (said.code, said.out) == (3, "")
    assert "not installed" in said.err
    server.psql(empty_database, "-c", "drop table installed_migrations")
    admin.execute('drop role "x-alpha-owner"')
