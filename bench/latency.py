"""Part latency: what CALL append_signal takes by 8 writers, alone and with something else running beside it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from bench.contestants import CALL, OURS, PLAIN, arena
from bench.host import Host
from bench.measure import Figure, Target, figures, percentile
from bench.pgbench import pgbench
from bench.statements import ALONE, insert

NAME = "latency"
TITLE = "CALL by 8 writers: p50, p99, p99.9, alone and beside a verification, a seal, checkpoints, vacuums"

WRITERS = 8
#: Rows that are there before, so that a verification has something to do.
ROWS, QUICK_ROWS = 50_000, 5_000
SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
#: How much worse p99 may be than alone.
TARGET = Target(2.0, "ratio")

ALONE_NAME = "alone"
# What runs in a loop beside the writers of a table. CHECKPOINT pauses: a second one has nothing else to do.
_BESIDE = {
    CALL: {
        "beside verify_chain": "select * from verify_chain('signals')",
        "beside seal_log, checkpoint_facts": "select seal_log(); select * from checkpoint_facts()",
        "beside CHECKPOINT": "checkpoint",
        "beside VACUUM": "vacuum signals",
    },
    PLAIN: {"beside CHECKPOINT": "checkpoint", "beside VACUUM": "vacuum plain_signals"},
}
_PAUSE = {"checkpoint": 0.5}

_DATABASE = "bench_latency"


def run(host: Host) -> list[Figure]:
    """Measure. Raises psycopg.Error, AlphaDbError."""
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as directory, arena(host, _DATABASE) as dsn:
        with host.connect(dsn) as conn:
            for contestant in (PLAIN, OURS):
                conn.execute(insert(contestant, QUICK_ROWS if host.quick else ROWS))
        script = Path(directory, "script.sql")
        for contestant, beside in _BESIDE.items():
            script.write_text(f"{ALONE[contestant]};\n", encoding="utf-8")
            taken: dict[str, list[list[float]]] = {name: [] for name in (ALONE_NAME, *beside)}
            host.checkpoint()
            for _ in range(1 if host.quick else 3):
                for number, (name, statement) in enumerate(beside.items()):
                    if number % 2 == 0:
                        taken[ALONE_NAME].append(_slice(host, script))
                    with _looping(host, dsn, statement):
                        taken[name].append(_slice(host, script))
            found += _figures(contestant, taken)
    return found


def _slice(host: Host, script: Path) -> list[float]:
    return pgbench(host, _DATABASE, script, WRITERS, 1 if host.quick else 2).latencies


@contextmanager
def _looping(host: Host, dsn: str, statement: str) -> Iterator[None]:
    """Run a statement again and again beside the block. Raises what it raised."""
    done, problems = threading.Event(), list[Exception]()
    with host.connect(dsn) as conn:

        def loop() -> None:
            try:
                while not done.wait(_PAUSE.get(statement, 0)):
                    conn.execute(statement.encode())
            except psycopg.Error as problem:
                problems.append(problem)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
    if problems:
        raise problems[0]


def _figures(contestant: str, taken: dict[str, list[list[float]]]) -> list[Figure]:
    """Of each slice its percentiles; the figures are their medians."""
    found: list[Figure] = []
    for name, share in SHARES.items():
        samples = {
            beside: [percentile(latencies, share) for latencies in slices] for beside, slices in taken.items()
        }
        targets = dict.fromkeys(samples, TARGET) if (contestant, name) == (CALL, "p99") else {}
        targets.pop(ALONE_NAME, None)
        found += figures(
            NAME,
            f"{name}, {WRITERS} writers: {contestant}",
            "ms",
            samples,
            baseline=ALONE_NAME,
            targets=targets,
            percentiles=(),
        )
    return found
