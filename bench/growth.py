"""Part growth: what a row costs as a transaction grows, and as the table does."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import psycopg

from bench.contestants import OURS, PLAIN, TABLES, arena
from bench.host import Host
from bench.measure import Figure, Slice, alternate, figures
from bench.statements import insert

NAME = "growth"
TITLE = "cost of a row within a growing transaction, and in a growing table"

CHUNK = 1000
#: Rows of the transaction whose last rows are measured; the first figure is of the first ones.
LENGTHS, QUICK_LENGTHS = (1_000, 10_000, 50_000, 200_000), (1_000, 10_000, 30_000)
SIZES, QUICK_SIZES = (0, 10_000, 100_000, 1_000_000, 10_000_000), (0, 10_000, 100_000)

_DATABASE = "bench_growth"


def run(host: Host) -> list[Figure]:
    """Measure. Raises psycopg.Error."""
    with arena(host, _DATABASE):
        return [*_transaction(host), *_table(host)]


def _rows(number: int) -> str:
    return f"{number:,} rows".replace(",", " ") if number else "empty"


def _transaction(host: Host) -> list[Figure]:
    """One transaction of statements of a thousand rows: the cost of a row between one length and the next."""
    lengths = QUICK_LENGTHS if host.quick else LENGTHS
    found = []
    for contestant in (PLAIN, OURS):
        with host.clone(_DATABASE) as dsn, host.connect(dsn) as conn:
            host.checkpoint()
            statement = insert(contestant, CHUNK)
            with conn.transaction():
                costs = [host.seconds(conn, statement) / CHUNK * 1e6 for _ in range(lengths[-1] // CHUNK)]
        # The first statement of a session makes the plans: it is not one of those that count.
        samples = {f"up to {_rows(lengths[0])}": costs[:1]}
        for shorter, longer in pairwise(lengths):
            samples[f"{_rows(shorter)} to {_rows(longer)}"] = costs[shorter // CHUNK : longer // CHUNK]
        baseline = list(samples)[1]
        name = f"in one transaction: {TABLES[contestant]}"
        found += figures(NAME, name, "µs/row", samples, baseline=baseline)
    return found


def _table(host: Host) -> list[Figure]:
    """Statements of a thousand rows, each a transaction, into tables that were filled behind the trigger's back."""
    sizes = QUICK_SIZES if host.quick else tuple(s for s in SIZES if s <= host.largest)
    found: list[Figure] = []
    kept: dict[str, dict[str, list[float]]] = {PLAIN: {}, OURS: {}}
    with host.clone(_DATABASE) as dsn, host.connect(dsn) as conn:
        for size in sizes:
            for contestant in kept:
                _fill(conn, TABLES[contestant], size)
            host.checkpoint()
            slices: dict[str, Slice] = {name: partial(_cost, host, conn, name) for name in kept}
            alternate(slices, 1)  # plans, caches
            samples = alternate(slices, 5 if host.quick else 20)
            found += figures(NAME, f"into a table: {_rows(size)}", "µs/row", samples, baseline=PLAIN)
            for name, values in samples.items():
                kept[name][_rows(size)] = values
    found += figures(NAME, "flatness: signals", "µs/row", kept[OURS], baseline=_rows(0))
    found += figures(NAME, "flatness: plain_signals", "µs/row", kept[PLAIN], baseline=_rows(0))
    return found


def _cost(host: Host, conn: psycopg.Connection[Any], contestant: str) -> list[float]:
    return [host.seconds(conn, insert(contestant, CHUNK)) / CHUNK * 1e6]


def _fill(conn: psycopg.Connection[Any], table: str, size: int) -> None:
    """Fill a table up to a size, with small rows as a replica gets them: no trigger runs, no hash is right.

    The indexes are built afterwards, which is faster, and leaves them smaller than inserts would.
    """
    last = conn.execute(f"select coalesce(max(id), 0) from {table}").fetchone()[0]  # type: ignore[index]
    if last >= size:
        return
    indexes = conn.execute(
        "select c.conname, pg_get_constraintdef(c.oid) from pg_constraint as c"
        " where c.conrelid = %s::regclass and c.contype in ('p', 'u')",
        [table],
    ).fetchall()
    others = conn.execute(
        "select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) from pg_index as i"
        " where i.indrelid = %s::regclass"
        "   and not exists (select from pg_constraint as c where c.conindid = i.indexrelid)",
        [table],
    ).fetchall()
    with conn.transaction():
        conn.execute("set local session_replication_role = replica")
        conn.execute("set local maintenance_work_mem = '256MB'")
        for name, _ in indexes:
            conn.execute(f'alter table {table} drop constraint "{name}" cascade')
        for name, _ in others:
            conn.execute(f"drop index {name}")
        conn.execute(
            f"insert into {table} (id, correlation_id, signal_id, symbol, side, price, quantity, raw_payload,"
            " row_hash, created_at, recorded_by)"
            " select n, gen_random_uuid(), gen_random_uuid()::text, 'ETHBTC', 'BUY', 0.0712340000, 1.5, '{}',"
            f" repeat('0', 64), clock_timestamp(), session_user from generate_series({last + 1}, {size}) as n"
        )
        for name, definition in indexes:
            conn.execute(f'alter table {table} add constraint "{name}" {definition}')
        for _, definition in others:
            conn.execute(definition)
    if table == TABLES[PLAIN]:
        conn.execute(f"select setval('plain_signals_id_seq', {size})")
    conn.execute(f"vacuum analyze {table}")
