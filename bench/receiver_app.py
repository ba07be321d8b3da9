"""examples/receiver as a process of its own: python -m bench.receiver_app plain|alpha-db FD DSN

FD is the number of a listening socket that this process inherits. The plain one is the same application with other
writers: each is one INSERT into a table without a chain.
"""

from __future__ import annotations

import importlib
import json
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import uvicorn
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

import alpha_db
from alpha_db.risk import Decision, Order, RiskGuardrailService
from alpha_db.risk.decisions import to_record

SECRET = "bench"

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "receiver"))


class PlainlyRecording(RiskGuardrailService):
    """The guardrail, whose answers are recorded by one INSERT into a table without a chain."""

    def decide_and_record(self, conn: psycopg.Connection[Any], order: Order, **about: Any) -> Decision:
        """As ever, but for the table."""
        decision, recorded = to_record(order, self.allows(order), **about)
        plain_writer("risk_decisions")(conn, **recorded)
        return decision


def plain_writer(table: str) -> Callable[..., dict[str, Any]]:
    """What records a row by one INSERT; it gives the row, and the body of a delivery as JSON."""

    def write(conn: psycopg.Connection[Any], **values: Any) -> dict[str, Any]:
        if "headers" in values:
            values["headers"] = dict(values["headers"])
        given = {
            name: Jsonb(value, exact) if isinstance(value, dict) else value for name, value in values.items()
        }
        if table == "webhook_deliveries":
            given["body_size"] = len(values["raw_body"])
        places = ", ".join(f"%({name})s" for name in given)
        statement = f"insert into plain.{table} ({', '.join(given)}) values ({places}) returning *"
        with conn.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(statement.encode(), given).fetchone()
        assert row is not None
        if table == "webhook_deliveries":
            row["body"] = json.loads(values["raw_body"], parse_float=Decimal)
        return row

    return write


def exact(value: Any) -> str:
    """JSON; the alerts of the benchmark have their amounts as text."""
    return json.dumps(value, default=str)


def plain_writers() -> SimpleNamespace:
    """The names of alpha_db that the receiver calls."""

    def retrying() -> list[AbstractContextManager[None]]:
        return [nullcontext()]

    tables = {
        "webhook": "webhook_deliveries",
        "signal": "signals",
        "order": "order_execution",
        "order_event": "order_events",
    }
    writers = {f"append_{name}": plain_writer(table) for name, table in tables.items()}
    return SimpleNamespace(pool=alpha_db.pool, retrying=retrying, arguments=alpha_db.arguments, **writers)


def main(contestant: str, fd: str, dsn: str) -> None:
    """Serve until the process is ended."""
    receiver: Any = importlib.import_module("receiver")
    if contestant == "plain":
        receiver.alpha_db = plain_writers()
    service = PlainlyRecording if contestant == "plain" else RiskGuardrailService
    app = receiver.create_app(dsn, SECRET, service(dsn))
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=300)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(fd))])


if __name__ == "__main__":
    main(*sys.argv[1:])
