"""Part books: what a row of a large book costs in bytes, seconds and transaction ids, and by that a billion rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import psycopg

from bench.contestants import arena
from bench.host import Host
from bench.measure import Figure, figures

NAME = "books"
TITLE = "a large book: bytes, seconds and transaction ids of a row, and a model of a billion rows"

QUICK_ROWS = 5_000
#: Rows of a range that verify-chain reads, and of a call of recompute_block_roots.
RANGE, STEP = 50_000, 65_536
BILLION = 1_000_000_000
#: verify-chain's default of --full-every.
FULL_EVERY = 24

_PAYLOAD = (
    '{"note": "BTC breakout", "price": 64123.55, "action": "buy", "ticker": "BTCUSD", "quantity": 0.25}'
)
_START = datetime(2026, 1, 25, tzinfo=UTC)
_CONTENT = "'BTCUSD', 'BUY', 1.5, 2, '{}'"


def run(host: Host) -> list[Figure]:
    """Measure. Raises psycopg.Error."""
    rows = QUICK_ROWS if host.quick else host.largest
    with arena(host, "bench_books") as dsn, host.connect(dsn) as conn:
        fill(conn, rows)
        host.checkpoint()
        costs = {name: _figure(name, unit, value) for name, unit, value in measure(host, conn, rows)}
    return [*costs.values(), *model({name: figure.median for name, figure in costs.items()})]


def fill(conn: psycopg.Connection[Any], rows: int) -> None:
    """Fill signals with a whole chain, by COPY as a replica gets it: no trigger runs, and every hash is right."""
    (user,) = conn.execute("select session_user").fetchone() or ("",)
    with conn.transaction():
        conn.execute("set local session_replication_role = replica")
        with conn.cursor().copy(
            "copy signals (id, correlation_id, signal_id, symbol, side, price, quantity, raw_payload, hmac_verified,"
            " row_hash, created_at, recorded_by) from stdin"
        ) as copy:
            for line in _lines(rows, user):
                copy.write(line)
    conn.execute("vacuum (freeze, analyze) signals")


def _lines(rows: int, user: str) -> Iterator[str]:
    row_hash = sha256(b"alpha-db/chain/v1/signals").digest()
    for number in range(1, rows + 1):
        made = (_START + timedelta(milliseconds=number)).isoformat(timespec="milliseconds")
        printed = made.replace("+00:00", "").rstrip("0").rstrip(".") + "+00:00"
        name = f"{1_769_299_200_000 + number:012x}"  # a uuid of version 7
        end = os.urandom(9).hex()
        uuid = f"{name[:8]}-{name[8:]}-7{end[:3]}-8{end[3:6]}-{end[6:]}"
        signal = f"tv-{number:012}"
        data = (
            f'{{"id":{number},"correlation_id":"{uuid}","signal_id":"{signal}","symbol":"BTCUSD","side":"BUY",'
            f'"price":64123.5500000000,"quantity":0.2500000000,"raw_payload":{_PAYLOAD},"source_ip":null,'
            f'"hmac_verified":false,"delivery_id":null,"created_at":"{printed}","recorded_by":"{user}"}}'
        )
        row_hash = sha256(row_hash + data.encode()).digest()
        values = (number, uuid, signal, "BTCUSD", "BUY", "64123.5500000000", "0.2500000000", _PAYLOAD, "f")
        yield "\t".join(map(str, (*values, row_hash.hex(), made, user))) + "\n"


def measure(host: Host, conn: psycopg.Connection[Any], rows: int) -> Iterator[tuple[str, str, float]]:
    """Yield what a row costs: the name, the unit and the value. The log must not be sealed yet."""
    calls = []
    while conn.execute("select 1 where unsealed_rows('signals') >= 256").fetchone():
        calls.append(host.seconds(conn, "select seal_log('signals')"))
    yield "seal", "µs", sum(calls) / rows * 1e6
    yield "seal_log, longest call", "s", max(calls)
    ranges = [(first, min(first + RANGE - 1, rows)) for first in range(1, rows + 1, RANGE)]
    verified = sum(host.seconds(conn, f"select verify_range('signals', {a}, {b})") for a, b in ranges)
    yield "verify", "µs", verified / rows * 1e6
    steps = [(first, min(first + STEP - 1, rows)) for first in range(1, rows + 1, STEP)]
    recomputed = sum(
        host.seconds(conn, f"select recompute_block_roots('signals', {a}, {b})") for a, b in steps
    )
    yield "compare with a checkpoint", "µs", recomputed / rows * 1e6
    yield "dump (COPY)", "µs", _copy_out(host, conn) / rows * 1e6
    sizes = conn.execute(
        "select c.relname, pg_relation_size(c.oid) from pg_class as c"
        " where c.oid = 'signals'::regclass or c.oid in (select i.indexrelid from pg_index as i"
        "   where i.indrelid = 'signals'::regclass) order by c.relkind desc, c.relname"
    ).fetchall()
    for name, size in sizes:
        yield name, "bytes", size / rows
    (nodes,) = conn.execute("select pg_total_relation_size('log_nodes')").fetchone() or (0,)
    yield "log_nodes", "bytes", nodes / rows
    yield (
        "INSERT of one row",
        "xids",
        _xids(conn, f"insert into signals {_columns()} values ('x-1', {_CONTENT})"),
    )
    yield "CALL append_signal", "xids", _xids(conn, f"call append_signal('x-2', {_CONTENT})")
    many = ", ".join(
        f'{{"signal_id": "x-{n}", "symbol": "BTCUSD", "side": "BUY", "price": 1.5, "quantity": 2, "raw_payload": {{}}}}'
        for n in range(3, 103)
    )
    yield "CALL append_signals of 100", "xids", _xids(conn, f"call append_signals('[{many}]')") / 100


def _columns() -> str:
    return "(signal_id, symbol, side, price, quantity, raw_payload)"


def _xids(conn: psycopg.Connection[Any], statement: str) -> float:
    def now() -> int:
        (xid,) = conn.execute("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone() or (
            0,
        )
        return int(xid)

    before = now()
    conn.execute(statement)
    return float(now() - before)


def _copy_out(host: Host, conn: psycopg.Connection[Any]) -> float:
    return host.seconds(conn, "copy signals to program 'cat > /dev/null'")


def model(costs: dict[str, float]) -> list[Figure]:
    """Return what a billion rows cost, if each costs what was measured, over one connection."""
    disk = sum(size for name, size in costs.items() if name.startswith(("signals", "log_nodes")))
    hours = {
        name: costs[name] * BILLION / 1e6 / 3600
        for name in ("verify", "compare with a checkpoint", "seal", "dump (COPY)")
    }
    found = [_model("disk", "GB", disk * BILLION / 1e9)]
    found += [_model(name, "h", value) for name, value in hours.items()]
    found.append(_model(f"verify, a turn of {FULL_EVERY}", "h", hours["verify"] / FULL_EVERY))
    for name in ("INSERT of one row", "CALL append_signal", "CALL append_signals of 100"):
        found.append(_model(f"{name}: transaction ids", "10⁹", costs[name]))
    return found


def _figure(name: str, unit: str, value: float) -> Figure:
    return figures(NAME, "a row", unit, {name: [value]}, baseline=name)[0]


def _model(name: str, unit: str, value: float) -> Figure:
    return figures(NAME, "a billion rows (model)", unit, {name: [value]}, baseline=name)[0]
