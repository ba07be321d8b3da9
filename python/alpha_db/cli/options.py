"""Options that several commands have: one name, one meaning, the same words in every help."""

from __future__ import annotations

from pathlib import Path

import click


class Integer(click.IntRange):
    """An integer within bounds, and called so."""

    name = "integer"


class Number(click.FloatRange):
    """A number within bounds, and called so."""

    name = "number"


#: A file, of which the function gets a Path; who reads it says what is wrong with it.
FILE = click.Path(path_type=Path, readable=False)

table_option = click.option("--table", metavar="NAME", help="One chained table; default: all.")
