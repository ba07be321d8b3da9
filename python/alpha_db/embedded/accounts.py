"""Whom the server runs as, and running its programs as that user."""

from __future__ import annotations

import os
import pwd
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alpha_db.embedded.errors import EmbeddedError

Command = Sequence[str | Path]

_DEFAULTS = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """A user that programs are run as; ``switch`` is true where this process must become that user first."""

    uid: int
    gid: int
    name: str
    switch: bool

    def owns(self, facts: os.stat_result) -> bool:
        """Return whether a file of these facts belongs to the account."""
        return facts.st_uid == self.uid


def server_account(data_dir: Path | None = None) -> Account:
    """Return the user that the server of a data directory runs as.

    An ordinary user runs their own servers. PostgreSQL refuses root, so for root it is the owner of the data
    directory, if it exists and is not root's, else the user postgres, else nobody. Raises EmbeddedError if
    neither exists.
    """
    if os.geteuid() != 0:
        uid = os.geteuid()
        return Account(uid, os.getegid(), _name(uid), switch=False)
    facts = _facts(data_dir) if data_dir else None
    if facts is not None and facts.st_uid != 0:
        return Account(facts.st_uid, facts.st_gid, _name(facts.st_uid), switch=True)
    for name in _DEFAULTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, name, switch=True)
    raise EmbeddedError(
        "PostgreSQL does not run as root, and there is no user postgres or nobody to run it as",
        hint="run this as an ordinary user",
    )


def run_as(
    account: Account,
    command: Command,
    *,
    cwd: Path = Path("/"),
    extra_env: dict[str, str] | None = None,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run a program as the account and return what it said, stderr in stdout.

    Raises EmbeddedError if it cannot be run at all or takes longer than the timeout.
    """
    try:
        return subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
            **popen_options(account, cwd, extra_env),
        )
    except subprocess.TimeoutExpired as exc:
        raise EmbeddedError(
            f"{Path(command[0]).name} took longer than {timeout:g} s and was stopped"
        ) from exc
    except OSError as exc:
        raise EmbeddedError(
            f"cannot run {shlex.quote(str(command[0]))} as user {account.name}: {exc.strerror}"
        ) from exc


def popen_options(account: Account, cwd: Path, extra_env: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the keyword arguments of subprocess.Popen that make a program run as the account."""
    options: dict[str, Any] = {"cwd": cwd, "env": clean_environment() | (extra_env or {}), "umask": 0o077}
    if account.switch:
        options |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    return options


def clean_environment() -> dict[str, str]:
    """Return the environment without what would lead PostgreSQL's programs elsewhere: PG*, languages."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_")) and k != "LANGUAGE"}
    return kept | {"LC_ALL": "C"}


def can_use_directory(account: Account, directory: Path) -> bool:
    """Return whether the account can enter a directory and write in it."""
    probe: Command = ["/bin/sh", "-c", 'cd -- "$1" && test -w .', "sh", directory]
    return run_as(account, probe).returncode == 0


def _facts(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # containers run as numbers that no user has
        return str(uid)
