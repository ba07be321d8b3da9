"""Lines of the demo's text, which fit a terminal of 80 columns whatever figures stand in them."""

from __future__ import annotations

import re
from itertools import groupby

from alpha_db.cli import output
from alpha_db.cli.output import Part, width_of

WIDTH = 80


def line(*parts: Part) -> None:
    """Print a line, or as many as it takes: it is broken at blanks, and what follows is indented as its beginning."""
    styled = [
        (letter, "" if isinstance(part, str) else part[1])
        for part in parts
        for letter in (part if isinstance(part, str) else part[0])
    ]
    text = "".join(letter for letter, _ in styled)
    indent = len(text) - len(text.lstrip(" "))
    while width_of(text) > WIDTH and (at := _break(text, indent)):
        _print(styled[: len(text[:at].rstrip())])
        rest = text[at:].lstrip(" ")
        styled = [(" ", "")] * indent + styled[len(text) - len(rest) :]
        text = " " * indent + rest
    _print(styled)


def _print(styled: list[tuple[str, str]]) -> None:
    runs = groupby(styled, key=lambda pair: pair[1])
    output.line(*[("".join(letter for letter, _ in run), style) for style, run in runs])


def _break(text: str, indent: int) -> int:
    """Where to break: at the last blank that leaves a line that fits, or else at the first there is; 0: nowhere."""
    blanks = [found.start() for found in re.finditer(r" (?=\S)", text) if found.start() >= indent + 1]
    fitting = [at for at in blanks if width_of(text[:at]) <= WIDTH]
    return fitting[-1] if fitting else blanks[0] if blanks else 0
