"""How the demo lets the oldest rows leave: by consensus, and then by force."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from alpha_db.demo.council import Council, Keys
from alpha_db.demo.statements import statement
from alpha_db.evidence.checkpoint.create import create
from alpha_db.evidence.checkpoint.history import whole
from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.cli.export_rows import snapshot
from alpha_db.installation import locate
from alpha_db.queries import Row, ask
from alpha_db.retention.approved import Pruned, prune
from alpha_db.retention.segments import Rows, Segment, SignedBy, write_segment
from alpha_db.risk.config_manager import ConfigManager

SIGNER = "demo.example/years"

#: Whose rows are deleted by hand: no table refers to them.
LOG = "order_events"

#: Rows leave in blocks of so many.
BLOCK = 256

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Desks:
    """The connections of those who take part."""

    owner: Connection
    auditor: Connection
    council: Connection


def leaving(desks: Desks, keys: Keys) -> tuple[Row, bool]:
    """Archive what may leave, and delete more by hand; return what was found, and whether it was as promised.

    The segments lie in a temporary directory. Raises AlphaDbError and psycopg.Error for what is no finding.
    """
    plan = [
        row
        for row in ask(desks.auditor, "retention_plan", before="now", table_name=None)
        if row["through_id"]
    ]
    end = next((row["through_id"] for row in plan if row["table"] == LOG), None)
    if end is None:
        return {"plan": plan, "too_few": True}, True
    with tempfile.TemporaryDirectory() as folder:
        segments = _segments(desks.auditor, plan, Path(folder))
    proposal_id, votes = _decide(desks.council, keys, segments)
    pruned: list[Pruned] = []
    prune(desks.auditor, [row["table"] for row in plan], 1024, pruned.append)
    kept = _verdicts(desks.auditor)
    deleted = _by_hand(desks.owner, end + 1)
    broken = [row for row in _verdicts(desks.auditor) if row["is_valid"] is not True]
    found = broken[0] if len(broken) == 1 else None
    data: Row = {
        "too_few": False,
        "plan": plan,
        "segments": [segment.payload for segment in segments],
        "proposal_id": proposal_id,
        "votes": votes,
        "deleted": {done.table: done.deleted for done in pruned},
        "intact": bool(kept) and all(row["is_valid"] is True for row in kept),
        "chains": len(kept),
        "verdict": _archived(kept),
        "statement": statement("delete_oldest") % {"id": end + 1},
        "deleted_by_hand": deleted,
        "found": found
        and {
            "table": found["table_name"],
            "id": found["broken_id"],
            "verdict": found["verdict"],
            "code": found["error_code"],
        },
    }
    as_promised = (
        votes == ["PENDING", "APPLIED"]
        and data["deleted"] == {row["table"]: row["rows"] for row in plan}
        and data["intact"]
        and data["verdict"] == f"rows 1 to {end} archived by proposal {proposal_id}"
        and deleted == 1
        and found is not None
        and (found["table_name"], found["verdict"]) == (LOG, "missing_rows")
    )
    return data, as_promised


def _segments(conn: Connection, plan: list[Row], folder: Path) -> list[Segment]:
    """Sign a checkpoint, and write the segments that it proves; each is read back and checked."""
    key = SigningKey.generate(SIGNER)
    made = create(conn, locate(conn), key, None, progress=lambda *_: None)
    kept = conn.isolation_level, conn.read_only
    try:
        with snapshot(conn) as logs:
            known = {log.table: log for log in logs}
            return [
                write_segment(
                    conn,
                    Rows(known[row["table"]], row["first_id"], row["through_id"]),
                    SignedBy(made.proof, whole(made.run).head(row["table"]), [key.trusted], None),
                    folder,
                    lambda _: None,
                )
                for row in plan
            ]
    finally:
        conn.isolation_level, conn.read_only = kept


def _decide(conn: Connection, keys: Keys, segments: list[Segment]) -> tuple[str, list[str]]:
    council = Council(ConfigManager(conn), keys)
    proposer, *others = keys
    payload = {"segments": [segment.payload for segment in segments]}
    proposal_id = council.propose(proposer, "archive", payload, "kept for seven years")
    return str(proposal_id), [council.approve(proposal_id, name) for name in others]


def _by_hand(conn: Connection, through_id: int) -> int:
    with conn.transaction():
        conn.execute(statement("switch_off_events"))
        deleted = conn.execute(statement("delete_oldest"), {"id": through_id}).rowcount
        conn.execute(statement("switch_on_events"))
    return deleted


def _archived(verdicts: list[Row]) -> str:
    """What verification says of the rows of the log that left, behind how many it read."""
    detail = next(row["detail"] for row in verdicts if row["table_name"] == LOG)
    return (detail or "").rpartition("; ")[2]


def _verdicts(conn: Connection) -> list[Row]:
    return ask(conn, "verify_chain", table_name=None, from_id=None, to_id=None, engage_lockdown=True)
