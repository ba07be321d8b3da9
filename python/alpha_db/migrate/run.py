"""Applying what is pending, one process at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from yoyo import exceptions

import alpha_db
from alpha_db.connection import (
    be_read_only,
    connect_for_command,
    open_pinned,
    parameters,
    pin_for_command,
    quote_identifier,
    set_option,
)
from alpha_db.errors import (
    AlphaDbError,
    ConnectionFailed,
    LockTimeout,
    MigrationFailed,
    PermissionDenied,
    ReadOnlyServer,
    Refused,
    from_database,
    squeeze,
    translate,
)
from alpha_db.installation import Place, locate
from alpha_db.migrate.sources import FIRST, MigrationFile, find_directory, read_files
from alpha_db.migrate.state import (
    MigrationState,
    Status,
    read_states,
    refuse_edited,
    refuse_missing,
    refuse_newer,
)
from alpha_db.migrate.yoyo_backend import Backend, open_backend, set_lock_timeout
from alpha_db.pooled import is_pooled
from alpha_db.queries import ask, ask_one, query


@dataclass(frozen=True)
class Event:
    """Something that migrate did: waiting, pending (dry run), applied, or marked in yoyo's history."""

    kind: str
    name: str = ""
    milliseconds: int = 0


Listener = Callable[[Event], None]

#: After how many seconds somebody wants to know what is waited for.
_SOON = 0.5


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
    schema), PermissionDenied, ReadOnlyServer and ConnectionFailed. Source: docs/operations.md.
    """
    files = read_files(find_directory(directory))
    params = parameters(dsn, schema=schema)
    if role_prefix:
        set_option(params, "alpha.role_prefix", role_prefix)
    events: list[Event] = []

    def tell(event: Event) -> None:
        events.append(event)
        listener(event)

    with closing(connect_for_command(dsn, schema=schema)) as conn:
        place = locate(conn, schema)
        if dry_run:
            be_read_only(conn)
        elif place.is_read_only:
            what = "server is a standby" if place.in_recovery else "session is read-only"
            raise ReadOnlyServer(f"cannot migrate: the {what}", hint="name the primary", sqlstate="25006")
        states = _checked_states(conn, place, files, role_prefix)
        if dry_run:
            for state in states:
                if state.status is Status.PENDING:
                    tell(Event("pending", state.name))
        else:
            _require_rights(conn, place)
        refuse_missing(conn, states)
        if dry_run or not _to_do(states):
            return events
        if is_pooled(conn):
            why = "the lock that keeps two migrations apart is a session's"
            message = f"cannot migrate through a pooler: {why}"
            raise ConnectionFailed(message, hint="name the server itself in --dsn", sqlstate="08001")
        wait = _Wait(conn, lock_timeout, tell)
        by_name = {file.name: file for file in files}
        if not place.installed and by_name[FIRST].checksum:
            _install(params, by_name[FIRST], wait)
            place = locate(conn, schema)
        with _session_lock(params, place, wait):
            states = _checked_states(conn, place, files, role_prefix)
            _apply(states, by_name, params, wait)
            refuse_edited(read_states(conn, place, files))  # what ran is what the files say
    return events


def _to_do(states: list[MigrationState]) -> list[MigrationState]:
    """What is pending, and what is applied but not marked: killed between commit and mark, or applied by psql."""
    return [state for state in states if state.status is Status.PENDING or not state.is_marked]


@dataclass
class _Wait:
    """How long to wait for a lock that another migration holds, and what to say of it."""

    conn: psycopg.Connection[Any]  # not the one that waits
    timeout: float
    tell: Listener
    told: bool = False
    applied: set[str] = field(default_factory=set)  # told already, though not marked yet
    own: set[int] = field(default_factory=set)  # pids of sessions of this run that hold a lock themselves

    def for_lock(self, limit: Callable[[str], None], attempt: Callable[[], None]) -> None:
        """Make the attempt, and once more, with the whole time-out, if it met a lock; limit sets the time-out.

        Raises LockTimeout, which names who holds the lock if that can be seen.
        """
        if self.timeout > _SOON:
            limit(f"{_SOON * 1000:.0f}ms")
            try:
                attempt()
                return
            except psycopg.errors.LockNotAvailable:
                if not self.told:
                    self.told = True
                    self.tell(Event("waiting"))
        limit(f"{max(1, int(self.timeout * 1000))}ms")
        try:
            attempt()
        except psycopg.errors.LockNotAvailable as exc:
            raise LockTimeout(
                f"another migration of this schema is still running after {self.timeout:g} s",
                detail=self._holders(),
                hint="try again, or --lock-timeout SECONDS",
                sqlstate="55P03",
            ) from exc

    def _holders(self) -> str | None:
        holders = [_holder(row) for row in ask(self.conn, "migration_lock_holders", own=sorted(self.own))]
        return f"the lock is held by {', '.join(holders)}" if holders else None


def _holder(row: dict[str, Any]) -> str:
    if row["gid"] is not None:
        return f"the prepared transaction {row['gid']} of {row['login']}"
    program = f", {row['application']}" if row["application"] else ""
    return f"pid {row['pid']} ({row['login'] or 'unknown'}{program})"


def _checked_states(
    conn: psycopg.Connection[Any], place: Place, files: list[MigrationFile], role_prefix: str | None
) -> list[MigrationState]:
    states = read_states(conn, place, files)
    refuse_edited(states)
    refuse_newer(states, alpha_db.__version__)
    if role_prefix is not None and place.installed:
        with translate():
            found = [row["role_prefix"] for row in ask(conn, "installation")]
        if found and found != [role_prefix]:
            raise AlphaDbError(f'this installation has role prefix "{found[0]}", not "{role_prefix}"')
    return states


def _install(params: dict[str, Any], file: MigrationFile, wait: _Wait) -> None:
    """Apply the first migration, as psql does. It makes the tables whose locks keep others out from then on."""
    started = time.monotonic()
    made = False
    with closing(open_pinned(params, autocommit=True)) as conn:
        pin_for_command(conn)

        def attempt() -> None:
            nonlocal made
            with conn.transaction():
                conn.execute(file.text.encode())
                made = ask_one(conn, "installed_here")

        try:
            wait.for_lock(partial(set_lock_timeout, conn), attempt)
        except psycopg.Error as exc:
            raise _failed(file.name, from_database(exc)) from exc
    if made:
        wait.applied.add(file.name)
        wait.tell(Event("applied", file.name, round((time.monotonic() - started) * 1000)))


@contextmanager
def _session_lock(params: dict[str, Any], place: Place, wait: _Wait) -> Iterator[None]:
    """Hold the lock of all runs of migrate in a transaction of its own: unlike yoyo's row it ends with the process."""
    if not place.installed:  # migrations of somebody else's, which make no such lock
        yield
        return
    with closing(open_pinned(params, autocommit=True)) as conn:
        pin_for_command(conn)

        def attempt() -> None:
            try:
                conn.execute("begin")
                ask(conn, "become_owner")
                conn.execute(query("migrate_lock"))
            except psycopg.Error:
                conn.rollback()
                raise

        with translate():
            wait.for_lock(partial(set_lock_timeout, conn), attempt)
        wait.own.add(conn.info.backend_pid)
        yield  # released when the connection closes


def _require_rights(conn: psycopg.Connection[Any], place: Place) -> None:
    """Say what is missing before yoyo does, who does not say for what."""
    if not ask_one(conn, "may_create"):
        schema, user = quote_identifier(place.schema), quote_identifier(place.session_user)
        raise PermissionDenied(
            f"{place.session_user} may not create objects in schema {schema} of database {place.database}",
            hint=f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {user} WITH GRANT OPTION",
            sqlstate="42501",
        )
    if not ask_one(conn, "yoyo_history_writable"):
        raise PermissionDenied(
            "yoyo's history of this schema (_yoyo_migration) belongs to another role",
            hint="run the migrations as the role that ran them before",
            sqlstate="42501",
        )


def _apply(
    states: list[MigrationState], files: dict[str, MigrationFile], params: dict[str, Any], wait: _Wait
) -> None:
    if not _to_do(states):
        return
    with open_backend(params) as backend:
        for state in _to_do(states):
            started = time.monotonic()
            pending = state.status is Status.PENDING
            apply = partial(_apply_one, backend, files[state.name], mark_only=not pending)
            try:
                wait.for_lock(backend.limit_waiting, apply)
            except psycopg.Error as exc:
                raise _failed(state.name, from_database(exc)) from exc
            except exceptions.LockTimeout as exc:
                raise MigrationFailed(f"{state.name}: {squeeze(str(exc))}") from exc
            elapsed = round((time.monotonic() - started) * 1000)
            if pending:
                wait.tell(Event("applied", state.name, elapsed))
            elif state.name not in wait.applied:
                wait.tell(Event("marked", state.name, elapsed))


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
    cls = type(cause) if isinstance(cause, Refused) else MigrationFailed
    message = f"{name}: {cause.message}"
    return cls(message, detail=cause.detail, hint=cause.hint, sqlstate=cause.sqlstate)
