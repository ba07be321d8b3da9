"""What is applied, what is pending, what was edited since. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any

import psycopg

from alpha_db.errors import MigrationEdited, NewerDatabase, translate
from alpha_db.installation import Place, refuse_gone, refuse_remains
from alpha_db.migrate.sources import MigrationFile
from alpha_db.objects import made_by, tables
from alpha_db.queries import Row, ask, ask_one


class Status(StrEnum):
    """State of one migration."""

    APPLIED = "applied"
    PENDING = "pending"
    EDITED = "edited"
    UNKNOWN = "unknown"  # applied by a newer alpha-db
    FOREIGN = "foreign"  # in yoyo's history of the schema, but not one of alpha-db's


@dataclass(frozen=True)
class MigrationState:
    """One migration: in the package, in the database, or in both."""

    name: str
    status: Status
    applied_at: datetime | None = None
    applied_by: str | None = None
    recorded_checksum: str | None = None
    file_checksum: str | None = None
    is_marked: bool = False
    problem: str | None = None  # what the file holds that its checksum does not cover

    @property
    def checksum_state(self) -> str:
        """ok, edited, not recorded, or - where there is nothing to compare."""
        if self.status is Status.EDITED:
            return "edited"
        if self.status is not Status.APPLIED:
            return "-"
        return "ok" if self.recorded_checksum else "not recorded"


def missing_tables(conn: psycopg.Connection[Any], states: Sequence[MigrationState]) -> list[str]:
    """Return the tables and views that applied migrations made, and that are not in the schema any more."""
    applied = {state.name for state in states if state.recorded_checksum}
    names = [name for name in tables() if made_by(name) in applied]
    with translate():
        return [row["name"] for row in ask(conn, "missing_tables", names=names)]


def refuse_missing(conn: psycopg.Connection[Any], states: Sequence[MigrationState]) -> None:
    """Raise ChainMismatch (AUD-009) if a table that an applied migration made is gone: no migration brings it back."""
    if missing := missing_tables(conn, states):
        raise refuse_gone(missing[0], f"{made_by(missing[0])} is recorded as applied", also=missing[1:])


def read_states(
    conn: psycopg.Connection[Any], place: Place, files: Sequence[MigrationFile]
) -> list[MigrationState]:
    """Return the state of each migration: the package's in their order, then those only the database knows.

    What installed_migrations records counts; yoyo's mark counts only for a file that does not record itself,
    since somebody's own migrations may share the history.
    """
    marks = read_marks(conn)
    recorded: dict[str, Row] = {}
    if not place.installed:
        refuse_remains(conn, place)
    else:
        with translate():
            recorded = {row["name"]: row for row in ask(conn, "installed_migrations")}
    states = [_state(file, recorded.pop(file.name, None), marks.get(file.name)) for file in files]
    unknown = [
        MigrationState(name, Status.UNKNOWN, row["applied_at"], row["applied_by"], row["checksum"])
        for name, row in recorded.items()
    ]
    ours = {state.name for state in states + unknown}
    foreign = [
        MigrationState(name, Status.FOREIGN, at, is_marked=True)
        for name, at in marks.items()
        if name not in ours
    ]
    return states + unknown + foreign


def read_marks(conn: psycopg.Connection[Any]) -> dict[str, datetime]:
    """Return yoyo's history in this schema: name and time; empty if there is none or it may not be read."""
    if not ask_one(conn, "yoyo_history_exists"):
        return {}
    try:
        with conn.transaction():
            rows = ask(conn, "yoyo_history")
    except psycopg.errors.InsufficientPrivilege:
        return {}
    return {row["migration_id"]: row["applied_at_utc"].replace(tzinfo=UTC) for row in rows}


def refuse_edited(states: Sequence[MigrationState]) -> None:
    """Raise MigrationEdited, naming the files, if an applied migration is not the packaged one."""
    edited = [state for state in states if state.status is Status.EDITED]
    if edited:
        first, hint = edited[0], "put the file back; a change belongs in a new migration"
        if first.problem:
            raise MigrationEdited(first.problem, hint=hint)
        names = ", ".join(f"{state.name}.sql" for state in edited)
        detail = f"applied: sha256 {first.recorded_checksum}, file: sha256 {first.file_checksum}"
        raise MigrationEdited(f"{names} was edited after it was applied", detail=detail, hint=hint)


def refuse_newer(states: Sequence[MigrationState], package_version: str) -> None:
    """Raise NewerDatabase if the database has migrations that this package has not."""
    names = [state.name for state in states if state.status is Status.UNKNOWN]
    if names:
        raise NewerDatabase(
            f"the database is newer than this alpha-db ({package_version}), which has no {', '.join(names)}",
            hint="upgrade the alpha-db package",
        )


def _state(file: MigrationFile, row: Row | None, marked_at: datetime | None) -> MigrationState:
    marked = marked_at is not None
    if row is None and marked and file.checksum is None:
        return MigrationState(file.name, Status.APPLIED, applied_at=marked_at, is_marked=True)
    state = partial(
        MigrationState, file.name, file_checksum=file.checksum, is_marked=marked, problem=file.problem
    )
    if row is None:
        return state(Status.EDITED if file.problem else Status.PENDING)
    edited = file.problem is not None or row["checksum"] not in (None, file.checksum)
    status = Status.EDITED if edited else Status.APPLIED
    return state(status, row["applied_at"], row["applied_by"], row["checksum"])
