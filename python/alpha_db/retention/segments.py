"""Segments: files that have rows of a table and the run that signed them. Source: docs/retention.md.

A segment is the proof of a run, in one line, and an export behind it. Its rows give the root of the log up to its last
row; the consistency proof shows that the log whose root the run names begins with them; the run is in the log of runs
that the note signs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import quote

import psycopg

from alpha_db.errors import AlphaDbError
from alpha_db.evidence.checkpoint.quorum import require_quorum
from alpha_db.evidence.cli.export_rows import Log, write_export
from alpha_db.evidence.cli.new_file import writing
from alpha_db.evidence.cli.notes import EvidenceRefused, EvidenceUnreadable, judged
from alpha_db.evidence.offline_check import (
    ExportResult,
    Key,
    Policy,
    Signed,
    open_file,
    read_lines,
    verify_consistency,
    verify_export,
)
from alpha_db.queries import ask_one
from alpha_db.security.files import whole_file

Connection = psycopg.Connection[Any]
Progress = Callable[[int], None]


class Rows(NamedTuple):
    """Rows of a table that are to leave: the oldest that are there, up to one that ends a block of 256."""

    log: Log
    first_id: int
    through_id: int

    @property
    def number(self) -> int:
        """How many they are."""
        return self.through_id - self.first_id + 1

    @property
    def file_name(self) -> str:
        """What their segment is called."""
        return name_of(self.log.table, self.first_id, self.through_id)


class SignedBy(NamedTuple):
    """The run that goes into a segment: its proof with the note, and what it says of the table's log."""

    proof: str
    head: Signed
    keys: Sequence[Key]  #: that are trusted
    policy: Policy | None  #: whose quorum must have cosigned


class Segment(NamedTuple):
    """A segment that is on disk and was read back, and what a proposal says of it."""

    rows: Rows
    path: Path
    row_hash: str
    root: str
    sha256: str
    is_new: bool

    @property
    def payload(self) -> dict[str, Any]:
        """The members of an archive."""
        return {
            "table": self.rows.log.table,
            "through_id": self.rows.through_id,
            "row_hash": self.row_hash,
            "root": self.root,
            "segment_sha256": self.sha256,
        }


class SegmentInTheWay(AlphaDbError):  # noqa: N818
    """A file has the name of a segment, and is not that segment."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is there, and is not this segment: {reason}",
            hint="Move it away, or name another directory.",
        )
        self.reason = reason


def name_of(table: str, first_id: int, through_id: int) -> str:
    """Return the name of a segment's file: that of the table, in which no character means anything, and its rows."""
    return f"{quote(table, safe='')}.{first_id:012}-{through_id:012}.segment"


def write_segment(conn: Connection, rows: Rows, by: SignedBy, folder: Path, progress: Progress) -> Segment:
    """Write a segment, or take the one that is there; read it back as anybody would, and return what is in it.

    Takes a connection in a transaction that sees one snapshot, a run of as many rows or more, and the directory, whose
    lock the caller holds; progress counts each row twice. Raises SegmentInTheWay, NotWritten, EvidenceRefused if the
    rows are not those that were signed, EvidenceUnreadable, and psycopg.Error.
    """
    table, through = rows.log.table, rows.through_id
    path = folder / rows.file_name
    root = bytes(ask_one(conn, "log_root", table_name=table, size=through))
    last_hash = ask_one(conn, "row_hash", table_name=table, before=through)
    nodes = consistency_of(conn, by.head, through)
    if not verify_consistency(through, by.head.size, root, by.head.root, nodes):
        raise EvidenceRefused(
            f"rows 1 to {through} of {table} are not those that {by.head.signer} signed",
            hint="alpha-db verify-chain --checkpoints tells more",
        )
    is_new = not os.path.lexists(path)
    if is_new:
        _write(conn, rows, by.proof, nodes, path, progress)
    try:
        found, digest = read_segment(path, by, lambda done: progress(rows.number + done))
    except SegmentInTheWay as problem:
        if is_new:
            path.unlink(missing_ok=True)
            raise EvidenceRefused(f"{table}: what was read back does not hold: {problem.reason}") from None
        raise
    here = (rows.log.origin, table, rows.first_id, through, last_hash)
    if (found.origin, found.table, found.first_id, found.last_id, found.last_hash) != here:
        raise SegmentInTheWay(path, f"it has rows {found.first_id} to {found.last_id} of {found.origin}")
    return Segment(rows, path, found.last_hash, root.hex(), digest, is_new)


def read_segment(path: Path, by: SignedBy, progress: Progress) -> tuple[ExportResult, str]:
    """Check a segment as anybody would, and return what is in it and the SHA-256 of the file.

    Raises SegmentInTheWay for what is none that holds, NotThere.
    """
    try:
        with judged(path), open_file(path) as stream:
            digest = _digest(stream, path)
            stream.seek(0)
            found = verify_export(read_lines(stream), progress=progress, keys=by.keys)
            if found.proof:
                require_quorum([found.proof.note], by.policy)
    except (EvidenceRefused, EvidenceUnreadable) as problem:
        raise SegmentInTheWay(path, problem.message.removeprefix(f"{path}: ")) from None
    if not found.proof:
        raise SegmentInTheWay(path, "it is an export, no segment")
    return found, digest


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file. Raises NotThere, EvidenceUnreadable."""
    with judged(path), open_file(path) as stream:
        return _digest(stream, path)


def _digest(stream: Any, path: Path) -> str:
    try:
        return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as problem:
        raise EvidenceUnreadable(f"{path}: it cannot be read: {problem.strerror or problem}") from None


def remove_parts(folder: Path) -> None:
    """Remove what a run that was killed left of files; the caller holds the lock of the directory. Raises nothing."""
    with suppress(OSError):
        for part in folder.glob(".*.segment.*.part"):
            with suppress(OSError):
                part.unlink()


def consistency_of(conn: Connection, head: Signed, size: int) -> list[bytes]:
    """Return the proof that a log which was signed begins with so many rows. Raises psycopg.Error."""
    values = {"table_name": head.table, "size1": size, "size2": head.size}
    return [bytes(node) for node in ask_one(conn, "consistency_proof", **values)]


def _write(
    conn: Connection, rows: Rows, proof: str, nodes: Sequence[bytes], path: Path, progress: Progress
) -> None:
    document = {
        "format": "alpha-db/segment/v1",
        "consistency": [base64.b64encode(node).decode() for node in nodes],
        "run": proof,
    }
    with _new_segment(path) as stream:
        stream.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        written = write_export(conn, rows.log, rows.first_id, rows.through_id, stream, progress)
        if written.problem:
            raise EvidenceRefused(
                f"{rows.log.table}: {written.problem}", hint="alpha-db verify-chain tells more"
            )


@contextmanager
def _new_segment(path: Path) -> Iterator[IO[bytes]]:
    with writing(path), whole_file(path, overwrite=False) as stream:
        yield stream
