"""Making a database on the embedded server."""

from __future__ import annotations

from contextlib import closing

import psycopg
from psycopg import sql

from alpha_db.connection import connect_for_command
from alpha_db.queries import query


def ensure_database(dsn: str, name: str) -> bool:
    """Create a database, in UTF8, unless there is one of that name; return whether it was created.

    Takes the DSN of another database of the server. Raises ConnectionFailed and what CREATE DATABASE raises.
    """
    with closing(connect_for_command(dsn)) as conn:
        if conn.execute(query("database_exists"), {"name": name}).fetchone():
            return False
        try:
            conn.execute(sql.SQL(query("create_database")).format(sql.Identifier(name)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return False  # somebody else was faster
    return True
