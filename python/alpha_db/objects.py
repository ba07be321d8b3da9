"""What an installation is made of, by name: the functions and relations that the migrations make.

One list for all that asks whether a name is ours: it is read from the migration files themselves, and a test compares
it with the catalogue of an installed database.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

_ROUTINE = re.compile(
    r"^create (?:or replace )?(?:function|procedure) (\w+)\s*\((.*?)\)\s*(?:returns\b|language\b)",
    re.DOTALL | re.M,
)
_RELATION = re.compile(
    r"^create (?:or replace |unlogged )?(?:table|view|domain|type|sequence) (?:if not exists )?(\w+)", re.M
)
_TABLE = re.compile(r"^create (?:or replace |unlogged )?(?:table|view) (?:if not exists )?(\w+)", re.M)
_IN_A_STRING = re.compile(r"^\s*execute format\('create (?:table|view) (\w+)", re.M)
#: What is made for each chained table has its name behind one of these.
_MADE = re.compile(r"^(?:_chain|hashed|lock|tail|writer)_")
_COMMENT = re.compile(r"--.*|/\*.*?\*/")


class Argument(NamedTuple):
    """An argument of a function: the last ones may have defaults. An argument that callers never give is left out."""

    name: str
    type: str
    has_default: bool


@cache
def migrations_text() -> str:
    """Return the text of all migrations; empty if they are not beside this package."""
    for folder in _folders():
        files = [file for file in sorted(folder.glob("*.sql")) if not file.name.endswith(".rollback.sql")]
        return "\n".join(file.read_text(encoding="utf-8") for file in files)
    return ""


def _folders() -> list[Path]:
    """Where the migrations are: the package's own come before a checkout's."""
    here = Path(__file__).resolve()
    return [
        folder for folder in (here.parent / "migrations", here.parents[2] / "migrations") if folder.is_dir()
    ]


@cache
def made_by(name: str) -> str | None:
    """Return the migration that makes a function or a relation of ours; None if the name is not ours."""
    for folder in _folders():
        for file in sorted(folder.glob("[0-9]*.sql")):
            text = "" if file.name.endswith(".rollback.sql") else file.read_text(encoding="utf-8")
            names = {*_RELATION.findall(text), *_IN_A_STRING.findall(text)}
            names |= {found[0] for found in _ROUTINE.findall(text)}
            if name in names or _MADE.sub("", name) in names:
                return file.name.removesuffix(".sql")
        return None
    return None


@cache
def tables() -> tuple[str, ...]:
    """Return every table and view of ours, in the order in which the migrations make them."""
    return tuple(dict.fromkeys(_TABLE.findall(migrations_text())))


@cache
def routines() -> dict[str, tuple[Argument, ...]]:
    """Return every function and procedure of ours, with the arguments that a caller gives."""
    return {name: _arguments(text) for name, text in _ROUTINE.findall(migrations_text())}


@cache
def relations() -> frozenset[str]:
    """Return every table, view, type and domain of ours."""
    text = migrations_text()
    return frozenset(_RELATION.findall(text) + _IN_A_STRING.findall(text))


def ours(text: str) -> str | None:
    """Return the name of ours that a server's message, in any language, is about; None if it is about none."""
    called = re.search(r'(\w+)"?\(', text)
    known = routines().keys() | relations()
    for word in [called[1]] if called else re.findall(r"\w+", text):
        if word in known or _MADE.sub("", word) in relations():
            return word
    return None


def signature(name: str) -> str:
    """Return a function of ours with its arguments, as a caller reads them."""
    listed = ", ".join(
        f"{argument.name} {_TYPES.get(argument.type, argument.type)}{' (optional)' * argument.has_default}"
        for argument in routines()[name]
    )
    return f"{name}({listed})"


def may_fit(name: str, message: str) -> bool:
    """Return whether the arguments in PostgreSQL's "function name(…) does not exist" could be those of our function.

    False only for what it surely does not take: too many or too few, an unknown name, a type that is another.
    """
    found = re.search(r"\((.*)\)", message)
    given = [one.strip() for one in found[1].split(",")] if found and found[1].strip() else []
    takes = routines()[name]
    by_name = {argument.name: argument for argument in takes}
    seen: set[str] = set()
    for place, one in enumerate(given):
        label, arrow, kind = one.rpartition(" => ")
        argument = by_name.get(label) if arrow else takes[place] if place < len(takes) else None
        if argument is None or not _takes(argument.type, kind):
            return False
        seen.add(argument.name)
    return all(argument.has_default or argument.name in seen for argument in takes)


def _takes(declared: str, given: str) -> bool:
    allowed = {
        "anycompatible": ("smallint", "integer", "bigint", "numeric", "real", "double precision"),
        "text": ("character varying", "character", "name"),
        "bigint": ("smallint", "integer"),
        "integer": ("smallint",),
        "timestamptz": ("timestamp with time zone", "timestamp without time zone", "date"),
        "regclass": ("oid", "integer", "bigint"),
    }
    return given in ("unknown", declared, *allowed.get(declared, ())) or given.startswith("decimal_")


#: Money is declared so that a binary float is seen; what it takes is numeric.
_TYPES = {"anycompatible": "numeric"}


def _arguments(text: str) -> tuple[Argument, ...]:
    plain = re.sub(r"\([^()]*\)", "", _COMMENT.sub("", text))
    found = []
    for one in plain.split(","):
        words = one.split()
        if words[:1] in (["inout"], ["variadic"], ["in"]):
            words = words[1:]
        if len(words) < 2 or words[0] == "money_type":
            continue
        declared, _, default = " ".join(words[1:]).partition(" default ")
        found.append(Argument(words[0], declared.strip(), bool(default)))
    return tuple(found)
