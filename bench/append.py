"""Part append: single durable rows, by several writers at once, on the disk as it is and on a slower one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.contestants import CALL, OURS, PLAIN, USUAL, arena
from bench.host import Host
from bench.measure import Figure, Slice, Target, alternate, figures
from bench.pgbench import pgbench
from bench.statements import ALONE, CALL_MANY, RECORD_MANY, VALUES, arrays

NAME = "append"
TITLE = "durable rows, one a transaction and 100 a call, by several writers, native disk and 2 ms flush"

WRITERS = {"native disk": (1, 8, 32), "2 ms flush": (8, 32)}
#: Server settings that make the disk what it is called.
DISKS = {"native disk": {}, "2 ms flush": {"commit_delay": "2000", "commit_siblings": "0"}}
#: What CALL should reach of the plain table's rate.
TARGETS = {
    ("native disk", 1): 0.65,
    ("native disk", 8): 0.40,
    ("2 ms flush", 8): 0.93,
    ("2 ms flush", 32): 0.30,
}
#: Rows of an array, who sends them at once, and what they should reach of the plain table's rate.
ARRAY_ROWS, CALLERS, ARRAY_TARGET = 100, (1, 8), 0.60

_DATABASE = "bench_append"
_SCRIPTS = {contestant: ALONE[contestant] + ";\n" for contestant in (PLAIN, USUAL, OURS, CALL)}
_ARRAY_SCRIPTS = {
    name: f"\\set k random(1, 9000000000000000)\n{arrays(ARRAY_ROWS)[name]};\n"
    for name in (VALUES, RECORD_MANY, CALL_MANY)
}


def run(host: Host) -> list[Figure]:
    """Measure. Raises AlphaDbError with what pgbench said."""
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as directory, arena(host, _DATABASE):
        single, arrayed = (
            _write(_SCRIPTS, Path(directory, "single")),
            _write(_ARRAY_SCRIPTS, Path(directory, "array")),
        )
        for disk, settings in DISKS.items():
            with host.set(settings):
                for writers in WRITERS[disk]:
                    goal = TARGETS.get((disk, writers))
                    targets = {} if goal is None else {CALL: Target(goal, "ratio", "at least")}
                    found += _scenario(
                        host, single, f"{_count(writers, 'writer')}, {disk}", writers, 1, targets
                    )
        targets = dict.fromkeys((RECORD_MANY, CALL_MANY), Target(ARRAY_TARGET, "ratio", "at least"))
        for callers in CALLERS:
            scenario = f"{_count(callers, 'caller')} of {ARRAY_ROWS} rows, native disk"
            found += _scenario(host, arrayed, scenario, callers, ARRAY_ROWS, targets)
    return found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number > 1)}"


def _write(scripts: dict[str, str], directory: Path) -> dict[str, Path]:
    """Write scripts into files of a new directory; return the files."""
    directory.mkdir()
    files = {name: directory / f"{number}.sql" for number, name in enumerate(scripts)}
    for name, file in files.items():
        file.write_text(scripts[name], encoding="utf-8")
    return files


def _scenario(
    host: Host,
    scripts: dict[str, Path],
    scenario: str,
    writers: int,
    rows: int,
    targets: dict[str, Target],
) -> list[Figure]:
    """Run scripts, each call of which writes so many rows; the first one is the baseline."""
    latencies: dict[str, list[float]] = {contestant: [] for contestant in scripts}

    def a_slice(contestant: str) -> Slice:
        def run() -> list[float]:
            done = pgbench(host, _DATABASE, scripts[contestant], writers, 1 if host.quick else 2)
            latencies[contestant] += done.latencies
            return [done.rate * rows]

        return run

    host.checkpoint()
    rates = alternate({contestant: a_slice(contestant) for contestant in scripts}, 1 if host.quick else 3)
    baseline = next(iter(scripts))
    return [
        *figures(NAME, scenario, "rows/s", rates, baseline=baseline, targets=targets, percentiles=()),
        *figures(
            NAME,
            f"  latency, {scenario}",
            "ms",
            latencies,
            baseline=baseline,
            percentiles=(0.05, 0.95, 0.99),
        ),
    ]
