"""Printing: results on stdout as text or as JSON, everything else on stderr."""

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
from typing import Any, TextIO
from unicodedata import combining, east_asian_width
from uuid import UUID

import click

from alpha_db.hidden import HIDDEN

GOOD, BAD, WARN, DIM, HEAD = "green", "bold red", "yellow", "dim", "bold"
MEMBERS = ("ok", "exit_code", "result", "error")
#: A part of a line: text, or text and its style.
Part = str | tuple[str, str]

_STYLES: dict[str, dict[str, Any]] = {
    "": {},
    GOOD: {"fg": "green"},
    BAD: {"fg": "red", "bold": True},
    WARN: {"fg": "yellow"},
    DIM: {"dim": True},
    HEAD: {"bold": True},
}
_CONTROL = re.compile(rf"[\x00-\x1f{HIDDEN}]")


def is_terminal(stream: TextIO) -> bool:
    """Return whether somebody watches a stream, on a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def styled(parts: Sequence[Part], stream: TextIO) -> str:
    """Return a line as a stream shows it: coloured on a terminal, unless NO_COLOR is set."""
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    if is_terminal(stream) and not os.environ.get("NO_COLOR"):
        return "".join(click.style(text, **_STYLES[style]) if style else text for text, style in pairs)
    return "".join(text for text, _ in pairs)


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)


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


def line(*parts: Part) -> None:
    """Print a line."""
    put(lambda stream: print(styled(parts, stream), file=stream, flush=True))


def note(*parts: Part) -> None:
    """Print a line on stderr."""
    with suppress(OSError):  # what is said besides decides nothing
        print(styled(parts, sys.stderr), file=sys.stderr, flush=True)


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


def put(show: Callable[[TextIO], object]) -> None:
    """Print on stdout. What it does not take is printed on stderr, because a verdict must not get lost with it.

    Takes what prints on a stream. Raises BrokenPipeError: nobody reads any more.
    """
    if lost() is None:
        try:
            show(sys.stdout)
            sys.stdout.flush()
            return
        except BrokenPipeError:
            raise
        except OSError as problem:
            lose(problem)
    with suppress(OSError):
        show(sys.stderr)


def frame(result: object, exit_code: int, error: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the one shape of every command's JSON answer."""
    return dict(zip(MEMBERS, (exit_code == 0, exit_code, result, error), strict=True))


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


@contextmanager
def put_aside() -> Iterator[Answer]:
    """Give what runs inside an answer of its own, which is not printed."""
    answer = Answer()
    before, lost_before = _answer.set(answer), _lost.set(None)
    try:
        yield answer
    finally:
        _answer.reset(before)
        _lost.reset(lost_before)


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
        stream = sys.stderr if err or answer.is_on_stderr else sys.stdout
        write_json(frame(answer.result, exit_code, error), stream)


def write_json(document: object, stream: TextIO | None = None) -> None:
    """Print a document as JSON, on stdout if no stream is named: times as ISO 8601, decimals as strings."""
    (stream or sys.stdout).write(json.dumps(document, indent=2, default=json_value) + "\n")


def json_value(value: Any) -> Any:
    """Return as JSON has it what json.dumps does not know. Raises TypeError."""
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
