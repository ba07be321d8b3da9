"""Where a connection has landed, and whether alpha-db is installed there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

from alpha_db.connection import quote_identifier
from alpha_db.errors import (
    ChainMismatch,
    NotInstalled,
    PermissionDenied,
    ProtectedObject,
    Refused,
    from_database,
    translate,
)
from alpha_db.objects import made_by, ours, routines
from alpha_db.queries import ask, ask_one

#: What to do about a part of an installation that is gone.
RESTORE = "restore schema and data from a dump (docs/operations.md)"


class Place(NamedTuple):
    """A database and the schema that is first on the search_path in it."""

    database: str
    schema: str
    session_user: str
    server_version: str
    in_recovery: bool
    read_only: bool
    installed: bool
    elsewhere: tuple[str, ...]

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be written here: a standby, or a session that is read-only."""
        return self.in_recovery or self.read_only


def locate(conn: psycopg.Connection[Any], schema: str | None = None, *, makes: bool = True) -> Place:
    """Return where the connection has landed.

    Takes the schema that was asked for, for the message only, and whether the caller would install there. Raises
    NotInstalled (HINT: CREATE SCHEMA, or the schemas in which alpha-db is) if it does not exist, PermissionDenied if
    the role may not use it.
    """
    with translate():
        (row,) = ask(conn, "where_am_i", schema=schema)
    exists = row.pop("schema_exists")
    elsewhere = tuple(name for name in row.pop("installed_in") or () if name != row["schema"])
    if row["schema"] is not None:
        return Place(**row, elsewhere=elsewhere)
    user, database = row["session_user"], row["database"]
    if schema is None:
        raise NotInstalled(
            f"no schema of {user}'s search_path can be used in database {database}",
            hint="name the schema with --schema or ALPHA_DB_SCHEMA",
            sqlstate="3F000",
        )
    name = quote_identifier(schema)
    if exists:
        raise PermissionDenied(
            f"{user} may not use schema {name} in database {database}",
            hint=f"GRANT USAGE ON SCHEMA {name} TO {quote_identifier(user)}",
            sqlstate="42501",
        )
    message = f"schema {name} does not exist in database {database}"
    if elsewhere and not makes:
        hint = f"alpha-db is installed in {', '.join(elsewhere)}: name that with --schema"
        raise NotInstalled(message, hint=hint, sqlstate="3F000")
    raise NotInstalled(message, hint=f"CREATE SCHEMA {name}", sqlstate="3F000")


def refuse_remains(conn: psycopg.Connection[Any], place: Place) -> None:
    """Raise ChainMismatch (AUD-009) if an installation is here, but the register of its migrations is gone."""
    with translate():
        remains = ask_one(conn, "remains")
    if remains:
        raise ChainMismatch(
            f'AUD-009: schema "{place.schema}" of database {place.database} holds {", ".join(remains)},'
            " but installed_migrations is gone",
            hint=f"it was dropped or renamed: {RESTORE}",
            sqlstate="AUD09",
        )


def gone(conn: psycopg.Connection[Any], problem: Exception) -> Refused | None:
    """Return the error that a part of the installation was dropped or renamed, if that is what the problem says.

    Takes what a statement of ours raised: psycopg's error, or ours. None if it says something else, or if the part
    may never have been here, because no migration that makes it is recorded.
    """
    error = from_database(problem) if isinstance(problem, psycopg.Error) else problem
    name = ours(error.message) if isinstance(error, NotInstalled) else None
    migration = made_by(name) if name else None
    if migration is None or conn.closed:
        return None
    try:
        if conn.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            conn.rollback()
        if not ask_one(conn, "is_gone", name=name, migration=migration):
            return None
    except psycopg.Error:
        return None
    return refuse_gone(str(name), f"{migration} is recorded as applied")


def refuse_gone(name: str, why: str, also: Sequence[str] = ()) -> Refused:
    """Return the error that a table (AUD-009) or a function (AUD-011) of ours was dropped or renamed.

    `also` are other tables that are gone.
    """
    message = f"{name} is gone, though {why}" + (f"; so are {', '.join(also)}" if also else "")
    hint = f"it was dropped or renamed: {RESTORE}"
    if name in routines():
        return ProtectedObject(f"AUD-011: {message}", hint=hint, sqlstate="AUD11")
    return ChainMismatch(f"AUD-009: {message}", hint=hint, sqlstate="AUD09")


def require_installed(conn: psycopg.Connection[Any], schema: str | None = None) -> Place:
    """Like locate, and raises NotInstalled (HINT: alpha-db migrate) if alpha-db is not in that schema.

    Raises ChainMismatch (AUD-009) if it is, but the register of its migrations is gone.
    """
    place = locate(conn, schema, makes=False)
    if not place.installed:
        refuse_remains(conn, place)
        message = f'alpha-db is not installed in schema "{place.schema}" of database {place.database}'
        if place.elsewhere:
            names = ", ".join(place.elsewhere)
            raise NotInstalled(message, hint=f"it is in {names}: name that with --schema", sqlstate="42P01")
        raise NotInstalled(message, hint="run alpha-db migrate", sqlstate="42P01")
    return place
