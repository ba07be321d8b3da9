"""The server that the demo runs on: gone afterwards, or there to stay."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import FrameType

from alpha_db.demo.story import DATABASE
from alpha_db.embedded import Binaries, EmbeddedError, Server, throwaway_server


def host(binaries: Binaries, directory: Path | None, *, stays: bool) -> AbstractContextManager[Server]:
    """Start a server for a ``with`` block.

    Takes the programs, the data directory (default: a new one), and whether the server outlives a block that
    ends well. A block that raises leaves nothing behind. Raises EmbeddedError.
    """
    return _staying(binaries, directory) if stays else throwaway_server(binaries, fsync=True)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hide libpq's environment variables from the block; Ctrl-C, SIGTERM and SIGHUP end it, wherever it is."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PG")}
    # what nohup has ignored stays ignored
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    ours = [number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _interrupt) for number in ours}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.environ.update(hidden)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; from a finalizer, which would swallow it, a moment later."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def how_to_connect(server: Server) -> dict[str, str]:
    """Return the ways into a server that stays, and the way to stop it."""
    url = server.url(DATABASE)
    return {
        "directory": str(server.data_dir),
        "url": url,
        # this server's own: commands of an older psql fail on a newer server
        "psql": shlex.join(server.psql(DATABASE)),
        "verify": shlex.join(["alpha-db", "--dsn", url, "verify-chain"]),
        "stop": shlex.join(["alpha-db", "server", "stop", str(server.data_dir)]),
    }


@contextmanager
def _staying(binaries: Binaries, named: Path | None) -> Iterator[Server]:
    directory = Path(tempfile.mkdtemp(prefix="alpha-db-demo-")) if named is None else named.expanduser()
    if directory.is_dir() and any(directory.iterdir()):
        hint = "name a directory that is new, or leave it to the demo"
        raise EmbeddedError(f"{directory} is not empty", hint=hint)
    server = Server(directory, binaries)
    try:
        yield server.start()
    except BaseException:
        server.stop("immediate")
        with suppress(EmbeddedError, OSError):
            server.socket_dir.rmdir()
        shutil.rmtree(server.data_dir, ignore_errors=True)
        raise
