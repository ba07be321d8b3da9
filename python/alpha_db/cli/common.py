"""What every command shares: the options, and the connection that they name."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import click
import psycopg

from alpha_db.cli.optional import load
from alpha_db.cli.options import Number
from alpha_db.cli.output import want_json
from alpha_db.connection import connect_for_command
from alpha_db.errors import LockTimeout, NotInstalled, translate
from alpha_db.installation import Place, gone, require_installed
from alpha_db.pooled import PinningConnection, is_pooled
from alpha_db.queries import ask


@dataclass(frozen=True)
class Settings:
    """What the options before or after the command's name say."""

    dsn: str | None = None
    schema: str | None = None
    lock_timeout: float | None = None

    @property
    def seconds(self) -> float:
        """How long to wait for a lock; 0: for ever."""
        return LOCK_TIMEOUT if self.lock_timeout is None else self.lock_timeout

    def connect(self) -> psycopg.Connection[Any]:
        """Open a connection in autocommit: a command is one statement, and what it does is to last.

        It waits for a lock for LOCK_TIMEOUT seconds at most, or for as long as the options say.
        """
        conn = connect_for_command(self.dsn, schema=self.schema)
        try:
            with translate():
                (settings,) = ask(
                    conn,
                    "prepare_command",
                    milliseconds=ceil(self.seconds * 1000),  # 0 is for ever, so less than one is one
                    is_given=self.lock_timeout is not None,
                    is_pooled=is_pooled(conn),
                )
            if isinstance(conn, PinningConnection) and conn.pins is not None:
                for name, value in settings.items():
                    conn.pin(name, value)
        except BaseException:
            conn.close()
            raise
        return conn

    @contextmanager
    def installed(self, *, writes: bool = False) -> Iterator[tuple[psycopg.Connection[Any], Place]]:
        """Give a connection to an installation; raises NotInstalled if there is none.

        If the command `writes`, a standby and a read-only session are refused at once (ReadOnlyServer, 25006).

        A lock that was not to be had in time is named, with those who hold it (LockTimeout); so is a part of the
        installation that was dropped (AUD-009, AUD-011).
        """
        with closing(self.connect()) as conn:
            place = require_installed(conn, self.schema)
            if writes and place.is_read_only:
                raise load("alpha_db.service.read_only:refusal")(place)
            try:
                yield conn, place
            except (psycopg.errors.LockNotAvailable, LockTimeout) as problem:
                raise load("alpha_db.verify.locks:timed_out")(conn, problem) from problem
            except (psycopg.ProgrammingError, NotInstalled) as problem:
                if lost := gone(conn, problem):
                    raise lost from problem
                raise


#: How many seconds a command waits for a lock that others hold.
LOCK_TIMEOUT = 30.0


class NamedOption(click.Option):
    """An option whose environment variable has the option's name, though Python knows it by another."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return what the environment says: ALPHA_DB_STATUS_JSON for --json, which is ``as_json`` here."""
        if named := click.Parameter.resolve_envvar_value(self, ctx):  # ALPHA_DB_TRUST, for all commands
            return named
        name = self.opts[0].lstrip("-").replace("-", "_").upper()
        return os.environ.get(f"{ctx.auto_envvar_prefix}_{name}") or None


dsn_option = click.option(
    "--dsn",
    metavar="URL",
    help="URL or keyword string of the database; default: ALPHA_DB_DSN, then libpq's environment (PGHOST ...).",
)
schema_option = click.option(
    "--schema",
    metavar="NAME",
    help="The schema alpha-db is installed in; default: ALPHA_DB_SCHEMA, then the first on search_path.",
)
lock_timeout_option = click.option(
    "--lock-timeout",
    metavar="SECONDS",
    type=Number(min=0, max=1_000_000),
    help=f"How long to wait for a lock that others hold; default: {LOCK_TIMEOUT:g}, or less if the login has"
    " less; 0: for ever.",
)
#: Only main() looks at it.
debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, help="Show tracebacks and yoyo's log."
)


def _read_json(_ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    want_json(value)
    return value


#: The function gets it as ``as_json``.
json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,  # so that an error in another option is answered in JSON, too
    cls=NamedOption,
    callback=_read_json,
    help="Answer with one JSON object: ok, exit_code, result, error.",
)


def database_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --dsn, --schema, --lock-timeout and --json; the function gets ``settings`` and ``as_json``.

    All but --json stand before or after the command's name; after it they count.
    """

    @dsn_option
    @schema_option
    @lock_timeout_option
    @json_option
    @debug_option
    @functools.wraps(function)
    def wrapper(dsn: str | None, schema: str | None, lock_timeout: float | None, **kwargs: Any) -> Any:
        given = click.get_current_context().find_object(Settings) or Settings()
        settings = replace(given, dsn=dsn or given.dsn, schema=schema or given.schema)
        if lock_timeout is not None:
            settings = replace(settings, lock_timeout=lock_timeout)
        return function(settings=settings, **kwargs)

    return wrapper


def finish(exit_code: int) -> None:
    """End the command with this exit code."""
    if exit_code:
        raise click.exceptions.Exit(exit_code)
