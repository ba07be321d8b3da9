"""Workers that handle one webhook the safe way, and die where they are told to: python -m … DSN BODY PLAN

PLAN is a JSON array with an entry for each worker: null to live, or [step, when], where it kills itself with SIGKILL.
`when` is "before" the step, "inside" it (the statement is sent, no answer is waited for) or "after" it. All of them
begin at the same moment. The exit code is 0 if each worker died exactly if it was told to.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any, NoReturn

import psycopg
from psycopg.rows import dict_row

STEPS = ("delivery", "signal", "decision", "order", "exchange", "submitted", "fill")
DEATHS = [[step, when] for step in STEPS for when in ("before", "inside")] + [["fill", "after"]]

DELIVERY = "call append_webhook(%(body)s::bytea, '203.0.113.7')"
SIGNAL = """
call append_signal(%(signal_id)s, %(ticker)s, 'BUY', %(price)s::numeric, %(quantity)s::numeric, %(payload)s::jsonb,
                   delivery_id => %(delivery_id)s)"""
# In Safe Mode only what reduces a position is allowed, and no limits need to be in force.
DECISION = """
call append_decision(%(correlation_id)s::uuid, %(ticker)s, 'BUY', %(quantity)s::numeric, %(price)s::numeric, -10,
                     true, 'it reduces a position', 'SAFE_MODE')"""
ORDER = """
call append_order(%(correlation_id)s::uuid, 'MARKET', %(ticker)s, 'BUY', %(quantity)s::numeric,
                  client_order_id => %(client_order_id)s)"""
# The pretended exchange does what real ones do: it takes a client_order_id once, and says what became of it.
EXCHANGE = "select * from exchange.place(%(client_order_id)s)"
SUBMITTED = """
call append_order(%(correlation_id)s::uuid, 'MARKET', %(ticker)s, 'BUY', %(quantity)s::numeric, status => 'SUBMITTED',
                  client_order_id => %(client_order_id)s, exchange_order_id => %(exchange_order_id)s)"""
FILL = """
call append_order_event(%(order_id)s, 'FILL', %(quantity)s::numeric, %(price)s::numeric,
                        exchange_event_id => %(trade_id)s)"""


class Worker:
    """One webhook's worker, with what it knows so far."""

    def __init__(self, dsn: str, body: bytes, death: list[str] | None) -> None:
        self.conn = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
        self.death = tuple(death or ())
        self.known: dict[str, Any] = {"body": body}

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_problem: object) -> None:
        self.conn.close()

    def run(self, delivery_id: int | None = None) -> None:
        """From the bytes to the fill; with a delivery that is on record already, from there."""
        if delivery_id is None:
            delivery_id = self.step("delivery", DELIVERY)["id"]
        alert = json.loads(self.known["body"])
        self.known |= {
            "delivery_id": delivery_id,
            "payload": self.known["body"].decode(),
            "signal_id": alert["id"],
            "ticker": alert["ticker"],
            "price": str(alert["price"]),
            "quantity": str(alert["quantity"]),
        }
        recorded = self.step("signal", SIGNAL)
        # The same for whoever handles this signal, so that it is one order.
        self.known |= {
            "correlation_id": recorded["correlation_id"],
            "client_order_id": recorded["correlation_id"].hex,
        }
        self.step("decision", DECISION)
        self.known["order_id"] = self.step("order", ORDER)["id"]
        self.known |= self.step("exchange", EXCHANGE)
        self.step("submitted", SUBMITTED)
        self.step("fill", FILL)

    def step(self, name: str, statement: str) -> dict[str, Any]:
        """Send one statement, and die where it was asked for."""
        if self.death == (name, "before"):
            die()
        if self.death == (name, "inside"):
            text = psycopg.ClientCursor(self.conn).mogrify(statement, self.known)
            self.conn.pgconn.send_query(text.encode())
            while self.conn.pgconn.flush():
                pass
            die()
        row = self.conn.execute(statement, self.known).fetchone()
        assert row is not None
        if self.death == (name, "after"):
            die()
        return row


def die() -> NoReturn:
    """SIGKILL: no handler, no finally, no message to the server."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("alive")


def child(dsn: str, body: bytes, death: list[str] | None, begin: int) -> NoReturn:
    """A worker in a process of its own, which begins when the pipe is closed."""
    status = 1
    try:
        worker = Worker(dsn, body, death)
        os.read(begin, 1)
        worker.run()
        status = 0
    except BaseException as problem:
        print(f"{death}: {type(problem).__name__}: {problem}", file=sys.stderr, flush=True)
    os._exit(status)


def main(dsn: str, body: str, plan: str) -> int:
    """Start all workers at once. Returns 0 if each ended as it was told to."""
    wanted = {}
    begin, gate = os.pipe()
    for death in json.loads(plan):
        pid = os.fork()
        if pid == 0:
            os.close(gate)
            child(dsn, body.encode(), death, begin)
        wanted[pid] = -signal.SIGKILL if death else 0
    os.close(gate)
    ended = {pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in wanted}
    return 0 if ended == wanted else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
