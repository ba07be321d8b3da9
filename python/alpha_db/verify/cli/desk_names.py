"""The desks that --all-schemas asks, and {schema} in the name of a file or directory.

A schema's name may hold anything, so it stands in a path with every byte but letters, digits, - and _ as %XX: no name
leaves its directory, and no two names meet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import psycopg

from alpha_db.cli.common import Settings
from alpha_db.cli.output import clean
from alpha_db.errors import AlphaDbError, NotInstalled, NotThere, PermissionDenied
from alpha_db.objects import tables
from alpha_db.queries import Row, ask

FIELD = "{schema}"
_OTHERS = re.compile(rb"[^A-Za-z0-9_-]")


def encoded(schema: str) -> str:
    """Return the name of a schema as it stands in paths."""
    return _OTHERS.sub(lambda found: f"%{found[0][0]:02X}".encode(), schema.encode()).decode()


def filled(given: str, schema: str) -> str:
    """Return a path, or a key, with the name of a desk in it."""
    return given.replace(FIELD, encoded(schema))


def installations(conn: psycopg.Connection[Any]) -> list[Row]:
    """Return the schemas that hold an installation, or what is left of one, by name.

    Raises psycopg.Error, and PermissionDenied if a desk could act in the others with the rights of this login.
    """
    found = sorted(ask(conn, "installations", names=tables()), key=lambda row: str(row["schema"]))
    require_one_owner(found)
    return found


def require_one_owner(found: Sequence[Row]) -> None:
    """Raise PermissionDenied if the desks belong to different owners, and the login may act as one of them.

    The functions of a desk run with the rights of the caller, so their owner could use these rights in the others.
    """
    if not any(row["may_act"] for row in found):
        return
    for row in found[1:]:
        if set(row["owners"]) != set(found[0]["owners"]):
            raise PermissionDenied(
                f"desks {found[0]['schema']} and {row['schema']} belong to different owners, and login"
                f" {row['login']} may act as one: what the functions of one desk run, they would run in the others",
                hint="use a login that is only a member of app_auditor of each desk"
                " (docs/scale-out.md#all-desks-of-a-database)",
                sqlstate="42501",
            )


def in_database(settings: Settings, paths: Sequence[str] = ()) -> dict[str, AlphaDbError | None]:
    """Return the desks of a database by name; with each why it is not to be asked, None if it is.

    Takes the paths with {schema} in which each desk has its checkpoints: a desk that is there only is absent. Raises
    NotThere if there is no desk, and PermissionDenied.
    """
    with closing(settings.connect()) as conn:
        desks: dict[str, AlphaDbError | None] = {
            row["schema"]: _shell(row["schema"]) if row["is_shell"] else None for row in installations(conn)
        }
        database = conn.info.dbname
    for path in paths:
        with suppress(NotThere, OSError):  # what cannot be read is told of each desk that is there
            for name in in_directories(path):
                if name not in desks and _holds_something(Path(filled(path, name))):
                    desks[name] = NotThere(
                        f"there are checkpoints of it, and no such schema in database {database}",
                        hint="find out who dropped or renamed it; if that was you, move its directory away",
                    )
    if not desks:
        message = f"no schema of database {database} holds an installation"
        raise NotThere(message, hint="run alpha-db migrate")
    return dict(sorted(desks.items()))


def _shell(schema: str) -> NotInstalled:
    return NotInstalled(
        f"no installation: schema {clean(schema)} holds installed_migrations, and no other table of ours",
        hint="drop it, or find out who dropped the rest",
        sqlstate="42P01",
    )


def _holds_something(path: Path) -> bool:
    try:
        return path.is_file() or (path.is_dir() and any(path.iterdir()))
    except OSError:  # what cannot be read may be something
        return True


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
