"""The private directory of a server's socket: short, mode 0700, and the same again after a restart."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from alpha_db.embedded.accounts import Account, can_use_directory
from alpha_db.embedded.errors import EmbeddedError
from alpha_db.embedded.settings import is_there, read_file, replace_file

PORT = 5432

_MEMORY = "alpha-db.socket"
# sun_path has 104 bytes on macOS and 108 on Linux; "/.s.PGSQL.65535" and a zero byte come after the directory
_LONGEST = 104 - len("/.s.PGSQL.65535") - 1


def remembered(data_dir: Path) -> Path | None:
    """Return the socket directory that was used last; None if there was none.

    A copy of a data directory, such as pg_basebackup makes, does not take over the original's.
    """
    if not is_there(data_dir / _MEMORY):
        return None
    directory, _, owner = read_file(data_dir / _MEMORY).rstrip("\n").partition("\n")
    return Path(directory) if directory.startswith("/") and owner == str(data_dir) else None


def is_private(directory: Path, account: Account) -> bool:
    """Return whether a directory is there, the account's own, and closed to everybody else."""
    try:
        facts = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and account.owns(facts) and stat.S_IMODE(facts.st_mode) == 0o700


def ensure(data_dir: Path, account: Account) -> Path:
    """Return the socket directory of a data directory, making it if it is new or was cleaned away.

    Its name follows from the data directory, so that connection strings outlive a reboot; another name is
    taken only where somebody else holds that one. Raises EmbeddedError where none can be made.
    """
    last = remembered(data_dir)
    if last is not None and fits(last) and (is_private(last, account) or _make(last, account)):
        return last
    name = f"alpha-db-{account.uid}-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:10]}"
    for base in _bases():
        wanted = base / name
        if not fits(wanted):
            continue
        directory = (
            wanted if is_private(wanted, account) or _make(wanted, account) else _make_other(base, account)
        )
        if directory is not None and can_use_directory(account, directory):
            replace_file(data_dir / _MEMORY, f"{directory}\n{data_dir}\n", account)
            return directory
    raise EmbeddedError(
        "cannot make a directory for the server's socket in " + " or ".join(map(str, _bases()))
    )


def fits(directory: Path) -> bool:
    """Return whether a socket's path in this directory is short enough for the kernel."""
    return len(os.fsencode(directory)) <= _LONGEST


def socket_in(directory: Path, port: int = PORT) -> Path:
    """Return the path of the server's socket."""
    return directory / f".s.PGSQL.{port}"


def lock_in(directory: Path, port: int = PORT) -> Path:
    """Return the path of the file by which a server claims its socket."""
    return directory / f".s.PGSQL.{port}.lock"


def give(path: Path, account: Account) -> None:
    """Hand a directory that this process has just made to the account."""
    if account.switch:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _bases() -> Iterator[Path]:
    yield Path(tempfile.gettempdir())
    yield Path("/tmp")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        yield Path(runtime)


def _make(directory: Path, account: Account) -> bool:
    try:
        directory.mkdir(mode=0o700)
        directory.chmod(0o700)
        give(directory, account)
    except OSError:
        return False
    return True


def _make_other(base: Path, account: Account) -> Path | None:
    try:
        directory = Path(tempfile.mkdtemp(prefix="alpha-db-", dir=base))
        give(directory, account)
    except OSError:
        return None
    return directory
