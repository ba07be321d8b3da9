"""Part cost: the processor time that the backend takes for a row, on a server that never flushes."""

from __future__ import annotations

import itertools
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import psycopg

from alpha_db.embedded import throwaway_server
from bench.contestants import CALL, OURS, PGHISTORY, PLAIN, SUPA, USUAL, arena
from bench.host import Host
from bench.measure import Figure, Slice, Target, alternate, figures
from bench.statements import ALONE, CALL_MANY, RECORD_MANY, VALUES, arrays, insert

NAME = "cost"
TITLE = "processor time of the backend for a row: alone in its transaction, in one statement, in arrays"

#: Transactions of a slice, rows of the statement, and rows of an array with the calls of a slice.
ALONE_CALLS, STATEMENT_ROWS, ARRAY_ROWS, ARRAY_CALLS = 300, 10_000, 100, 20
#: What a row may cost against the plain table's.
TARGETS = {OURS: Target(1.8, "ratio"), CALL: Target(2.3, "ratio")}
MANY = Target(1.6, "ratio")

_DATABASE = "bench_cost"
_numbers = itertools.count(1)


def run(host: Host) -> list[Figure]:
    """Measure; nothing where the operating system does not tell. Raises psycopg.Error, AlphaDbError."""
    if not is_told(os.getpid()):
        click.echo("bench: cost: left out: this system has no /proc/PID/schedstat", err=True)
        return []
    rounds = 3 if host.quick else 15
    with throwaway_server(host.server.binaries) as server:
        quiet = Host(server, host.quick)
        with arena(quiet, _DATABASE):
            alone = {name: (statement, ALONE_CALLS, 1) for name, statement in ALONE.items()}
            statements = {
                name: (insert(name, STATEMENT_ROWS), 1, STATEMENT_ROWS)
                for name in (PLAIN, USUAL, SUPA, PGHISTORY, OURS)
            }
            many = {
                name: (statement.replace(":k", "%(k)s"), ARRAY_CALLS, ARRAY_ROWS)
                for name, statement in arrays(ARRAY_ROWS).items()
            }
            return [
                *scenario(
                    quiet, (NAME, _DATABASE), "a row alone in its transaction", alone, rounds, PLAIN, TARGETS
                ),
                *scenario(
                    quiet,
                    (NAME, _DATABASE),
                    "10 000 rows in one INSERT",
                    statements,
                    min(rounds, 7),
                    PLAIN,
                    {OURS: MANY},
                ),
                *scenario(
                    quiet,
                    (NAME, _DATABASE),
                    "100 rows a call",
                    many,
                    rounds,
                    VALUES,
                    {RECORD_MANY: MANY, CALL_MANY: MANY},
                ),
            ]


def scenario(
    host: Host,
    place: tuple[str, str],
    title: str,
    contestants: dict[str, tuple[str, int, int]],
    rounds: int,
    baseline: str,
    targets: dict[str, Target],
) -> list[Figure]:
    """Measure statements, each given with its calls a slice and its rows a call, in a copy of a database.

    `place` names the part and that database. Raises psycopg.Error, AlphaDbError.
    """
    part, database = place
    with ExitStack() as stack:
        slices: dict[str, Slice] = {}
        for number, (name, (statement, calls, rows)) in enumerate(contestants.items()):
            conn = stack.enter_context(host.connect(stack.enter_context(host.clone(database, number))))
            slices[name] = _slice(conn, statement, calls, rows)
        host.checkpoint()
        alternate(slices, 1)  # plans, caches
        samples = alternate(slices, rounds)
    return figures(part, title, "µs/row", samples, baseline=baseline, targets=targets)


def _slice(conn: psycopg.Connection[Any], statement: str, calls: int, rows: int) -> Slice:
    accounting = _schedstat(conn.info.backend_pid)

    def spent() -> int:
        # nanoseconds on a processor, up to when the backend went to wait for its client
        return int(accounting.read_text(encoding="ascii").split()[0])

    def run() -> list[float]:
        before = spent()
        for _ in range(calls):
            given = {"k": f"{next(_numbers):012}"} if "%(k)s" in statement else None
            cursor = conn.execute(statement.encode(), given, prepare=True)
            if cursor.description:
                cursor.fetchall()
        return [(spent() - before) / 1000 / calls / rows]

    return run


def is_told(pid: int) -> bool:
    """Return whether the operating system tells how long a process was on a processor."""
    return _schedstat(pid).exists()


def _schedstat(pid: int) -> Path:
    return Path(f"/proc/{pid}/schedstat")
