"""The migration files: where they are, in which order, and what their checksums are."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yoyo.migrations
from yoyo import exceptions, read_migrations
from yoyo.migrations import topological_sort

from alpha_db.errors import AlphaDbError

#: The migration that everything else stands on: a directory without it is the wrong one.
FIRST = "001_core_functions"

_BODY = re.compile(r"do \$migration\$.*\$migration\$", re.DOTALL)
_TAG = {".rollback.sql": "$rollback$", ".sql": "$migration$"}
_OUTSIDE = re.compile(r"\s+|--[^\n]*(?:\n|\Z)|/\*")
_IN_COMMENT = re.compile(r"/\*|\*/|[^/*]+|.")

# yoyo reads a file in the encoding of the locale
yoyo.migrations.open = functools.partial(open, encoding="utf-8")


@dataclass(frozen=True)
class MigrationFile:
    """A migration file; checksum is None for a file that does not record itself in installed_migrations.

    `text` is what was read and is run; `problem` says why it must not be run: it holds more than the checksum covers.
    """

    name: str
    path: Path
    checksum: str | None
    text: str = field(repr=False)
    problem: str | None
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
        if os.path.isdir(candidate):  # noqa: PTH112 - is_dir() raises for a name that is too long
            return candidate
    raise AlphaDbError(f"no migrations: {candidates[-1]} is not a directory", hint="name it with --sources")


def read_files(directory: Path) -> list[MigrationFile]:
    """Return the migrations of a directory: each after what it depends on, otherwise by number.

    Raises AlphaDbError for a directory that does not hold alpha-db's migrations: yoyo itself would do
    nothing, and call that a success.
    """
    # the pattern characters of glob stand for themselves in a directory's name
    pattern = re.sub(r"([*?[])", r"[\1]", str(directory))
    try:
        by_number = sorted(read_migrations(pattern), key=lambda migration: in_order(migration.id))
        found = list(topological_sort(by_number))  # reads the files, too
        files = [_read(migration) for migration in found]
    except (exceptions.BadMigration, exceptions.MigrationConflict) as exc:
        raise AlphaDbError(f"{directory}: {exc}") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise AlphaDbError(f"cannot read the migrations in {directory}: {exc}") from exc
    if FIRST not in {migration.id for migration in found}:
        raise AlphaDbError(
            f"{directory} does not hold alpha-db's migrations: there is no {FIRST}.sql",
            hint="--sources names the directory of the .sql files",
        )
    return files


def in_order(name: str) -> tuple[int, str]:
    """Return what migrations are sorted by: 100_x comes after 23_y."""
    number = re.match(r"\d{1,18}", name, re.ASCII)
    return (int(number.group()) if number else -1, name)


def checksum(text: str) -> str | None:
    """Return the SHA-256 that the migration records of itself, in hex; None if it records none.

    Of the text from the first ``do $migration$`` to the last ``$migration$``, which is what the server gets.
    """
    body = _BODY.search(text)
    return hashlib.sha256(body.group().encode()).hexdigest() if body else None


def _read(migration: Any) -> MigrationFile:
    path = Path(migration.path)
    text = path.read_bytes().decode("utf-8")
    covered = checksum(text)
    problem = None
    # somebody's own migration may look as it likes
    if covered is not None:
        problem = uncovered(path.name, text)
        rollback = path.with_suffix(".rollback.sql")
        if problem is None and rollback.is_file():
            problem = uncovered(rollback.name, rollback.read_bytes().decode("utf-8"))
        if problem is None and covered != checksum(_run_by_yoyo(migration)):
            problem = f"{path.name} changed while it was read"
    return MigrationFile(migration.id, path, covered, text, problem, migration)


def _run_by_yoyo(migration: Any) -> str:
    steps = (getattr(item, "step", item) for item in migration.steps or [])
    return "\n".join(str(getattr(step, "_apply", "")) for step in steps)


def uncovered(name: str, text: str) -> str | None:
    """Say what a file of ours holds that its checksum does not cover: anything but comments outside its one block.

    Takes the file's name and its text. Returns None if there is nothing.
    """
    tag = next(tag for suffix, tag in _TAG.items() if name.endswith(suffix))
    if text.startswith("\ufeff"):
        return f"{name} begins with a byte order mark: save it without one"
    if "\r" in text:
        return f"{name} has line ends of Windows (CRLF): check it out with LF"
    places = [found.start() for found in re.finditer(re.escape(tag), text)]
    start = text.find(f"do {tag}")
    if len(places) != 2 or start < 0:
        return f"{name} is not one block, do {tag} ... {tag}"
    end = places[1] + len(tag)
    end += text.startswith(";", end)
    for first, part in ((0, text[:start]), (end, text[end:])):
        place = _first_statement(part, must_end=first == 0)
        if place is not None:
            line = text.count("\n", 0, first + place) + 1
            return f"{name}, line {line}: what stands outside the block is not covered by the checksum"
    return None


def _first_statement(text: str, *, must_end: bool) -> int | None:
    """Return where something begins that is neither blank nor a comment; with `must_end` a comment must end, too.

    Comments may stand in comments.
    """
    place = depth = begin = 0
    while place < len(text):
        token = (_IN_COMMENT if depth else _OUTSIDE).match(text, place)
        if token is None:
            return place
        if token.group() == "/*":
            begin, depth = (begin if depth else place), depth + 1
        elif depth and token.group() == "*/":
            depth -= 1
        elif not depth and must_end and token.end() == len(text) and re.match("--.*\\Z", token.group()):
            return place
        place = token.end()
    return begin if depth else None
