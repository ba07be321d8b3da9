"""bin/bench: choose the parts, start the server, measure, report."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click
import psycopg

import alpha_db
from alpha_db.demo.host import undisturbed
from alpha_db.errors import AlphaDbError, squeeze
from bench import (
    append,
    books,
    bulk,
    cost,
    desks,
    ed25519,
    growth,
    handover,
    history,
    hydrator,
    latency,
    proofs,
    receiver,
    verify,
)
from bench.host import Host, durable_server, machine
from bench.measure import Figure
from bench.report import document, show
from bench.servers import choose, sha256_of

COULD_NOT_RUN = 3


class Part(NamedTuple):
    """A part of the benchmark: what it measures, and the function that does."""

    title: str
    run: Callable[[Host], list[Figure]]


#: In the order in which they run.
PARTS = {
    module.NAME: Part(module.TITLE, module.run)
    for module in (
        cost,
        append,
        handover,
        desks,
        latency,
        bulk,
        history,
        proofs,
        verify,
        growth,
        books,
        ed25519,
        hydrator,
        receiver,
    )
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--quick", is_flag=True, help="A fraction of the samples: whether it works, no figures to quote."
)
@click.option(
    "--pg",
    metavar="18|17|16|15|DIR",
    help="PostgreSQL's version, or the directory of its programs; default: the newest with OpenSSL.",
)
@click.option(
    "-o",
    "--output",
    "json_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Write the figures to FILE, too.",
)
@click.option(
    "--largest",
    metavar="ROWS",
    type=click.IntRange(min=0),
    default=1_000_000,
    show_default=True,
    help="The largest table of the parts growth and books; 10000000 takes some minutes more.",
)
@click.option(
    "--bulk-rows",
    metavar="ROWS",
    type=click.IntRange(min=10_000),
    default=40_000,
    show_default=True,
    help="The rows of the part bulk; 1000000 takes half an hour more.",
)
@click.option("--list", "only_list", is_flag=True, help="List the parts, and measure nothing.")
@click.argument("parts", metavar="[PART]...", nargs=-1, type=click.Choice(list(PARTS)))
def main(
    parts: tuple[str, ...],
    quick: bool,
    pg: str | None,
    json_file: Path | None,
    largest: int,
    bulk_rows: int,
    only_list: bool,
) -> None:
    """Measure all parts, or the given ones, on a PostgreSQL server that is made for it and removed.

    The figures go to stdout, progress to stderr. Exits 0 if everything was measured, whatever came out; 2 for
    wrong usage; 3 if it, or a part, could not run. A missed target is a figure, not a failure.
    """
    if only_list:
        for name, part in PARTS.items():
            click.echo(f"{name:10} {part.title}")
        return
    if json_file and not json_file.parent.is_dir():
        raise click.BadParameter(f"there is no directory {json_file.parent}", param_hint="--output")
    try:
        found = measure(
            [name for name in PARTS if not parts or name in parts],
            quick=quick,
            pg=pg,
            largest=largest,
            bulk_rows=bulk_rows,
        )
        show(found)
        if json_file:
            json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    except (AlphaDbError, psycopg.Error, OSError) as problem:
        _say(f"error: {_told(problem)}")
        sys.exit(COULD_NOT_RUN)
    if found["problems"]:
        sys.exit(COULD_NOT_RUN)


def measure(
    names: list[str],
    *,
    quick: bool = False,
    pg: str | None = None,
    largest: int = 1_000_000,
    bulk_rows: int = 40_000,
) -> dict[str, object]:
    """Run parts and return the document; a part that fails is among its problems, and the others go on.

    Raises AlphaDbError, psycopg.Error, OSError if there is no server.
    """
    started, began = datetime.now(UTC), time.monotonic()
    facts = machine()
    figures: list[Figure] = []
    problems: list[str] = []
    with undisturbed():
        binaries = choose(pg)
        _say(f"starting PostgreSQL {binaries.version}")
        with durable_server(binaries) as server:
            host = Host(server, quick, largest, bulk_rows)
            settings = host.settings()
            seconds: dict[str, float] = {}
            for name in names:
                _say(f"{name}: {PARTS[name].title}")
                part_began = time.monotonic()
                try:
                    figures += PARTS[name].run(host)
                except (AlphaDbError, psycopg.Error, OSError) as problem:
                    problems.append(f"{name}: {_told(problem)}")
                    _say(f"error: {problems[-1]}")
                seconds[name] = round(time.monotonic() - part_began, 1)
    return document(
        figures,
        {
            "alpha_db": alpha_db.__version__,
            "server_version": binaries.version,
            "started_at": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - began, 1),
            "quick": quick,
            "machine": facts,
            "settings": settings,
            "sha256": sha256_of(settings["ssl_library"]),
            "parts": seconds,
            "problems": problems,
        },
    )


def _say(text: str) -> None:
    click.echo(f"bench: {text}", err=True)


def _told(problem: Exception) -> str:
    if isinstance(problem, AlphaDbError):
        return problem.message + (f" (hint: {problem.hint})" if problem.hint else "")
    return squeeze(str(problem))
