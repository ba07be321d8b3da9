"""What is signed of a run: a checkpoint of three lines, and the proof of the run's row, which names every other log.

    alpha-db.example.org/trading
    42
    e9NcahV/UuHeZ9yvY9geAJi2E1k99MsCEbvpLHjLTE4=

    — alpha-db.example.org/trading <base64 of key id and signature>

The lines are the name of the log, which is the key's name, the number of runs, and the root of the log of runs. Source:
c2sp.org/tlog-checkpoint and c2sp.org/tlog-proof.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.offline_check import Run, RunRow

NOTE = "checkpoint.note"
PROOF = "run.tlog-proof"
#: Some readers of tlog-proof take lines of 64 KiB at most, and the extra line is base64.
MAX_FOREIGN_EXTRA = 48 * 1024

_GLANCE = re.compile(r"^[^\n]+\n(\d{1,18})\n[^\n]+\n\n— (\S+) ", re.MULTILINE)


@dataclass(frozen=True)
class Position:
    """Where a server is: which cluster, on which timeline, how far."""

    system_identifier: str
    timeline: int
    lsn: str

    @classmethod
    def of(cls, run: Run) -> Position:
        """Return where the server was when the run was recorded."""
        return cls(run.system, run.timeline, run.lsn)

    @property
    def offset(self) -> int:
        """The WAL position as a number."""
        return offset_of(self.lsn)


def offset_of(lsn: str) -> int:
    """Return a WAL position, printed as X/Y, as a number."""
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def run_name(size: int) -> str:
    """Return the name of the directory of a run: the size of the log of runs, so that names sort as runs do."""
    return f"{size:09d}"


class Glance(NamedTuple):
    """What the files of a run say of themselves, unverified; empty where one cannot be read."""

    size: int | None = None
    signer: str = ""
    time: str = ""
    guards: str = ""
    sizes: dict[str, int] = {}  # noqa: RUF012  # never changed


def glance(note: str, proof: str) -> Glance:
    """Return what a note and the proof of its run's row say, without believing it."""
    signed = _GLANCE.match(note) or _GLANCE.search(proof)
    size, signer = (int(signed[1]), signed[2]) if signed else (None, "")
    try:
        extra = json.loads(base64.b64decode(proof.split("\n", 2)[1].removeprefix("extra ")))
        row = json.loads(extra["row_data"])
        sizes = {str(table): int(head["size"]) for table, head in row["heads"].items()}
        return Glance(size, signer, str(row["created_at"]), str(row["guards_hash"]), sizes)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Glance(size, signer)


def is_like_a_note(text: str) -> bool:
    """Return whether a text looks like a checkpoint, unverified."""
    return _GLANCE.match(text) is not None and text.endswith("\n")


def compose_note(size: int, root: bytes, key: SigningKey) -> str:
    """Return the signed checkpoint of the log of runs."""
    text = f"{key.name}\n{size}\n{base64.b64encode(root).decode()}\n"
    return f"{text}\n{key.sign(text)}"


def compose_run_proof(row: RunRow, note: str) -> str:
    """Return the proof that a run stands in the log that a note signs."""
    return _compose(_compact({"format": "alpha-db/run/v1", **_members(row)}), row, note)


def compose_row_proof(
    table: str, row_id: int, previous_hash: str, row_data: str, proof: Sequence[bytes], run: RunRow, note: str
) -> str:
    """Return the proof that a row stands in the log of its table, as a run names it, and the run in the signed log.

    Takes the table, the id, the hash before the row, the row as it was hashed, and its inclusion proof in its table's
    log; the run's row, and the note.
    """
    extra = {
        "format": "alpha-db/row/v1",
        "table": table,
        "id": row_id,
        "previous_hash": previous_hash,
        "row_data": row_data,
        "proof": [base64.b64encode(node).decode() for node in proof],
        "run": _members(run),
    }
    return _compose(_compact(extra), run, note)


def _members(row: RunRow) -> dict[str, str]:
    return {"previous_hash": row.previous_hash, "row_data": row.row_data}


def _compose(extra: bytes, run: RunRow, note: str) -> str:
    path = "".join(f"{base64.b64encode(node).decode()}\n" for node in run.proof)
    return f"c2sp.org/tlog-proof@v1\nextra {base64.b64encode(extra).decode()}\nindex {run.id - 1}\n{path}\n{note}"


def _compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
