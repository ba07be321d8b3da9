"""--all-schemas: a command over every installation of a database, in turn, with one summary.

The command itself runs as it does for one desk, with what it prints and answers put aside. A failure in one desk
stops no other.
"""

from __future__ import annotations

import functools
import io
import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from typing import Any, TextIO

import click
import psycopg

from alpha_db.cli import boundary
from alpha_db.cli.common import Settings, finish
from alpha_db.cli.output import BAD, GOOD, WARN, clean, emit_json, line, put, put_aside, width_of
from alpha_db.errors import (
    EXIT_DAMAGE,
    EXIT_NOT_RECORDED,
    EXIT_NOT_RUN,
    EXIT_NOT_THERE,
    EXIT_OK,
    AlphaDbError,
    ConnectionFailed,
)
from alpha_db.verify.cli import verify_report
from alpha_db.verify.cli.desk_names import FIELD, PerDesk, in_database, in_directories, of_desk

#: How a desk's line begins, by exit code, and what the summary calls such desks in JSON.
_WORDS = {
    EXIT_NOT_RECORDED: ("not ok ", BAD, "not_recorded"),
    EXIT_DAMAGE: ("not ok ", BAD, "not_ok"),
    EXIT_NOT_RUN: ("not run", WARN, "not_run"),
    EXIT_NOT_THERE: ("absent ", WARN, "not_there"),
    EXIT_OK: ("ok     ", GOOD, "ok"),
}
_NOT_ASKED = "the connection was lost before"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_log = logging.getLogger("alpha_db")


@dataclass(frozen=True)
class Words:
    """What a summary says of desks: those that are fine, and those with exit code 1."""

    good: str
    bad: str


@dataclass(frozen=True)
class Desk:
    """What a command found in one desk; `text` is what it printed there, `told` its error as a line."""

    schema: str
    exit_code: int
    result: object = None
    error: Mapping[str, Any] | None = None
    text: str = ""
    told: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as a member of the JSON answer."""
        return {
            "schema": self.schema,
            "exit_code": self.exit_code,
            "result": self.result,
            "error": self.error,
        }


@dataclass(frozen=True)
class AllSchemas:
    """Gives a command the option --all-schemas. For a function that database_options calls.

    Takes the words of the summary, the parameters that must name each desk's own file or directory by {schema}, those
    that may, those that are of one desk only, what is to hold of all desks before the first is asked, whether the
    conclusion is the first line that the command prints (default: the last) or how such lines begin, the worst first,
    and whether all that it prints is shown of every desk.
    """

    words: Words
    must: Sequence[str] = ()
    may: Sequence[str] = ()
    excludes: Sequence[str] = ()
    check: Callable[[Mapping[str, dict[str, Any]]], None] | None = None
    concludes_first: bool = False
    concludes: Sequence[str] = ()
    shows_all: bool = False

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with the option."""

        @all_schemas_option
        @functools.wraps(function)
        def wrapper(all_schemas: bool, **given: Any) -> Any:
            if not all_schemas:
                return function(**given)
            self._refuse(given)
            return _Round(self, function, given).run()

        return wrapper

    def _refuse(self, given: Mapping[str, Any]) -> None:
        for name in self.excludes:
            if given[name] not in (None, False):
                raise click.UsageError(f"--all-schemas and {_shown(name)} exclude each other")
        require_names_of_all(given.get("settings"), {name: given[name] for name in self.must})


def require_names_of_all(settings: Settings | None, given: Mapping[str, Any]) -> None:
    """Raise UsageError if a schema is named, too, or a file or directory of each desk without {schema}."""
    if settings is not None and settings.schema is not None:
        raise click.UsageError("--all-schemas and --schema (or ALPHA_DB_SCHEMA) exclude each other")
    for name, values in given.items():
        for value in _each(values):
            if value is not None and FIELD not in str(value):
                raise click.UsageError(
                    f"with --all-schemas {_shown(name)} needs {FIELD} in it: each desk has its own"
                )


def all_schemas_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --all-schemas, which the function gets as ``all_schemas``."""
    return click.option(
        "--all-schemas",
        is_flag=True,
        is_eager=True,  # so that options that name files know of it
        help="Every installation in turn, {schema} in a path standing for its name; the worst exit code counts.",
    )(function)


@dataclass
class _Round:
    """A command over all desks."""

    option: AllSchemas
    function: Callable[..., Any]
    given: dict[str, Any]
    found: list[Desk] = field(default_factory=list)
    lost_at: str | None = None
    #: Every desk, and why it is not asked, if it is not.
    names: dict[str, AlphaDbError | None] = field(default_factory=dict)

    def run(self) -> None:
        """Ask every desk, print what was found, and end the command with the worst exit code."""
        form = "json" if self.given.get("as_json") else self.given.get("output_format") or "text"
        try:
            names = self.names = self._names()
        except (AlphaDbError, psycopg.Error) as problem:
            if form == "prometheus":  # a scraper must see that nothing was verified
                code = boundary.told(problem)[0]
                click.echo(verify_report.prometheus([], None, 0, code), nl=False)
            raise
        if self.option.check:
            self.option.check({name: self._paths(name) for name, why_not in names.items() if not why_not})
        width = max(width_of(clean(name)) for name in names)
        for name in names:
            desk = self._turn(name)
            if form == "prometheus":
                desk = readable(desk)
            self.found.append(desk)
            if form == "text":
                self._tell(desk, width)
            elif form == "prometheus" and desk.told:
                boundary.say(f"{clean(name)}: {desk.told}")
        if form == "json":
            emit_json({"schemas": [desk.document() for desk in self.found], "summary": self._summary()})
        elif form == "prometheus":
            put(lambda stream: stream.write(merged(self.found)))
        else:
            self._conclude()
        finish(verify_report.worst([desk.exit_code for desk in self.found]))

    def _names(self) -> dict[str, AlphaDbError | None]:
        settings = self.given.get("settings")
        given = [value for name in self.option.must for value in _each(self.given[name])]
        paths = [str(path) for path in given if path is not None]
        if settings is not None:
            return in_database(settings, paths)
        return dict.fromkeys(sorted({name for path in paths for name in in_directories(path)}))

    def _paths(self, schema: str) -> dict[str, Any]:
        names = (*self.option.must, *self.option.may)
        return {name: of_desk(self.given[name], schema) for name in names}

    def _turn(self, schema: str) -> Desk:
        if self.lost_at is not None:
            return self._not_asked(schema)
        if why_not := self.names[schema]:
            code, told, error = boundary.told(why_not)
            return Desk(schema, code, error=error, told=told)
        return self._ask(schema)

    def _ask(self, schema: str) -> Desk:
        page, notes = _Page(sys.stdout), _Prefixed(sys.stderr, f"{clean(schema)}: ")
        error, told, code, problem = None, None, EXIT_OK, None
        with redirect_stdout(page), redirect_stderr(notes), put_aside() as answer:
            try:
                self.function(**self._given(schema))
            except click.exceptions.Exit as ended:
                code = ended.exit_code
            except (click.UsageError, click.Abort):
                raise
            except Exception as raised:
                _log.debug("%s", schema, exc_info=raised)
                code, told, error = boundary.told(raised)
                problem = raised
        if isinstance(problem, ConnectionFailed | psycopg.OperationalError) and not self._is_there():
            self.lost_at = schema
        code = code if code in _WORDS else EXIT_NOT_RUN
        return Desk(schema, code, answer.result, error, page.getvalue(), told)

    def _given(self, schema: str) -> dict[str, Any]:
        given = self.given | self._paths(schema)
        given |= {name: of_desk(value, schema) for name, value in given.items() if isinstance(value, PerDesk)}
        if "settings" in given:
            given["settings"] = replace(given["settings"], schema=schema)
        return given

    def _is_there(self) -> bool:
        """Whether the server still answers, after a desk could not be asked."""
        settings: Settings | None = self.given.get("settings")
        try:
            if settings is not None:
                with closing(settings.connect()):
                    pass
        except (AlphaDbError, psycopg.Error):
            return False
        return True

    def _not_asked(self, schema: str) -> Desk:
        message = f"it was not asked: {_NOT_ASKED}, at {clean(self.lost_at)}"
        error = boundary.as_members(ConnectionFailed(message))
        return Desk(schema, EXIT_NOT_RUN, error=error, told=f"error: {message}")

    def _tell(self, desk: Desk, width: int) -> None:
        printed = _lines(desk.text)
        if desk.told:
            printed.append(desk.told)
        conclusion = printed.pop(self._concluded(desk, printed)) if printed else ""
        word, style, _ = _WORDS[desk.exit_code]
        name = clean(desk.schema)
        if self.option.shows_all and not desk.exit_code:
            printed, conclusion = [*printed, conclusion], ""
        line((word, style), f"  {name}{' ' * (width - width_of(name))}  {conclusion}".rstrip())
        if desk.exit_code or self.option.shows_all:
            for text in printed:
                line(f"         {text}".rstrip())

    def _concluded(self, desk: Desk, printed: Sequence[str]) -> int:
        """Where the line stands that says what was concluded."""
        if desk.told:
            return -1
        plain = [_COLOUR.sub("", text) for text in printed]
        found = (
            n for begin in self.option.concludes for n, text in enumerate(plain) if text.startswith(begin)
        )
        return next(found, 0 if self.option.concludes_first else -1)

    def _by_code(self, code: int) -> list[str]:
        return [desk.schema for desk in self.found if desk.exit_code == code]

    def _summary(self) -> dict[str, Any]:
        lists = {key: self._by_code(code) for code, (_, _, key) in _WORDS.items()}
        return {"desks": len(self.found), **lists, "ok": len(lists["ok"]), "lost_at": self.lost_at}

    def _conclude(self) -> None:
        total, fine = len(self.found), len(self._by_code(EXIT_OK))
        code = verify_report.worst([desk.exit_code for desk in self.found])
        noun = "desk" if total == 1 else "desks"
        said = [f"{fine} of {total} {noun} {self.option.words.good}"]
        told = {
            EXIT_NOT_RECORDED: f"{self.option.words.bad}, and the lockdown is not recorded",
            EXIT_DAMAGE: self.option.words.bad,
            EXIT_NOT_RUN: "could not be checked",
            EXIT_NOT_THERE: "not there",
        }
        for each, words in told.items():
            if names := self._by_code(each):
                said.append(f"{words}: {', '.join(map(clean, names))}")
        style = GOOD if code == EXIT_OK else BAD if code in (EXIT_DAMAGE, EXIT_NOT_RECORDED) else WARN
        line(("; ".join(said) + ".", style))
        if self.lost_at is not None:
            line((f"The connection was lost at {clean(self.lost_at)}: no desk after it was asked.", WARN))


def merged(desks: Sequence[Desk]) -> str:
    """Return the expositions of several desks as one, with the label schema on each sample."""
    families: dict[str, list[str]] = {}
    for desk in desks:
        label = verify_report.label_text(schema=desk.schema)[1:-1]
        family: list[str] = []
        for text in _lines(desk.text or verify_report.prometheus([], None, 0, desk.exit_code)):
            if text.startswith("# HELP "):
                family = families.setdefault(text, [])
            elif text.startswith("# TYPE "):
                if not family:
                    family.append(text)
            else:
                name, labels, value = _SAMPLE.fullmatch(text).groups()  # type: ignore[union-attr]
                family.append(f"{name}{{{label}{',' if labels else ''}{labels or ''}}} {value}")
    return "".join(f"{text}\n" for help_, samples in families.items() for text in (help_, *samples))


def readable(desk: Desk) -> Desk:
    """Return a desk, as one that could not be checked if what it printed is no exposition."""
    if all(text.startswith(("# HELP ", "# TYPE ")) or _SAMPLE.fullmatch(text) for text in _lines(desk.text)):
        return desk
    code = verify_report.worst([desk.exit_code, EXIT_NOT_RUN])
    return replace(desk, exit_code=code, text="", told=desk.told or "error: what it answers is no exposition")


#: A name in the server may hold what is a line break elsewhere, such as U+2028; here only \n ends a line.
_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _each(value: Any) -> Sequence[Any]:
    return value if isinstance(value, tuple) else [value]


def _shown(name: str) -> str:
    """Return a parameter as it is called on the command line."""
    for parameter in click.get_current_context().command.params:
        if parameter.name == name:
            return parameter.opts[0] if isinstance(parameter, click.Option) else parameter.human_readable_name
    return name


class _Page(io.StringIO):
    """What a command prints of one desk, as coloured as on the stream that shows it later."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def isatty(self) -> bool:
        """Whether what is printed here ends on a terminal."""
        return self._stream.isatty()


class _Prefixed(io.TextIOBase):
    """Passes lines on with a desk's name before each."""

    def __init__(self, stream: TextIO, prefix: str) -> None:
        super().__init__()
        self._stream, self._prefix, self._is_new = stream, prefix, True

    def write(self, text: str) -> int:
        """Pass text on."""
        for part in re.findall(r"[^\n]*\n|[^\n]+", text):
            self._stream.write(self._prefix + part if self._is_new else part)
            self._is_new = part.endswith("\n")
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        self._stream.flush()
