"""Part bulk: many rows by one INSERT ... SELECT, by one COPY, and by arrays of a thousand."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.contestants import CALL, OURS, PGHISTORY, PLAIN, SUPA, TABLES, USUAL, arena
from bench.host import Host
from bench.measure import Figure, Slice, Target, alternate, figures
from bench.statements import (
    COLUMNS,
    CONTENT,
    RECORD_MANY,
    array,
    call_array,
    insert,
    insert_array,
    record_array,
)

NAME = "bulk"
TITLE = "many rows of 500-byte payloads in one INSERT ... SELECT, in one COPY, and in arrays of 1000 a call"

QUICK_ROWS = 5_000
#: Rows of an array.
ARRAY_ROWS = 1_000
#: Who takes several times as long gets fewer rows.
LESS = {SUPA: 10}
ROUNDS = 3
#: What a row may cost against the plain table's.
TARGET = Target(1.6, "ratio")

_DATABASE = "bench_bulk"


def run(host: Host) -> list[Figure]:
    """Measure. Raises psycopg.Error, AlphaDbError."""
    found: list[Figure] = []
    with arena(host, _DATABASE) as dsn:
        # in the data directory, which the server can write and which goes away with it
        files = {name: host.server.data_dir / f"bench-{number}.copy" for number, name in enumerate(TABLES)}
        with host.connect(dsn) as conn:
            for name, file in files.items():
                conn.execute(
                    f"copy (select gen_random_uuid()::text, {CONTENT}"
                    f" from generate_series(1, {_rows(host, name)})) to '{file}'"
                )
        statements = {
            "INSERT": {name: insert(name, _rows(host, name)) for name in TABLES},
            "COPY": {
                name: f"copy {table} ({COLUMNS}) from '{files[name]}'" for name, table in TABLES.items()
            },
        }
        for way, by_contestant in statements.items():
            found += _scenario(
                host,
                f"one {way} of {_rows(host):,} rows".replace(",", " "),
                {name: partial(_statement, host, text, name) for name, text in by_contestant.items()},
                OURS,
            )
        for file in files.values():
            Path(file).unlink()
        by_array = {name: insert_array(name, "%s::jsonb") for name in (PLAIN, USUAL, SUPA, PGHISTORY)}
        by_array |= {RECORD_MANY: record_array("%s::jsonb"), CALL: call_array("%s::jsonb")}
        found += _scenario(
            host,
            f"{_rows(host):,} rows in arrays of {ARRAY_ROWS}".replace(",", " "),
            {name: partial(_arrays, host, text, name) for name, text in by_array.items()},
            RECORD_MANY,
            CALL,
        )
    return found


def _rows(host: Host, contestant: str = PLAIN) -> int:
    return (QUICK_ROWS if host.quick else host.bulk_rows) // LESS.get(contestant, 1)


def _scenario(host: Host, scenario: str, slices: dict[str, Slice], *aims: str) -> list[Figure]:
    samples = alternate(slices, 1 if host.quick else ROUNDS)
    targets = dict.fromkeys(aims, TARGET)
    return figures(NAME, scenario, "µs/row", samples, baseline=PLAIN, targets=targets, percentiles=())


def _statement(host: Host, statement: str, contestant: str) -> list[float]:
    """Run a statement in a fresh copy of the database; return the microseconds for each row, commit included."""
    with host.clone(_DATABASE) as dsn, host.connect(dsn) as conn:
        host.checkpoint()
        return [host.seconds(conn, statement) / _rows(host, contestant) * 1e6]


def _arrays(host: Host, statement: str, contestant: str) -> list[float]:
    """The same for arrays, a statement and a transaction each."""
    rows = _rows(host, contestant)
    text = array(ARRAY_ROWS)
    given = [text.replace("~", f"{number:06}") for number in range(-(-rows // ARRAY_ROWS))]
    with host.clone(_DATABASE) as dsn, host.connect(dsn) as conn:
        host.checkpoint()

        def work() -> None:
            for signals in given:
                conn.execute(statement.encode(), [signals], prepare=True)

        return [host.clock(work) / len(given) / ARRAY_ROWS * 1e6]
