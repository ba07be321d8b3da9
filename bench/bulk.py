"""Part bulk: many rows by one INSERT ... SELECT, and by one COPY."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.contestants import OURS, PLAIN, TABLES, USUAL, arena
from bench.host import Host
from bench.measure import Figure, Slice, Target, alternate, figures
from bench.statements import COLUMNS, CONTENT, insert

NAME = "bulk"
TITLE = "many rows of 500-byte payloads in one INSERT ... SELECT and in one COPY"

ROWS, QUICK_ROWS = 1_000_000, 50_000
#: The usual chain gets a fifth of the rows, to save time.
LESS = {USUAL: 5}
#: What a row may cost against the plain table's.
TARGET = Target(1.5, "ratio")

_DATABASE = "bench_bulk"


def run(host: Host) -> list[Figure]:
    """Measure. Raises psycopg.Error, AlphaDbError."""
    rows = QUICK_ROWS if host.quick else ROWS
    found: list[Figure] = []
    with arena(host, _DATABASE) as dsn:
        # in the data directory, which the server can write and which goes away with it
        file = host.server.data_dir / "bench.copy"
        with host.connect(dsn) as conn:
            conn.execute(
                f"copy (select gen_random_uuid()::text, {CONTENT} from generate_series(1, {rows})) to '{file}'"
            )
        statements = {
            "INSERT": {name: insert(name, rows // LESS.get(name, 1)) for name in TABLES},
            "COPY": {name: f"copy {TABLES[name]} ({COLUMNS}) from '{file}'" for name in (PLAIN, OURS)},
        }
        for way, by_contestant in statements.items():
            slices: dict[str, Slice] = {
                name: partial(_slice, host, statement, rows // LESS.get(name, 1))
                for name, statement in by_contestant.items()
            }
            samples = alternate(slices, 1)
            found += figures(
                NAME,
                f"one {way} of {rows:,} rows".replace(",", " "),
                "µs/row",
                samples,
                baseline=PLAIN,
                targets={OURS: TARGET},
                percentiles=(),
            )
        Path(file).unlink()
    return found


def _slice(host: Host, statement: str, rows: int) -> list[float]:
    """Run a statement in a fresh copy of the database; return the microseconds for each row, commit included."""
    with host.clone(_DATABASE) as dsn, host.connect(dsn) as conn:
        host.checkpoint()
        return [host.seconds(conn, statement) / rows * 1e6]
