"""Part desks: durable rows of several desks on one server, a writer each, beside as many writers of one desk."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg

from alpha_db.migrate import migrate
from bench.append import DISKS
from bench.contestants import CALL
from bench.host import Host
from bench.measure import Figure, Slice, alternate, figures
from bench.pgbench import pgbench
from bench.statements import ALONE

NAME = "desks"
TITLE = (
    "durable rows by CALL: 1, 2 and 4 desks of one server with a writer each, and as many writers of one desk"
)

COUNTS = (1, 2, 4)

_DATABASE = "bench_desks"
_SCRIPT = ALONE[CALL] + ";\n"


def run(host: Host) -> list[Figure]:
    """Measure. Raises AlphaDbError with what pgbench or a migration said, and psycopg.Error."""
    found: list[Figure] = []
    desks = [f"desk_{number}" for number in range(1, max(COUNTS) + 1)]
    host.drop(_DATABASE)
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory, "script.sql")
        script.write_text(_SCRIPT, encoding="utf-8")
        try:
            _install(host, desks)
            for disk, settings in DISKS.items():
                with host.set(settings):
                    found += _scenario(host, disk, desks, script)
        finally:
            host.drop(_DATABASE)
    return found


def _install(host: Host, desks: list[str]) -> None:
    host.database(_DATABASE)
    dsn = host.server.url(_DATABASE)
    for desk in desks:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(f"create schema {desk}".encode())
        migrate(dsn, schema=desk)


def _scenario(host: Host, disk: str, desks: list[str], script: Path) -> list[Figure]:
    """The rows of all writers together; the baseline is one desk with one writer."""

    def a_slice(writers: dict[str, int]) -> Slice:
        def one(desk: str) -> float:
            seconds = 1 if host.quick else 4
            return pgbench(host, _DATABASE, script, writers[desk], seconds, schema=desk).rate

        def run() -> list[float]:
            with ThreadPoolExecutor(len(writers)) as pool:  # a pgbench for each desk, side by side
                return [sum(pool.map(one, writers))]

        return run

    contestants = {name_of(count, 1): a_slice(dict.fromkeys(desks[:count], 1)) for count in COUNTS}
    contestants |= {name_of(1, count): a_slice({desks[0]: count}) for count in COUNTS[1:]}
    host.checkpoint()
    rates = alternate(contestants, 1 if host.quick else 5)
    return figures(NAME, disk, "rows/s", rates, baseline=name_of(1, 1))


def name_of(desks: int, writers: int) -> str:
    """Return what so many desks with so many writers each are called."""
    each = "" if desks == 1 else " each"
    return f"{desks} desk{'s' * (desks > 1)}, {writers} writer{'s' * (writers > 1)}{each}"
