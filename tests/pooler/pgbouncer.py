"""PgBouncer in transaction mode in front of a test server, on a socket in a private directory."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg.conninfo import make_conninfo

from tests.cluster import Server, client_environment
from tests.support import PATIENCE

_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
PROGRAM = shutil.which("pgbouncer", path=_PLACES)
PORT = 6432


@contextmanager
def pgbouncer(server: Server, pool_size: int, *logins: str) -> Iterator[Path]:
    """Run one for these logins; gives the directory of its socket."""
    assert PROGRAM
    folder = Path(tempfile.mkdtemp(prefix="alpha-db-pool-"))
    (folder / "users").write_text("".join(f'"{login}" ""\n' for login in logins), encoding="utf-8")
    (folder / "ini").write_text(
        f"""[databases]
* = host={server.directory}
[pgbouncer]
listen_port = {PORT}
unix_socket_dir = {folder}
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {pool_size}
logfile = {folder}/log
""",
        encoding="utf-8",
    )
    user = server.user
    for path in (folder, *folder.iterdir()):
        if user:
            os.chown(path, user.pw_uid, user.pw_gid)
    process = subprocess.Popen(
        [PROGRAM, "-q", folder / "ini"],
        env=client_environment(),
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(folder / f".s.PGSQL.{PORT}", process)
        yield folder
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def through(folder: Path, dbname: str, user: str) -> str:
    """A connection string that goes through the pooler."""
    return make_conninfo("", host=str(folder), port=PORT, dbname=dbname, user=user)


def wait_for(address: Path | tuple[str, int], process: subprocess.Popen[bytes]) -> None:
    """Wait until it listens on a socket, or on a port."""
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    end = time.monotonic() + PATIENCE
    while True:
        with socket.socket(family) as probe:
            if probe.connect_ex(str(address) if isinstance(address, Path) else address) == 0:
                return
        assert process.poll() is None, "pgbouncer ended"
        assert time.monotonic() < end, "pgbouncer does not listen"
        time.sleep(0.005)
