"""What several tests do with a database: migrate it, fill it, tamper with it, ask for verdicts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row

from tests.cluster import Server

ROOT = Path(__file__).resolve().parent.parent


def by_number(file: Path) -> tuple[int, str]:
    """The order of migrations: 100_x comes after 23_y."""
    return int(file.name.split("_")[0]), file.name


MIGRATIONS = sorted(
    (p for p in (ROOT / "migrations").glob("*.sql") if not p.name.endswith(".rollback.sql")), key=by_number
)
ROLLBACKS = sorted((ROOT / "migrations").glob("*.rollback.sql"), key=by_number, reverse=True)
SUPERUSER = ROOT / "superuser"
#: How many seconds a test waits, at most, for what takes a moment on an idle machine. It is for machines that are many
#: times slower, so it is no assertion on how fast anything is.
PATIENCE = 120
AUDIT_TABLES = ("webhook_deliveries", "signals", "ai_debates", "order_execution", "order_events")
#: Every text of the audit log that has a length.
VARCHARS = """
    select c.relname as "table", a.attname as column, a.atttypmod - 4 as length
    from chains as h
    join pg_class as r on r.oid = 'chains'::regclass
    join pg_class as c on c.relnamespace = r.relnamespace and c.relname = h.table_name
    join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where not h.is_internal and a.atttypid = 'varchar'::regtype
    order by h.position, a.attnum
"""

Connection = psycopg.Connection[Any]
Row = dict[str, Any]
Parameters = Sequence[Any] | Mapping[str, Any]


def result_of(text: str, exit_code: int) -> Any:
    """The result in a command's JSON answer, whose frame must say the exit code."""
    answer = json.loads(text)
    assert list(answer) == ["ok", "exit_code", "result", "error"]
    assert (answer["ok"], answer["exit_code"]) == (exit_code == 0, exit_code)
    return answer["result"]


# --------------------------------------------------------------------------------------------------
# Migrating


def server_options(settings: Mapping[str, Any]) -> str:
    """Settings as libpq's `options`: -c name=value, with blanks and backslashes escaped."""
    escaped = {k: str(v).replace("\\", "\\\\").replace(" ", "\\ ") for k, v in settings.items()}
    return " ".join(f"-c {name}={value}" for name, value in escaped.items())


def quote(name: str) -> str:
    """A name as an SQL identifier, always quoted."""
    return '"' + name.replace('"', '""') + '"'


def install_options(schema: str = "public", prefix: str | None = None) -> str:
    """PGOPTIONS under which the migrations install into a schema, with roles of a prefix."""
    settings = {"search_path": quote(schema)}
    if prefix:
        settings["alpha.role_prefix"] = prefix
    return server_options(settings)


def psql_file(
    server: Server,
    dbname: str,
    file: Path,
    *,
    schema: str = "public",
    user: str | None = None,
    prefix: str | None = None,
    check: bool = True,
) -> CompletedProcess[str]:
    """Run one SQL file as docs say: psql -X -1 -v ON_ERROR_STOP=1 -f."""
    return server.psql(
        dbname,
        "-1",
        "-f",
        file,
        user=user,
        check=check,
        environment={"PGOPTIONS": install_options(schema, prefix)},
    )


def migrate_with_psql(
    server: Server,
    dbname: str,
    schema: str = "public",
    user: str | None = None,
    prefix: str | None = None,
    files: Sequence[Path] = MIGRATIONS,
) -> None:
    """Apply all migrations by one psql, which plans each query once. Raises AssertionError with psql's message."""
    server.psql(
        dbname,
        *(argument for file in files for argument in ("-f", file)),
        user=user,
        environment={"PGOPTIONS": install_options(schema, prefix)},
    )


# --------------------------------------------------------------------------------------------------
# Writing


def query(connection: Connection, statement: str, parameters: Parameters = ()) -> list[Row]:
    """All rows of a statement as dictionaries, whatever the connection's row factory."""
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


def one(connection: Connection, statement: str, parameters: Parameters = ()) -> Any:
    """The first column of the first row; None if there is no row."""
    rows = query(connection, statement, parameters)
    return next(iter(rows[0].values())) if rows else None


def make_signal(connection: Connection, n: int = 1, **changes: Any) -> Row:
    """Record signal number n by record_signal, with `changes` to its arguments; gives the row."""
    arguments: Row = {
        "signal_id": f"tv-{n:06d}",
        "symbol": "BTCUSD",
        "side": "BUY" if n % 2 else "SELL",
        "price": f"{60000 + n}.55",
        "quantity": "0.25",
        "raw_payload": f'{{"ticker": "BTCUSD", "n": {n}}}',
        **changes,
    }
    call = ", ".join(f"{name} => %({name})s" for name in arguments)
    return query(connection, f"select * from record_signal({call})", arguments)[0]


def make_delivery(connection: Connection, n: int = 1) -> int:
    """Record the delivery that signal number n is read from; gives its id."""
    body = f'{{"ticker": "BTCUSD", "n": {n}}}'.encode()
    return int(
        one(connection, "select id from record_webhook(%s, '203.0.113.7', 'application/json')", [body])
    )


@dataclass(frozen=True)
class Filled:
    """What fill wrote: the signals' rows, and the ids of orders and events."""

    signals: list[Row]
    market_order: int
    limit_order: int
    events: list[int]


def fill(connection: Connection, signals: int = 3, first: int = 1) -> Filled:
    """Write a little of everything: signals (numbered from `first`) with a delivery and a debate each, one of which
    timed out, a refusal of the guardrail, a MARKET and a LIMIT order, fills, a rejection with its reason, a kill
    switch."""
    rows = [
        make_signal(connection, n, delivery_id=make_delivery(connection, n))
        for n in range(first, first + signals)
    ]
    for number, row in enumerate(rows):
        timed_out = number == len(rows) - 1
        query(
            connection,
            "select id from record_ai_debate(%s, %s, %s, %s::numeric, %s, %s)",
            [
                row["correlation_id"],
                "timeout" if timed_out else ("deepseek-r1:8b", "llama-3.1")[number % 2],
                '{"why": "a test"}',
                "0" if timed_out else "0.8125",
                30000 if timed_out else 900 + number,
                timed_out,
            ],
        )
    correlation = rows[0]["correlation_id"]
    query(
        connection,
        "select id from record_decision(%s, 'BTCUSD', 'BUY', 0.25, null::numeric, 0, false, 'a test', 'SAFE_MODE')",
        [correlation],
    )
    market = one(
        connection,
        "select id from record_order(%s, 'MARKET', 'BTCUSD', 'BUY', 0.25, exchange_order_id => 'x-1')",
        [correlation],
    )
    limit = one(
        connection,
        "select id from record_order(%s, 'LIMIT', 'BTCUSD', 'SELL', 0.25, price => 70000.5)",
        [correlation],
    )
    events = [
        one(connection, f"select id from record_order_event({call})", [order])
        for order, call in (
            (market, "%s, 'PARTIAL_FILL', fill_quantity => 0.1, fill_price => 60001.5"),
            (market, "%s, 'FILL', fill_quantity => 0.15, fill_price => 60001.75, zar_equity => 1000000.25"),
            (limit, "%s, 'REJECTED', rejection_reason => 'no margin', exchange_error_code => 'E42'"),
            (market, "%s, 'KILL_SWITCH', zar_equity => 970000.5, positions_closed => '[{\"n\": 1}]'"),
        )
    ]
    return Filled(rows, market, limit, events)


# --------------------------------------------------------------------------------------------------
# Tampering and judging


def tamper(connection: Connection, statement: str, parameters: Sequence[Any] = ()) -> None:
    """Do what only a superuser can, in one transaction: change protected rows, and leave no guard changed.

    session_replication_role is replica, and the rejecting triggers of all chained tables (and the DDL guard,
    if there is one) are off meanwhile; afterwards each is as it was.
    """
    triggers = query(
        connection,
        "select t.tgrelid::regclass::text as relation, quote_ident(t.tgname) as name, t.tgenabled as state"
        " from chains as c join pg_trigger as t"
        "   on t.tgrelid = (select format('%I.%I', n.nspname, c.table_name)::regclass"
        "                   from pg_class as k join pg_namespace as n on n.oid = k.relnamespace"
        "                   where k.oid = 'chains'::regclass)"
        " where t.tgname in ('_100_reject_change', '_200_reject_truncate')",
    )
    guards = query(
        connection,
        "select quote_ident(evtname) as name, evtenabled as state from pg_event_trigger"
        " where evtname like 'alpha\\_ddl\\_guard\\_%'",
    )
    enable = {"O": "enable", "A": "enable always", "R": "enable replica", "D": "disable"}
    with connection.transaction():
        query(connection, "set local session_replication_role = replica")
        for guard in guards:
            query(connection, f"alter event trigger {guard['name']} disable")
        for trigger in triggers:
            query(connection, f"alter table {trigger['relation']} disable trigger {trigger['name']}")
        query(connection, statement, parameters)
        for trigger in triggers:
            state = enable[trigger["state"]]
            query(connection, f"alter table {trigger['relation']} {state} trigger {trigger['name']}")
        for guard in guards:
            state = enable[guard["state"]]
            query(connection, f"alter event trigger {guard['name']} {state}")


@dataclass(frozen=True)
class Verdict:
    """A row of verify_chain_integrity."""

    table_name: str
    rows_checked: int
    first_id: int | None
    last_id: int | None
    is_valid: bool | None
    error_code: str | None
    verdict: str
    broken_id: int | None
    expected_hash: str | None
    actual_hash: str | None
    detail: str


def verdicts(connection: Connection, **arguments: Any) -> dict[str, Verdict]:
    """verify_chain_integrity by table; its arguments by name."""
    call = ", ".join(f"{name} => %({name})s" for name in arguments)
    with connection.cursor(row_factory=class_row(Verdict)) as cursor:
        cursor.execute(f"select * from verify_chain_integrity({call})", arguments or None)
        return {row.table_name: row for row in cursor}


def changed_guards(connection: Connection) -> list[Row]:
    """The rows of verify_guards(): empty means that all is as installed."""
    return query(connection, "select * from verify_guards()")


def assert_healthy(connection: Connection) -> None:
    """Every chain intact and every guard as installed: a changed guard is a verdict, too."""
    found = verdicts(connection, engage_lockdown=False)
    assert {verdict.verdict for verdict in found.values()} == {"intact"}, found


# --------------------------------------------------------------------------------------------------
# Waiting for the server's state, never for time


def wait_until(
    connection: Connection, condition: str, parameters: Sequence[Any] = (), timeout: float = PATIENCE
) -> None:
    """Ask again until the condition, a query of one boolean, is true. Fails after the timeout."""
    end = time.monotonic() + timeout
    while not one(connection, condition, parameters):
        assert time.monotonic() < end, f"never became true: {condition} {list(parameters)}"
        time.sleep(0.005)


def wait_blocked(connection: Connection, pid: int, timeout: float = PATIENCE) -> None:
    """Wait until a backend waits for a lock that another one holds."""
    wait_until(
        connection,
        "select wait_event_type = 'Lock' and cardinality(pg_blocking_pids(pid)) > 0"
        " from pg_stat_activity where pid = %s",
        [pid],
        timeout,
    )


@contextmanager
def as_role(connection: Connection, role: str) -> Iterator[None]:
    """SET ROLE for a while."""
    connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
    try:
        yield
    finally:
        connection.execute("reset role")
