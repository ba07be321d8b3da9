"""The demo's chapter on checkpoints: a cut tail that no chain can see, and a signed note that shows it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from alpha_db.connection import connect
from alpha_db.demo.statements import statement
from alpha_db.evidence.checkpoint.create import Created, create
from alpha_db.evidence.checkpoint.history import read_history, whole
from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.checkpoint.store import Store
from alpha_db.evidence.checkpoint.verify import compare
from alpha_db.installation import locate
from alpha_db.queries import query

SIGNER = "demo.example/checkpoints"

Row = dict[str, Any]
Dsn = Callable[[str, str], str]


@dataclass(frozen=True)
class Stage:
    """Where the chapter plays: the databases, and who connects."""

    database: str
    copy: str
    superuser: str
    auditor: str


def cut_chapter(dsn: Dsn, stage: Stage) -> tuple[Row, bool]:
    """Run the chapter; return what was found, and whether it was as promised.

    The checkpoint lies in a temporary directory, and its key exists in memory only. Raises AlphaDbError and
    psycopg.Error for what is no finding.
    """
    key = SigningKey.generate(SIGNER)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        with closing(_connect(dsn(stage.database, stage.auditor))) as conn:
            made = create(conn, locate(conn), key, store, progress=lambda *_: None)
        with closing(_connect(dsn("postgres", stage.superuser))) as conn:
            conn.execute(statement("copy_for_cut"))
        with closing(_connect(dsn(stage.copy, stage.superuser))) as conn:
            last = _rows(conn, statement("kill_switch"))[-1]["event_id"]
            with conn.transaction():
                conn.execute(statement("switch_off_events"))
                cut = conn.execute(statement("cut"), {"id": last}).rowcount
                conn.execute(statement("switch_on_events"))
        with closing(_connect(dsn(stage.copy, stage.auditor))) as conn:
            verdicts = _rows(conn, query("verify_chain"), _EVERYTHING)
            history = read_history(store, [key.trusted])
            compared = compare(conn, folder, history)
    found = [row for row in compared.results if row["is_valid"] is not True]
    data = _data(made, last, cut, verdicts, found[0] if len(found) == 1 else None)
    right = data["found"] is not None and (data["found"]["table"], data["found"]["id"]) == (
        "order_events",
        last,
    )
    return data, data["unnoticed"] and right and data["found"]["missing_rows"] == cut > 0


_EVERYTHING = {"table_name": None, "from_id": None, "to_id": None, "engage_lockdown": True}


def _data(made: Created, last: int, cut: int, verdicts: list[Row], found: Row | None) -> Row:
    heads = whole(made.run).heads.values()
    names = {"table": "table_name", "id": "broken_id", "verdict": "verdict", "code": "error_code"}
    return {
        "signer": SIGNER,
        "logs": len(heads),
        "rows": sum(head.size for head in heads),
        "copied_by": statement("copy_for_cut"),
        "statement": statement("cut") % {"id": last},
        "deleted": cut,
        "chains": len(verdicts),
        "unnoticed": bool(verdicts) and all(row["is_valid"] is True for row in verdicts),
        "found": found and {n: found[c] for n, c in names.items()} | {"missing_rows": found["missing_rows"]},
    }


def _rows(conn: psycopg.Connection[Any], sql: Any, values: Row | None = None) -> list[Row]:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(sql, values).fetchall()


def _connect(dsn: str) -> psycopg.Connection[Any]:
    return connect(dsn, autocommit=True)
