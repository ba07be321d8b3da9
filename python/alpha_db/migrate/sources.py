"""The migration files: where they are, in which order, and what their checksums are."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoyo import exceptions, read_migrations
from yoyo.migrations import topological_sort

from alpha_db.errors import AlphaDbError

#: The migration that everything else stands on: a directory without it is the wrong one.
FIRST = "001_core_functions"

_BODY = re.compile(r"do \$migration\$.*\$migration\$", re.DOTALL)


@dataclass(frozen=True)
class MigrationFile:
    """A migration file; checksum is None for a file that does not record itself in installed_migrations."""

    name: str
    path: Path
    checksum: str | None
    yoyo: Any = field(repr=False, compare=False)


def find_directory(named: Path | None = None) -> Path:
    """Return the directory of the migrations: the named one, the package's, or a checkout's.

    Raises AlphaDbError if it does not exist.
    """
    here = Path(__file__).resolve()
    # a wheel has them inside the package, an editable install beside it, at the root of the checkout
    candidates = (
        [here.parents[1] / "migrations", here.parents[3] / "migrations"] if named is None else [named]
    )
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise AlphaDbError(f"no migrations: {candidates[-1]} is not a directory", hint="name it with --sources")


def read_files(directory: Path) -> list[MigrationFile]:
    """Return the migrations of a directory in the order in which yoyo applies them.

    Raises AlphaDbError for a directory that does not hold alpha-db's migrations: yoyo itself would do
    nothing, and call that a success.
    """
    # the pattern characters of glob stand for themselves in a directory's name
    pattern = re.sub(r"([*?[])", r"[\1]", str(directory))
    try:
        found = list(topological_sort(read_migrations(pattern)))
    except (exceptions.BadMigration, exceptions.MigrationConflict) as exc:
        raise AlphaDbError(f"{directory}: {exc}") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise AlphaDbError(f"cannot read the migrations in {directory}: {exc}") from exc
    if FIRST not in {migration.id for migration in found}:
        raise AlphaDbError(
            f"{directory} does not hold alpha-db's migrations: there is no {FIRST}.sql",
            hint="--sources names the directory of the .sql files",
        )
    return [MigrationFile(m.id, Path(m.path), checksum(Path(m.path)), m) for m in found]


def checksum(path: Path) -> str | None:
    """Return the SHA-256 that the migration records of itself, in hex; None if it records none.

    Of the text from the first ``do $migration$`` to the last ``$migration$``, which is what the server gets.
    """
    body = _BODY.search(path.read_text(encoding="utf-8"))
    return hashlib.sha256(body.group().encode()).hexdigest() if body else None
