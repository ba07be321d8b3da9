"""Having the latest run of a directory cosigned by witnesses. Source: docs/witnesses.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import tuple_row

from alpha_db.errors import ChainMismatch
from alpha_db.evidence.checkpoint.history import CheckpointRefused, Run, UnreadableFile, open_run, read_latest
from alpha_db.evidence.checkpoint.note import run_name
from alpha_db.evidence.checkpoint.store import Store, StoreError, add_cosigned
from alpha_db.evidence.offline_check import LOG_OF_RUNS, Checkpoint, Key, Policy, Refused, verify_consistency
from alpha_db.evidence.witness.collect import Collected, collect, last_sizes
from alpha_db.queries import query

#: In how many runs before the latest to look for what each witness cosigned last. It says so itself, if asked.
_RUNS_BEFORE = 32

Connect = Callable[[], psycopg.Connection[Any]]


class Cosigned(NamedTuple):
    """What came of asking the witnesses for a run."""

    run: Run
    collected: Collected
    file: Path | None  #: the new note; None if no cosignature is new
    unreadable: list[UnreadableFile]  #: so perhaps there is a later run


def cosign_latest(
    store: Store, keys: Sequence[Key], policy: Policy, connect: Connect, timeout: float, lock_timeout: float
) -> Cosigned:
    """Ask each witness that has not cosigned the latest run, and add what they sign to the run.

    Takes the keys of the log, and what connects to its database, which is asked only if a witness needs a proof.
    Raises CheckpointRefused for a run that does not hold, ChainMismatch if the database does not continue the runs,
    NotThere, StoreError and psycopg.Error.
    """
    try:
        latest = read_latest(store, keys)
    except Refused as problem:
        raise CheckpointRefused(f"checkpoint_refused: {problem}") from None
    run = latest.run
    before = [name for name in store.names() if name < run.name][-_RUNS_BEFORE:]
    known = last_sizes((note for name in before for note in _cosigned(store, name)), policy)

    def consistency(old: int, new: int) -> list[bytes]:
        values = {"table_name": LOG_OF_RUNS, "size1": old, "size2": new}
        row = connect().cursor(row_factory=tuple_row).execute(query("consistency_proof"), values).fetchone()
        proof = [bytes(node) for node in row[0]] if row else []
        _check(store, keys, old, run.checkpoint, proof)
        return proof

    collected = collect(run.notes[0], run.notes, policy, consistency, known, timeout)
    if collected.note is None:
        return Cosigned(run, collected, None, latest.unreadable)
    with store.locked(lock_timeout):  # not before: witnesses may be slow, and others want to write meanwhile
        return Cosigned(
            run, collected, add_cosigned(store.path / run.name, collected.note), latest.unreadable
        )


def _cosigned(store: Store, name: str) -> list[str]:
    stored = store.read(name)
    return [stored.files[file] for file in stored.cosigned]


def _check(store: Store, keys: Sequence[Key], old: int, latest: Checkpoint, proof: list[bytes]) -> None:
    """Raise ChainMismatch if the database does not lead from an older run to the latest, both as they were signed."""
    try:
        before, _ = open_run(store.read(run_name(old)), keys)
    except (Refused, StoreError):
        return  # checkpoint verify tells; here the proof is the witness's to judge
    if before and not verify_consistency(old, latest.size, before.checkpoint.root, latest.root, proof):
        raise ChainMismatch(
            f"AUD-009: checkpoint_mismatch: runs 1 to {old} of the database are not those signed by run {before.name}",
            hint="Nobody was asked again. alpha-db verify-chain --checkpoints tells more.",
            sqlstate="AUD09",
        )
