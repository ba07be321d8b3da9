"""Write the man page, made of the help of every command: python bin/lib/man_page.py > docs/man/alpha-db.1"""

from __future__ import annotations

import configparser
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[2]
PLAIN = str.maketrans({"…": "...", "→": "->", "—": "-", "≤": "<=", "\u2019": "'"})


def page() -> str:
    """Return the page."""
    from alpha_db.cli.main import cli

    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    context = click.Context(cli, info_name="alpha-db", help_option_names=["-h", "--help"])
    lines = [
        '.\\" Made by bin/lib/man_page.py of the help of the commands; do not edit.',
        f'.TH ALPHA\\-DB 1 "" "alpha\\-db {parser["metadata"]["version"]}" "alpha\\-db"',
        ".SH NAME",
        f"alpha\\-db \\- {roff(parser['metadata']['description'])}",
        ".SH SYNOPSIS",
        ".B alpha\\-db",
        "[\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIARGUMENT\\fR]...",
        ".SH DESCRIPTION",
        *text(cli.help or ""),
        ".SH OPTIONS",
        *options(cli, context),
        ".SH COMMANDS",
    ]
    for command, inner in commands(cli, context):
        lines += section(command, inner)
    lines += [".SH EXIT STATUS AND ENVIRONMENT", *text(cli.epilog or "")]
    return "\n".join(lines) + "\n"


def commands(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Every command, groups before what is in them, in the order of the help."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        inner = click.Context(command, parent=context, info_name=name)
        yield command, inner
        if isinstance(command, click.Group):
            yield from commands(command, inner)


def section(command: click.Command, context: click.Context) -> list[str]:
    """The lines of one command."""
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = [f".SS {roff(context.command_path)}", f".B {roff(usage)}", ".PP", *text(command.help or "")]
    return lines if isinstance(command, click.Group) else [*lines, *options(command, context)]


def options(command: click.Command, context: click.Context) -> list[str]:
    """A paragraph for each option, but those of the connection, which stand above."""
    lines = []
    for option in command.get_params(context):
        is_above = context.parent is not None and option.opts[-1] in ABOVE
        if isinstance(option, click.Option) and not is_above:
            lines += [".TP", f".B {roff(named(option))}", roff(described(option))]
    return lines


#: Options of the program itself, which most commands take behind their names as well.
ABOVE = ("--dsn", "--schema", "--lock-timeout", "--debug", "--help")


def named(option: click.Option) -> str:
    """An option's names and what it takes. Not by click, whose words change from one release to the next."""
    if "--help" in option.opts:
        return "-h, --help"  # click keeps the names of whichever context asked first
    names = ", ".join(option.opts)
    if option.is_flag or option.count:
        return names
    choices = getattr(option.type, "choices", ())
    return f"{names} {option.metavar or '|'.join(choices) or option.type.name.upper()}"


def described(option: click.Option) -> str:
    """What an option does, and what holds without it."""
    told = option.help or ""
    if option.required:
        return f"{told} [required]"
    if option.show_default and not option.is_flag:
        words = option.show_default if isinstance(option.show_default, str) else option.default
        return f"{told} [default: {words}]"
    return f"{told} [repeatable]" if option.multiple else told


def text(told: str) -> list[str]:
    r"""A help text: paragraphs, and those that begin with \b as they are."""
    lines = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(told)):
        if paragraph.lstrip().startswith("\b"):
            kept = paragraph.replace("\b", "").strip("\n").splitlines()
            lines += [".PP", roff(kept[0]), ".PP", ".nf", *map(roff, kept[1:]), ".fi"]
        else:
            lines += [".PP", roff(" ".join(paragraph.split()))]
    return lines


def roff(line: str) -> str:
    """A line as roff takes it."""
    line = line.translate(PLAIN).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{line}" if line.startswith((".", "'")) else line


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "python"))
    sys.stdout.write(page())
