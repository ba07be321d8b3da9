"""Every command of the tree: one name for one thing, an example, and --json."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

import click
import pytest

from alpha_db.cli.main import cli

pytestmark = pytest.mark.any_server

#: Options whose help says what they are in this command: one meaning, other words.
OTHER_WORDS = {
    "--all": "what else is listed",
    "--format": "of findings, or of a private key",
    "--public": "which keys need it",
    "--reason": "where it stands",
    "--name": "of a key that signs checkpoints, of a witness, or of an agent",
    "--listen": "which server listens there",
    "--from": "where limits are read from, or when a period begins",
    "--output": "what is written",
    "--timeout": "what is waited for",
    "--checkpoints": "what is compared",
    "--agent": "who signs, or who is to sign",
    "--interval": "what is looked at",
    "--trust": "keys of checkpoints, or of agents",
    "--jobs": "connections to a database, or processes that read files",
}
#: Commands whose stdout is the answer itself: a script, a page.
WITHOUT_JSON = {"alpha-db completion"}


GROUPS: dict[str, click.Command] = {}


def commands(
    command: click.Command = cli, path: tuple[str, ...] = ("alpha-db",)
) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with its full name."""
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    GROUPS[" ".join(path)] = command
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found
        yield from commands(found, (*path, name))


COMMANDS = dict(commands())


def described(option: click.Option) -> dict[str, object]:
    """What an option is, apart from how often it is given and what happens if it is not."""
    found = {"names": sorted(option.opts), "flag": option.is_flag}
    if option.opts[-1] in OTHER_WORDS:
        return found
    kind = type(option.type).__name__
    return {**found, "type": kind, "metavar": option.metavar, "help": option.help}


def test_the_tree_is_there() -> None:
    assert {"alpha-db status", "alpha-db risk approve", "alpha-db server run"} <= set(COMMANDS)


def test_one_option_is_one_thing_everywhere() -> None:
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, command in [("alpha-db", cli), *COMMANDS.items()]:
        for option in command.params:
            if isinstance(option, click.Option):
                found[option.opts[-1]][str(described(option))].append(name)
    different = {option: dict(ways) for option, ways in found.items() if len(ways) > 1}
    assert different == {}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name: str) -> None:
    text = COMMANDS[name].help or ""
    assert re.search(r"\x08\n +Examples?:\n", text), "wrapped, it could not be copied"
    assert name.removeprefix("alpha-db ") in text.split("Example", 1)[1]


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - WITHOUT_JSON))
def test_every_result_can_be_had_as_json(name: str) -> None:
    assert "--json" in {option for param in COMMANDS[name].params for option in param.opts}


@pytest.mark.parametrize("name", [*COMMANDS, *GROUPS])
def test_help_fits_80_columns(name: str) -> None:
    command = (COMMANDS | GROUPS)[name]
    context = click.Context(command, info_name=name, terminal_width=80)
    wide = [line for line in command.get_help(context).splitlines() if len(line) > 80]
    assert wide == []


@pytest.mark.parametrize("name", GROUPS)
def test_a_list_of_commands_says_each_in_full(name: str) -> None:
    text = GROUPS[name].get_help(click.Context(GROUPS[name], info_name=name, terminal_width=80))
    assert [
        line for line in text.split("Commands:")[1].split("Exit codes")[0].splitlines() if "..." in line
    ] == []
