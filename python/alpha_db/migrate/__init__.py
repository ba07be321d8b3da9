"""Applying the migrations: yoyo's marks, our checksums, one lock (docs/operations.md)."""

from __future__ import annotations

from alpha_db.migrate.run import Event, migrate
from alpha_db.migrate.sources import MigrationFile, find_directory, read_files
from alpha_db.migrate.state import MigrationState, read_states

__all__ = [
    "Event",
    "MigrationFile",
    "MigrationState",
    "find_directory",
    "migrate",
    "read_files",
    "read_states",
]
