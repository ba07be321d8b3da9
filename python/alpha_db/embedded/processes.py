"""Whether the process that postmaster.pid names is really the server of that data directory.

A process id is used again, in containers at once: after a crash the file may name anybody. pg_ctl would take
a stranger of the same user for the server, and stop it.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from alpha_db.embedded.accounts import Account, run_as

_PROC = Path("/proc")
_POSTGRES = re.compile(r"(^|/)(postgres|postmaster)(:|\s|$)")
# Asked as the server's user: root in a container may lack the right to look at other users' processes.
_IN_DIRECTORY = 'd=$1; shift; for p; do test "/proc/$p/cwd" -ef "$d" && echo "$p"; done; :'


def running_pid(data_dir: Path, account: Account) -> int | None:
    """Return the process id of the data directory's running server; None if it does not run."""
    pid = recorded_pid(data_dir)
    return pid if pid is not None and _serves(pid, data_dir, account) else None


def recorded_pid(data_dir: Path) -> int | None:
    """Return the process id in postmaster.pid, whatever it may be by now; None if there is none."""
    try:
        first = (data_dir / "postmaster.pid").read_text(encoding="ascii", errors="replace").split("\n", 1)[0]
        return abs(int(first)) or None  # a single-user backend writes its own negated
    except (OSError, ValueError):
        return None


def names_a_stranger(data_dir: Path, account: Account) -> bool:
    """Return whether postmaster.pid is stale and its id now belongs to a process that is not this server's.

    PostgreSQL then refuses to start. False while any of its processes still works in the data directory,
    and false where that cannot be seen.
    """
    pid = recorded_pid(data_dir)
    if pid is None or not _alive(pid) or not _sees_processes():
        return False
    return not in_use(data_dir, account)


def in_use(data_dir: Path, account: Account) -> bool:
    """Return whether PostgreSQL works in the data directory, as a killed server's processes still do."""
    if not _sees_processes():
        return False
    everybody = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    return bool(_working_in(data_dir, everybody, account))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _serves(pid: int, data_dir: Path, account: Account) -> bool:
    if not _alive(pid):
        return False
    if _sees_processes():
        return bool(_working_in(data_dir, [pid], account))
    return _is_postgres(pid)


def _working_in(data_dir: Path, pids: list[int], account: Account) -> list[int]:
    """Return those that are PostgreSQL's and have the data directory as working directory."""
    servers = [str(pid) for pid in pids if _is_postgres(pid)]
    if not servers:
        return []
    said = run_as(account, ["/bin/sh", "-c", _IN_DIRECTORY, "sh", data_dir, *servers]).stdout
    return [int(line) for line in said.split() if line.isdigit()]


def _sees_processes() -> bool:
    return _PROC.joinpath("self", "cwd").exists()


def _is_postgres(pid: int) -> bool:
    try:
        command = (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        if _sees_processes():
            return False
        asked = ["ps", "-o", "command=", "-p", str(pid)]
        command = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return _POSTGRES.search(command.strip()) is not None
