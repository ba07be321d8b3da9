"""Part handover: how the chain's lock passes from writer to writer, beside the model of queueing.py.

The model is given what was measured with one writer: the processor time of a row, the time under the lock (from
created_at, which the trigger takes under it, to the time-stamp of the commit), the rest of a turn, which is the
client's, and the flush. `wake` is half a turn of two processes that wake each other. Of several writers it is only told
what a row costs the processor more than with one writer (`cold`), because caches are no matter of queues. The rates are
its predictions. Those for 16 cores are two: if caches suffer there as they do here, and if they do not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import click
import psycopg

from alpha_db.embedded import throwaway_server
from bench.contestants import CALL, PLAIN, arena
from bench.host import Host
from bench.measure import Figure, figures
from bench.pgbench import Run, pgbench
from bench.queueing import Model, Turn
from bench.statements import ALONE

NAME = "handover"
TITLE = "the chain's lock from writer to writer: measured beside a queueing model, which also says what 16 cores give"

WRITERS, FLUSHED, MANY_CORES = (1, 2, 4, 8, 16, 32), (1, 8, 32), 16

_DATABASE = "bench_handover"
_LOCK = """
select percentile_cont(0.5) within group (order by extract(epoch from committed - created_at)) * 1e6,
       percentile_cont(0.5) within group (order by extract(epoch from created_at - before)) * 1e6
from (select created_at, pg_xact_commit_timestamp(xmin) as committed,
             lag(pg_xact_commit_timestamp(xmin)) over (order by id) as before
      from signals where id > %s) as s
"""


class Found(NamedTuple):
    """What so many writers did: rows a second; in microseconds a row its latency, the processor, lock and hand-over."""

    rate: float
    latency: float
    processor: float
    hold: float
    gap: float


def run(host: Host) -> list[Figure]:
    """Measure; nothing where the operating system does not tell. Raises psycopg.Error, AlphaDbError."""
    if not Path("/proc/self/stat").exists():
        click.echo("bench: handover: left out: this system has no /proc/PID/stat", err=True)
        return []
    with tempfile.TemporaryDirectory() as directory:
        ours, plain = Path(directory, "ours.sql"), Path(directory, "plain.sql")
        ours.write_text(f"{ALONE[CALL]};\n", encoding="utf-8")
        plain.write_text(f"{ALONE[PLAIN]};\n", encoding="utf-8")
        options = {"track_commit_timestamp": "on"}
        with throwaway_server(host.server.binaries, options=options) as server:
            quiet = Host(server, host.quick)
            with arena(quiet, _DATABASE) as dsn, quiet.connect(dsn) as conn:
                start = _start(quiet, conn, dsn)
                found = {writers: _measure(quiet, conn, ours, writers, start) for writers in WRITERS}
                fast = median(_run(quiet, plain, 1).latencies)
        with arena(host, _DATABASE):
            flushed = {writers: _run(host, ours, writers).rate for writers in FLUSHED}
            slow = median(_run(host, plain, 1).latencies)
    wake = _wake()
    turns = {writers: _turn(found, writers, wake) for writers in WRITERS}
    flush = max(0.0, slow - fast) * 1000
    durable = {writers: replace(turn, flush=flush) for writers, turn in turns.items()}
    return [
        *_parts(durable[max(WRITERS)]),
        *_locks(found),
        *(f for n in WRITERS for f in _compare(f"{_writers(n)}, no flush", found[n].rate, turns[n], host, n)),
        *(
            f
            for n in FLUSHED
            for f in _compare(f"{_writers(n)}, native disk", flushed[n], durable[n], host, n)
        ),
        *_scaled("no flush", turns),
        *_scaled("native disk", durable),
    ]


def _start(host: Host, conn: psycopg.Connection[Any], dsn: str) -> float:
    """The microseconds of processor time that a backend takes to start, and for its first row."""
    before = _processor(host)
    for _ in range(20):
        with psycopg.connect(dsn, autocommit=True, application_name="pgbench") as fresh:
            fresh.execute(ALONE[CALL].encode(), prepare=True)
    _wait_for_end(conn)
    return (_processor(host) - before) / 20


def _measure(host: Host, conn: psycopg.Connection[Any], script: Path, writers: int, start: float) -> Found:
    """Run writers; return what they did."""
    last = conn.execute("select coalesce(max(id), 0) from signals").fetchone()
    before = _processor(host)
    run = _run(host, script, writers)
    _wait_for_end(conn)
    spent = max(0.0, _processor(host) - before - writers * start) / len(run.latencies)
    hold, gap = conn.execute(_LOCK, last).fetchone() or (0.0, 0.0)
    return Found(run.rate, median(run.latencies) * 1000, spent, hold, gap)


def _wait_for_end(conn: psycopg.Connection[Any]) -> None:
    """Wait until no backend of pgbench is left."""
    while conn.execute("select from pg_stat_activity where application_name = 'pgbench'").fetchone():
        time.sleep(0.01)


def _run(host: Host, script: Path, writers: int) -> Run:
    return pgbench(host, _DATABASE, script, writers, 1 if host.quick else 2)


def _processor(host: Host) -> float:
    """The microseconds of processor time of all backends that have ended."""
    postmaster = (host.server.data_dir / "postmaster.pid").read_text(encoding="utf-8").split()[0]
    facts = Path(f"/proc/{postmaster}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(facts[13]) + int(facts[14])) / os.sysconf("SC_CLK_TCK") * 1e6


def _turn(found: dict[int, Found], writers: int, wake: float) -> Turn:
    """The parts of a turn, from what one writer did; only `cold` is from as many as there are."""
    one = found[1]
    outside = max(0.0, one.processor - one.hold) / 2
    client = max(0.0, one.latency - one.processor - 2 * wake)
    cold = max(0.0, found[writers].processor - one.processor)
    return Turn(client, outside, one.hold, outside, wake, cold=cold)


def _wake() -> float:
    """Half the microseconds of a turn of two processes, each on a core of its own, that wake each other by pipes."""
    echo = "import os\nwhile os.write(1, os.read(0, 1)): pass"
    cores = os.sched_getaffinity(0)
    turns = []
    with subprocess.Popen(
        [sys.executable, "-c", echo], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            os.sched_setaffinity(0, {min(cores)})
            os.sched_setaffinity(process.pid, {max(cores)})
            for _ in range(2000):
                started = time.perf_counter()
                os.write(process.stdin.fileno(), b".")
                os.read(process.stdout.fileno(), 1)
                turns.append((time.perf_counter() - started) / 2 * 1e6)
        finally:
            os.sched_setaffinity(0, cores)
            process.kill()
    return median(turns)


def _parts(turn: Turn) -> list[Figure]:
    samples = {name: [value] for name, value in asdict(turn).items()}
    return figures(
        NAME,
        f"parts of a turn, for the model ({max(WRITERS)} writers)",
        "µs",
        samples,
        baseline="client",
        percentiles=(),
    )


def _locks(found: dict[int, Found]) -> list[Figure]:
    """Where the time goes, by the number of writers."""
    kinds = {
        "processor time of a row": [f.processor for f in found.values()],
        "from a row's time to its commit": [f.hold for f in found.values()],
        "from a commit to the next row's time": [f.gap for f in found.values()],
    }
    return [
        figure
        for kind, values in kinds.items()
        for figure in figures(
            NAME,
            f"{kind}, no flush",
            "µs",
            {_writers(n): [value] for n, value in zip(found, values, strict=True)},
            baseline=_writers(1),
            percentiles=(),
        )
    ]


def _compare(scenario: str, measured: float, turn: Turn, host: Host, writers: int) -> list[Figure]:
    samples = {"measured": [measured], "model": [Model(turn, host.cores).rate(writers)]}
    return figures(NAME, scenario, "rows/s", samples, baseline="measured", percentiles=())


def _scaled(scenario: str, turns: dict[int, Turn]) -> list[Figure]:
    """The rates on many cores if caches suffer there as here, and if they do not."""
    found: list[Figure] = []
    for caches, share in (("as here", 1.0), ("warm", 0.0)):
        samples = {
            _writers(n): [Model(replace(turn, cold=turn.cold * share), MANY_CORES).rate(n)]
            for n, turn in turns.items()
        }
        name = f"model, {MANY_CORES} cores, {scenario}, caches {caches}"
        found += figures(NAME, name, "rows/s", samples, baseline=_writers(1), percentiles=())
    return found


def _writers(number: int) -> str:
    return f"{number} writer{'s' * (number > 1)}"
