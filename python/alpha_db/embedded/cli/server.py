"""alpha-db server: an embedded PostgreSQL, to keep or to throw away."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from alpha_db.cli.common import NamedOption, debug_option, finish, json_option
from alpha_db.cli.options import Integer
from alpha_db.cli.output import DIM, GOOD, WARN, clean, emit_json, leave_stdout, line, note
from alpha_db.embedded import Binaries, EmbeddedError, Server, Tcp, default_data_dir, throwaway_server
from alpha_db.embedded.cli.command_runner import NOT_FOUND, run_command, without_postgres
from alpha_db.embedded.cli.options import pg_option
from alpha_db.embedded.cli.rest import WithRest, rest_of
from alpha_db.embedded.database import ensure_database
from alpha_db.embedded.tcp import LOOPBACK, password_file
from alpha_db.errors import EXIT_NOT_RUN
from alpha_db.migrate import migrate

_DATABASE = "alpha"

_directory = click.argument(
    "directory",
    metavar="[DIR]",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_data_dir,
)


def _database_option(function: Callable[..., Any]) -> Callable[..., Any]:
    told = "Name of the database."
    return click.option("--database", metavar="NAME", default=_DATABASE, show_default=True, help=told)(
        function
    )


def _tcp_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --tcp and --listen; the function gets ``tcp``."""

    @click.option(
        "--tcp",
        "port",
        metavar="PORT",
        cls=NamedOption,
        type=Integer(0, 65535),
        help="Listen on TCP as well, and ask for a password there; 0: on any port that is free.",
    )
    @click.option(
        "--listen",
        metavar="ADDRESS",
        default=LOOPBACK,
        show_default=True,
        help="IP address for --tcp. Whatever is not of this machine is reachable from others, unencrypted.",
    )
    @functools.wraps(function)
    def wrapper(port: int | None, listen: str, **kwargs: Any) -> Any:
        if port is None and listen != LOOPBACK:
            raise click.UsageError("--listen needs --tcp")
        tcp = None if port is None else Tcp(listen, port)
        if tcp and not tcp.is_address:
            raise click.BadParameter(f"{clean(listen)[:80]} is not an IP address", param_hint="--listen")
        return function(tcp=tcp, **kwargs)

    return wrapper


class UnknownProgram(EmbeddedError):  # noqa: N818
    """PostgreSQL has no program of that name here."""

    exit_code = NOT_FOUND


@click.group(short_help="Run PostgreSQL, to keep or to throw away.")
def server() -> None:
    """An embedded PostgreSQL: one that keeps its data (start), or one to throw away (run).

    It listens on a socket in a private directory, on no network address unless --tcp is given, and needs no
    installation of PostgreSQL if alpha-db was installed with the extra "embedded". Its programs, such as psql
    and pg_dump, are run by "exec", and are the first on the PATH of what "run" runs.

    Without DIR the data are kept in ~/.local/share/alpha-db/server, or for root in /var/lib/alpha-db/server. To
    begin again with nothing, stop the server and delete that directory.
    """


@server.command(short_help="Start a server that keeps its data.")
@_directory
@pg_option
@_database_option
@click.option(
    "--migrate", "do_migrate", is_flag=True, cls=NamedOption, help="Install alpha-db in the database."
)
@_tcp_options
@json_option
@debug_option
def start(
    directory: Path, pg: str | None, database: str, do_migrate: bool, as_json: bool, tcp: Tcp | None
) -> None:
    """Start a server that keeps its data in DIR, made if it is not there; tell how to connect.

    With --tcp it listens on a port of 127.0.0.1 as well, for programs that cannot use its socket, until it is
    started again without. The password is made at each such start, and stands in a file that only its owner
    may read.

    \b
    Examples:
      alpha-db server start ~/alpha --migrate
      alpha-db server start ~/alpha --pg 16 --database trading
      alpha-db server start ~/alpha --tcp 5433
      export ALPHA_DB_DSN="$(alpha-db server url ~/alpha)"
    """
    running = Server(directory, pg, tcp=tcp).start()
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
    if by_tcp := running.tcp_url(database):
        line(("  by TCP    ", DIM), by_tcp)
        line(("  password  ", DIM), f"the last word of {password_file(running.data_dir)}")
    line(("  psql      ", DIM), f"alpha-db server psql {shlex.quote(str(directory))}{_named(database)}")
    line(("  stop      ", DIM), f"alpha-db server stop {shlex.quote(str(directory))}")


@server.command()
@_directory
@json_option
@debug_option
def stop(directory: Path, as_json: bool) -> None:
    """Stop the server of DIR; its data stay. Exits 0 even if it did not run.

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
        if by_tcp := found.tcp_url(database):
            line(("  tcp  ", DIM), by_tcp)
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


@server.command(cls=WithRest, short_help="Open psql on a server.")
@_directory
@_database_option
@json_option
@debug_option
@click.pass_context
def psql(ctx: click.Context, directory: Path, database: str, as_json: bool) -> None:
    """Open psql on the server of DIR; psql's own options stand behind --.

    In it ALPHA_DB_DSN names this server, so that \\! alpha-db verify-chain finds it. With --json psql is not run:
    the answer is its command line.

    \b
    Examples:
      alpha-db server psql ~/alpha
      alpha-db server psql --database trading ~/alpha -- \\
        -c 'select * from lockdown_status()'
    """
    found = _running(directory)
    command = found.psql(database, *rest_of(ctx))
    if as_json:
        emit_json({"command": command})
        return
    environment = {**without_postgres(os.environ), "ALPHA_DB_DSN": found.url(database)}
    os.execve(command[0], command, _with_programs(environment, found.binaries))


@server.command("exec", cls=WithRest, short_help="Run one of PostgreSQL's programs.")
@_directory
@_database_option
@json_option
@debug_option
@click.pass_context
def exec_(ctx: click.Context, directory: Path, database: str, as_json: bool) -> None:
    """Run one of PostgreSQL's own programs on the server of DIR: pg_dump, pg_restore, pgbench, vacuumdb …

    The program stands behind --, with its arguments. It finds the server by PGHOST, PGPORT, PGUSER and
    PGDATABASE, and its files by PGDATA, and its exit code is ours. 127: there is no such program. With --json
    it is not run: the answer is its command line and its environment.

    \b
    Examples:
      alpha-db server exec ~/alpha -- pg_dump -Fc -f alpha.dump
      alpha-db server exec ~/alpha -- pg_basebackup -D /backup/alpha
      alpha-db server exec --database postgres ~/alpha -- psql -l
    """
    rest = rest_of(ctx)
    if not rest:
        raise click.UsageError("name a program behind --, such as: alpha-db server exec DIR -- pg_dump")
    _require(directory)
    found = Server(directory)
    binaries = found.binaries
    if rest[0] not in binaries.names:
        raise UnknownProgram(
            f"PostgreSQL {binaries.version} has no program {clean(rest[0])[:80]} here",
            hint=f"name one of {', '.join(binaries.names)}",
        )
    command = [str(binaries.program(rest[0])), *rest[1:]]
    given = {**found.environment(database), "PGDATA": str(found.data_dir)}
    if as_json:
        emit_json({"command": command, "environment": given})
        return
    if not found.status().running:
        note(
            (f"the server in {clean(directory)} does not run", WARN),
            f": alpha-db server start {clean(directory)}",
        )
    os.execve(command[0], command, _with_programs({**without_postgres(os.environ), **given}, binaries))


@server.command(
    context_settings={"allow_interspersed_args": False},
    short_help="Run a command with a throw-away server.",
)
@pg_option
@_tcp_options
@json_option
@debug_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(pg: str | None, tcp: Tcp | None, as_json: bool, command: tuple[str, ...]) -> None:
    """Run COMMAND with a throw-away server in which alpha-db is installed; exit as the command does.

    The command finds it by ALPHA_DB_DSN and by PGHOST, PGPORT, PGUSER and PGDATABASE, and with --tcp by
    PGPASSWORD too; the server's own programs, such as psql and pg_dump, are the first on its PATH. Nothing of
    the server is left afterwards, however the command ends. 127: no such command, 126: not a program, 3: no server.
    With --json the answer stands on stderr, because stdout is the command's, and says what it was given.

    \b
    Examples:
      alpha-db server run -- pytest -q
      alpha-db server run --pg 16 -- psql -c 'select * from chain_status()'
      alpha-db server run -- sh -c 'my-service --dsn "$ALPHA_DB_DSN" selftest'
    """
    leave_stdout()  # it is the command's
    with throwaway_server(pg, tcp=tcp) as throwaway:
        ensure_database(throwaway.url(), _DATABASE)
        migrate(throwaway.url(_DATABASE))
        given = throwaway.tcp_environment(_DATABASE)
        given["ALPHA_DB_DSN"] = throwaway.tcp_url(_DATABASE) or throwaway.url(_DATABASE)
        environment = {**without_postgres(os.environ), **given}
        code = run_command(command, _with_programs(environment, throwaway.binaries))
        if as_json:
            emit_json({"environment": given})
    finish(code)


def _facts(found: Server, database: str) -> dict[str, Any]:
    facts = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(found.status()).items()
    }
    reachable = facts["socket_dir"] is not None
    by_tcp = found.tcp_url(database) if facts["running"] else None
    return {
        **facts,
        "url": found.url(database) if reachable else None,
        "tcp_url": by_tcp,
        "password_file": str(password_file(found.data_dir)) if by_tcp else None,
    }


def _with_programs(environment: Mapping[str, str], binaries: Binaries) -> dict[str, str]:
    """The environment with the server's programs first on its PATH: those of another version may fail on it."""
    path = environment.get("PATH", os.defpath)
    return {**environment, "PATH": f"{binaries.directory}{os.pathsep}{path}"}


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
