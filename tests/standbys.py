"""A standby of a test's server: made by pg_basebackup, and how to wait until it has replayed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.cluster import Server
from tests.support import one, wait_until


@contextmanager
def standby_of(primary: Server, **settings: str) -> Iterator[Server]:
    """A streaming standby of a server, which runs; with settings of its own."""
    server = Server(primary.binaries)
    try:
        options = ("-D", server.data, "-h", primary.directory, "-U", primary.superuser, "-R", "-X", "stream")
        primary.as_server_user("pg_basebackup", *options, "-c", "fast", "--no-sync")
        with (server.data / "postgresql.conf").open("a", encoding="utf-8") as conf:
            conf.write(f"unix_socket_directories = '{server.directory}'\n")
            conf.writelines(f"{name} = {value}\n" for name, value in settings.items())
        yield server.start()
    finally:
        server.stop()


def catch_up(primary: Server, standby: Server) -> None:
    """Wait until a standby has replayed all that is written on its primary."""
    with psycopg.connect(primary.dsn("postgres"), autocommit=True) as conn:
        # Committed and flushed; the log's end itself may be a page's head, which nothing replays before it is needed.
        written = one(conn, "select pg_logical_emit_message(true, 'test', '')::text")
    with psycopg.connect(standby.dsn("postgres"), autocommit=True) as conn:
        wait_until(conn, "select pg_last_wal_replay_lsn() >= %s::pg_lsn", [written])
