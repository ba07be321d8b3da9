"""The desks that --all-schemas asks, and {schema} in the name of a file or directory.

A schema's name may hold anything, so it stands in a path with every byte but letters, digits, - and _ as %XX: no name
leaves its directory, and no two names meet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click

from alpha_db.cli.common import Settings
from alpha_db.errors import NotThere
from alpha_db.queries import ask

FIELD = "{schema}"
_OTHERS = re.compile(rb"[^A-Za-z0-9_-]")


def encoded(schema: str) -> str:
    """Return the name of a schema as it stands in paths."""
    return _OTHERS.sub(lambda found: f"%{found[0][0]:02X}".encode(), schema.encode()).decode()


def filled(given: str, schema: str) -> str:
    """Return a path, or a key, with the name of a desk in it."""
    return given.replace(FIELD, encoded(schema))


def in_database(settings: Settings) -> list[str]:
    """Return the schemas that hold an installation, or what is left of one, by name. Raises NotThere if none does."""
    with closing(settings.connect()) as conn:
        found = [row["schema"] for row in ask(conn, "installations")]
        if not found:
            message = f"no schema of database {conn.info.dbname} holds an installation"
            raise NotThere(message, hint="run alpha-db migrate")
        return found


def in_directories(given: str) -> list[str]:
    """Return the desks of which there is a directory, by a path with {schema} in it, by name.

    Raises NotThere if there is none, and OSError.
    """
    parts = Path(given).parts
    place = next(number for number, part in enumerate(parts) if FIELD in part)
    parent = Path(*parts[:place])
    before, *after = map(re.escape, parts[place].split(FIELD))
    pattern = re.compile(f"{before}(?P<schema>[A-Za-z0-9_%-]+){'(?P=schema)'.join(after)}")
    try:
        found = [match["schema"] for entry in parent.iterdir() if (match := pattern.fullmatch(entry.name))]
    except FileNotFoundError:
        found = []
    desks = sorted(name for name in map(unquote, found) if encoded(name) in found)
    if not desks:
        raise NotThere(f"there is no directory {given}, whatever the schema")
    return desks


@dataclass(frozen=True)
class PerDesk:
    """What an option names by {schema}, to be read for each desk in its turn."""

    given: Any
    read: Callable[[Any], Any]


def read_now_or_per_desk(ctx: click.Context | None, given: Any, read: Callable[[Any], Any]) -> Any:
    """Return what an option names; with --all-schemas and {schema} in it, a PerDesk."""
    texts = given if isinstance(given, list | tuple) else [given]
    is_per_desk = ctx is not None and ctx.params.get("all_schemas") and any(FIELD in str(it) for it in texts)
    return PerDesk(given, read) if is_per_desk else read(given)


def of_desk(value: Any, schema: str) -> Any:
    """Return the value of an option for one desk."""
    if isinstance(value, PerDesk):
        return value.read(of_desk(value.given, schema))
    if isinstance(value, str | Path):
        return type(value)(filled(str(value), schema))
    if isinstance(value, Sequence):
        return type(value)(of_desk(each, schema) for each in value)  # type: ignore[call-arg]
    return value
