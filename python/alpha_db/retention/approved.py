"""What the agents approved: archived segments, of which rows may still be here, and legal holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from alpha_db.errors import NotThere
from alpha_db.evidence.cli.notes import EvidenceRefused
from alpha_db.pooled import qualified
from alpha_db.queries import Row, ask, query
from alpha_db.retention.segments import name_of, sha256_of

Connection = psycopg.Connection[Any]


class Pruned(NamedTuple):
    """What came of a table: how many rows were deleted, and up to which they are gone."""

    table: str
    deleted: int
    start_id: int


def waiting(conn: Connection, table: str | None = None) -> list[Row]:
    """Return the archived segments of which rows are still here, the oldest first."""
    return [row for row in ask(conn, "archived", table_name=table) if row["still_here"]]


def require_files(segments: Sequence[Row], folder: Path) -> None:
    """Raise unless each segment's file is in a directory, byte for byte as it was approved."""
    for row in segments:
        path = folder / name_of(row["table"], row["first_id"], row["through_id"])
        found = sha256_of(path)
        if found != row["segment_sha256"]:
            raise EvidenceRefused(
                f"{path} has the SHA-256 {found}, and {row['segment_sha256']} was approved",
                hint="Nothing was deleted. Restore the file from where you keep copies.",
            )


def prune(conn: Connection, tables: Sequence[str], batch: int, tell: Callable[[Pruned], None]) -> None:
    """Delete what is approved of each table, and tell what came of each, even if it stops halfway.

    Tables that refer to others come first; what is still referred to is tried again once another table has lost rows.
    Takes a connection in autocommit: each batch is a transaction of its own. Raises psycopg.Error, AUD-016 among them.
    """
    left = list(tables)
    here = {table: _still_here(waiting(conn, table)) for table in tables}
    while left:
        refused: dict[str, psycopg.Error] = {}
        for table in left:
            try:
                tell(_prune(conn, table, batch))
            except psycopg.Error as problem:
                with suppress(psycopg.Error):  # the connection may be gone
                    if rest := waiting(conn, table):
                        gone, here[table] = here[table] - _still_here(rest), _still_here(rest)
                        if gone > 0:
                            tell(Pruned(table, gone, rest[0]["through_id"] - rest[0]["still_here"]))
                if problem.sqlstate != "AUD16":
                    raise
                refused[table] = problem
        if len(refused) == len(left):
            raise next(iter(refused.values()))
        left = list(refused)


def _still_here(segments: Sequence[Row]) -> int:
    return sum(row["still_here"] for row in segments)


def _prune(conn: Connection, table: str, batch: int) -> Pruned:
    call = qualified(query("prune_archived"), conn)
    row = conn.execute(call, {"table_name": table, "batch": batch}).fetchone()
    result = (row if isinstance(row, dict) else {"result": row[0] if row else None})["result"] or {}
    return Pruned(table, int(result.get("deleted", 0)), int(result.get("start_id", 0)))


def hold_of(conn: Connection, prefix: str) -> Row:
    """Return the hold whose proposal's id begins like this. Raises NotThere."""
    found = [row for row in ask(conn, "legal_holds") if str(row["proposal_id"]).startswith(prefix.lower())]
    if len(found) != 1:
        many = "there are several holds whose id begins with" if found else "there is no hold"
        raise NotThere(f"{many} {prefix}", hint="alpha-db retention status lists them")
    return found[0]
