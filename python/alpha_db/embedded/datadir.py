"""Making a data directory, and refusing one that is not ours to run."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

from alpha_db.embedded.accounts import Account, Command, can_use_directory, run_as
from alpha_db.embedded.binaries import Binaries
from alpha_db.embedded.errors import EmbeddedError
from alpha_db.embedded.settings import is_there, read_file
from alpha_db.embedded.sockets import give
from alpha_db.errors import shown
from alpha_db.security.files import sync

# initdb works in here, and its result is moved up when it is complete; PG_VERSION moves last
_HALF_MADE = ".alpha-db-initdb"
_FILE_SYSTEMS_OWN = "lost+found"
_FAILED = re.compile(r"\b(FATAL|PANIC|ERROR|error):")
# log_line_prefix
_WHEN = re.compile(r"^[-0-9]+ [:.0-9]+ \S+ \[\d+\] ")


def recorded_major(data_dir: Path) -> int | None:
    """Return the major version that made a data directory; None if there is no cluster in it."""
    if not is_there(data_dir / "PG_VERSION"):
        return None
    text = read_file(data_dir / "PG_VERSION").strip()
    if not text.isdigit():
        raise EmbeddedError(f"{data_dir} is not a data directory: its PG_VERSION says {shown(text[:20])}")
    return int(text)


def prepare(data_dir: Path, account: Account) -> None:
    """Make the directory, if it is not there, for the account only.

    Raises EmbeddedError if it cannot be made, holds something else, or the account cannot get there.
    """
    try:
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            data_dir.mkdir(mode=0o700)
        facts = data_dir.stat()
        # an empty directory of root's is given away too: somebody made it for us, as a volume is
        if account.switch and facts.st_uid == 0 and not any(data_dir.iterdir()):
            give(data_dir, account)
            data_dir.chmod(0o700)
    except OSError as exc:
        raise EmbeddedError(f"cannot make the data directory {data_dir}: {exc.strerror}") from exc
    if not account.owns(data_dir.stat()):
        raise EmbeddedError(f"the data directory {data_dir} does not belong to user {account.name}")
    if not can_use_directory(account, data_dir):
        raise EmbeddedError(
            f"user {account.name}, who runs the server, cannot reach the data directory {data_dir}",
            hint="choose one outside of private home directories, or run this as an ordinary user",
        )


def check_version(data_dir: Path, binaries: Binaries) -> bool:
    """Return whether there is a cluster. Raises EmbeddedError if another major version made it."""
    major = recorded_major(data_dir)
    if major is not None and major != binaries.major:
        raise EmbeddedError(
            f"{data_dir} was made by PostgreSQL {major}, these programs are PostgreSQL {binaries.version}",
            hint=f"choose the programs of PostgreSQL {major}, or another data directory",
        )
    return major is not None


def initialise(data_dir: Path, account: Account, binaries: Binaries, *, fsync: bool) -> None:
    """Run initdb, such that a kill in the midst of it leaves nothing that looks like a cluster.

    Raises EmbeddedError if the directory holds something else, or with what initdb said.
    """
    half = data_dir / _HALF_MADE
    if half.is_dir() and not half.is_symlink() and not (data_dir / "postmaster.opts").exists():
        _empty(data_dir)  # an earlier attempt was killed; no server ever ran on it
    strangers = sorted(entry.name for entry in data_dir.iterdir() if entry.name != _FILE_SYSTEMS_OWN)
    if strangers:
        raise EmbeddedError(
            f"{data_dir} is not empty and holds no PostgreSQL cluster (there is {strangers[0]})"
        )
    data_dir.chmod(0o700)  # PostgreSQL insists
    command: Command = [
        binaries.program("initdb"), "-D", half, "-U", "postgres", "-E", "UTF8", "--locale=C",
        "--data-checksums", "--auth-local=trust", "--auth-host=reject", "--no-instructions",
        *([] if fsync else ["--no-sync"]),
    ]  # fmt: skip
    made = run_as(account, command, timeout=300)
    if made.returncode != 0:
        shutil.rmtree(half, ignore_errors=True)
        raise EmbeddedError(f"initdb failed: {told(made.stdout)}")
    entries = sorted(half.iterdir(), key=lambda entry: entry.name == "PG_VERSION")
    for entry in entries:
        entry.rename(data_dir / entry.name)
    half.rmdir()
    if fsync:
        sync(data_dir)


def told(text: str) -> str:
    """Return the line of a program's output that says what went wrong: its last error, else its last line."""
    lines = [_WHEN.sub("", " ".join(line.split())) for line in text.splitlines() if line.strip()]
    for number in range(len(lines) - 1, -1, -1):
        if _FAILED.search(lines[number]):
            # of a bad setting the last word is only that the file has errors
            first = number - 1 if number and lines[number].endswith("contains errors") else number
            return "; ".join(lines[first : number + 1])
    return lines[-1] if lines else "it said nothing"


def _empty(directory: Path) -> None:
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            if entry.name != _FILE_SYSTEMS_OWN:
                shutil.rmtree(entry)
        else:
            entry.unlink()
