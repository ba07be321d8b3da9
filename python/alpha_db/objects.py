"""What an installation is made of, by name: the list in objects.csv, which bin/build makes of the migrations.

One list for all that asks whether a name is ours; a test compares it with the catalogue of an installed database.
"""

from __future__ import annotations

import csv
import re
from functools import cache
from importlib import resources
from typing import NamedTuple

#: What is made for each chained table has its name behind one of these.
_MADE = re.compile(r"^(?:_chain|hashed|lock|tail|writer)_")
#: Money is declared so that a binary float is seen; what it takes is numeric.
_TYPES = {"anycompatible": "numeric"}
_TAKES = {
    "anycompatible": ("smallint", "integer", "bigint", "numeric", "real", "double precision"),
    "text": ("character varying", "character", "name"),
    "bigint": ("smallint", "integer"),
    "integer": ("smallint",),
    "timestamptz": ("timestamp with time zone", "timestamp without time zone", "date"),
    "regclass": ("oid", "integer", "bigint"),
}


class Argument(NamedTuple):
    """An argument of a function: the last ones may have defaults. An argument that callers never give is left out."""

    name: str
    type: str
    has_default: bool

    def takes(self, given: str) -> bool:
        """Whether a value of a type may be given."""
        allowed = ("unknown", self.type, *_TAKES.get(self.type, ()))
        return given in allowed or given.startswith("decimal_")


class Object(NamedTuple):
    """A table, function or other object, the migration that makes it first, and what a function is given."""

    name: str
    kind: str
    migration: str
    arguments: tuple[Argument, ...]


@cache
def objects() -> dict[str, Object]:
    """Return everything of ours by name, in the order in which the migrations make it."""
    text = resources.files("alpha_db").joinpath("objects.csv").read_text(encoding="utf-8")
    return {
        row["name"]: Object(row["name"], row["kind"], row["migration"], _arguments(row["arguments"]))
        for row in csv.DictReader(text.splitlines())
    }


def _arguments(listed: str) -> tuple[Argument, ...]:
    words = [one.partition(" ") for one in listed.split(", ") if one]
    return tuple(
        Argument(name, kind.removesuffix(" default"), kind.endswith(" default")) for name, _, kind in words
    )


def made_by(name: str) -> str | None:
    """Return the migration that makes something of ours; None if the name is not ours."""
    found = objects().get(name) or objects().get(_MADE.sub("", name))
    return found.migration if found else None


def tables() -> list[str]:
    """Return every table and view of ours, in the order in which the migrations make them."""
    return [one.name for one in objects().values() if one.kind == "table"]


@cache
def relations() -> frozenset[str]:
    """Return every table, view, type and domain of ours."""
    return frozenset(one.name for one in objects().values() if one.kind != "routine")


@cache
def routines() -> dict[str, tuple[Argument, ...]]:
    """Return every function and procedure of ours, with the arguments that a caller gives."""
    return {one.name: one.arguments for one in objects().values() if one.kind == "routine"}


def ours(text: str) -> str | None:
    """Return the name of ours that a server's message, in any language, is about; None if it is about none."""
    called = re.search(r'(\w+)"?\(', text)
    for word in [called[1]] if called else re.findall(r"\w+", text):
        if word in objects() or _MADE.sub("", word) in relations():
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
        if argument is None or not argument.takes(kind):
            return False
        seen.add(argument.name)
    return all(argument.has_default or argument.name in seen for argument in takes)
