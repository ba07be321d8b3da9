"""The server's settings, in a file of ours that postgresql.conf includes.

Command-line options would go through pg_ctl and a shell, which paths with spaces and quotes do not survive.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from alpha_db.embedded.accounts import Account
from alpha_db.embedded.errors import EmbeddedError
from alpha_db.errors import shown
from alpha_db.security.files import whole_file

Value = str | int | float | bool

ENOUGH_SHARED_MEMORY = 512 * 1024 * 1024

_FILE = "alpha-db.conf"
_INCLUDE = f"include = '{_FILE}'"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")
# The local socket needs no password, so nothing but the private directory may lead to the server.
_OURS = frozenset(
    {"listen_addresses", "port", "unix_socket_directories", "data_directory", "hba_file", "ident_file"}
)


def write_settings(
    data_dir: Path,
    account: Account,
    socket_dir: Path,
    options: Mapping[str, Value],
    *,
    fsync: bool,
    network: Mapping[str, Value],
) -> None:
    """Write the settings file of a data directory and have postgresql.conf include it.

    `network` are our own settings of how it is reached besides the socket. Raises EmbeddedError for an option
    that is not a name, or that would change how the server is reached.
    """
    settings: dict[str, Value] = {"timezone": "UTC", "log_timezone": "UTC", "log_line_prefix": "%m [%p] "}
    if not enough_shared_memory(Path("/dev/shm")):
        settings["dynamic_shared_memory_type"] = "mmap"
    if not fsync:
        settings |= {"fsync": False, "full_page_writes": False}
    settings |= check_options(options)
    settings |= {
        "listen_addresses": "",
        "unix_socket_directories": '"' + str(socket_dir).replace('"', '""') + '"',
        "unix_socket_permissions": "0700",
        **network,
    }
    lines = [f"{name} = {quote(value)}" for name, value in settings.items()]
    header = (
        "# Written by alpha-db at each start; put your own settings into postgresql.conf or use ALTER SYSTEM."
    )
    replace_file(data_dir / _FILE, "\n".join([header, *lines, ""]), account)
    main = data_dir / "postgresql.conf"
    text = read_file(main)
    if _INCLUDE not in text.splitlines():
        replace_file(main, f"{text.rstrip()}\n\n{_INCLUDE}\n", account)


def check_options(options: Mapping[str, Value]) -> dict[str, Value]:
    """Return the caller's settings, lower-case. Raises EmbeddedError for one that is refused."""
    checked = {}
    for name, value in options.items():
        if not _NAME.fullmatch(name):
            raise EmbeddedError(f"not the name of a PostgreSQL setting: {shown(name)}")
        if name.lower() in _OURS:
            raise EmbeddedError(
                f"the setting {name} cannot be chosen: the server is reached by its private socket"
            )
        checked[name.lower()] = value
    return checked


def quote(value: Value) -> str:
    """Return a value as postgresql.conf reads it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    text = str(value)
    if "\n" in text or "\0" in text:
        raise EmbeddedError(f"a setting's value cannot hold a line break: {shown(text)}")
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def enough_shared_memory(directory: Path) -> bool:
    """Return whether a tmpfs is there, writable, and has room for a server: containers give it 64 MB."""
    try:
        free = shutil.disk_usage(directory).free
    except OSError:
        return False
    return free >= ENOUGH_SHARED_MEMORY and os.access(directory, os.W_OK)


def is_there(path: Path) -> bool:
    """Return whether a file exists. Raises EmbeddedError if that cannot be seen: a directory of somebody else's."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as exc:
        raise EmbeddedError(f"cannot read {path}: {exc.strerror}") from exc
    return True


def read_file(path: Path) -> str:
    """Return the text of a file that must not be a link: as root we read in a directory of another user's."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as exc:
        raise EmbeddedError(f"cannot read {path}: {exc.strerror}") from exc
    with open(handle, encoding="utf-8", errors="surrogateescape") as stream:  # noqa: PTH123
        return stream.read()


def replace_file(path: Path, text: str, account: Account) -> None:
    """Write a file by way of a temporary one, for the account, never through a link."""
    try:
        with whole_file(path, mode=0o600) as stream:
            stream.write(text.encode("utf-8", "surrogateescape"))
            if account.switch:
                os.fchown(stream.fileno(), account.uid, account.gid)
    except OSError as exc:
        raise EmbeddedError(f"cannot write {path}: {exc.strerror}") from exc
