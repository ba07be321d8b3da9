"""What every command shares: the options, and the connection that they name."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import click
import psycopg

from alpha_db.connection import connect_for_command
from alpha_db.installation import Place, require_installed


@dataclass(frozen=True)
class Settings:
    """What the options before or after the command's name say."""

    dsn: str | None = None
    schema: str | None = None

    def connect(self) -> psycopg.Connection[Any]:
        """Open a connection in autocommit: a command is one statement, and what it does is to last."""
        return connect_for_command(self.dsn, schema=self.schema)

    @contextmanager
    def installed(self) -> Iterator[tuple[psycopg.Connection[Any], Place]]:
        """Give a connection to an installation; raises NotInstalled if there is none."""
        with closing(self.connect()) as conn:
            yield conn, require_installed(conn, self.schema)


class NamedOption(click.Option):
    """An option whose environment variable has the option's name, though Python knows it by another."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return what the environment says: ALPHA_DB_STATUS_JSON for --json, which is ``as_json`` here."""
        name = self.opts[0].lstrip("-").replace("-", "_").upper()
        return os.environ.get(f"{ctx.auto_envvar_prefix}_{name}") or None


_DSN = "URL or keyword string of the database; default: ALPHA_DB_DSN, then libpq's environment (PGHOST ...)."
_SCHEMA = "The schema alpha-db is installed in; default: ALPHA_DB_SCHEMA, then the first on search_path."


def dsn_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --dsn."""
    return click.option("--dsn", metavar="URL", help=_DSN)(function)


def schema_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --schema."""
    return click.option("--schema", metavar="NAME", help=_SCHEMA)(function)


def debug_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --debug, which only main() looks at."""
    option = click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks and yoyo's log.")
    return option(function)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --json, which the function gets as ``as_json``."""
    told = "Print one JSON document."
    return click.option("--json", "as_json", is_flag=True, cls=NamedOption, help=told)(function)


def database_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --dsn, --schema and --json; the function gets ``settings`` and ``as_json``.

    --dsn and --schema stand before or after the command's name; after it they count.
    """

    @dsn_option
    @schema_option
    @json_option
    @debug_option
    @functools.wraps(function)
    def wrapper(dsn: str | None, schema: str | None, **kwargs: Any) -> Any:
        given = click.get_current_context().find_object(Settings) or Settings()
        settings = Settings(dsn or given.dsn, schema or given.schema)
        return function(settings=settings, **kwargs)

    return wrapper


def finish(exit_code: int) -> None:
    """End the command with this exit code."""
    if exit_code:
        raise click.exceptions.Exit(exit_code)
