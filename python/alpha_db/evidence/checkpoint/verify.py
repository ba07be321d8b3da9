"""Comparing a database with the checkpoints that were made of it: what was signed is there, unchanged.

Rows of the result look like those of verify_chain_integrity, with `subject` (a table, "guards", or a run), `run`,
`size`, `missing_rows` and `cause` besides. Source: docs/chain-format.md and docs/checkpoints.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, repeat
from operator import attrgetter
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import dict_row, tuple_row

from alpha_db.errors import (
    AlphaDbError,
    NotThere,
    RecoveryConflict,
    from_database,
    is_recovery_conflict,
    squeeze,
)
from alpha_db.evidence.archived import has_root, is_start_proven, start_of
from alpha_db.evidence.checkpoint.blocks import Hands, read_blocks, root_of, roots_at, savepoint
from alpha_db.evidence.checkpoint.history import History, RefusedRun, Run, whole
from alpha_db.evidence.checkpoint.note import Position, run_name
from alpha_db.evidence.checkpoint.whereabouts import Whereabouts, why_missing, why_other
from alpha_db.evidence.offline_check import LOG_OF_RUNS, Signed, verify_consistency
from alpha_db.queries import ask, ask_one, query
from alpha_db.sqlstates import READ_AGAIN

Row = dict[str, Any]
Connection = psycopg.Connection[Any]

GUARDS = "guards"


class Older(NamedTuple):
    """What a run before the latest says of a log."""

    run: str
    signed: Signed


#: How often a standby may cancel what compares one subject, until that is not_run.
TRIES = 4


@dataclass(frozen=True)
class Comparison:
    """What came of a comparison: the run that was compared with, how many there are, and the findings."""

    directory: str
    runs: int = 0
    latest: Run | None = None
    results: list[Row] = field(default_factory=list)


@dataclass
class Done:
    """What a comparison has found so far, by subject, and how often a standby cancelled what it had not."""

    findings: dict[str, Row] = field(default_factory=dict)
    conflicts: Counter[str] = field(default_factory=Counter)


class Progress:
    """Tells how many rows of how many are compared."""

    def __init__(self, total: int, hands: Hands | None) -> None:
        self._total, self._hands, self._before = total, hands, 0

    def within(self, rows: int) -> None:
        """So many rows of the table that is being compared are read."""
        if self._hands:
            self._hands.on_progress(self._before + rows, self._total)

    def done(self, rows: int) -> None:
        """A table of so many rows is compared."""
        self.within(rows)
        self._before += rows


@dataclass(frozen=True)
class Book:
    """A table, and who reads it."""

    conn: Connection
    table: str
    hands: Hands | None
    progress: Progress

    def read(self, signed: Signed, start: int) -> list[bytes] | None:
        """Return the roots of the blocks that the rows give; None if they give none, or nothing remains of them."""
        if signed.size <= start or not is_start_proven(self.conn, self.table, start):
            return None
        return read_blocks(self.conn, self.table, signed.size, self.hands, self.progress.within)

    def roots(self, blocks: Sequence[bytes], older: Sequence[Signed]) -> Iterator[bytes]:
        """Yield the root at each older size, from the rows alone."""
        return roots_at(self.conn, self.table, blocks, [signed.size for signed in older], self.hands)


def compare(
    conn: Connection,
    directory: str,
    history: History,
    *,
    table: str | None = None,
    engage_lockdown: bool = True,
    done: Done | None = None,
    hands: Hands | None = None,
) -> Comparison:
    """Compare every chained table, or one, with the runs of a directory, and the guards with the latest run.

    Every run is compared with the rows; one of which the rows are archived, by a consistency proof, which no stored
    node can forge. `hands` read a log side by side; without them `conn` reads all. What could not be compared is a
    finding, ``not_run``, but for a conflict with recovery on a standby, which is raised: called again with the same
    `done`, this compares only what `done` has no finding of.
    """
    try:
        return _compare(conn, directory, history, table, engage_lockdown, done or Done(), hands)
    except (AlphaDbError, psycopg.Error) as problem:
        if is_recovery_conflict(problem):
            raise
        return not_compared(directory, problem, history)


def not_compared(directory: str, problem: Exception, history: History | None = None) -> Comparison:
    """Return the finding that nothing could be compared, or is there to compare with, and why."""
    detail, verdict = _told(problem), "not_there" if isinstance(problem, NotThere) else "not_run"
    latest, runs = (history.latest, len(history.runs)) if history else (None, 0)
    return Comparison(directory, runs, latest, [_row(directory, None, verdict=verdict, detail=detail)])


def _compare(
    conn: Connection,
    directory: str,
    history: History,
    table: str | None,
    engage_lockdown: bool,
    done: Done,
    hands: Hands | None,
) -> Comparison:
    here = _here(conn)
    installation = here["installation"]
    strange = [
        RefusedRun(
            run.name, f"it is of another installation, {run.facts.installation}; this is {installation}"
        )
        for run in history.runs
        if run.facts and run.facts.installation != installation
    ]
    runs = [run for run in history.runs if not run.facts or run.facts.installation == installation]
    refused = sorted([*history.refused, *strange], key=lambda run: run.name)
    results = [
        _row(run.name, run.name, verdict="checkpoint_refused", is_valid=False, detail=run.reason)
        for run in refused
    ]
    for run in history.not_cosigned:
        told = f"{run.reason}; the rows are compared with it all the same. alpha-db checkpoint witness asks again"
        found = _row(run.name, run.name, verdict="not_run", detail=told)
        results.append(
            found if history.is_seen else found | {"verdict": "checkpoint_refused", "is_valid": False}
        )
    results += [
        _row(one.name, one.run, verdict="not_run", detail=f"could not be read: {one.reason}")
        for one in history.unreadable
    ]
    if not runs:
        return Comparison(directory, len(history.runs), None, results)
    latest = next((run for run in reversed(runs) if run.is_whole), runs[-1])
    covered = {name: run for run in runs for name in run.logs}  # the latest run that has each table
    place = Whereabouts(
        Position(here["system_identifier"], here["timeline"], here["wal_lsn"]), here["in_recovery"]
    )
    if table is None:
        guards = partial(_guards, conn, latest, here["guards"])
        results.append(_tried(conn, GUARDS, latest, None, guards, done))
    chains = [row[0] for row in conn.cursor(row_factory=tuple_row).execute(query("chain_status"))]
    gone = [name for name in covered if name not in chains]
    recorded: dict[str, list[Older]] = {}
    try:
        with savepoint(conn):
            recorded = _recorded(conn, latest)
    except (AlphaDbError, psycopg.Error) as problem:
        if is_recovery_conflict(problem):
            raise
        results.append(_row("recorded runs", latest.name, verdict="not_run", detail=_told(problem)))
    wanted = [name for name in [*chains, *gone] if table in (None, name)]
    progress = Progress(sum(covered[name].logs[name].size for name in wanted if name in covered), hands)
    for name in wanted:
        if name not in covered:
            detail = f"{latest.name} has no checkpoint of it: a new one covers it, unless rows are missing"
            results.append(_row(name, latest.name, name, verdict="not_run", detail=detail))
        elif name in gone:
            results.append(_gone(covered[name], covered[name].logs[name]))
        else:
            compared = partial(
                _table,
                Book(conn, name, hands, progress),
                runs,
                recorded.get(name, []),
                place,
                engage_lockdown,
            )
            results.append(_tried(conn, name, covered[name], name, compared, done))
    return Comparison(directory, len(history.runs), latest, results)


def _tried(
    conn: Connection, subject: str, run: Run, table: str | None, compare: Callable[[], Row], done: Done
) -> Row:
    """The finding, which is not_run for what cannot be compared: that hides no other finding.

    Raises a conflict with recovery, so that it is compared again, until there were TRIES of them.
    """
    if subject in done.findings:
        return done.findings[subject]
    try:
        with savepoint(conn):
            found = compare()
            if found["verdict"] == "not_run" and str(found["detail"]).endswith(("(40001)", "(40P01)")):
                raise RecoveryConflict(str(found["detail"]))
    except (AlphaDbError, psycopg.Error) as problem:
        found = _row(subject, run.name, table, verdict="not_run", detail=_told(problem))
        if is_recovery_conflict(problem):
            done.conflicts[subject] += 1
            if done.conflicts[subject] < TRIES:
                raise
            done.findings[subject] = found | {"detail": f"{found['detail']}; {READ_AGAIN}"}
            raise  # the session may be gone; the next call goes on behind this finding
    done.findings[subject] = found
    return found


def _told(problem: Exception) -> str:
    error = from_database(problem) if isinstance(problem, psycopg.Error) else problem
    return squeeze(error.message if isinstance(error, AlphaDbError) else str(error))


def _here(conn: Connection) -> Row:
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(query("whereabouts")).fetchone()
    if row is None:
        raise AlphaDbError("the table installation is empty")
    return row


def _guards(conn: Connection, latest: Run, guards: str) -> Row:
    then = whole(latest).guards
    if then == guards:
        return _row(
            GUARDS, latest.name, verdict="intact", is_valid=True, detail="as when the checkpoint was made"
        )
    states = latest.logs.get("guard_states")
    with conn.cursor(row_factory=dict_row) as cursor:
        since = cursor.execute(query("guard_states_since"), {"size": states.size if states else 0}).fetchall()
    if since:
        said = "; ".join(
            f"{row['reason']} (guard_states {row['id']}, by {row['recorded_by']})" for row in since
        )
        detail = f"not those of the checkpoint; recorded since: {said}"
    else:
        detail = "not those of the checkpoint, and no new state was recorded since"
    detail += "; alpha-db guards --checkpoints names what changed, a new checkpoint accepts it"
    return _row(
        GUARDS,
        latest.name,
        verdict="guard_changed",
        is_valid=False,
        error_code="AUD-011",
        expected_hash=then,
        actual_hash=guards,
        detail=detail,
    )


def _gone(latest: Run, signed: Signed) -> Row:
    return _row(
        signed.table,
        latest.name,
        signed.table,
        verdict="tail_missing",
        is_valid=False,
        error_code="AUD-009",
        broken_id=1,
        size=signed.size,
        missing_rows=signed.size,
        expected_hash=signed.root.hex(),
        detail=f"the table is no chain of this database any more: {_rows(signed.size)} missing;"
        " the lockdown is NOT engaged by this, because there is no chain to verify",
    )


def verify_again(conn: Connection, signed: Signed) -> Row:
    """Compare a table with one checkpoint, which engages the lockdown over damage; return the verdict."""
    return _verdict(conn, signed, engage=True)


def _verdict(conn: Connection, signed: Signed, *, engage: bool) -> Row:
    values = {"table_name": signed.table, "size": signed.size, "root": signed.root, "engage_lockdown": engage}
    (found,) = ask(conn, "verify_checkpoint", **values)
    return found


def _recorded(conn: Connection, latest: Run) -> dict[str, list[Older]]:
    """What every run that the latest checkpoint covers says of each log, signed or not; nothing if it does not hold.

    A run that somebody signed and hid, or wrote past the trigger, is among them, because the log of runs only grows.
    """
    found: dict[str, list[Older]] = {}
    signed = latest.logs[LOG_OF_RUNS]
    last_ids = {row["table_name"]: row["last_id"] or 0 for row in ask(conn, "chain_status")}
    if last_ids.get(signed.table, 0) < signed.size or not _holds(conn, signed):
        return found  # which the finding of that table says
    with conn.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(query("recorded_heads"), {"size": latest.checkpoint.size}):
            table = row["table_name"]
            head = Signed("", table, row["size"], bytes(row["root"]), latest.checkpoint.origin)
            found.setdefault(table, []).append(Older(run_name(row["id"]), head))
    return found


def _table(
    book: Book, runs: Sequence[Run], recorded: Sequence[Older], place: Whereabouts, engage: bool
) -> Row:
    name = book.table
    mine = [run for run in runs if name in run.logs]
    latest = mine[-1].logs[name]
    start = start_of(book.conn, name)
    blocks = book.read(latest, start)
    if blocks and root_of(blocks) == latest.root:
        found = _as_signed(latest, start)
    else:  # the database decides, and engages the lockdown
        found = _verdict(book.conn, latest, engage=engage)
    row = _row(name, mine[-1].name, name) | found | {"size": latest.size}
    every = _older(mine, recorded, name)
    older = [one for one in every if has_root(one.signed.size, start)]
    if row["verdict"] == "tail_missing":
        _explain_missing(book.conn, row, mine[-1], latest, older, start, place)
    elif row["verdict"] == "checkpoint_mismatch":
        _explain_mismatch(book.conn, row, [one for one in older if one.signed.size < latest.size], start)
        _explain_other_rows(book.conn, row, mine[-1], place)
    elif row["verdict"] == "intact":
        _check_older(book, row, latest, older, start, blocks)
        if len(older) < len(every):
            archived = _count(len(every) - len(older), "older checkpoint")
            row["detail"] += f"; {archived} of rows that only their segments have"
    book.progress.done(latest.size)
    return row


def _as_signed(latest: Signed, start: int) -> Row:
    """The verdict of verify_checkpoint on rows that give the signed root."""
    return {
        "table_name": latest.table,
        "rows_checked": latest.size,
        "first_id": start + 1,
        "last_id": latest.size,
        "is_valid": True,
        "error_code": None,
        "verdict": "intact",
        "broken_id": None,
        "expected_hash": None,
        "actual_hash": None,
        "detail": f"{latest.size} rows, as the checkpoint says",
    }


def _older(runs: Sequence[Run], recorded: Sequence[Older], name: str) -> list[Older]:
    """What older runs say of a table, the smallest size first, but not what the latest says, too.

    Of several that say the same it is the last run, because that is what a server has at least.
    """
    latest = runs[-1].logs[name]
    every = [*recorded, *(Older(run.name, run.logs[name]) for run in runs)]
    once = {(one.signed.size, one.signed.root): one for one in sorted(every, key=attrgetter("run"))}
    return [once[key] for key in sorted(once) if key[0] and key != (latest.size, latest.root)]


def _check_older(
    book: Book, row: Row, latest: Signed, older: Sequence[Older], start: int, blocks: Sequence[bytes] | None
) -> None:
    """The latest checkpoint holds: each older run must be of a beginning of the same log."""
    if not older:
        return
    fitting = [one.signed for one in older if one.signed.size <= latest.size]
    kept = [signed for signed in fitting if signed.size > start] if blocks else []
    proven = fitting[: len(fitting) - len(kept)]  # of archived rows only stored nodes are here
    found = chain(
        _proven_roots(book.conn, latest, proven) if proven else (),
        book.roots(blocks, kept) if blocks and kept else (),
        repeat(None),
    )
    for (run, signed), root in zip(older, found, strict=False):
        # a proof is made of stored nodes; only the rows decide
        if root == signed.root or (signed.size <= latest.size and _holds(book.conn, signed)):
            continue
        row.update(
            verdict="checkpoint_mismatch",
            is_valid=False,
            error_code="AUD-009",
            run=run,
            size=signed.size,
            broken_id=signed.size,
            expected_hash=signed.root.hex(),
            actual_hash=root.hex() if root else None,
            detail=f"the run {run} has not signed the same {_span(1, signed.size)} as the latest, which holds: both"
            " are in the log that was signed, and they contradict each other",
        )
        return
    row["detail"] += f", and {_count(len(older), 'older checkpoint')}"


def _proven_roots(conn: Connection, latest: Signed, older: Sequence[Signed]) -> Iterator[bytes | None]:
    """Yield for each size the root that was signed, if a proof shows it in the latest root; None if not."""
    values = {"table_name": latest.table, "sizes": [signed.size for signed in older], "size2": latest.size}
    proofs = conn.cursor(row_factory=tuple_row).execute(query("consistency_proofs"), values).fetchall()
    for signed, (proof,) in zip(older, proofs, strict=True):
        nodes = [bytes(node) for node in proof]
        proven = verify_consistency(signed.size, latest.size, signed.root, latest.root, nodes)
        yield signed.root if proven else None


def _explain_missing(
    conn: Connection,
    row: Row,
    run: Run,
    latest: Signed,
    older: Sequence[Older],
    start: int,
    place: Whereabouts,
) -> None:
    there = row["rows_checked"]
    row["missing_rows"] = latest.size - there
    row["cause"], said = "unknown", "where the server was then cannot be read"
    if run.facts:
        row["cause"], said = why_missing(conn, Position.of(run.facts), place)
    if row["cause"] == "standby_behind":
        row.update(
            verdict="not_run", is_valid=None, error_code=None, broken_id=None, missing_rows=None, detail=said
        )
        return
    known = [one for one in older if one.signed.size <= there]
    holds = _how_many_hold(conn, known)
    same_to = known[holds - 1].signed.size if holds else start
    row["detail"] += f"; {said}{_agreement(known, holds)}"
    if holds < len(known):
        row["detail"] += f"; {_first_changed(same_to + 1, known[holds].signed.size)}"
    elif same_to < there:  # their ids may have been given to others since
        others = "others than those that were" if same_to + 1 < there else "another than the one that was"
        row["detail"] += (
            f"; {_span(same_to + 1, there)} may be {others} signed, because no older checkpoint tells:"
            f" up to {_rows(latest.size - same_to)} lost"
        )


def _explain_mismatch(conn: Connection, row: Row, older: Sequence[Older], start: int) -> None:
    """Find between which two runs the rewriting begins: a rewritten row changes every root from it on."""
    holds = _how_many_hold(conn, older)
    first = older[holds - 1].signed.size + 1 if holds else start + 1
    last = older[holds].signed.size if holds < len(older) else row["size"]
    row["detail"] += f"{_agreement(older, holds)}; {_first_changed(first, last)}"


def _how_many_hold(conn: Connection, older: Sequence[Older]) -> int:
    """How many of the older runs, the smallest first, are of the rows that are there."""
    holds, broken = 0, len(older)
    while holds < broken:
        middle = (holds + broken) // 2
        if _holds(conn, older[middle].signed):
            holds = middle + 1
        else:
            broken = middle
    return holds


def _agreement(older: Sequence[Older], holds: int) -> str:
    """Which rows agree with the last run that holds; nothing if none does."""
    if not holds:
        return ""
    run, signed = older[holds - 1]
    return f"; {_span(1, signed.size)} {'agrees' if signed.size == 1 else 'agree'} with the checkpoint {run}"


def _first_changed(first: int, last: int) -> str:
    return f"the first changed row is {first if first == last else f'one of {first} to {last}'}"


def _span(first: int, last: int) -> str:
    return f"row {first}" if first == last else f"rows {first} to {last}"


def _explain_other_rows(conn: Connection, row: Row, run: Run, place: Whereabouts) -> None:
    """Say if the server may never have had the rows."""
    found = why_other(conn, Position.of(run.facts), place) if run.facts else None
    if found:
        row["cause"], said = found
        row["detail"] += f"; {said}{', and wrote others since' * (row['cause'] == 'older_copy')}"


def _holds(conn: Connection, signed: Signed) -> bool:
    try:
        with savepoint(conn):
            root = ask_one(conn, "recompute_log_root", table_name=signed.table, size=signed.size)
    except psycopg.Error as problem:
        if problem.sqlstate != "AUD09":  # a row is missing, or what stands there is no hash
            raise
        return False
    return bytes(root) == signed.root


def _row(subject: str, run: str | None, table: str | None = None, **values: Any) -> Row:
    row: Row = dict.fromkeys(
        ("table_name", "rows_checked", "first_id", "last_id", "is_valid", "error_code", "verdict", "broken_id",
         "expected_hash", "actual_hash", "detail", "size", "missing_rows", "cause")
    )  # fmt: skip
    return {"subject": subject, "run": run} | row | {"table_name": table} | values


def _rows(number: int) -> str:
    return "1 row is" if number == 1 else f"{number} rows are"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
