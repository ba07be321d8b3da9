"""Aligned columns, of which the last is folded at the width of a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from textwrap import wrap

from alpha_db.cli.output import HEAD, clean, is_terminal, line, width_of

#: Columns of a terminal that are too few to fold a text into.
_NARROW = 24


def rows(
    lines: Sequence[Sequence[object]],
    *,
    head: Sequence[str] = (),
    styles: Sequence[str] = (),
    right: Sequence[int] = (),
    indent: str = "",
) -> None:
    """Print aligned columns.

    Takes the lines, column titles, a style for each line (of its first cell), which columns are numbers and
    stand to the right, and what stands before each line.
    """
    cells = [[clean(cell) for cell in cells_of_line] for cells_of_line in lines]
    every = [list(head), *cells] if head else cells
    widths = [max(map(width_of, column)) for column in zip(*every, strict=True)]
    for number, cells_of_line in enumerate(every):
        is_head = bool(head) and number == 0
        style = styles[number - bool(head)] if styles and not is_head else ""
        parts: list[tuple[str, str]] = [(indent, "")]
        for column, cell in enumerate(cells_of_line):
            space = " " * (widths[column] - width_of(cell))
            last = column == len(cells_of_line) - 1
            padded = space + cell if column in right else cell if last else cell + space
            padded = _folded(padded, width_of("".join(text for text, _ in parts))) if last else padded
            parts.append((padded, HEAD if is_head else style if column == 0 else ""))
            parts.append(("" if last else "  ", ""))
        line(*parts)


def _folded(text: str, column: int) -> str:
    """A text that begins in a column, as lines of the terminal's width; a word, such as a hash, is never broken."""
    width = shutil.get_terminal_size().columns - column
    if not is_terminal(sys.stdout) or width_of(text) <= width or width < _NARROW:
        return text
    folded = wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * column}".join(folded)
