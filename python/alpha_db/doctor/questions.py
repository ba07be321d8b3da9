"""The statements of doctor.sql and protection.sql."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import LiteralString

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def _load() -> dict[str, LiteralString]:
    found: dict[str, LiteralString] = {}
    for file in ("doctor.sql", "protection.sql"):
        text = resources.files("alpha_db.doctor").joinpath(file).read_text(encoding="utf-8")
        _, *parts = _NAME.split(text)
        found |= {
            name: body.strip().removesuffix(";") for name, body in zip(parts[::2], parts[1::2], strict=True)
        }
    return found


def question(name: str) -> LiteralString:
    """Return the text of a named statement; KeyError if there is none of that name."""
    return _load()[name]
