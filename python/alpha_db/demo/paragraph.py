"""Lines of the demo's text, which fit a terminal of 80 columns whatever figures stand in them."""

from __future__ import annotations

import re

from rich.cells import cell_len
from rich.text import Text

from alpha_db.cli.output import PlainConsole

WIDTH = 80


def line(*parts: str | tuple[str, str]) -> None:
    """Print a line, or as many as it takes: it is broken at blanks, and what follows is indented as its beginning.

    A part is text, or text and its style.
    """
    text = Text()
    for part in parts:
        text.append(*((part,) if isinstance(part, str) else part))
    indent = len(text.plain) - len(text.plain.lstrip(" "))
    while cell_len(text.plain) > WIDTH and (at := _break(text.plain, indent)):
        first, text = text.divide([at])
        first.rstrip()
        PlainConsole().print(first)
        text = Text(" " * indent).append_text(text[len(text.plain) - len(text.plain.lstrip(" ")) :])
    PlainConsole().print(text)


def _break(text: str, indent: int) -> int:
    """Where to break: at the last blank that leaves a line that fits, or else at the first there is; 0: nowhere."""
    blanks = [found.start() for found in re.finditer(r" (?=\S)", text) if found.start() >= indent + 1]
    fitting = [at for at in blanks if cell_len(text[:at]) <= WIDTH]
    return fitting[-1] if fitting else blanks[0] if blanks else 0
