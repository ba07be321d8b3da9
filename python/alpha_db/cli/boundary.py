"""The error boundary: whatever happens, one line on stderr and a fitting exit code.

A traceback is shown with --debug only.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable

import click
import psycopg

from alpha_db.errors import EXIT_NOT_RUN, EXIT_USAGE, AlphaDbError, from_any, squeeze

_BY_SIGNAL = 128


def run(program: Callable[[], int | None], *, debug: bool) -> int:
    """Run the program and return its exit code, having printed what went wrong."""
    try:
        code = program() or 0
        sys.stdout.flush()
    except click.exceptions.Exit as exc:
        return _flushed(exc.exit_code)
    except (KeyboardInterrupt, click.Abort):
        say("interrupted")
        return _BY_SIGNAL + signal.SIGINT
    except BrokenPipeError:
        return _broken_pipe()
    except SystemExit as exc:
        # click exits with 1 for a broken pipe, which means damage here
        if type(sys.stdout).__name__.endswith("PacifyFlushWrapper"):
            return _BY_SIGNAL + signal.SIGPIPE
        return exc.code if isinstance(exc.code, int) else EXIT_NOT_RUN
    except click.UsageError as exc:
        if type(exc).__name__ == "NoArgsIsHelpError":  # click before 8.2 does not have it
            click.echo(exc.format_message(), err=True)
            return EXIT_USAGE
        where = f" (see {exc.ctx.command_path} --help)" if exc.ctx else ""
        say(f"usage: {squeeze(exc.format_message())}{where}")
        return EXIT_USAGE
    except click.ClickException as exc:
        say(f"error: {squeeze(exc.format_message())}")
        return EXIT_NOT_RUN
    except Exception as exc:
        if debug:
            traceback.print_exc()
        error = from_any(exc) if isinstance(exc, psycopg.Error) else exc
        say(one_line(error))
        return error.exit_code if isinstance(error, AlphaDbError) else EXIT_NOT_RUN
    return code


def one_line(exc: BaseException) -> str:
    """Return an error as one line: code, message, its causes, DETAIL and HINT."""
    if not isinstance(exc, AlphaDbError):
        kind = "" if isinstance(exc, OSError) else f"{type(exc).__name__}: "
        return f"error: {kind}{_causes(exc, squeeze(str(exc)))}"
    code = exc.code or exc.sqlstate
    message = exc.message.removeprefix(f"{exc.code}: ")
    line = f"error [{code}]: " if code else "error: "
    line += _causes(exc, squeeze(message))
    for name, text in (("DETAIL", exc.detail), ("HINT", exc.hint)):
        if text:
            line += f"{'' if line.endswith(('.', '?', '!')) else '.'} {name}: {squeeze(text)}"
    return line


def say(text: str) -> None:
    """Print a line on stderr, if there is one to print on."""
    with contextlib.suppress(OSError):
        print(f"alpha-db: {text}", file=sys.stderr, flush=True)


def _causes(exc: BaseException, line: str) -> str:
    cause = exc.__cause__
    while cause is not None:
        text = squeeze(str(cause))
        if isinstance(cause, psycopg.Error):
            text = squeeze(from_any(cause).message)
            text = re.sub(r"^(AUD|RSK)-[0-9]{3}: ", "", text)  # the line begins with the code
        elif isinstance(cause, OSError) and cause.strerror:
            text = cause.strerror
        # most errors are told in the words of their cause already
        if text and text not in line and not isinstance(cause, psycopg.OperationalError):
            line += f": {text}"
        cause = cause.__cause__
    return line


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _broken_pipe()
    except OSError as exc:
        say(one_line(exc))
        return EXIT_NOT_RUN
    return code


def _broken_pipe() -> int:
    # so that Python's own flush at exit does not complain
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _BY_SIGNAL + signal.SIGPIPE
