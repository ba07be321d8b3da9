"""A server for the length of a `with` block: nothing of it is left, however the block or the process ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from alpha_db.embedded.accounts import Account, can_use_directory, popen_options, server_account
from alpha_db.embedded.binaries import Binaries
from alpha_db.embedded.errors import EmbeddedError
from alpha_db.embedded.server import Server
from alpha_db.embedded.settings import Value, enough_shared_memory
from alpha_db.embedded.sockets import fits, give
from alpha_db.embedded.tcp import Tcp

# Waits until the pipe from this process closes, which a kill -9 does too. It has the programs and the
# directory as arguments, so that no path is read as shell.
_WATCH = (
    'cat >/dev/null; PGDATA=$2/data; export PGDATA; "$1" stop -s -m immediate -t 20; cd /; rm -rf -- "$2"'
)


@contextmanager
def throwaway_server(
    binaries: Binaries | str | os.PathLike[str] | None = None,
    *,
    fsync: bool = False,
    options: Mapping[str, Value] | None = None,
    tcp: Tcp | None = None,
) -> Iterator[Server]:
    """Start a server in a temporary directory, on shared memory where there is enough; then remove it all.

    Takes what Server takes. Raises EmbeddedError. Source: README.md (``server run``).
    """
    account = server_account()
    directory = _directory(account)
    watch: subprocess.Popen[bytes] | None = None
    try:
        socket_dir = directory / "s"
        socket_dir.mkdir(mode=0o700)
        give(socket_dir, account)
        server = Server(directory / "data", binaries, fsync, options, socket_dir=socket_dir, tcp=tcp)
        watch = _watch(server, directory, account)
        try:
            server.start()
            yield server
        finally:
            server.stop("immediate", timeout=20)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        if watch is not None and watch.stdin is not None:
            watch.stdin.close()
            watch.wait()


def _directory(account: Account) -> Path:
    for base in _bases():
        try:
            directory = Path(tempfile.mkdtemp(prefix="alpha-db-", dir=base)).resolve()
        except OSError:
            continue
        give(directory, account)
        if fits(directory / "s") and can_use_directory(account, directory):
            return directory
        directory.rmdir()
    raise EmbeddedError(f"no temporary directory for a server that user {account.name} can reach")


def _bases() -> Iterator[Path]:
    if enough_shared_memory(Path("/dev/shm")):
        yield Path("/dev/shm")
    yield Path(tempfile.gettempdir())
    yield from (Path("/tmp"), Path("/var/tmp"))


def _watch(server: Server, directory: Path, account: Account) -> subprocess.Popen[bytes]:
    command = ["/bin/sh", "-c", _WATCH, "sh", str(server.binaries.program("pg_ctl")), str(directory)]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for this process only
        **popen_options(account, Path("/")),
    )
