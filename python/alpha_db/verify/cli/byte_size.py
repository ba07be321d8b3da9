"""A number of bytes: read from an option as df -h prints it, and printed as PostgreSQL does."""

from __future__ import annotations

import re
from fractions import Fraction

import click

_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,6})?) ?([kKMGTP]?)(?:i?B)?", re.ASCII)
_UNITS = ("", "k", "M", "G", "T", "P")


def read_size(_ctx: click.Context, _param: click.Parameter, given: str | None) -> int | None:
    """Return a size such as 200G, 1.5 TB or 1048576 in bytes; each unit is 1024 of the one before it.

    Raises BadParameter.
    """
    if given is None:
        return None
    if not (found := _SIZE.fullmatch(given.strip())):
        raise click.BadParameter("give a number of bytes, or one with K, M, G or T, such as 200G")
    number, unit = found.groups()
    return int(Fraction(number) * 1024 ** _UNITS.index(unit.replace("K", "k")))


def told(size: int) -> str:
    """Return a size with a unit, of which there are fewer than 10,240."""
    unit = 0
    rounded = size
    while rounded >= 10 * 1024 and unit < len(_UNITS) - 1:
        unit += 1
        rounded = round(size / 1024**unit)
    return f"{rounded:,} {_UNITS[unit]}B" if unit else f"{rounded:,} bytes"
