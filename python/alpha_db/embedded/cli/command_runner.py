"""Running somebody's command: its exit code is ours, and a signal to us is passed on."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

from alpha_db.cli.boundary import say

NOT_FOUND, NOT_EXECUTABLE = 127, 126


def run_command(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command and return its exit code as a shell does: 128 + n for signal n, 127 if there is none."""
    try:
        with _signals_passed_on() as children:
            child = subprocess.Popen(command, env=dict(environment))
            children.append(child)
            code = child.wait()
    except FileNotFoundError as exc:
        say(f"error: command not found: {exc.filename or command[0]}")
        return NOT_FOUND
    except OSError as exc:
        say(f"error: cannot run {command[0]}: {exc.strerror}")
        return NOT_EXECUTABLE
    return code if code >= 0 else 128 - code


def without_postgres(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what names another database."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("PG") and name not in ("ALPHA_DB_DSN", "ALPHA_DB_SCHEMA")
    }


@contextmanager
def _signals_passed_on() -> Iterator[list[subprocess.Popen[bytes]]]:
    children: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        for child in children:
            child.send_signal(number)

    def leave_to_child(_number: int, _frame: FrameType | None) -> None:
        """Ctrl-C reaches the child by itself; what it makes of it decides."""

    ours = {signal.SIGINT: leave_to_child, signal.SIGTERM: pass_on, signal.SIGHUP: pass_on}
    # what was ignored stays ignored: nohup, a job in the background
    kept = {number: handler for number in ours if (handler := signal.getsignal(number)) != signal.SIG_IGN}
    for number in kept:
        signal.signal(number, ours[number])
    try:
        yield children
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
