"""alpha-db server: an embedded PostgreSQL, to keep or to throw away."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from alpha_db.cli.command_runner import run_command, without_postgres
from alpha_db.cli.common import NamedOption, debug_option, finish, json_option
from alpha_db.cli.output import DIM, GOOD, WARN, clean, emit_json, leave_stdout, line
from alpha_db.connection import ensure_database
from alpha_db.embedded import EmbeddedError, Server, throwaway_server
from alpha_db.errors import EXIT_NOT_RUN
from alpha_db.migrate import migrate

_DATABASE = "alpha"

_directory = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
_rest = {"ignore_unknown_options": True, "allow_interspersed_args": False}


def _pg_option(function: Callable[..., Any]) -> Callable[..., Any]:
    told = "PostgreSQL to use: a major version, or a directory of binaries; default: the newest found."
    return click.option("--pg", metavar="VERSION|DIR", help=told)(function)


def _database_option(function: Callable[..., Any]) -> Callable[..., Any]:
    told = "Name of the database."
    return click.option("--database", metavar="NAME", default=_DATABASE, show_default=True, help=told)(
        function
    )


@click.group(short_help="Run PostgreSQL, to keep or to throw away.")
def server() -> None:
    """An embedded PostgreSQL: one that keeps its data (start), or one to throw away (run).

    It listens on a socket in a private directory, on no network address, and needs no installation of
    PostgreSQL if alpha-db was installed with the extra "embedded".
    """


@server.command()
@_directory
@_pg_option
@_database_option
@click.option(
    "--migrate", "do_migrate", is_flag=True, cls=NamedOption, help="Install alpha-db in the database."
)
@json_option
@debug_option
def start(directory: Path, pg: str | None, database: str, do_migrate: bool, as_json: bool) -> None:
    """Start a server that keeps its data in DIR, made if it is not there; tell how to connect.

    \b
    Examples:
      alpha-db server start ~/alpha --migrate
      alpha-db server start ~/alpha --pg 16 --database trading
      export ALPHA_DB_DSN="$(alpha-db server url ~/alpha)"
    """
    running = Server(directory, pg).start()
    ensure_database(running.url(), database)
    applied = migrate(running.url(database)) if do_migrate else []
    if as_json:
        emit_json({**_facts(running, database), "applied": [event.name for event in applied]})
        return
    status = running.status()
    line(
        ("running", GOOD),
        f"  PostgreSQL {clean(status.version)}, process {status.pid}, data in {status.data_dir}",
    )
    if applied:
        line(("  migrated  ", DIM), ", ".join(event.name for event in applied))
    line(("  connect   ", DIM), f"export ALPHA_DB_DSN={shlex.quote(running.url(database))}")
    line(("  psql      ", DIM), f"alpha-db server psql {shlex.quote(str(directory))}{_named(database)}")
    line(("  stop      ", DIM), f"alpha-db server stop {shlex.quote(str(directory))}")


@server.command()
@_directory
@json_option
@debug_option
def stop(directory: Path, as_json: bool) -> None:
    """Stop the server of DIR; its data stay. Exits 0 also if it did not run.

    \b
    Examples:
      alpha-db server stop ~/alpha
    """
    _require(directory)
    did_run = Server(directory).stop()
    if as_json:
        emit_json({"data_dir": str(directory), "stopped": did_run})
    else:
        line(("stopped", GOOD) if did_run else ("was not running", DIM))


@server.command()
@_directory
@_database_option
@json_option
@debug_option
def status(directory: Path, database: str, as_json: bool) -> None:
    """Tell whether the server of DIR runs: exit 0 if it does, 3 if not.

    \b
    Examples:
      alpha-db server status ~/alpha
      alpha-db server status ~/alpha --json
    """
    _require(directory)
    found = Server(directory)
    facts = found.status()
    if as_json:
        emit_json(_facts(found, database))
    elif facts.running:
        told = f"  PostgreSQL {clean(facts.version)}, process {facts.pid}, user {clean(facts.user)}"
        line(("running", GOOD), told)
        line(("  url  ", DIM), found.url(database))
        line(("  log  ", DIM), str(facts.log_file))
    else:
        line(("not running", WARN), f"  PostgreSQL {clean(facts.version)}, log {facts.log_file}")
    finish(0 if facts.running else EXIT_NOT_RUN)


@server.command()
@_directory
@_database_option
@json_option
@debug_option
def url(directory: Path, database: str, as_json: bool) -> None:
    """Print the connection URL of the server of DIR.

    \b
    Examples:
      export ALPHA_DB_DSN="$(alpha-db server url ~/alpha)"
    """
    found = _running(directory)
    if as_json:
        emit_json({"url": found.url(database), "environment": found.environment(database)})
    else:
        line(found.url(database))


@server.command(context_settings=_rest)
@_directory
@_database_option
@json_option
@debug_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(directory: Path, database: str, as_json: bool, arguments: tuple[str, ...]) -> None:
    """Open psql on the server of DIR; options of this command stand before DIR, psql's after it.

    With --json psql is not run: the answer is its command line.

    \b
    Examples:
      alpha-db server psql ~/alpha
      alpha-db server psql --database trading ~/alpha -- -c 'select * from lockdown_status()'
    """
    command = _running(directory).psql(database, *(arguments[1:] if arguments[:1] == ("--",) else arguments))
    if as_json:
        emit_json(command)
        return
    os.execve(command[0], command, without_postgres(os.environ))


@server.command(context_settings=_rest)
@_pg_option
@json_option
@debug_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(pg: str | None, as_json: bool, command: tuple[str, ...]) -> None:
    """Run COMMAND with a throw-away server in which alpha-db is installed; exit as the command does.

    The command finds it by ALPHA_DB_DSN and by PGHOST, PGPORT, PGUSER and PGDATABASE. Nothing of the server
    is left afterwards, however the command ends. 127: no such command, 126: not a program, 3: no server.
    With --json the answer stands on stderr, because stdout is the command's, and says what it was given.

    \b
    Examples:
      alpha-db server run -- pytest -q
      alpha-db server run --pg 16 -- psql -c 'select * from chain_status()'
      alpha-db server run -- sh -c 'my-service --dsn "$ALPHA_DB_DSN" selftest'
    """
    leave_stdout()  # it is the command's
    with throwaway_server(pg) as throwaway:
        ensure_database(throwaway.url(), _DATABASE)
        migrate(throwaway.url(_DATABASE))
        given = {**throwaway.environment(_DATABASE), "ALPHA_DB_DSN": throwaway.url(_DATABASE)}
        code = run_command(command, {**without_postgres(os.environ), **given})
        if as_json:
            emit_json({"environment": given})
    finish(code)


def _facts(found: Server, database: str) -> dict[str, Any]:
    facts = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(found.status()).items()
    }
    reachable = facts["socket_dir"] is not None
    return {**facts, "url": found.url(database) if reachable else None}


def _named(database: str) -> str:
    return "" if database == _DATABASE else f" --database {shlex.quote(database)}"


def _require(directory: Path) -> None:
    if not (directory / "PG_VERSION").exists() and not directory.is_dir():
        raise EmbeddedError(f"there is no server in {directory}", hint=f"alpha-db server start {directory}")


def _running(directory: Path) -> Server:
    _require(directory)
    found = Server(directory)
    if not found.status().running:
        raise EmbeddedError(
            f"the server in {directory} does not run", hint=f"alpha-db server start {directory}"
        )
    return found
