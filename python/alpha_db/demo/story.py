"""The demo, step by step. Every number in a step's data was read from the database.

A step that did not go as promised says so in ``ok`` and the demo goes on; what cannot go on raises.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from alpha_db.connection import connect
from alpha_db.demo import cut, years
from alpha_db.demo.council import make_keys
from alpha_db.demo.desk import Desk
from alpha_db.demo.replay import BATCH, Listener, Replay
from alpha_db.demo.risk import Stage, risk_chapter
from alpha_db.demo.statements import statement
from alpha_db.demo.webhooks import Webhook, make_webhooks, read_candles
from alpha_db.errors import ChainMismatch, Refused, from_database
from alpha_db.migrate import migrate
from alpha_db.queries import query
from alpha_db.writers import record_signal

DATABASE, COPY, CUT_COPY = "alpha_demo", "alpha_demo_copy", "alpha_demo_cut"
RISK_COPY, YEARS_COPY = "alpha_demo_risk", "alpha_demo_years"
SUPERUSER, TRADER, AUDITOR, COUNCIL = "postgres", "demo_trader", "demo_auditor", "demo_council"

#: What is tried, and the code that has to answer.
ATTACKS = {
    "update_signal": "AUD-002",
    "delete_signal": "AUD-003",
    "truncate_signals": "AUD-003",
    "update_debate": "AUD-004",
    "delete_debate": "AUD-005",
    "update_order": "AUD-006",
    "delete_event": "AUD-007",
}

Row = dict[str, Any]
Connection = psycopg.Connection[Any]
#: Gives a progress bar for so many webhooks.
Progress = Callable[[int], AbstractContextManager[Listener]]


@dataclass(frozen=True)
class Step:
    """What a step of the demo found; ok tells whether it was what alpha-db promises."""

    name: str
    data: Row
    ok: bool = True


class Story:
    """The demo on a server that has neither its databases nor its logins yet.

    Takes a function that gives the DSN for a database and a user, and how many webhooks to replay at most.
    """

    def __init__(self, dsn: Callable[[str, str], str], *, limit: int | None, progress: Progress) -> None:
        self._dsn = dsn
        self._limit = limit
        self._progress = progress
        self._keys = make_keys()

    def steps(self) -> Iterator[Step]:
        """Run the demo, yielding each step when it is done. Raises AlphaDbError and psycopg.Error."""
        yield self._migrate()
        webhooks = make_webhooks(limit=self._limit)
        yield self._replay(webhooks)
        yield self._verify()
        yield self._views()
        # the copy is made from a database that nobody is connected to
        with closing(self._connect("postgres", SUPERUSER)) as conn:
            conn.execute(statement("copy_database"))
        yield self._refusals()
        yield self._tampering(webhooks)
        yield self._lockdown(webhooks[0])
        yield self._cut()
        yield self._risk()
        yield self._years()

    def _migrate(self) -> Step:
        with closing(self._connect("postgres", SUPERUSER)) as conn:
            conn.execute(statement("create_database"))
        events = migrate(self._dsn(DATABASE, SUPERUSER))
        applied = [{"name": event.name, "milliseconds": event.milliseconds} for event in events]
        return Step("migrate", {"applied": applied}, ok=bool(applied))

    def _replay(self, webhooks: list[Webhook]) -> Step:
        with closing(self._connect(DATABASE, SUPERUSER)) as conn:
            conn.execute(statement("create_logins"))
        candles = read_candles()
        with closing(self._connect(DATABASE, TRADER)) as conn:
            writer = _row(conn, statement("whoami"))
            replay = Replay(conn)
            started = time.monotonic()
            decisions = list(Desk(candles).decide(webhooks))
            with self._progress(len(webhooks)) as listener:
                replay.run(iter(decisions), listener)
            seconds = time.monotonic() - started
            rows = _row(conn, statement("rows_written"))
            replay.again(decisions[:BATCH])
            after = _row(conn, statement("rows_written"))
        more = {table: after[table] - rows[table] for table in rows}
        data = {
            "writer": writer,
            "candles": len(candles),
            "webhooks": len(webhooks),
            "batch": BATCH,
            "transactions": replay.transactions,
            "rows": rows | {"total": sum(rows.values())},
            "delivered_again": {"webhooks": len(decisions[:BATCH]), "rows": more},
            "seconds": seconds,
        }
        is_once = {table for table, number in more.items() if number} == {"webhook_deliveries"}
        is_complete = rows["webhook_deliveries"] == rows["signals"] == len(webhooks)
        return Step("replay", data, ok=is_complete and is_once and not writer["is_superuser"])

    def _verify(self) -> Step:
        with closing(self._connect(DATABASE, AUDITOR)) as conn:
            started = time.monotonic()
            verdicts = _verdicts(conn)
            seconds = time.monotonic() - started
            heads = {row["table_name"]: row["head_hash"] for row in _rows(conn, query("chain_status"))}
            internal = [row["table_name"] for row in _rows(conn, statement("internal_chains"))]
        intact = bool(verdicts) and all(row["is_valid"] is True for row in verdicts)
        data = {
            "verdicts": verdicts,
            "heads": heads,
            "internal": internal,
            "seconds": seconds,
            "intact": intact,
        }
        return Step("verify", data, ok=intact)

    def _views(self) -> Step:
        with closing(self._connect(DATABASE, AUDITOR)) as conn:
            count = _row(conn, statement("trade_count"))
            trades = _rows(conn, statement("trade"))
            kill_switches = _rows(conn, statement("kill_switch"))
        data = count | {"trade": trades[0] if trades else None, "kill_switches": kill_switches}
        return Step("views", data, ok=len(kill_switches) == 1)

    def _refusals(self) -> Step:
        with closing(self._connect(COPY, SUPERUSER)) as conn:
            answers = [(_refusal(conn, name), statement(name)) for name in ATTACKS]
            attempts = _row(conn, statement("refused_attempts"))["attempts"]
        with closing(self._connect(COPY, TRADER)) as conn:
            trader = (_refusal(conn, "update_signal"), statement("update_signal"))
        data = {
            "copied_by": statement("copy_database"),
            "refused": [(code, tried) for code, tried in answers if code],
            "not_refused": [tried for code, tried in answers if not code],
            "by_privilege": [trader] if trader[0] else [],
            "attempts": attempts,
        }
        as_promised = [code for code, _ in answers] == list(ATTACKS.values()) and trader[0] == "42501"
        return Step("refusals", data, ok=as_promised and attempts == len(ATTACKS))

    def _tampering(self, webhooks: list[Webhook]) -> Step:
        victim = {"id": (len(webhooks) + 1) // 2}
        with closing(self._connect(COPY, SUPERUSER)) as conn, conn.transaction():
            conn.execute(statement("switch_off"))
            edited = conn.execute(statement("tamper"), victim).rowcount
            conn.execute(statement("switch_on"))
        with closing(self._connect(COPY, AUDITOR)) as conn:
            broken = [row for row in _verdicts(conn) if row["is_valid"] is not True]
        found = broken[0] if len(broken) == 1 else None
        data = {
            "statements": [statement("switch_off"), statement("tamper") % victim, statement("switch_on")],
            "edited": edited,
            "broken": broken,
            "found": found
            and {
                "table": found["table_name"],
                "id": found["broken_id"],
                "expected_hash": found["expected_hash"],
                "actual_hash": found["actual_hash"],
                "verdict": found["verdict"],
                "code": found["error_code"],
            },
        }
        right = found is not None and (found["table_name"], found["broken_id"]) == ("signals", victim["id"])
        return Step("tampering", data, ok=right and edited == 1)

    def _lockdown(self, webhook: Webhook) -> Step:
        alert = webhook.parse()
        refusal: Refused | None = None
        with closing(self._connect(COPY, TRADER)) as conn:
            status = _row(conn, query("lockdown_status"))
            try:
                record_signal(
                    conn,
                    signal_id="after-the-tampering",
                    symbol=alert["ticker"],
                    side=alert["action"].upper(),
                    price=alert["price"],
                    quantity=alert["quantity"],
                    raw_payload=webhook.body,
                )
            except Refused as exc:
                refusal = exc
        data = {
            "status": status,
            "code": refusal.code if refusal else None,
            "message": refusal.message if refusal else None,
        }
        return Step("lockdown", data, ok=status["is_locked"] is True and isinstance(refusal, ChainMismatch))

    def _cut(self) -> Step:
        data, ok = cut.cut_chapter(self._dsn, cut.Stage(DATABASE, CUT_COPY, SUPERUSER, AUDITOR))
        return Step("cut", data, ok=ok)

    def _risk(self) -> Step:
        data, ok = risk_chapter(self._dsn, Stage(DATABASE, RISK_COPY, SUPERUSER, TRADER, COUNCIL), self._keys)
        return Step("risk", data, ok=ok)

    def _years(self) -> Step:
        stage = years.Stage(YEARS_COPY, SUPERUSER, TRADER, AUDITOR, COUNCIL)
        data, ok = years.years_chapter(self._dsn, stage, self._keys)
        return Step("years", data, ok=ok)

    def _connect(self, database: str, user: str) -> Connection:
        # TRUNCATE … CASCADE would tell what it cascades to
        options = "-cclient_min_messages=warning"
        return connect(self._dsn(database, user), autocommit=True, options=options)


def _rows(conn: Connection, sql: Any, values: Row | None = None) -> list[Row]:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(sql, values).fetchall()


def _row(conn: Connection, sql: Any) -> Row:
    return _rows(conn, sql)[0]


def _verdicts(conn: Connection) -> list[Row]:
    arguments = {"table_name": None, "from_id": None, "to_id": None, "engage_lockdown": True}
    return _rows(conn, query("verify_chain"), arguments)


def _refusal(conn: Connection, name: str) -> str | None:
    """Try a statement that is to be refused and return the code; None (and a rollback) if it was not."""
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(statement(name))
    except psycopg.Error as exc:
        return from_database(exc).code
    return None
