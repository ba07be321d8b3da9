"""alpha-db demo."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import click

from alpha_db.cli.common import finish, json_option
from alpha_db.cli.options import Integer
from alpha_db.cli.output import emit_json
from alpha_db.demo import render
from alpha_db.demo.document import document
from alpha_db.demo.host import host, how_to_connect, undisturbed
from alpha_db.demo.story import Step, Story
from alpha_db.embedded import find_binaries
from alpha_db.embedded.cli.options import pg_option
from alpha_db.errors import EXIT_DAMAGE
from alpha_db.verify.cli.progress import spinner


@click.command(short_help="Show what alpha-db does, on a server of its own.")
@pg_option
@click.option("--signals", type=Integer(min=1), metavar="N", help="Replay the first N webhooks only.")
@click.option("--stay", is_flag=True, help="Leave the server running, and say how to connect and to stop it.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the server's data goes, a directory that is new or empty. Implies --stay.",
)
@json_option
def demo(as_json: bool, pg: str | None, signals: int | None, stay: bool, directory: Path | None) -> None:
    """Show what alpha-db does, on a server of its own and real candles.

    Starts a throw-away PostgreSQL, applies the migrations, replays a few thousand webhooks and verifies the
    chains; then tampers with copies of the database, and shows how that is refused or found, a log whose end is
    cut off by a checkpoint only; has three agents agree on risk limits, and a superuser break them; keeps the
    history of a table that changes, and lets old rows leave by consensus. Touches no
    database of yours: --dsn and PG* variables are ignored. Leaves nothing behind, unless told to stay.

    Exits 0 only if everything was as promised, 1 if anything was not, 3 if the demo could not run.

    \b
    Examples:
      alpha-db demo
      alpha-db demo --pg 16 --signals 500 --json
      alpha-db demo --stay
      alpha-db demo --directory ~/alpha-demo
    """
    started = time.monotonic()
    stays = stay or directory is not None
    steps: list[Step] = []
    with undisturbed():
        binaries = find_binaries(pg)
        with ExitStack() as stack:
            with spinner("starting PostgreSQL"):
                server = stack.enter_context(host(binaries, directory, stays=stays))
            if not as_json:
                render.title()
                render.server(binaries.version, server.data_dir, time.monotonic() - started)
            for step in Story(server.url, limit=signals, progress=render.progress).steps():
                steps.append(step)
                if not as_json:
                    render.step(len(steps) + 1, step)
            connect = how_to_connect(server) if stays else None
    seconds = time.monotonic() - started
    found = document(steps)
    if as_json:
        emit_json(
            {name: value for name, value in found.items() if name != "ok"}
            | {"server_version": binaries.version, "seconds": round(seconds, 3), "connect": connect}
        )
    else:
        render.conclusion(ok=found["ok"], seconds=seconds, connect=connect)
    finish(0 if found["ok"] else EXIT_DAMAGE)
