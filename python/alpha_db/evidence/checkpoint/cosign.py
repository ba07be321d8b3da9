"""Having the latest run of a directory cosigned by witnesses. Source: docs/witnesses.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import dict_row, tuple_row

from alpha_db.errors import AlphaDbError, ChainMismatch
from alpha_db.evidence.checkpoint.history import (
    CheckpointRefused,
    Latest,
    Run,
    UnreadableFile,
    open_run,
    read_latest,
)
from alpha_db.evidence.checkpoint.note import run_name
from alpha_db.evidence.checkpoint.store import Store, StoreError, add_cosigned
from alpha_db.evidence.offline_check import LOG_OF_RUNS, Checkpoint, Key, Policy, Refused, verify_consistency
from alpha_db.evidence.witness.ask import NoProof, Result
from alpha_db.evidence.witness.collect import Collected, collect, last_sizes, merged
from alpha_db.queries import query

#: In how many runs before the latest to look for what each witness cosigned last. It says so itself, if asked.
_RUNS_BEFORE = 32
#: How many runs may be made and cosigned by others while one command asks.
_RUNS_MEANWHILE = 4

Connect = Callable[[], psycopg.Connection[Any]]


class Cosigned(NamedTuple):
    """What came of asking the witnesses for a run."""

    run: Run
    collected: Collected
    file: Path | None  #: the new note; None if one has all cosignatures already
    unreadable: list[UnreadableFile]  #: so perhaps there is a later run
    problem: (
        AlphaDbError | psycopg.Error | None
    )  #: why a witness was not sent a proof, or nothing was written


def cosign_latest(
    store: Store, keys: Sequence[Key], policy: Policy, connect: Connect, timeout: float, lock_timeout: float
) -> Cosigned:
    """Ask each witness that has not cosigned the latest run, and add what they sign to the run.

    Takes the keys of the log, and what connects to its database, which is asked only if a witness needs a proof.
    If a witness cosigned a later run, which another command made meanwhile, that one is the latest. What the
    database says instead of a proof is no exception but `problem`: ChainMismatch if it does not continue the runs. So
    is that a note cannot be written. Raises CheckpointRefused for a run that does not hold, NotThere and StoreError.
    """
    try:
        latest = read_latest(store, keys)
    except Refused as problem:
        raise CheckpointRefused(f"checkpoint_refused: {problem}") from None
    for _ in range(_RUNS_MEANWHILE):
        done = _cosign(store, keys, policy, connect, timeout, lock_timeout, latest)
        later = _later(store, keys, done)
        if later is None:
            break
        latest = later
    return done


def _cosign(
    store: Store,
    keys: Sequence[Key],
    policy: Policy,
    connect: Connect,
    timeout: float,
    lock_timeout: float,
    latest: Latest,
) -> Cosigned:
    run = latest.run
    before = [name for name in store.names() if name < run.name][-_RUNS_BEFORE:]
    known = last_sizes((note for name in before for note in _cosigned(store, name)), policy)
    problems: list[AlphaDbError | psycopg.Error] = []

    def consistency(old: int, new: int) -> list[bytes]:
        try:
            if problems:
                raise problems[0]  # a database that is down is not asked again for each witness
            values = {"table_name": LOG_OF_RUNS, "size1": old, "size2": new}
            cursor = connect().cursor(row_factory=tuple_row)
            row = cursor.execute(query("consistency_proof"), values).fetchone()
            proof = [bytes(node) for node in row[0]] if row else []
            _check(store, keys, old, run.checkpoint, proof)
        except psycopg.errors.InvalidParameterValue:  # the log has no such size
            problems.append(_too_short(connect(), run.name))
            raise NoProof(str(problems[0])) from None
        except (AlphaDbError, psycopg.Error) as problem:
            problems.append(problem)
            raise NoProof(str(problem)) from None
        return proof

    collected = collect(run.notes[0], run.notes, policy, consistency, known, timeout)
    note, _ = merged(run.notes, collected.note, policy)
    file = None
    if note is not None:
        try:
            # not locked before: witnesses may be slow, and others want to write meanwhile
            with store.locked(lock_timeout):
                note, is_met = merged(_notes(store, keys, run), collected.note, policy)
                file = add_cosigned(store.path / run.name, note) if note is not None else None
        except StoreError as problem:  # which must not hide what the witnesses said
            problems.append(problem)
            is_met = policy.is_met(collected.had)
        collected = collected._replace(is_met=is_met)
    return Cosigned(run, collected, file, latest.unreadable, problems[0] if problems else None)


def _too_short(conn: psycopg.Connection[Any], name: str) -> AlphaDbError:
    """Why there is no proof from a database that has fewer runs than were signed."""
    place = conn.cursor(row_factory=dict_row).execute(query("whereabouts")).fetchone()
    told = f"this database does not have run {name}"
    if place and place["in_recovery"]:
        return AlphaDbError(told, hint="wait until this standby has replayed it, or ask the primary")
    hint = "Runs that were signed are missing. alpha-db verify-chain --checkpoints tells more."
    return ChainMismatch(f"AUD-009: tail_missing: {told}", hint=hint, sqlstate="AUD09")


def _later(store: Store, keys: Sequence[Key], done: Cosigned) -> Latest | None:
    """The latest run, if it explains why a witness says that it cosigned more than there was; None if none does."""
    forks = [finding for finding in done.collected.findings if finding.result is Result.FORK]
    if not forks:
        return None
    try:
        latest = read_latest(store, keys)
    except (Refused, AlphaDbError):
        return None
    size = latest.run.checkpoint.size
    explained = all(fork.larger is not None and fork.larger <= size for fork in forks)
    return latest if explained and size > done.run.checkpoint.size else None


def _notes(store: Store, keys: Sequence[Key], run: Run) -> list[str]:
    """The notes of a run, as they are now; as they were if the run does not hold any more."""
    try:
        now, _ = open_run(store.read(run.name), keys)
    except Refused:
        now = None
    return (now or run).notes


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
