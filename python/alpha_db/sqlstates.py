"""What to do about the errors that PostgreSQL itself raises: the facts are in sqlstates.toml."""

from __future__ import annotations

import re
import tomllib
from importlib import resources

_FACTS = tomllib.loads(resources.files("alpha_db").joinpath("sqlstates.toml").read_text(encoding="utf-8"))
#: SQLSTATE: what to do. Each has a section in docs/errors.md.
HINTS: dict[str, str] = _FACTS["hints"]
#: CHECK of a table that applications write: its column, and what it allows.
RULES: dict[str, list[str]] = _FACTS["rules"]
#: The hint for a conflict with recovery on a standby, and the functions of PostgreSQL that raise it, in any language.
READ_AGAIN: str = _FACTS["conflict"]["hint"]
CONFLICT: list[str] = _FACTS["conflict"]["functions"]
_ERRNO = re.compile(r"\[Errno -?[0-9]+\] ")


def state_while_connecting(message: str) -> str:
    """Return the SQLSTATE of a failed connection from the server's words; 08001 if they are none of the usual."""
    return next(
        (state for words, state in _FACTS["connecting"].items() if re.search(words, message)), "08001"
    )


def hint_while_connecting(message: str) -> str | None:
    """Return what to do about a failed connection, from the words that it failed with."""
    state = state_while_connecting(message)
    if state == "08001":
        return next(
            (hint for words, hint in _FACTS["unanswered"].items() if re.search(words, message)), HINTS[state]
        )
    return HINTS.get(state)


def hint_about_memory(message: str) -> str | None:
    """Return what to do when the server's shared memory is full; None for other memory."""
    return next((hint for words, hint in _FACTS["memory"].items() if words in message), None)


def without_number(message: str) -> str:
    """Return the message without the number that Python puts in front of what the operating system says."""
    return _ERRNO.sub("", message)


def column_of(constraint: str | None, table: str | None) -> str | None:
    """Return the column that a constraint of ours is about, as far as its name says it."""
    if constraint is None:
        return None
    if constraint in RULES:
        return RULES[constraint][0]
    found = re.fullmatch(rf"{re.escape(table or '')}_(\w+?)_(?:key|fkey|is_\w+|bounds)", constraint)
    return found[1] if found else None
