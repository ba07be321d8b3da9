"""What the commands share that deal with evidence: its errors, the checkpoints that a path names, sealing first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from alpha_db.cli.output import WARN, clean, note
from alpha_db.errors import (
    EXIT_DAMAGE,
    EXIT_NOT_THERE,
    AlphaDbError,
    NotThere,
    from_database,
)
from alpha_db.evidence.checkpoint.create import seal
from alpha_db.evidence.checkpoint.history import Run, UnreadableFile, whole
from alpha_db.evidence.checkpoint.note import PROOF
from alpha_db.evidence.checkpoint.quorum import merged_note, require_quorum
from alpha_db.evidence.checkpoint.read import read_checkpoints
from alpha_db.evidence.offline_check import Key, Policy, Refused, Signed, Unreadable
from alpha_db.evidence.offline_check import NotThere as NoFile
from alpha_db.installation import Place
from alpha_db.queries import query
from alpha_db.verify.cli.progress import progress_bar

#: So many rows that no stored node covers are read in a second or so.
_FEW = 50_000


class EvidenceRefused(AlphaDbError):  # noqa: N818
    """Evidence does not hold, or the database does not hold against it."""

    exit_code = EXIT_DAMAGE


class EvidenceUnreadable(AlphaDbError):  # noqa: N818
    """What was given is not complete, well-formed evidence: nothing was concluded."""


@contextmanager
def judged(what: object) -> Iterator[None]:
    """Raise EvidenceRefused, EvidenceUnreadable and NotThere, naming what was checked, for offline_check's own."""
    try:
        yield
    except Refused as problem:
        raise EvidenceRefused(f"{what}: {problem}") from None
    except Unreadable as problem:
        raise EvidenceUnreadable(f"{what}: {problem}") from None
    except NoFile as problem:
        raise NotThere(f"{what}: {problem}") from None
    except MemoryError:
        raise EvidenceUnreadable(f"{what}: this machine does not have the memory for it") from None


def verdict_of(problem: AlphaDbError) -> str:
    """Return what an error says of the evidence: refused, not_run or not_there."""
    return {EXIT_DAMAGE: "refused", EXIT_NOT_THERE: "not_there"}.get(problem.exit_code, "not_run")


@dataclass(frozen=True)
class Notes:
    """The checkpoint that a path names, verified; what could not be read, so that an older one stands in."""

    path: Path
    run: Run
    unreadable: list[UnreadableFile]

    @property
    def logs(self) -> dict[str, Signed]:
        """The signed head of each log, by table."""
        return self.run.logs

    def of(self, table: str) -> Signed:
        """Return the signed head of a table's log. Raises NotThere, and EvidenceUnreadable if it has no root."""
        if table not in self.logs:
            for one in self.unreadable:
                raise EvidenceUnreadable(f"{self.path / one.name}: {one.reason}")
            if self.run.facts and table in self.run.facts.broken:
                with judged(self.path):
                    self.run.facts.head(table)
            said = "" if self.run.is_whole else f"; a note alone covers no other log: name its {PROOF}"
            raise NotThere(f"there is no checkpoint of {table} in {self.path}{said}")
        return self.logs[table]

    def tell_unread(self) -> None:
        """Say on stderr what could not be read, so that an older checkpoint stands in."""
        for one in self.unreadable:
            said = f": {clean(self.path / one.name)}: {clean(one.reason)}"
            note(("Not read, so an older checkpoint may stand in", WARN), said)


def open_notes(path: Path, keys: Sequence[Key], policy: Policy | None = None) -> Notes:
    """Return the checkpoint that a path names: a run, a file of one, or the latest of a directory of runs.

    With a policy its quorum must have cosigned it. Raises CheckpointRefused for what no trusted key signed,
    EvidenceRefused without a quorum, NotThere, and StoreError for what cannot be read.
    """
    latest = read_checkpoints(path, keys)
    with judged(path):
        require_quorum(latest.run.notes, policy)
    return Notes(path, latest.run, latest.unreadable)


def note_of(run: Run, keys: Sequence[Key], policy: Policy | None) -> str:
    """Return the note with all signatures that hold, of the checkpoint that the run's row was proved in.

    Raises StoreError if the run's row could not be read.
    """
    whole(run)
    assert run.proof is not None
    if run.proof.run.checkpoint != run.checkpoint:
        return run.proof.note  # of an older run, because the row of the latest could not be read
    return merged_note(run.notes, keys, policy)


def seal_first(conn: psycopg.Connection[Any], place: Place, table: str) -> None:
    """Store the nodes that a proof needs, if many rows have none; say that it is slow where that cannot be done.

    Takes a connection in autocommit. Raises nothing of the database: without the nodes a proof is slow, not wrong.
    """
    try:
        row = (
            conn.cursor(row_factory=tuple_row)
            .execute(query("unsealed_rows"), {"table_name": table})
            .fetchone()
        )
        rows = row[0] if row else 0
        if rows < _FEW:
            return
        if place.is_read_only:
            problem = "this session cannot write"
        else:
            with progress_bar(f"sealing {table}", rows) as progress:
                seal(conn, lambda done, total: progress(rows - total + done), only=table)
            return
    except psycopg.Error as raised:
        if conn.closed:
            raise
        problem = from_database(raised).message
    said = f": {clean(problem)}. alpha-db checkpoint create on the primary seals it."
    note((f"The log of {clean(table)} is not sealed, so this takes long", WARN), said)
