"""The named queries of queries.sql: all the SQL that this package sends stands in that one file."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import LiteralString

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
