"""The table of bad values: every command of the program, with each of its parameters given what it does not take.

Commands and parameters are read from the program itself, so a new one is covered by itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from alpha_db.cli.main import cli

#: Begin a server, or never end: their other parameters are good only if this one is bad.
ALWAYS = {
    "demo": ["--pg", "none"],
    "server run": ["--pg", "none"],
    "server start": ["--pg", "none"],
    "risk watch": ["--once", "--timeout", "0.01"],
    "watch": ["--once"],
}
#: The same option of nearly every command: tried with two of them.
SHARED = ("dsn", "schema", "lock_timeout", "agent", "key", "public", "passphrase_file", "lifetime", "reason")
#: What is waited for, so that a number which is good would take long.
WAITS = {("risk heartbeat", "every"), ("risk watch", "timeout"), ("verify-chain", "engage_for")}
NOT_TRIED = {"--help", "--version"}

TEXTS = ["", "NaN", "{{strategy.order.price}}", "x" * 5000, "a\nb", "\udcff", "\ufeff1", "1\r\n", "\u202e1"]
NUMBERS = ["", "x", "1.5", "-1", "9" * 30, "1e400", "\u0661", "0x10"]


@dataclass(frozen=True)
class Place:
    """Where bad values are tried: a command and one of its parameters."""

    command: str
    parameter: click.Parameter


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that is no group, by the words that call it."""

    def walk(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
        if not isinstance(command, click.Group):
            yield " ".join(words), command
            return
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from walk(inner, (*words, name))

    return walk(cli, ())


def parameters(command: click.Command) -> Iterator[click.Parameter]:
    """The parameters that take a value."""
    for parameter in command.params:
        if parameter.name in SHARED and command.name not in ("status", "update-param"):
            continue
        if not getattr(parameter, "is_flag", False) and not NOT_TRIED & set(parameter.opts):
            yield parameter


class Files:
    """Files that are good for a command, and what only looks like a file, in a folder."""

    def __init__(self, folder: Path, run: Callable[..., str]) -> None:
        """Make them all; `run` runs a command that must succeed, and gives its output."""
        self.folder = folder
        self._run = run
        self._made = 0
        for name, content in {
            "empty": b"",
            "bom.json": b'\xef\xbb\xbf{"a": 1}\r\n',
            "text": b"hello\r\n",
            "binary": bytes(range(256)),
            "list.json": b'[1, null, "x"]',
            "utf16.json": '{"a": 1}'.encode("utf-16"),
        }.items():
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o600)
        os.mkfifo(folder / "pipe.note", 0o600)
        (folder / "loop").symlink_to("loop")
        (folder / "directory").mkdir()
        for name in ("ada", "ben", "cyd", "dan"):
            made = run("agents", "keygen", "--output", self.path(f"{name}.key"), "--name", name, "--json")
            (folder / f"{name}.json").write_text(made)
        trio = ("ada", "ben", "cyd")
        keys = [word for name in trio for word in ("--key", self.path(f"{name}.key"))]
        run("agents", "bootstrap", *(self.path(f"{name}.json") for name in trio), *keys, "--yes")
        limits = [
            "max_position_size_pct",
            "0.05",
            "daily_drawdown_limit_pct",
            "0.03",
            "max_leverage_ratio",
            "2",
        ]
        signed = ["--reason", "first", "--key", self.path("ada.key"), "--yes", "--json"]
        self.proposal = re.search(r'"proposal_id": "([^"]+)"', run("risk", "update-param", *limits, *signed))[
            1
        ]  # type: ignore[index]
        for name in ("ben", "cyd"):
            run("risk", "approve", self.proposal, "--key", self.path(f"{name}.key"), "--yes")
        (folder / "pins.json").write_text(run("agents", "list", "--pins"))
        (folder / "limits.json").write_text(run("risk", "get-config", "--json"))
        run("checkpoint", "keygen", "--name", "test.example/desk", "--output", self.path("note.key"))
        (folder / "notes").mkdir()
        run("checkpoint", "create", self.path("notes"), "--key", self.path("note.key"))
        trust = ["--trust", self.path("note.key.vkey")]
        run("export", "--table", "signals", "--output", self.path("export"))
        run(
            "prove",
            "signals",
            "1",
            "--checkpoints",
            self.path("notes"),
            *trust,
            "--output",
            self.path("proof"),
        )

    def path(self, name: str) -> str:
        """The path of a file."""
        return str(self.folder / name)

    def new(self) -> str:
        """The path of a file that is not there yet."""
        self._made += 1
        return self.path(f"new-{self._made}")

    def taken(self) -> list[str]:
        """Paths where nothing can be written."""
        names = ["directory", "pipe.note", "loop", "text/below", "text", "missing/below", "x" * 300]
        return ["", *map(self.path, names)]

    def bad(self) -> list[str]:
        """Paths of what is no file that any command takes."""
        names = ["missing", "directory", "pipe.note", "loop", "text/below", "empty", "bom.json", "text", "binary",
                 "list.json", "utf16.json", "x" * 300, "caf\udce9"]  # fmt: skip
        return ["", *map(self.path, names)]


def is_path(parameter: click.Parameter) -> bool:
    """Whether a parameter names a file or a directory."""
    named = f"{parameter.metavar or ''} {parameter.name}".lower()
    return isinstance(parameter.type, click.Path) or bool(
        re.search(r"file|path|dir|note|key|trust|check", named)
    )


def bad_values(parameter: click.Parameter, files: Files) -> list[str]:
    """What to give a parameter."""
    if parameter.name == "pg":  # empty: the default, which would start a server
        return files.bad()[1:]
    if is_path(parameter):
        return files.taken() if str(parameter.name).startswith("output") else files.bad()
    if isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType):
        return NUMBERS
    return TEXTS


def good(command: str, parameter: click.Parameter, files: Files) -> list[str]:
    """Values that a parameter takes, or may take, while another is tried."""
    name, is_note = str(parameter.name), not command.startswith(("agents", "risk", "lockdown"))
    if isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType):
        return ["2" if command == "risk quorum-policy" else "1"]
    if name.startswith("output"):
        return [files.new()]
    if command.startswith("agents") and name in ("file", "files"):
        return [files.path(f"{one}.json") for one in (("ada", "ben", "cyd") if name == "files" else ("dan",))]
    known = {
        "table": "signals", "proposal_id": files.proposal, "whom": "cyd", "agent": "ada", "asset": "BTC",
        "key": files.path("note.key" if is_note else "ada.key"), "keys": files.path("note.key.vkey"),
        "checkpoints": files.path("notes"), "paths": files.path("notes"),
        "file": files.path("proof"), "files": files.path("export"), "pins": files.path("pins.json"),
        "directory": files.path("notes" if is_note else "directory"),
        "segments": files.path("directory"), "before": "2020-01-01",
    }  # fmt: skip
    return [known.get(name, files.path("text") if is_path(parameter) else "x")]


def arguments(
    command: str, tried: click.Parameter, value: str, files: Files, kind: click.Command
) -> list[str]:
    """The command line: what is required, good, and one bad value."""
    words = command.split()
    options: list[str] = []
    plain: list[str] = []
    always = ALWAYS.get(command, [])
    for parameter in parameters(kind):
        if parameter is tried:
            values = [value]
        elif parameter.required and not set(parameter.opts) & set(always):
            values = good(command, parameter, files)
        else:
            continue
        if isinstance(parameter, click.Argument):
            plain += values
        else:
            options += [word for one in values for word in (parameter.opts[-1], one)]
    kept = [] if set(tried.opts) & set(always) else always
    flags = [p.opts[-1] for p in kind.params if p.name == "yes"]
    return [*words, *kept, *options, *flags, "--", *plain] if plain else [*words, *kept, *options, *flags]


#: What no person is to read: Python's own words for things, and errno's numbers.
_PYTHON = re.compile(
    r"Traceback|\[Errno|PosixPath|Decimal\(|UUID\(|<class |object at 0x|\bb'|\bNone\b|datetime\.|\(char \d+\)|\bsys\.\w"
    r"|\b[A-Z]\w*(?:Error|Exception|Warning)\b(?!:? \[)"
)


def complaints(code: int, out: str, err: str) -> Iterator[str]:
    """What is wrong with an answer."""
    if not 0 <= code <= 5:
        yield f"exit code {code}"
    if code and not (out.strip() or err.strip()):
        yield "says nothing"
    if found := _PYTHON.search(err) or _PYTHON.search(out):
        yield f"Python: {found[0]}"
    for line in err.splitlines():
        told = re.sub(r"\S*/\S*|\"[^\"]*\"|'[^']*'", " ", line)
        parts = [part.strip().lower() for part in re.split(r"[.;:?!]\s+|, ", told)]
        long = [part for part in parts if len(part) > 12]
        if twice := sorted({part for part in long if long.count(part) > 1}):
            yield f"twice: {twice[0]}"
    if code and len([line for line in err.splitlines() if re.match(r"alpha-db: (error|usage)", line)]) > 1:
        yield "more than one line of error"
