"""What the database says of a history that a command asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from alpha_db.cli.output import clean
from alpha_db.errors import NotThere, Refused, squeeze

#: A value, a transaction, a name or kind of object: with the name of the table beside it, words of 15_history.
_STATES = ("22", "25", "42")
#: A text that is no name of a table.
_NO_NAME = ("42601", "42602")


@contextmanager
def asked() -> Iterator[None]:
    """Raise NotThere for a table without a history, and Refused for what cannot be, instead of psycopg.Error."""
    try:
        yield
    except psycopg.Error as problem:
        state, diag = problem.sqlstate or "", problem.diag
        if state not in _NO_NAME and not (diag.table_name and state.startswith(_STATES)):
            raise
        cls = NotThere if state in ("42P01", *_NO_NAME) else Refused
        message = clean(squeeze(diag.message_primary or ""))
        raise cls(message, detail=diag.message_detail, hint=diag.message_hint, sqlstate=state) from None
