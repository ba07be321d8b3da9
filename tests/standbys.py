"""A standby of a test's server, made by pg_basebackup: how to wait for it, cut it off, promote it, and rewind to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.cluster import Server
from tests.support import one, query, wait_until


@contextmanager
def standby_of(primary: Server, **settings: str) -> Iterator[Server]:
    """A streaming standby of a server, which runs; with settings of its own."""
    server = Server(primary.binaries)
    try:
        copy_of(primary, server, "-R", **settings)
        yield server.start()
    finally:
        server.stop()


def copy_of(primary: Server, server: Server, *options: str, **settings: str) -> None:
    """Take a base backup, by pg_basebackup with options, into a server that does not run yet."""
    where = ("-D", server.data, "-h", primary.directory, "-U", primary.superuser, "-X", "stream")
    primary.as_server_user("pg_basebackup", *where, "-c", "fast", "--no-sync", *options)
    settle(server, **settings)


def settle(server: Server, **settings: str) -> None:
    """Give a copy its own socket, and settings of its own."""
    with (server.data / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write(f"unix_socket_directories = '{server.directory}'\n")
        conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())


def catch_up(primary: Server, standby: Server) -> None:
    """Wait until a standby has replayed all that is written on its primary."""
    with psycopg.connect(primary.dsn("postgres"), autocommit=True) as conn:
        # Committed and flushed; the log's end itself may be a page's head, which nothing replays before it is needed.
        written = one(conn, "select pg_logical_emit_message(true, 'test', '')::text")
    with psycopg.connect(standby.dsn("postgres"), autocommit=True) as conn:
        wait_until(conn, "select pg_last_wal_replay_lsn() >= %s::pg_lsn", [written])


def cut_off(primary: Server, standby: Server) -> None:
    """Let the standby have all that there is now, and nothing from then on."""
    written = primary.psql("postgres", "select pg_current_wal_flush_lsn()").stdout.strip()
    with psycopg.connect(standby.dsn("postgres"), autocommit=True) as copy:
        wait_until(copy, "select pg_last_wal_replay_lsn() >= %s::pg_lsn", [written])
        query(copy, "alter system set primary_conninfo = ''")
        query(copy, "select pg_reload_conf()")
        wait_until(copy, "select not exists (select from pg_stat_wal_receiver)")


def promote(server: Server) -> None:
    """Promote a standby, and wait until it takes rows."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
        query(admin, "select pg_promote(wait => false)")
        wait_until(admin, "select not pg_is_in_recovery()")


def rewind(former: Server, new: Server) -> None:
    """Have a former primary follow the new one: stop it, pg_rewind, start it as a standby."""
    former.stop("fast", keep=True)
    source = f"host={new.directory} user=postgres dbname=postgres"
    where = ("--target-pgdata", former.data, "--source-server", source)
    former.as_server_user("pg_rewind", *where, "--write-recovery-conf", "--no-sync")
    settle(former)  # its postgresql.conf is that of the new primary now
    former.start()
