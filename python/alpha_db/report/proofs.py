"""What a page needs to verify its rows by itself: each row as it was hashed, its proof, and the signed checkpoint.

The nodes of all proofs stand in one list, each once, and a proof is a list of places in it: neighbours share nearly all
of theirs. Everything that is embedded is checked by the page, and nothing of it is believed here either.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from alpha_db.evidence.checkpoint.history import Run
from alpha_db.evidence.checkpoint.quorum import merged_note
from alpha_db.evidence.offline_check import LOG_OF_RUNS, Key, Policy
from alpha_db.queries import Row
from alpha_db.report.reading import MAX_EMBEDDED, part

Place = tuple[str, int]


@dataclass(frozen=True)
class Proofs:
    """Inclusion proofs of rows, as places in one list of nodes (base64), and why some have none."""

    nodes: list[str] = field(default_factory=list)
    of: dict[Place, list[int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def prove(conn: psycopg.Connection[Any], run: Run | None, places: Iterable[Place]) -> Proofs:
    """Return the proofs of those rows that a run covers; none without a run whose row could be read.

    Raises psycopg.Error if the connection is lost. A table whose proofs cannot be made is named in `problems`.
    """
    found = Proofs()
    if run is None or not run.is_whole:
        return found
    numbers: dict[str, int] = {}
    ids: dict[str, list[int]] = {}
    for table, row_id in places:
        if table in run.logs and table != LOG_OF_RUNS and row_id <= run.logs[table].size:
            ids.setdefault(table, []).append(row_id)
    for table, wanted in ids.items():
        proofs = part(conn, "inclusion_proofs", table_name=table, ids=wanted, size=run.logs[table].size)
        if proofs.problem:
            found.problems.append(f"{table}: {proofs.problem}")
        for row in proofs.rows:
            nodes = [base64.b64encode(node).decode() for node in row["proof"]]
            found.of[table, row["id"]] = [numbers.setdefault(node, len(numbers)) for node in nodes]
    found.nodes.extend(numbers)
    return found


def embedded_run(run: Run | None, keys: Sequence[Key], policy: Policy | None) -> dict[str, Any] | None:
    """Return the checkpoint as the page has it: the note, the run's row with its proof, and the public keys."""
    if run is None or run.proof is None:
        return None
    row = run.proof.run_row
    is_latest = run.proof.run.checkpoint == run.checkpoint
    return {
        "note": merged_note(run.notes, keys, policy) if is_latest else run.proof.note,
        "row_data": row.row_data,
        "previous": row.previous_hash,
        "proof": [base64.b64encode(node).decode() for node in row.proof],
        "keys": [vkey(key) for key in keys if key.name == run.checkpoint.origin],
    }


def vkey(key: Key) -> str:
    """Return a public key as C2SP writes it, which is how --trust takes it."""
    content = base64.b64encode(b"\x01" + key.public_key).decode()
    return f"{key.name}+{key.key_id.hex()}+{content}"


def embedded_row(place: Place, row: Row, element: str, shown: str, proofs: Proofs) -> dict[str, Any]:
    """Return a row as the page verifies it. `shown` is what the element of that id shows of row_data.

    The text itself is embedded only if what is shown is not the row, character by character.
    """
    content: Mapping[str, Any] = {} if shown == row["row_data"] else {"text": row["row_data"]}
    if row["characters"] > MAX_EMBEDDED:
        content = {"length": row["characters"]}
    return {
        "table": place[0],
        "id": place[1],
        "previous": row["previous_hash"],
        "hash": row["row_hash"],
        "element": element,
        "proof": proofs.of.get(place),
        **content,
    }
