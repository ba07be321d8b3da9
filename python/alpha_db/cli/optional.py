"""Commands and options of packages that need not be there: found by name, imported when they are used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, cast

import click

from alpha_db.errors import ExtraMissing

#: The packages beside the core. Those that need libraries of their own are extras of the same name.
EXTRAS = ("risk", "evidence", "embedded", "demo", "retention", "report", "watch")
PACKAGES = (*EXTRAS, "verify", "doctor", "tables", "security", "service", "aio", "shell", "pages")


def load(where: str) -> Any:
    """Import and return what "module:name" names. Raises ExtraMissing if its package lacks what it needs."""
    module, _, name = where.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as problem:
        package = module.split(".")[1]
        if package not in PACKAGES:
            raise
        name = f"alpha-db[{package}]" if package in EXTRAS else "alpha-db"
        message = f"this needs {problem.name}, which is not installed"
        raise ExtraMissing(message, hint=f"install it: pip install '{name}'") from None


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def __init__(self, *args: Any, lazy: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names: those of the group itself, then those of the table, in its order."""
        return [*super().list_commands(ctx), *self.lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or one that says what it lacks; None for a name that is none."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        try:
            return cast("click.Command", load(self.lazy[cmd_name]))
        except ExtraMissing as problem:
            return _missing(cmd_name, problem)


def _missing(name: str, problem: ExtraMissing) -> click.Command:
    """Return the command that stands in for one that cannot be imported: whatever it is given, it raises."""

    def refuse(**_given: object) -> None:
        raise problem

    return click.Command(
        name,
        callback=refuse,
        params=[click.Argument(["given"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
        add_help_option=False,
        short_help=f"Not installed; {problem.hint}",
    )
