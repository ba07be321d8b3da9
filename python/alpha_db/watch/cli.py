"""alpha-db watch."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import threading
from functools import partial
from pathlib import Path

import click
from prometheus_client import CollectorRegistry, MetricsHandler

from alpha_db.cli.common import Settings, database_options, finish
from alpha_db.cli.options import FILE, Number
from alpha_db.cli.output import DIM, GOOD, clean, emit_json, line, note, put
from alpha_db.connection import parameters
from alpha_db.errors import EXIT_NOT_RUN, EXIT_OK, AlphaDbError, NotThere, PermissionDenied
from alpha_db.service.bounded import BoundedServer
from alpha_db.verify.cli.all_schemas import all_schemas_option, require_names_of_all
from alpha_db.watch.database import Database, SharedDatabase
from alpha_db.watch.desks import Desks
from alpha_db.watch.exporter import Exporter
from alpha_db.watch.notifier import Command
from alpha_db.watch.refresher import runs_in
from alpha_db.watch.single import Single

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\s/\[\]]+)):([0-9]{1,5})")


@click.command(short_help="Export metrics for Prometheus; run a command on events.")
@click.option("--listen", metavar="ADDRESS", help="Where it listens: HOST:PORT or [IPV6]:PORT; port 0: any.")
@click.option("--once", is_flag=True, help="Print it once and end.")
@click.option(
    "--interval",
    metavar="SECONDS",
    type=Number(min=1, max=86400),
    default=30,
    show_default=True,
    help="How often guards, damage, growth and headroom are looked at.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=Number(min=0.1, max=3600),
    default=5,
    show_default=True,
    help="How long the database may take to answer.",
)
@click.option(
    "--checkpoints", metavar="DIR", type=FILE, help="Directory of checkpoints: tell the age of the newest."
)
@click.option(
    "--notify", metavar="COMMAND", help="Run it for each event, with JSON on stdin, without a shell."
)
@click.option("--remember", metavar="FILE", type=FILE, help="Remembers which events --notify has told.")
@database_options
@all_schemas_option
def watch(
    settings: Settings,
    as_json: bool,
    all_schemas: bool,
    listen: str | None,
    once: bool,
    interval: float,
    timeout: float,
    checkpoints: Path | None,
    notify: str | None,
    remember: Path | None,
) -> None:
    """Export metrics for Prometheus over HTTP until SIGTERM or Ctrl-C; then it exits with 0.

    It verifies nothing: it tells what verify-chain has found, and when. While the database cannot be asked, it says
    alpha_db_up 0, and no figure of before. It goes on and asks again at the next scrape.

    --notify runs a command when the lockdown is engaged or released, damage is found, guards change, or a proposal is
    made or applied. It gets one JSON object on stdin. If it fails it is tried again, six times in all. With --remember
    no event is lost by a restart; without it, it begins with what happens from now on.

    With --all-schemas every figure of a desk has the label schema. The desks are asked in turn, in the background, and
    --interval is the pause between two rounds; new desks appear by themselves.

    --once exits 0, or 3 if not everything could be read.

    To see the limits of an order path, use alpha-db risk watch.

    \b
    Examples:
      alpha-db watch --listen 127.0.0.1:9787
      alpha-db watch --listen '[::1]:9787' --checkpoints /srv/checkpoints
      alpha-db watch --listen 127.0.0.1:9787 --remember /var/lib/watch.json \\
        --notify '/usr/local/bin/page-somebody --team desk'
      alpha-db watch --listen 127.0.0.1:9787 --all-schemas \\
        --checkpoints '/srv/checkpoints/{schema}'
      alpha-db watch --once > /var/lib/node_exporter/alpha-db.prom
    """
    if bool(listen) == once:
        raise click.UsageError("give --listen ADDRESS, or --once")
    if remember is not None and notify is None:
        raise click.UsageError("--remember is for --notify")
    if once and notify is not None:
        raise click.UsageError("--once runs no command: leave --notify out")
    address = _address(listen) if listen else None
    command = _command(notify) if notify is not None else None
    parameters(settings.dsn, schema=settings.schema)  # what cannot be read is told now
    if all_schemas:
        require_names_of_all(settings, {"checkpoints": checkpoints, "remember": remember})
    elif checkpoints is not None:
        runs_in(checkpoints)  # a directory that is none is told now
    shown = (
        Desks(partial(SharedDatabase, settings.dsn, timeout), interval, checkpoints, command, remember, _tell)
        if all_schemas
        else Single(
            partial(Database, settings.dsn, settings.schema, timeout),
            interval,
            checkpoints,
            command,
            remember,
            _tell,
        )
    )
    if address is None:
        _print_once(shown, as_json)
    else:
        _serve(shown, address, as_json)


def _print_once(shown: Single | Desks, as_json: bool) -> None:
    """Print everything once."""
    shown.refresh()
    figures = shown.figures()
    shown.close()
    if as_json:
        emit_json(figures)
    else:
        text = Exporter.text(figures)
        put(lambda stream: stream.write(text))
    if isinstance(shown, Desks) and isinstance(shown.problem, NotThere | PermissionDenied):
        raise shown.problem
    missing = ("alpha_db_up", "alpha_db_refresh_up", "alpha_db_part_up")
    is_whole = all(row["value"] for row in figures if row["name"] in missing)
    finish(EXIT_OK if is_whole else EXIT_NOT_RUN)


def _serve(shown: Single | Desks, address: tuple[str, int], as_json: bool) -> None:
    """Answer scrapes until a signal ends it."""
    registry = CollectorRegistry()
    registry.register(shown)
    ended = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        try:
            server = BoundedServer(address, MetricsHandler.factory(registry), _tell)
        except OSError as problem:
            host, port = address
            raise AlphaDbError(f"cannot listen on {host}, port {port}: {problem.strerror}") from None
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.25}, daemon=True)
        thread.start()
        say = note if as_json else line
        say(("alpha-db watch", GOOD), f" listens on {server.url}/metrics")
        shown.start()
        ended.wait()
        server.shutdown()
        server.server_close()
        thread.join()
        shown.stop()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if as_json:
        emit_json({"url": server.url})


def _tell(text: str) -> None:
    note(("watch  ", DIM), clean(text))


def _command(text: str) -> Command:
    try:
        words = shlex.split(text)
    except ValueError as problem:
        raise click.BadParameter(f"it is no command: {problem}", param_hint="--notify") from None
    if not words or "\0" in text:
        raise click.BadParameter("it is no command", param_hint="--notify")
    if shutil.which(words[0]) is None:
        raise click.BadParameter(f"there is no program {words[0]}", param_hint="--notify")
    return Command(words)


def _address(listen: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(listen)
    if not found or int(found[3]) > 65535:
        raise click.BadParameter("HOST:PORT, or [IPV6]:PORT", param_hint="--listen")
    return found[1] or found[2], int(found[3])
