"""Part append: single durable rows, by several writers at once, on the disk as it is and on a slower one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.contestants import CALL, COLUMNS, CONTENT, OURS, PLAIN, TABLES, USUAL, arena
from bench.host import Host
from bench.measure import Figure, Slice, Target, alternate, figures
from bench.pgbench import pgbench

NAME = "append"
TITLE = "durable single-row appends, 1, 8 and 32 writers, native disk and 2 ms flush: rate and latency"

WRITERS = (1, 8, 32)
#: Server settings that make the disk what it is called.
DISKS = {"native disk": {}, "2 ms flush": {"commit_delay": "2000", "commit_siblings": "0"}}
#: What CALL should reach of the plain table's rate.
TARGETS = {
    ("native disk", 1): 0.75,
    ("native disk", 8): 0.50,
    ("2 ms flush", 1): 0.75,
    ("2 ms flush", 8): 0.95,
    ("2 ms flush", 32): 0.65,
}

_DATABASE = "bench_append"
_ROW = f"gen_random_uuid()::text, {CONTENT}"
_SCRIPTS = {
    contestant: f"insert into {TABLES[contestant]} ({COLUMNS})"
    f" values ({_ROW}) returning id, correlation_id, row_hash;\n"
    for contestant in (PLAIN, USUAL, OURS)
} | {CALL: f"call append_signal({_ROW});\n"}


def run(host: Host) -> list[Figure]:
    """Measure. Raises AlphaDbError with what pgbench said."""
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as directory, arena(host, _DATABASE):
        scripts = {contestant: Path(directory, f"{number}.sql") for number, contestant in enumerate(_SCRIPTS)}
        for contestant, path in scripts.items():
            path.write_text(_SCRIPTS[contestant], encoding="utf-8")
        for disk, settings in DISKS.items():
            with host.set(settings):
                for writers in WRITERS:
                    found += _scenario(host, scripts, disk, writers)
    return found


def _scenario(host: Host, scripts: dict[str, Path], disk: str, writers: int) -> list[Figure]:
    latencies: dict[str, list[float]] = {contestant: [] for contestant in scripts}

    def a_slice(contestant: str) -> Slice:
        def run() -> list[float]:
            done = pgbench(host, _DATABASE, scripts[contestant], writers, 1 if host.quick else 2)
            latencies[contestant] += done.latencies
            return [done.rate]

        return run

    host.checkpoint()
    rates = alternate({contestant: a_slice(contestant) for contestant in scripts}, 1 if host.quick else 3)
    scenario = f"{writers} writer{'s' * (writers > 1)}, {disk}"
    goal = TARGETS.get((disk, writers))
    targets = {} if goal is None else {CALL: Target(goal, "ratio", "at least")}
    return [
        *figures(NAME, scenario, "rows/s", rates, baseline=PLAIN, targets=targets, percentiles=()),
        *figures(
            NAME,
            f"  latency, {scenario}",
            "ms",
            latencies,
            baseline=PLAIN,
            percentiles=(0.05, 0.95, 0.99),
        ),
    ]
