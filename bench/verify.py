"""Part verify: recomputing a chain beside what nobody can do without, and on all cores."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg

from alpha_db.errors import AlphaDbError
from bench.contestants import OURS, arena
from bench.host import Host
from bench.measure import Figure, Slice, Target, alternate, figures
from bench.statements import insert

NAME = "verify"
TITLE = "verify_chain beside printing and hashing the rows alone, verify_chain_integrity() as psql calls it, two jobs"

ROWS, QUICK_ROWS = 120_000, 20_000  # more than 100,000, so that several processes share them
#: On one core, against text and hash alone; and how much faster the whole call, and two jobs, are on two cores.
TARGET, TARGET_CORES = Target(1.12, "ratio"), Target(1.6, "ratio", "at least")
TARGET_JOBS = Target(1.7, "ratio", "at least")

_READ = (
    "copy (select id, correlation_id, signal_id, symbol, side, price, quantity, raw_payload, source_ip,"
    " hmac_verified, row_hash, created_at, recorded_by from signals) to '/dev/null'"
)
# what no verification can do without
_HASH = "select count(sha256(convert_to(row_to_json(s.*)::text, 'UTF8'))) from signals as s"
_CHAIN = "select verdict, rows_checked from verify_chain('signals')"
_INTEGRITY = "select verdict, rows_checked from verify_chain_integrity() where table_name = 'signals'"
_RANGE = (
    "select verdict, rows_checked from verify_chain_integrity('signals', {}, {}, engage_lockdown => false)"
)


def run(host: Host) -> list[Figure]:
    """Measure. Raises psycopg.Error, and AlphaDbError if a verdict is not what it should be."""
    rows = QUICK_ROWS if host.quick else ROWS
    rounds = 2 if host.quick else 5
    with arena(host, "bench_verify") as dsn, ExitStack() as stack:
        first, second, usual = (stack.enter_context(host.connect(dsn)) for _ in range(3))
        for _ in range(10):
            first.execute(insert(OURS, rows // 10))
        first.execute("vacuum analyze signals")
        for conn in (first, second):
            conn.execute("set max_parallel_workers_per_gather = 0")
        host.checkpoint()
        reading, hashing, verifying = "COPY TO '/dev/null'", "text and sha256 alone", "verify_chain"
        one: dict[str, Slice] = {
            hashing: lambda: [host.seconds(first, _HASH) / rows * 1e6],
            verifying: lambda: [_checked(host, first, _CHAIN, rows) / rows * 1e6],
            reading: lambda: [host.seconds(first, _READ) / rows * 1e6],
        }
        alternate(one, 1)  # caches
        found = figures(
            NAME,
            "one core",
            "µs/row",
            alternate(one, rounds),
            baseline=hashing,
            targets={verifying: TARGET},
            percentiles=(),
        )
        whole = "verify_chain_integrity()"
        both: dict[str, Slice] = {
            "verify_chain, one core": lambda: [rows / _checked(host, first, _CHAIN, rows)],
            whole: lambda: [rows / _checked(host, usual, _INTEGRITY, rows)],
            "2 jobs": lambda: [rows / _side_by_side([first, second], rows)],
        }
        targets = {whole: TARGET_CORES, "2 jobs": TARGET_JOBS} if host.cores >= 2 else {}
        alternate(both, 1)
        return found + figures(
            NAME,
            f"on {host.cores} cores",
            "rows/s",
            alternate(both, rounds),
            baseline="verify_chain, one core",
            targets=targets,
            percentiles=(),
        )


def _checked(host: Host, conn: psycopg.Connection[Any], statement: str, rows: int) -> float:
    """Verify; return the seconds. The verdict must be that all rows are intact."""
    found: list[Any] = []
    seconds = host.clock(lambda: found.extend(conn.execute(statement.encode()).fetchall()))
    if found != [("intact", rows)]:
        raise AlphaDbError(f"{statement} said {found}")
    return seconds


def _side_by_side(connections: list[psycopg.Connection[Any]], rows: int) -> float:
    """Share the rows out to the connections, and return the seconds until the last is done."""
    share = -(-rows // len(connections))
    start = threading.Barrier(len(connections) + 1)

    def work(number: int) -> Any:
        first, last = number * share + 1, min(rows, (number + 1) * share)
        start.wait()
        row = connections[number].execute(_RANGE.format(first, last)).fetchone()
        if row != ("intact", last - first + 1):
            raise AlphaDbError(f"verification of {first} to {last} said {row}")

    with ThreadPoolExecutor(len(connections)) as pool:
        futures = [pool.submit(work, number) for number in range(len(connections))]
        start.wait()
        return Host.clock(lambda: [future.result() for future in futures])
