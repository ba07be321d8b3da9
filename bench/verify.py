"""Part verify: recomputing a chain beside merely reading it, and by several sessions side by side."""

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
TITLE = "verify_chain beside COPY TO '/dev/null' on one core, and 1, 2 and as many jobs as cores"

ROWS, QUICK_ROWS = 200_000, 20_000
#: On one core, against reading; and how much faster two jobs are on two cores.
TARGET, TARGET_JOBS = Target(2.0, "ratio"), Target(1.7, "ratio", "at least")

_READ = (
    "copy (select id, correlation_id, signal_id, symbol, side, price, quantity, raw_payload, source_ip,"
    " hmac_verified, row_hash, created_at, recorded_by from signals where id between {} and {}) to '/dev/null'"
)
# what no verification can do without
_HASH = "select count(sha256(convert_to(row_to_json(s.*)::text, 'UTF8'))) from signals as s"
_VERIFY = (
    "select verdict, rows_checked from verify_chain_integrity('signals', {}, {}, engage_lockdown => false)"
)


def run(host: Host) -> list[Figure]:
    """Measure. Raises psycopg.Error, and AlphaDbError if a verdict is not what it should be."""
    rows = QUICK_ROWS if host.quick else ROWS
    rounds = 2 if host.quick else 5
    with arena(host, "bench_verify") as dsn, ExitStack() as stack:
        first = stack.enter_context(host.connect(dsn))
        for _ in range(10):
            first.execute(insert(OURS, rows // 10))
        first.execute("vacuum analyze signals")
        jobs = sorted({1, 2, min(host.cores, 8)})
        connections = [first, *(stack.enter_context(host.connect(dsn)) for _ in range(max(jobs) - 1))]
        for conn in connections:
            conn.execute("set max_parallel_workers_per_gather = 0")
        host.checkpoint()
        reading, hashing, verifying = "COPY TO '/dev/null'", "text and sha256 alone", "verify_chain"
        one: dict[str, Slice] = {
            reading: lambda: [_side_by_side(connections[:1], _READ, rows) / rows * 1e6],
            hashing: lambda: [host.seconds(first, _HASH) / rows * 1e6],
            verifying: lambda: [_whole(host, first, rows) / rows * 1e6],
        }
        alternate(one, 1)  # caches
        found = figures(
            NAME,
            "one core",
            "µs/row",
            alternate(one, rounds),
            baseline=reading,
            targets={verifying: TARGET},
            percentiles=(),
        )
        for what, statement in (("verifying", _VERIFY), ("reading", _READ)):
            slices = {_jobs(n): _rate(connections[:n], statement, rows) for n in jobs}
            found += figures(
                NAME,
                f"{what} side by side",
                "rows/s",
                alternate(slices, rounds),
                baseline=_jobs(1),
                targets={_jobs(2): TARGET_JOBS} if what == "verifying" and host.cores >= 2 else {},
                percentiles=(),
            )
    return found


def _jobs(number: int) -> str:
    return f"{number} job{'s' * (number > 1)}"


def _rate(connections: list[psycopg.Connection[Any]], statement: str, rows: int) -> Slice:
    return lambda: [rows / _side_by_side(connections, statement, rows)]


def _whole(host: Host, conn: psycopg.Connection[Any], rows: int) -> float:
    seconds = host.seconds(conn, "create temp table found as select * from verify_chain('signals')")
    row = conn.execute("select verdict, rows_checked from found").fetchone()
    conn.execute("drop table found")
    if row != ("intact", rows):
        raise AlphaDbError(f"verify_chain said {row}")
    return seconds


def _side_by_side(connections: list[psycopg.Connection[Any]], statement: str, rows: int) -> float:
    """Share the rows out to the connections, and return the seconds until the last is done."""
    share = -(-rows // len(connections))
    start = threading.Barrier(len(connections) + 1)

    def work(number: int) -> Any:
        first, last = number * share + 1, min(rows, (number + 1) * share)
        start.wait()
        cursor = connections[number].execute(statement.format(first, last))
        row = cursor.fetchone() if cursor.description else ("intact", last - first + 1)
        if row != ("intact", last - first + 1):
            raise AlphaDbError(f"verification of {first} to {last} said {row}")

    with ThreadPoolExecutor(len(connections)) as pool:
        futures = [pool.submit(work, number) for number in range(len(connections))]
        start.wait()
        return Host.clock(lambda: [future.result() for future in futures])
