"""A cluster's processes, ended or held still from outside. Linux only: the children are found in /proc."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cluster import Server
from tests.support import PATIENCE, Connection, query

#: What writes or flushes WAL in a backend's place.
FLUSHERS = ("walwriter", "background writer", "checkpointer")


def state_and_parent(pid: int) -> tuple[str, int] | None:
    """A process's state letter and its parent's pid; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, parent = stat.rpartition(")")[2].split()[:2]
    return state, int(parent)


def _wait_for(pid: int, states: str) -> None:
    """Wait until a process is in one of the states; X stands for gone."""
    end = time.monotonic() + PATIENCE
    while ((state_and_parent(pid) or ("X",))[0]) not in states:
        assert time.monotonic() < end, f"process {pid} is {state_and_parent(pid)}, not in {states}"
        time.sleep(0.001)


def kill_everything(server: Server) -> None:
    """SIGKILL to the postmaster and to all of its children, none of which gets to do anything more.

    The postmaster is stopped first, so that it starts no more of them while they are listed.
    """
    lock = server.data / "postmaster.pid"
    postmaster = int(lock.read_text(encoding="utf-8").split()[0])
    os.kill(postmaster, signal.SIGSTOP)
    _wait_for(postmaster, "T")
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    children = [pid for pid in pids if (state_and_parent(pid) or ("", 0))[1] == postmaster]
    for pid in [*children, postmaster]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in [*children, postmaster]:
        _wait_for(pid, "XZ")
    # Where nobody reaps the dead, their pids in these files would look alive to the next start.
    for left in (lock, *server.directory.glob(".s.PGSQL.*.lock")):
        left.unlink(missing_ok=True)


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """SIGSTOP to the processes, and SIGCONT at the end to those that are left."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            _wait_for(pid, "T")
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def backends(connection: Connection, kinds: Sequence[str] = FLUSHERS) -> list[int]:
    """The pids of the server's processes of these kinds; fails if there are none."""
    found = query(connection, "select pid from pg_stat_activity where backend_type = any (%s)", [list(kinds)])
    assert len(found) == len(kinds), found
    return [row["pid"] for row in found]
