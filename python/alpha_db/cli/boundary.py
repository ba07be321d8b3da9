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

from alpha_db.cli.output import begin, clean, emit_json, lose, lost, want_json, write_frame
from alpha_db.errors import (
    EXIT_NOT_RUN,
    EXIT_NOT_THERE,
    EXIT_OK,
    EXIT_USAGE,
    AlphaDbError,
    from_database,
    squeeze,
)

_BY_SIGNAL = 128


def run(program: Callable[[], int | None], *, debug: bool, as_json: bool = False) -> int:
    """Run the program and return its exit code, having printed what went wrong, and the JSON answer if there is one.

    `as_json` is what counts until the options are read.
    """
    begin(as_json=as_json)
    try:
        code = program() or 0
    except click.exceptions.Exit as exc:
        return _answered(exc.exit_code)
    except BrokenPipeError:
        return _broken_pipe()
    except SystemExit as exc:
        # click exits with 1 for a broken pipe, which means damage here
        if type(sys.stdout).__name__.endswith("PacifyFlushWrapper"):
            return _BY_SIGNAL + signal.SIGPIPE
        return exc.code if isinstance(exc.code, int) else EXIT_NOT_RUN
    except click.UsageError as exc:
        return _misused(exc)
    except (KeyboardInterrupt, Exception) as exc:
        if debug and not isinstance(exc, KeyboardInterrupt | click.Abort | click.ClickException):
            traceback.print_exc()
        code, line, error = told(exc)
        say(line)
        return _answered(code, error)
    return _answered(code)


def _misused(exc: click.UsageError) -> int:
    if type(exc).__name__ == "NoArgsIsHelpError":  # click before 8.2 does not have it
        click.echo(exc.format_message(), err=True)
        return EXIT_USAGE
    if exc.ctx and _json_by_environment(exc.ctx):
        want_json(True)
    message = squeeze(exc.format_message())
    see = f"see {exc.ctx.command_path} --help" if exc.ctx else None
    say(f"usage: {message}" + (f" ({see})" if see else ""))
    return _answered(EXIT_USAGE, _error(message, hint=see))


def told(exc: BaseException) -> tuple[int, str, dict[str, str | None]]:
    """Return the exit code of an error, its line, and its members of a JSON answer."""
    if isinstance(exc, KeyboardInterrupt | click.Abort):
        return _BY_SIGNAL + signal.SIGINT, "interrupted", _error("interrupted")
    if isinstance(exc, click.ClickException):
        message = squeeze(exc.format_message())
        return EXIT_NOT_RUN, f"error: {clean(message)}", _error(message)
    if isinstance(exc, UnicodeEncodeError):
        message = "an argument, or a variable of the environment, is not UTF-8"
        return EXIT_USAGE, f"usage: {message}", _error(message)
    error = from_database(exc) if isinstance(exc, psycopg.Error) else exc
    code = error.exit_code if isinstance(error, AlphaDbError) else EXIT_NOT_RUN
    return code, one_line(error), as_members(error)


def one_line(exc: BaseException) -> str:
    """Return an error as one line: code, message, its causes, DETAIL and HINT."""
    said = as_members(exc)
    line = f"error [{said['code']}]: " if said["code"] else "error: "
    line += str(said["message"])
    for name in ("detail", "hint"):
        if said[name]:
            line += f"{'' if line.endswith(('.', '?', '!')) else '.'} {name.upper()}: {said[name]}"
    return clean(line)


def as_members(exc: BaseException) -> dict[str, str | None]:
    """Return an error as the members of a JSON answer: code, message with its causes, detail and hint."""
    if isinstance(exc, OSError) and exc.strerror:
        names = ", ".join(
            os.fsdecode(name) for name in (exc.filename, exc.filename2) if isinstance(name, str | bytes)
        )
        return _error(f"{names}: {exc.strerror}" if names else exc.strerror)
    if not isinstance(exc, AlphaDbError):
        kind = "" if isinstance(exc, OSError) else f"{type(exc).__name__}: "
        return _error(f"{kind}{_causes(exc, squeeze(str(exc)))}")
    message = exc.message.removeprefix(f"{exc.code}: ")
    detail, hint = (squeeze(text) if text else None for text in (exc.detail, exc.hint))
    return _error(_causes(exc, squeeze(message)), exc.code or exc.sqlstate, detail, hint)


def _error(
    message: str, code: str | None = None, detail: str | None = None, hint: str | None = None
) -> dict[str, str | None]:
    return {"code": code, "message": message, "detail": detail, "hint": hint}


def _json_by_environment(ctx: click.Context) -> bool:
    """Whether a variable asks for JSON, where the options themselves could not be read."""
    for option in ctx.command.params:
        if option.name == "as_json":
            return option.type_cast_value(ctx, option.resolve_envvar_value(ctx)) is True
    return False


def say(text: str) -> None:
    """Print a line on stderr, if there is one to print on; what a name holds must not reach a terminal."""
    with contextlib.suppress(OSError):
        print(f"alpha-db: {clean(text)}", file=sys.stderr, flush=True)


def _causes(exc: BaseException, line: str) -> str:
    cause = exc.__cause__
    while cause is not None:
        text = squeeze(str(cause))
        if isinstance(cause, psycopg.Error):
            text = squeeze(from_database(cause).message)
            text = re.sub(r"^(AUD|RSK)-[0-9]{3}: ", "", text)  # the line begins with the code
        elif isinstance(cause, OSError) and cause.strerror:
            text = cause.strerror
        # most errors are told in the words of their cause already
        if text and text not in line and not isinstance(cause, psycopg.OperationalError):
            line += f": {text}"
        cause = cause.__cause__
    return line


def _answered(code: int, error: dict[str, str | None] | None = None) -> int:
    """Print the JSON answer, if one is asked for, and return the exit code, another if that cannot be printed.

    Proven damage stays proven: its exit code does not depend on whether there is room for the report.
    """
    try:
        sys.stdout.flush()
        if lost() is None:
            code, error = _framed(code, error)
        sys.stdout.flush()
    except BrokenPipeError:
        return _broken_pipe()
    except OSError as exc:
        lose(exc)
    problem = lost()
    if problem is None:
        return code
    said = as_members(problem)
    said["message"] = f"standard output takes nothing more: {said['message']}"
    if code in (EXIT_OK, EXIT_NOT_THERE):
        code = EXIT_NOT_RUN
    say(f"error: {said['message']}")
    with contextlib.suppress(OSError):
        _framed(code, error or said, err=True)
    return code


def _framed(
    code: int, error: dict[str, str | None] | None, *, err: bool = False
) -> tuple[int, dict[str, str | None] | None]:
    try:
        write_frame(code, error, err=err)
    except (TypeError, ValueError, RecursionError) as exc:
        said = f"the result cannot be printed as JSON: {squeeze(str(exc))}"
        say(f"error: {said}")
        emit_json(None)
        code, error = code or EXIT_NOT_RUN, error or _error(said)
        write_frame(code, error, err=err)
    return code, error


def _broken_pipe() -> int:
    lose(BrokenPipeError())  # so that Python's own flush at exit does not complain
    return _BY_SIGNAL + signal.SIGPIPE
