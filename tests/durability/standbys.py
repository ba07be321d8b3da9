"""A standby of a server, made by pg_basebackup, and its promotion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.cluster import Server
from tests.support import query, wait_until


@contextmanager
def standby_of(binaries: Path, primary: Server, *settings: str) -> Iterator[Server]:
    """A streaming standby, which runs, and is gone afterwards. Takes lines for its postgresql.conf."""
    server = Server(binaries)
    try:
        copy_of(primary, server, "-R", *settings)
        yield server.start()
    finally:
        server.stop()


def copy_of(primary: Server, server: Server, *options: str) -> None:
    """Take a base backup into a server that does not run yet; options with " = " are lines for postgresql.conf."""
    where = (
        "-D",
        server.data,
        "-h",
        primary.directory,
        "-U",
        "postgres",
        "-X",
        "stream",
        "-c",
        "fast",
        "--no-sync",
    )
    primary.as_server_user("pg_basebackup", *where, *(one for one in options if " = " not in one))
    settle(server, *(one for one in options if " = " in one))


def settle(server: Server, *lines: str) -> None:
    """Give a copy its own socket, and lines for its postgresql.conf."""
    with (server.data / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.writelines(f"{line}\n" for line in (f"unix_socket_directories = '{server.directory}'", *lines))


def promote(server: Server) -> None:
    """Promote a standby, and wait until it takes rows."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
        query(admin, "select pg_promote(wait => false)")
        wait_until(admin, "select not pg_is_in_recovery()")


def cut_off(primary: Server, standby: Server) -> None:
    """Let the standby have all that there is now, and nothing from then on."""
    written = primary.psql("postgres", "select pg_current_wal_flush_lsn()").stdout.strip()
    with psycopg.connect(standby.dsn("postgres"), autocommit=True) as copy:
        wait_until(copy, "select pg_last_wal_replay_lsn() >= %s::pg_lsn", [written])
        query(copy, "alter system set primary_conninfo = ''")
        query(copy, "select pg_reload_conf()")
        wait_until(copy, "select not exists (select from pg_stat_wal_receiver)")


def rewind(former: Server, new: Server) -> None:
    """Have a former primary follow the new one: stop it, pg_rewind, start it as a standby."""
    former.stop("fast", keep=True)
    source = f"host={new.directory} user=postgres dbname=postgres"
    former.as_server_user(
        "pg_rewind",
        "--target-pgdata",
        former.data,
        "--source-server",
        source,
        "--write-recovery-conf",
        "--no-sync",
    )
    settle(former)  # its postgresql.conf is that of the new primary now
    former.start()
