"""Verifying the ranges of a plan side by side. The plan and every verdict are the database's (docs/chain-format.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypedDict, cast

import psycopg
from psycopg.types.json import Jsonb

from alpha_db.errors import (
    ConnectionFailed,
    NotInstalled,
    RecoveryConflict,
    from_database,
    is_recovery_conflict,
)
from alpha_db.queries import ask, ask_one, query
from alpha_db.verify.again import TRIES, Reader
from alpha_db.verify.side_by_side import side_by_side

#: The verdict on rows that were asked for and are not there.
NOT_THERE = "not_there"
#: Why nothing of a chain was read that the plan does not name.
LEFT_OUT = "verification_plan does not name it, though it stands in chains"
#: A range of so many rows that a standby cancelled again and again is given up, not read in halves.
FEW_ROWS = 1024
#: How often such a range is tried, beyond the first TRIES.
LAST_TRIES = 16
# how a verdict's function says of a range what it could not do
_CANCELLED = ("(40001)", "(40P01)")

Connection = psycopg.Connection[Any]


class Verdict(TypedDict):
    """What was found in a table or in a range of it: a row of verify_chain_integrity() (docs/sql/auditor.md)."""

    table_name: str
    rows_checked: int | None
    first_id: int | None
    last_id: int | None
    is_valid: bool | None
    error_code: str | None
    verdict: str
    broken_id: int | None
    expected_hash: str | None
    actual_hash: str | None
    detail: str | None


class Range(NamedTuple):
    """Ids of a table; None is before the first or after the last."""

    table: str
    from_id: int | None = None
    to_id: int | None = None


@dataclass(frozen=True)
class Plan:
    """The ranges that a run reads, table by table, and whether they are all rows."""

    ranges: tuple[Range, ...]
    is_full: bool
    turn: int | None = None  #: which of the runs that together read all rows this is
    full_every: int | None = None  #: how many these are
    after_run: int | None = None  #: the last run that was recorded when it was made; 0 is none yet

    def within(self, table: str | None, from_id: int | None, to_id: int | None) -> Plan:
        """Return what of the plan is in a table and a range."""
        clipped = (_clip(item, from_id, to_id) for item in self.ranges if table in (None, item.table))
        return replace(self, ranges=tuple(item for item in clipped if item))


def _clip(item: Range, from_id: int | None, to_id: int | None) -> Range | None:
    first = item.from_id if from_id is None else max(from_id, item.from_id or from_id)
    last = item.to_id if to_id is None else min(to_id, item.to_id or to_id)
    return None if first is not None and last is not None and first > last else Range(item.table, first, last)


def make_plan(conn: Connection, *, since_last: bool = False, full_every: int = 24) -> Plan:
    """Ask the database what a run is to read; all of every chain if it cannot say any more.

    Raises psycopg.Error. Source: verification_plan in docs/sql/auditor.md.
    """
    arguments = {"since_last": since_last, "full_every": full_every}
    try:
        found = conn.execute(query("verification_plan"), arguments).fetchall()
    except (psycopg.DataError, psycopg.ProgrammingError) as raised:
        if isinstance(raised, psycopg.errors.InsufficientPrivilege):
            raise
        try:
            chains = conn.execute(query("every_chain")).fetchall()
        except psycopg.Error:
            raise raised from None
        return Plan(tuple(Range(*row) for row in chains), is_full=True)
    is_full = all(row[3] for row in found)
    turn = None if is_full else found[0][4]
    after_run = found[0][5] if found else None
    ranges = tuple(Range(*row[:3]) for row in found)
    return Plan(ranges, is_full, turn, None if is_full else full_every, after_run)


def left_out(conn: Connection, plan: Plan) -> list[Verdict]:
    """Return a verdict, not_run, on each chain that a plan of all chains does not name: nothing of it is read.

    Raises psycopg.Error. Source: the table chains in docs/design.md.
    """
    named = {item.table for item in plan.ranges}
    chains = [str(row[0]) for row in conn.execute(query("every_chain")).fetchall()]
    return [not_run(Range(name), LEFT_OUT) for name in chains if name not in named]


def verify_ranges(
    connect: Callable[[], Connection],
    ranges: Sequence[Range],
    *,
    jobs: int,
    engage_lockdown: bool,
    on_progress: Callable[[int], None] = lambda _done: None,
    on_fewer: Callable[[int, ConnectionFailed], None] = lambda _number, _problem: None,
    on_again: Callable[[int], None] = lambda _conflicts: None,
    spare: Reader | None = None,
) -> list[Verdict]:
    """Verify ranges over as many connections as there are jobs; return the verdicts in the order of the ranges.

    Each range is a statement and a snapshot of its own, in autocommit. A connection that is not to be had is done
    without as long as another one works; if there is none, `spare` reads what is left. `on_fewer` is told how many
    worked, and why not all did. A range that a standby cancelled is read again (read_range); `on_again` is told how
    often that was. Interrupted, or if a range fails, the statements that run are cancelled and every connection is
    closed. Raises what verifying raises, and ConnectionFailed.
    """
    return side_by_side(
        connect,
        ranges,
        partial(read_range, engage_lockdown=engage_lockdown),
        jobs=jobs,
        on_progress=on_progress,
        on_fewer=on_fewer,
        on_again=on_again,
        spare=spare,
    )


def verify_range(conn: Connection, item: Range, *, engage_lockdown: bool) -> Verdict:
    """Verify one range; return its verdict: not_run if what verifies it is gone or locked. Raises psycopg.Error."""
    values = {**item._asdict(), "table_name": item.table, "engage_lockdown": engage_lockdown}
    try:
        (found,) = ask(conn, "verify_range", **values)
        return cast(Verdict, found)
    except (psycopg.ProgrammingError, psycopg.errors.LockNotAvailable) as raised:
        if not isinstance(raised, psycopg.errors.LockNotAvailable) and not is_missing(raised):
            raise
        return not_run(item, f"{raised.diag.message_primary} ({raised.sqlstate})")


def read_range(reader: Reader, item: Range, *, engage_lockdown: bool) -> Verdict:
    """Verify one range; return its verdict.

    After a conflict with recovery it is read again, and after TRIES of them in halves, each by itself. A part of
    FEW_ROWS rows is tried LAST_TRIES times more; not_run if that is cancelled each time. Raises psycopg.Error, and
    ConnectionFailed.
    """
    read = partial(_undisturbed, item=item, engage_lockdown=engage_lockdown)
    try:
        return reader.read(read)
    except (psycopg.Error, RecoveryConflict) as problem:
        if not is_recovery_conflict(problem):
            raise
    parts: list[Verdict] = []
    for half in reader.read(lambda conn: _halves(conn, item), LAST_TRIES):
        parts.append(read_range(reader, half, engage_lockdown=engage_lockdown))
        if parts[-1]["verdict"] == "not_run":
            break
    if parts:
        return _merged(parts, None)
    try:
        return reader.read(read, LAST_TRIES)
    except (psycopg.Error, RecoveryConflict) as problem:
        if not is_recovery_conflict(problem):
            raise
        rows = f"rows {item.from_id or 'before the first'} to {item.to_id or 'the last'}"
        return not_run(item, f"this standby cancelled what read {rows}, {TRIES + LAST_TRIES} times (40001)")


def _undisturbed(conn: Connection, item: Range, *, engage_lockdown: bool) -> Verdict:
    """The verdict on a range; raises RecoveryConflict if it says that a standby cancelled it."""
    verdict = verify_range(conn, item, engage_lockdown=engage_lockdown)
    detail = verdict["detail"] or ""
    if verdict["verdict"] == "not_run" and detail.endswith(_CANCELLED):
        raise RecoveryConflict(detail)
    return verdict


def _halves(conn: Connection, item: Range) -> list[Range]:
    """The two halves of a range, with its ends, open or not; none if it has few rows, or it is not known how many."""
    first, last = item.from_id, item.to_id
    if first is None:  # what is archived has no rows here
        first = int(ask_one(conn, "chain_start", table_name=item.table) or 0) + 1
    if last is None:
        ends = {row["table_name"]: row["last_id"] for row in ask(conn, "chain_status")}
        last = ends.get(item.table)
    if last is None or last - first < FEW_ROWS:
        return []
    middle = (first + last) // 2
    return [Range(item.table, item.from_id, middle), Range(item.table, middle + 1, item.to_id)]


def is_missing(raised: psycopg.Error) -> bool:
    """Return whether an error says that a function, a table or a type of ours is not there."""
    return isinstance(from_database(raised), NotInstalled)


def not_run(item: Range, why: str) -> Verdict:
    """Return the verdict on a range that could not be read, and why."""
    return Verdict(
        table_name=item.table,
        rows_checked=0,
        first_id=None,
        last_id=None,
        is_valid=None,
        error_code=None,
        verdict="not_run",
        broken_id=None,
        expected_hash=None,
        actual_hash=None,
        detail=why,
    )


def by_table(
    verdicts: Sequence[Verdict],
    guards: Mapping[str, str],
    *,
    from_id: int | None = None,
    table: str | None = None,
) -> list[Verdict]:
    """Return one verdict for each table: the worst of its ranges, over the rows of all of them.

    `guards` says of a table what of its guards is changed (changed_guards in docs/sql/dba.md); of a table without a
    range, too, unless only `table` was asked for. `from_id` is the first row that was asked for, if any was.
    """
    tables: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        tables.setdefault(verdict["table_name"], []).append(verdict)
    for name in guards if table is None else ():
        tables.setdefault(name, [not_run(Range(name), "no range of it was read")])
    merged = [_merged(parts, guards.get(name)) for name, parts in tables.items()]
    if from_id is not None and from_id > 1:
        for row in merged:
            if row["verdict"] == "intact" and not row["rows_checked"]:
                ends = f"0 rows; rows from {from_id} on are not there: {row['table_name']} ends before"
                row["is_valid"], row["verdict"], row["detail"] = None, NOT_THERE, ends
    return merged


def _merged(parts: Sequence[Verdict], changed_guards: str | None) -> Verdict:
    worst = sorted(parts, key=_badness)[0].copy()
    worst["rows_checked"] = sum(part["rows_checked"] or 0 for part in parts)
    worst["first_id"] = min(
        (part["first_id"] for part in parts if part["first_id"] is not None), default=None
    )
    worst["last_id"] = max((part["last_id"] for part in parts if part["last_id"] is not None), default=None)
    if changed_guards and (worst["is_valid"] or worst["verdict"] == "not_run"):
        # what cannot be read because somebody changed its guards is reported as that
        unread = f"; not verified: {worst['detail']}" if worst["verdict"] == "not_run" else ""
        worst["is_valid"], worst["error_code"], worst["verdict"] = False, "AUD-011", "guard_changed"
        worst["detail"] = changed_guards + unread
    elif worst["verdict"] in ("intact", NOT_THERE):
        remarks = dict.fromkeys(remark for part in parts for remark in (part["detail"] or "").split("; ")[1:])
        worst["detail"] = "; ".join([f"{worst['rows_checked']} rows", *remarks])
    return worst


def _badness(verdict: Verdict) -> int:
    """Order verdicts: proven damage, not checked, not there, acknowledged, intact; the first of equals stays first."""
    if verdict["is_valid"] is False:
        return 0
    order = {NOT_THERE: 2, "acknowledged": 3, "intact": 4}
    return order.get(verdict["verdict"], 1)


def changed_guards(conn: Connection) -> dict[str, str]:
    """Return for each chain what of its guards is not as installed."""
    return dict(conn.execute(query("changed_guards")).fetchall())


def remember(
    conn: Connection, plan: Plan, results: Sequence[Verdict], verdicts: Sequence[Verdict]
) -> int | None:
    """Record a run that found every range good; return its number, None if it was not good or nothing can be written.

    Takes the verdicts on the tables and on their ranges. Raises psycopg.Error: one that is_overtaken if another run
    was recorded since the plan was made. Source: record_verification in docs/sql/auditor.md.
    """
    if not all(verdict["is_valid"] for verdict in verdicts):
        return None
    arguments = {
        "is_full": plan.is_full,
        "last_ids": Jsonb({row["table_name"]: row["last_id"] for row in results}),
        "rows_checked": sum(row["rows_checked"] or 0 for row in results),
        "full_every": plan.full_every,
        "turn": plan.turn,
        "after_run": plan.after_run,
    }
    try:
        recorded = conn.execute(query("record_verification"), arguments).fetchone()
    except psycopg.errors.ReadOnlySqlTransaction:
        return None  # on a standby
    return None if recorded is None else int(recorded[0])


def is_overtaken(raised: psycopg.Error) -> bool:
    """Return whether a run was not recorded because another one was, since it was planned."""
    return raised.sqlstate == "40001" and raised.diag.column_name == "after_run"
