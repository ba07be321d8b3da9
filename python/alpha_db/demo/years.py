"""The demo's chapter on the years: a table of one's own, the history of one that changes, and rows that leave.

Every value was read from the database. Source: docs/own-tables.md, docs/history.md, docs/retention.md.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg

from alpha_db.connection import connect
from alpha_db.demo.council import Keys
from alpha_db.demo.leaving import Desks, leaving
from alpha_db.demo.statements import statement
from alpha_db.errors import from_database
from alpha_db.queries import Row, ask

Dsn = Callable[[str, str], str]
Connection = psycopg.Connection[Any]

HISTORY = "table_changes"
_TRACKED = {"table": "public.positions"}


@dataclass(frozen=True)
class Stage:
    """Where the chapter plays: the copy of the database, and who connects."""

    copy: str
    superuser: str
    trader: str
    auditor: str
    council: str


def years_chapter(dsn: Dsn, stage: Stage, keys: Keys) -> tuple[Row, bool]:
    """Run the chapter with the keys of the enrolled agents; return what was found, and whether it was as promised.

    Raises AlphaDbError and psycopg.Error for what is no finding.
    """
    with closing(_connect(dsn("postgres", stage.superuser))) as conn:
        conn.execute(statement("copy_for_years"))
    with (
        closing(_connect(dsn(stage.copy, stage.superuser))) as owner,
        closing(_connect(dsn(stage.copy, stage.trader))) as trader,
        closing(_connect(dsn(stage.copy, stage.auditor))) as auditor,
        closing(_connect(dsn(stage.copy, stage.council))) as council,
    ):
        own, is_refused = _own_table(owner, trader)
        tracked, is_found = _tracked_table(owner, auditor)
        # its history begins again, or the difference would be reported for ever
        owner.execute(statement("track_positions"))
        left, has_left = leaving(Desks(owner, auditor, council), keys)
    data = {"copied_by": statement("copy_for_years"), "own_table": own, "history": tracked, "retention": left}
    return data, is_refused and is_found and has_left


def _own_table(owner: Connection, trader: Connection) -> tuple[Row, bool]:
    begun = [statement("create_own"), statement("chain_own")]
    for text in begun:
        owner.execute(text)
    written = trader.execute(statement("insert_own")).rowcount
    tried, refused = statement("update_own"), {}
    try:
        with owner.transaction(force_rollback=True):
            owner.execute(tried)
    except psycopg.Error as exc:
        problem = from_database(exc)
        refused = {problem.code: problem.message}
    data = {"statements": begun, "rows": written, "tried": tried, "refused": refused}
    return data, written == 1 and list(refused) == ["AUD-013"]


def _tracked_table(owner: Connection, auditor: Connection) -> tuple[Row, bool]:
    begun = [statement("create_positions"), statement("track_positions")]
    for text in (*begun, *map(statement, ("first_position", "second_position", "third_position"))):
        owner.execute(text)
    entries = ask(auditor, "table_history", **_TRACKED, key="ETHBTC")
    moment = entries[1]["created_at"] if len(entries) == len(_QUANTITIES) else None
    as_of = [row["row"] for row in ask(auditor, "table_as_of", **_TRACKED, moment=moment)] if moment else []
    with owner.transaction():
        owner.execute(statement("switch_off_history"))
        owner.execute(statement("behind_the_back"))
        owner.execute(statement("switch_on_history"))
    problems = ask(auditor, "verify_tracked", **_TRACKED)
    found = problems[0] if len(problems) == 1 else None
    verdict = next(row for row in _verdicts(auditor) if row["table_name"] == HISTORY)
    data = {
        "statements": begun,
        "changes": [
            {"operation": row["operation"], "before": _quantity(row["old_row"]), "after": _quantity(row["new_row"])}
            for row in entries
        ],
        "moment": moment,
        "as_of": as_of,
        "behind_the_back": statement("behind_the_back"),
        "found": found,
        "verdict": verdict["verdict"],
        "code": verdict["error_code"],
    }  # fmt: skip
    as_promised = (
        [change["after"] for change in data["changes"]] == _QUANTITIES
        and as_of == [{"symbol": "ETHBTC", "quantity": _QUANTITIES[1]}]
        and found is not None
        and (found["problem"], _quantity(found["recorded"])) == ("changed_row", _QUANTITIES[-1])
        and verdict["error_code"] == "AUD-015"
    )
    return data, as_promised


#: What story.sql makes of the position.
_QUANTITIES = ["2.5", "4", "1.5"]

_EVERYTHING = {"table_name": None, "from_id": None, "to_id": None, "engage_lockdown": True}


def _verdicts(conn: Connection) -> list[Row]:
    return ask(conn, "verify_chain", **_EVERYTHING)


def _quantity(row: Row | None) -> str | None:
    return row["quantity"] if row else None


def _connect(dsn: str) -> Connection:
    return connect(dsn, autocommit=True)
