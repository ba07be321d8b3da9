"""Part history: what a change of a tracked table costs, beside the usual audit trigger, without and with a chain."""

from __future__ import annotations

import os
from pathlib import Path

import click

from alpha_db.embedded import throwaway_server
from bench.contestants import arena
from bench.cost import is_told, scenario
from bench.host import Host
from bench.measure import Figure, Target

NAME = "history"
TITLE = "processor time of the backend for a change of a tracked table, beside the usual audit trigger"

PLAIN, AUDITED = "plain table", "audit trigger (supa_audit's shape)"
CHAINED, TRACKED = "that trigger, its trail chained", "track_table"
TABLES = {
    PLAIN: "plain_positions",
    AUDITED: "audited_positions",
    CHAINED: "chained_positions",
    TRACKED: "tracked_positions",
}
#: A tracked change may cost what the usual trigger costs with a chain behind it.
TARGET = {TRACKED: Target(1.0, "ratio")}

#: Transactions of a slice, and rows of a statement.
CALLS, ROWS = 300, 10_000

INSERT = "insert into {} (id) select 20000 + %(k)s::bigint"
UPDATE = "update {} set quantity = quantity + 1 where id = 1 + mod(%(k)s::bigint, 10000)"
UPDATE_ALL = "update {} set quantity = quantity + 1 where id <= 10000"

_DATABASE = "bench_history"


def run(host: Host) -> list[Figure]:
    """Measure; nothing where the operating system does not tell. Raises psycopg.Error, AlphaDbError."""
    if not is_told(os.getpid()):
        click.echo("bench: history: left out: this system has no /proc/PID/schedstat", err=True)
        return []
    rounds = 3 if host.quick else 15
    with throwaway_server(host.server.binaries) as server:
        quiet = Host(server, host.quick)
        with arena(quiet, _DATABASE) as dsn:
            with quiet.connect(dsn) as conn:
                conn.execute(Path(__file__).with_name("history.sql").read_bytes())
            return [
                figure
                for title, statement, calls, rows in (
                    ("an INSERT alone in its transaction", INSERT, CALLS, 1),
                    ("an UPDATE alone in its transaction", UPDATE, CALLS, 1),
                    ("an UPDATE of 10 000 rows", UPDATE_ALL, 1, ROWS),
                )
                for figure in scenario(
                    quiet,
                    (NAME, _DATABASE),
                    title,
                    {name: (statement.format(table), calls, rows) for name, table in TABLES.items()},
                    rounds if calls > 1 else min(rounds, 5),
                    CHAINED,
                    TARGET,
                )
            ]
