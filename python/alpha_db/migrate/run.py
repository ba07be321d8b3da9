"""Applying what is pending, one process at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from yoyo import exceptions

import alpha_db
from alpha_db.connection import be_read_only, connect, parameters, quote_identifier, set_option
from alpha_db.errors import (
    AlphaDbError,
    LockTimeout,
    MigrationFailed,
    PermissionDenied,
    ReadOnlyServer,
    from_any,
    squeeze,
    translate,
)
from alpha_db.installation import Place, locate
from alpha_db.migrate.sources import MigrationFile, find_directory, read_files
from alpha_db.migrate.state import MigrationState, Status, read_states, refuse_edited, refuse_newer
from alpha_db.migrate.yoyo_backend import Backend, open_backend
from alpha_db.queries import query


@dataclass(frozen=True)
class Event:
    """Something that migrate did: waiting, pending (dry run), applied, or marked in yoyo's history."""

    kind: str
    name: str = ""
    milliseconds: int = 0


Listener = Callable[[Event], None]


def migrate(
    dsn: str | None = None,
    *,
    schema: str | None = None,
    role_prefix: str | None = None,
    directory: Path | None = None,
    lock_timeout: float = 60,
    dry_run: bool = False,
    listener: Listener = lambda _event: None,
) -> list[Event]:
    """Apply the pending migrations and return what was done, also telling the listener while it happens.

    Takes the DSN and schema as connect does, the prefix for the names of the roles (first install), another
    directory of migrations, and how long to wait for another migrate (0: not at all). A dry run writes
    nothing. Raises MigrationEdited, NewerDatabase, MigrationFailed, LockTimeout, NotInstalled (no such
    schema), PermissionDenied, ReadOnlyServer and ConnectionFailed. Source: design section 1, rule 6.
    """
    files = read_files(find_directory(directory))
    params = parameters(dsn, schema=schema)
    if role_prefix:
        set_option(params, "alpha.role_prefix", role_prefix)
    events: list[Event] = []

    def tell(event: Event) -> None:
        events.append(event)
        listener(event)

    with closing(connect(dsn, schema=schema, autocommit=True)) as conn:
        place = locate(conn, schema)
        if dry_run:
            be_read_only(conn)
            for state in _checked_states(conn, place, files, role_prefix):
                if state.status is Status.PENDING:
                    tell(Event("pending", state.name))
            return events
        if place.in_recovery or place.read_only:
            what = "server is a standby" if place.in_recovery else "session is read-only"
            raise ReadOnlyServer(f"cannot migrate: the {what}", hint="name the primary", sqlstate="25006")
        with _session_lock(conn, lock_timeout, tell):
            states = _checked_states(conn, locate(conn, schema), files, role_prefix)
            _require_rights(conn, place)
            _apply(states, {file.name: file for file in files}, params, tell)
    return events


def _checked_states(
    conn: psycopg.Connection[Any], place: Place, files: list[MigrationFile], role_prefix: str | None
) -> list[MigrationState]:
    states = read_states(conn, place, files)
    refuse_edited(states)
    refuse_newer(states, alpha_db.__version__)
    if role_prefix is not None and place.installed:
        with translate():
            row = conn.execute(query("installation")).fetchone()
        if row is not None and row[1] != role_prefix:
            raise AlphaDbError(f'this installation has role prefix "{row[1]}", not "{role_prefix}"')
    return states


@contextmanager
def _session_lock(conn: psycopg.Connection[Any], timeout: float, tell: Listener) -> Iterator[None]:
    """Hold a session advisory lock on this connection: unlike yoyo's lock row it ends with the process."""
    with translate():
        conn.execute(query("keep_idle_session"))
        row = conn.execute(query("try_migrate_lock")).fetchone()
        if row is None or not row[0]:
            if timeout > 0:
                tell(Event("waiting"))
            conn.execute(query("set_lock_timeout"), {"timeout": f"{max(1, int(timeout * 1000))}ms"})
            try:
                conn.execute(query("migrate_lock"))
            except psycopg.errors.LockNotAvailable as exc:
                raise LockTimeout(
                    f"another migrate of this schema is still running after {timeout:g} s",
                    hint="try again, or --lock-timeout SECONDS",
                    sqlstate="55P03",
                ) from exc
    yield  # released when the connection closes


def _require_rights(conn: psycopg.Connection[Any], place: Place) -> None:
    """Say what is missing before yoyo does, who does not say for what."""
    row = conn.execute(query("may_create")).fetchone()
    if row is not None and not row[0]:
        schema, user = quote_identifier(place.schema), quote_identifier(place.session_user)
        raise PermissionDenied(
            f"{place.session_user} may not create objects in schema {schema} of database {place.database}",
            hint=f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {user} WITH GRANT OPTION",
            sqlstate="42501",
        )
    row = conn.execute(query("yoyo_history_writable")).fetchone()
    if row is not None and not row[0]:
        raise PermissionDenied(
            "yoyo's history of this schema (_yoyo_migration) belongs to another role",
            hint="run the migrations as the role that ran them before",
            sqlstate="42501",
        )


def _apply(
    states: list[MigrationState], files: dict[str, MigrationFile], params: dict[str, Any], tell: Listener
) -> None:
    # what is applied but not marked was killed between the file's commit and yoyo's mark, or came by psql
    to_do = [state for state in states if state.status is Status.PENDING or not state.is_marked]
    if not to_do:
        return
    with open_backend(params) as backend:
        for state in to_do:
            started = time.monotonic()
            pending = state.status is Status.PENDING
            try:
                _apply_one(backend, files[state.name], mark_only=not pending)
            except psycopg.Error as exc:
                raise _failed(state.name, from_any(exc)) from exc
            except exceptions.LockTimeout as exc:
                raise MigrationFailed(f"{state.name}: {squeeze(str(exc))}") from exc
            elapsed = round((time.monotonic() - started) * 1000)
            tell(Event("applied" if pending else "marked", state.name, elapsed))


def _apply_one(backend: Backend, file: MigrationFile, *, mark_only: bool) -> None:
    for attempt in (1, 2):
        try:
            if mark_only:
                backend.mark_migrations([file.yoyo])
            else:
                backend.apply_one(file.yoyo)
            return
        except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateTable):
            # "yoyo apply" at the same moment, which does not know our lock; the files take one of their own
            if file.yoyo.hash in backend.get_applied_migration_hashes():
                return
            if attempt == 2:
                raise


def _failed(name: str, cause: AlphaDbError) -> AlphaDbError:
    """The cause with the name of the migration, which yoyo does not tell; a coded refusal keeps its class."""
    cls = type(cause) if cause.code else MigrationFailed
    message = f"{name}: {cause.message}"
    return cls(message, detail=cause.detail, hint=cause.hint, sqlstate=cause.sqlstate)
