"""Printing: results on stdout through rich or as JSON, everything else on stderr."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from alpha_db.frame import frame
from alpha_db.security.signed_text import HIDDEN

GOOD, BAD, WARN, DIM, HEAD = "green", "bold red", "yellow", "dim", "bold"

_CONTROL = re.compile(rf"[\x00-\x1f{HIDDEN}]")


class PlainConsole(Console):
    """A console that neither wraps nor guesses: what is printed can be read by a program, too."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        """Leave a reader that went away to the error boundary; rich would exit with 1, which means damage."""
        raise BrokenPipeError


def clean(value: object) -> str:
    """Return a value as text for people; control and hidden characters of stored data must not reach a terminal."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        with suppress(OverflowError):  # the first and the last day that there are
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return _CONTROL.sub(lambda match: f"\\u{ord(match.group()):04x}", str(value))


def since(when: object) -> str:
    """Return since when something is so, as words that stand behind it."""
    return ", nobody recorded since when" if when is None else f" since {clean(when)}"


def line(*parts: str | tuple[str, str]) -> None:
    """Print a line; a part is text, or text and its style."""
    text = Text()
    for part in parts:
        text.append(*((part,) if isinstance(part, str) else part))
    put(lambda is_lost: PlainConsole(stderr=is_lost).print(text))


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
    widths = [max(map(cell_len, column)) for column in zip(*every, strict=True)]
    for number, cells_of_line in enumerate(every):
        is_head = bool(head) and number == 0
        style = styles[number - bool(head)] if styles and not is_head else ""
        parts: list[tuple[str, str]] = [(indent, "")]
        for column, cell in enumerate(cells_of_line):
            space = " " * (widths[column] - cell_len(cell))
            last = column == len(cells_of_line) - 1
            padded = space + cell if column in right else cell if last else cell + space
            parts.append((padded, HEAD if is_head else style if column == 0 else ""))
            parts.append(("" if last else "  ", ""))
        line(*parts)


def note(*parts: str | tuple[str, str]) -> None:
    """Print a line on stderr."""
    text = Text()
    for part in parts:
        text.append(*((part,) if isinstance(part, str) else part))
    with suppress(OSError):  # what is said besides decides nothing
        PlainConsole(stderr=True).print(text)


_lost: ContextVar[OSError | None] = ContextVar("lost", default=None)


def lost() -> OSError | None:
    """Return why stdout takes nothing more, if it does not: its disk is full, say."""
    return _lost.get()


def lose(problem: OSError) -> None:
    """Say that stdout takes nothing more: from now on what belongs there goes to stderr."""
    _lost.set(problem)
    # so that what is left in its buffer does not fail again when Python ends
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def put(show: Callable[[bool], object]) -> None:
    """Print on stdout. What it does not take is printed on stderr, because a verdict must not get lost with it.

    Takes what prints, and is told whether on stderr. Raises BrokenPipeError: nobody reads any more.
    """
    if lost() is None:
        try:
            show(False)
            sys.stdout.flush()
            return
        except BrokenPipeError:
            raise
        except OSError as problem:
            lose(problem)
    with suppress(OSError):
        show(True)


@dataclass
class Answer:
    """The JSON answer of this run: whether one is asked for, and the result as far as there is one."""

    is_guessed: bool = False  # from the command line as it stands, before it is parsed
    is_wanted: bool = False
    is_given: bool = False
    result: object = None
    is_on_stderr: bool = False


_answer: ContextVar[Answer] = ContextVar("answer")


def begin(*, as_json: bool) -> None:
    """Begin the answer of a run; an earlier run in this process may have left one."""
    _answer.set(Answer(as_json))
    _lost.set(None)


def want_json(wanted: bool) -> None:
    """Say whether an option asks for an answer in JSON; what was guessed of the command line counts no more."""
    answer = _answer.get()
    answer.is_guessed = False
    answer.is_wanted = answer.is_wanted or wanted


def leave_stdout() -> None:
    """Say that stdout carries something else, such as rows: the JSON answer then goes to stderr."""
    _answer.get().is_on_stderr = True


def emit_json(result: object) -> None:
    """Give the result of the command; the error boundary prints it, framed, once the exit code is known."""
    answer = _answer.get()
    answer.result, answer.is_given = result, True


def write_frame(exit_code: int, error: Mapping[str, Any] | None = None, *, err: bool = False) -> None:
    """Print the answer, on stderr if need be, if one is asked for and there is anything to say.

    Raises OSError, and TypeError, ValueError or RecursionError for a result that cannot be printed as JSON.
    """
    answer = _answer.get()
    if (answer.is_wanted or answer.is_guessed) and (answer.is_given or exit_code):
        write_json(frame(answer.result, exit_code, error), err=err or answer.is_on_stderr)


def write_part(result: object, exit_code: int) -> None:
    """Print one of several answers at once, of a command that goes on."""
    put(lambda is_lost: write_json(frame(result, exit_code), err=is_lost))


def write_json(document: object, *, err: bool = False) -> None:
    """Print a document as JSON, on stdout or stderr: times as ISO 8601, decimals as strings."""
    (sys.stderr if err else sys.stdout).write(json.dumps(document, indent=2, default=_to_json) + "\n")


@contextmanager
def spinner(what: str) -> Iterator[None]:
    """Show on a terminal's stderr that something is going on, and since when."""
    console = PlainConsole(stderr=True)
    if not console.is_terminal:
        yield
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task(what, total=None)
        yield


def _to_json(value: Any) -> Any:
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
