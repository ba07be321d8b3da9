"""The named queries of queries.sql: all the SQL that this package sends stands in that one file."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]

_NAME = re.compile(r"^-- name: (\w+)[ \t]*$", re.MULTILINE)


@cache
def _load() -> dict[str, LiteralString]:
    text = resources.files("alpha_db").joinpath("queries.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)
    names, bodies = parts[1::2], parts[2::2]
    if len(set(names)) != len(names):
        raise ValueError("queries.sql: a name stands there twice")
    return {name: body.strip().removesuffix(";") for name, body in zip(names, bodies, strict=True)}


def query(name: str) -> LiteralString:
    """Return the text of a named query; KeyError if there is none of that name."""
    return _load()[name]


def ask(conn: psycopg.Connection[Any], name: str, /, **values: object) -> list[Row]:
    """Run a named query and return its rows by the names of the columns. Raises psycopg.Error."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query(name), values or None).fetchall()


def ask_one(conn: psycopg.Connection[Any], name: str, /, **values: object) -> Any:
    """Run a named query and return the first value of its first row; None if there is none. Raises psycopg.Error."""
    return next((next(iter(row.values())) for row in ask(conn, name, **values)), None)
