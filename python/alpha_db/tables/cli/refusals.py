"""What the database says of a table that a command cannot change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from alpha_db.cli.output import clean
from alpha_db.errors import NotThere, Refused, squeeze

#: Feature, name or kind of object, state: with the name of the table beside it, chain_table's own words.
_STATES = ("0A", "42", "55")


@contextmanager
def refusals() -> Iterator[None]:
    """Raise NotThere for a table that is not there, and Refused for what it cannot become, instead of psycopg.Error."""
    try:
        yield
    except psycopg.Error as problem:
        state, diag = problem.sqlstate or "", problem.diag
        if not diag.table_name or not state.startswith(_STATES):
            raise
        cls = NotThere if state == "42P01" else Refused
        message = clean(squeeze(diag.message_primary or ""))
        raise cls(message, detail=diag.message_detail, hint=diag.message_hint, sqlstate=state) from None
