"""Part proofs: a million rows by one statement, sealed, proven, exported, and the export checked."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psycopg

from alpha_db.errors import AlphaDbError
from bench.contestants import OURS, PLAIN, arena
from bench.host import Host
from bench.measure import Figure, Target, figures
from bench.statements import insert

NAME = "proofs"
TITLE = "a million rows by one INSERT, their seal, inclusion proofs, export and verify-export"

ROWS, QUICK_ROWS = 1_000_000, 20_000
#: Rows after the last seal, for proofs of a log that is not sealed to its end.
UNSEALED, QUICK_UNSEALED = 66_500, 1_000
#: A row against the plain table's; milliseconds of the first proof of a connection, and of an unsealed log.
STATEMENT, FIRST, NOT_SEALED = Target(1.6, "ratio"), Target(10.0), Target(1000.0)
#: Milliseconds until a proof of an unsealed log is given up; it then counts as so many.
PATIENCE = 20_000

_PROOF = "select inclusion_proof('signals', %s, %s)"


def run(host: Host) -> list[Figure]:
    """Measure. Raises psycopg.Error, and AlphaDbError if a proof or an export does not hold."""
    rows = QUICK_ROWS if host.quick else ROWS
    unsealed = QUICK_UNSEALED if host.quick else UNSEALED
    with arena(host, "bench_proofs") as dsn, ExitStack() as stack:
        conn = stack.enter_context(host.connect(dsn))
        samples = {}
        for name in (PLAIN, OURS):
            host.checkpoint()
            samples[name] = [host.seconds(conn, insert(name, rows)) / rows * 1e6]
        found = _figures(f"one INSERT of {_thousands(rows)} rows", "µs/row", samples, OURS, STATEMENT)
        conn.execute("drop table plain_signals")
        conn.execute("vacuum analyze signals")
        host.checkpoint()
        sealing = host.seconds(conn, f"select seal_log('signals', {rows - unsealed})")
        open_end = _proof(host, conn, rows)
        host.seconds(conn, "select seal_log('signals')")
        found += _figures("seal_log", "µs/row", {"seal_log": [sealing / (rows - unsealed) * 1e6]})
        first, later = [], []
        for _ in range(5 if host.quick else 40):
            with host.connect(dsn) as fresh:
                fresh.execute("select 1")
                first.append(_proof(host, fresh, rows))
                later += [_proof(host, fresh, rows) for _ in range(5)]
        proofs = {"first of a connection": first, "later": later}
        found += figures(
            NAME,
            f"inclusion proof, {_thousands(rows)} rows, sealed",
            "ms",
            proofs,
            baseline="first of a connection",
            targets={"first of a connection": FIRST},
        )
        found += _figures(
            f"inclusion proof, {_thousands(unsealed)} rows not sealed",
            "ms",
            {"inclusion_proof": [open_end]},
            "inclusion_proof",
            NOT_SEALED,
        )
        return found + _export(host, dsn, rows)


def _figures(
    scenario: str, unit: str, samples: dict[str, list[float]], aim: str = "", target: Target | None = None
) -> list[Figure]:
    targets = {aim: target} if target else {}
    return figures(
        NAME, scenario, unit, samples, baseline=next(iter(samples)), targets=targets, percentiles=()
    )


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _proof(host: Host, conn: psycopg.Connection[Any], rows: int) -> float:
    """Ask for the proof of some row; return the milliseconds."""
    given = [random.randint(1, rows), rows]
    found: list[Any] = []

    def ask() -> None:
        with suppress(psycopg.errors.QueryCanceled):
            found.extend(conn.execute(_PROOF.encode(), given).fetchone() or ())

    conn.execute(f"set statement_timeout = {PATIENCE}")
    milliseconds = host.clock(ask) * 1000
    conn.execute("reset statement_timeout")
    if found and len(found[0]) < 10:
        raise AlphaDbError(f"the proof of row {given[0]} of {rows} has {len(found[0])} hashes")
    return milliseconds


def _export(host: Host, dsn: str, rows: int) -> list[Figure]:
    """Export the table and check the export, by the commands."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "signals.jsonl")
        commands = {
            "export": ["export", "--table", "signals", "-o", str(file), "--dsn", dsn],
            "verify-export": ["verify-export", str(file)],
        }
        samples = {
            name: [rows / host.clock(lambda: _command(arguments))]  # noqa: B023 (called at once)
            for name, arguments in commands.items()
        }
    return _figures(f"export of {_thousands(rows)} rows", "rows/s", samples)


def _command(arguments: list[str]) -> None:
    said = subprocess.run(
        [sys.executable, "-P", "-m", "alpha_db", *arguments], capture_output=True, text=True, check=False
    )
    if said.returncode:
        raise AlphaDbError(f"alpha-db {arguments[0]}: {said.stderr.strip()[-300:]}")
