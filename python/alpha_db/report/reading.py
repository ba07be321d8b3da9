"""What a report reads of a database: all of it in one transaction, which sees one moment and records nothing.

Each part is read by itself, so that one that cannot be read hides no other: it then says why.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import psycopg

from alpha_db.errors import AlphaDbError, NotThere, from_database, squeeze
from alpha_db.evidence.checkpoint.history import History
from alpha_db.evidence.checkpoint.verify import Comparison, compare, not_compared
from alpha_db.queries import Row, ask

Connection = psycopg.Connection[Any]

#: Characters of a row that the page shows, and the longest row that it embeds to recompute its hash.
MAX_SHOWN, MAX_EMBEDDED = 4_000, 64_000
#: How many trades and proposals a report shows: the newest ones. It says how many there are.
NEWEST_TRADES, NEWEST_PROPOSALS = 400, 100
#: Rows of each table that a report of a period shows of one trade, so that no trade leaves no room for others.
ROWS_OF_TRADE = 100


@dataclass(frozen=True)
class Part:
    """Rows of one query, or why they could not be read."""

    rows: list[Row] = field(default_factory=list)
    problem: str | None = None


@dataclass(frozen=True)
class Period:
    """From when, which is in it, to when, which is not."""

    begins_at: datetime
    ends_at: datetime


@dataclass(frozen=True)
class Verification:
    """What was recomputed and compared: verdicts by chain, the damage in detail, the lockdown, the signed limits."""

    verdicts: Part
    damage: dict[str, Part]
    lockdown: Part
    limits: Part
    comparison: Comparison | None  #: None: no checkpoints were given


@dataclass(frozen=True)
class Activity:
    """What happened in the period. Each is as its query in queries.sql."""

    figures: Part
    days: Part
    verifications: Part
    attempts: Part
    limits: Part
    lockdowns: Part
    proposals: Part
    votes: Part
    archived: Part
    covered: Period | None  #: the part of the period in which anything can have happened, for the charts


@dataclass(frozen=True)
class Trade:
    """A trade: its id, and its rows as (table, id) in the order of custody."""

    correlation_id: UUID
    rows: list[tuple[str, int]]
    left_out: dict[str, int] = field(
        default_factory=dict
    )  #: of each table, how many rows there was no room for


@dataclass(frozen=True)
class Trades:
    """The trades that are shown, their rows as they were hashed, and which orders no permission covers."""

    shown: list[Trade]
    rows: dict[tuple[str, int], Row]
    without_permission: dict[int, str]
    problems: list[str]


@dataclass(frozen=True)
class Reading:
    """All that a report is made of."""

    installation: str
    schema: str
    period: Period | None  #: None: of one trade
    checked: Verification
    activity: Activity | None
    trades: Trades
    newest: date  #: the day of the newest row: up to when the report can know anything


Checkpoints = tuple[str, History, AlphaDbError | None]  #: the directory, what it says, why it says nothing


@contextmanager
def one_moment(conn: Connection) -> Iterator[None]:
    """Open the transaction of a report: REPEATABLE READ and READ ONLY."""
    kept = conn.isolation_level, conn.read_only
    conn.isolation_level, conn.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
    try:
        with conn.transaction():
            yield
    finally:
        if not conn.closed:
            conn.isolation_level, conn.read_only = kept


def part(conn: Connection, name: str, /, **values: object) -> Part:
    """Return what a query gives, or why it gives nothing. Raises psycopg.Error if the connection is lost."""
    try:
        with conn.transaction():
            return Part(ask(conn, name, **values))
    except psycopg.Error as problem:
        if conn.closed:
            raise
        return Part(problem=_told(problem))


def _told(problem: psycopg.Error) -> str:
    return squeeze(from_database(problem).message)


def read_period(conn: Connection, begins_at: datetime | None, ends_at: datetime | None) -> Period:
    """Return the period of a report: what is given, else the days of all rows. Raises psycopg.Error."""
    (row,) = ask(conn, "report_period", from_time=begins_at, to_time=ends_at)
    return Period(row["begins_at"], row["ends_at"])


def verify(conn: Connection, checkpoints: Checkpoints | None) -> Verification:
    """Recompute every hash and compare with the checkpoints; engage nothing and record nothing."""
    everything = {"table_name": None, "from_id": None, "to_id": None, "engage_lockdown": False}
    verdicts = part(conn, "verify_chain", **everything)
    damage = {
        row["table_name"]: part(conn, "chain_damage", table_name=row["table_name"])
        for row in verdicts.rows
        if row["error_code"] == "AUD-009"
    }
    limits = part(conn, "verify_config_integrity")
    comparison = _compare(conn, checkpoints) if checkpoints else None
    return Verification(verdicts, damage, part(conn, "lockdown_status"), limits, comparison)


def _compare(conn: Connection, checkpoints: Checkpoints) -> Comparison:
    directory, history, problem = checkpoints
    if problem:
        return not_compared(directory, problem)
    try:
        with conn.transaction(
            force_rollback=True
        ):  # which works after an error that compare() made a finding, too
            return compare(conn, directory, history, engage_lockdown=False)
    except psycopg.Error as raised:  # a finding of its own; the transaction of the report goes on
        if conn.closed:
            raise
        return not_compared(directory, raised, history)


def overlap(period: Period, whole: Period) -> Period | None:
    """Return what two periods have in common, None if it is nothing."""
    begins_at, ends_at = max(period.begins_at, whole.begins_at), min(period.ends_at, whole.ends_at)
    return Period(begins_at, ends_at) if begins_at < ends_at else None


def read_activity(conn: Connection, period: Period) -> Activity:
    """Read what happened in a period."""
    times = {"from_time": period.begins_at, "to_time": period.ends_at}
    covered = overlap(
        period, read_period(conn, None, None)
    )  # thousands of years have as many days to look at
    days = {"from_time": covered.begins_at, "to_time": covered.ends_at} if covered else None
    proposals = part(conn, "proposals_of_period", **times, newest=NEWEST_PROPOSALS)
    named = [row["proposal_id"] for row in proposals.rows]
    return Activity(
        figures=part(conn, "report_figures", **times),
        days=part(conn, "daily_activity", **days) if days else Part(),
        verifications=part(conn, "verification_activity", **times),
        attempts=part(conn, "attempts"),
        limits=part(conn, "limits_over_time", **times),
        lockdowns=part(conn, "lockdown_events", to_time=period.ends_at),
        proposals=proposals,
        votes=part(conn, "votes_of_proposals", proposal_ids=named),
        archived=part(conn, "archived", table_name=None),
        covered=covered,
    )


def newest_trades(conn: Connection, period: Period) -> tuple[list[UUID], list[str]]:
    """Return the ids of the trades that a report of a period shows, and why there are none, if that is not known."""
    times = {"from_time": period.begins_at, "to_time": period.ends_at}
    found = part(conn, "report_trades", **times, newest=NEWEST_TRADES)
    return [row["correlation_id"] for row in found.rows], [found.problem] if found.problem else []


def _part_of_trade(correlation_id: UUID, places: Sequence[tuple[str, int]], most: int) -> Trade:
    """Return a trade with the first rows of each table, and the last one, which says how it ended."""
    kept: list[tuple[str, int]] = []
    left_out: dict[str, int] = {}
    for table, rows in groupby(places, key=lambda place: place[0]):
        found = list(rows)
        if len(found) > most:
            left_out[table] = len(found) - most
            found = [*found[: most - 1], found[-1]]
        kept.extend(found)
    return Trade(correlation_id, kept, left_out)


def read_trades(conn: Connection, correlation_ids: Sequence[UUID], most: int = sys.maxsize) -> Trades:
    """Read the rows of trades, as they were hashed, at most so many of each table for each trade."""
    problems: list[str] = []

    def rows_of(name: str, **values: object) -> list[Row]:
        found = part(conn, name, **values)
        if found.problem:
            problems.append(found.problem)
        return found.rows

    trades: dict[UUID, list[tuple[str, int]]] = {}
    for row in rows_of("trade_rows", correlation_ids=list(correlation_ids)):
        trades.setdefault(row["correlation_id"], []).append((row["table"], row["row_id"]))
    shown = [_part_of_trade(*trade, most) for trade in trades.items()]
    ids: dict[str, list[int]] = {}
    for table, row_id in dict.fromkeys(place for trade in shown for place in trade.rows):
        ids.setdefault(table, []).append(row_id)
    rows = {
        (table, row["id"]): row
        for table, wanted in ids.items()
        for row in rows_of("rows_as_hashed", table_name=table, ids=wanted, longest=MAX_EMBEDDED)
    }
    permissions = rows_of("orders_without_permission", correlation_ids=list(correlation_ids))
    without = {row["order_id"]: row["problem"] for row in permissions}
    return Trades(shown, rows, without, problems)


def one_trade(conn: Connection, correlation_id: UUID) -> Trades:
    """Read one trade. Raises NotThere if no signal has this id."""
    found = read_trades(conn, [correlation_id])
    if not found.shown and not found.problems:
        raise NotThere(
            f"no signal has the correlation_id {correlation_id}",
            hint="ids stand in signals.correlation_id; an archived signal is in its segment only",
        )
    return found


def read_all(
    conn: Connection,
    schema: str,
    begins_at: datetime | None,
    ends_at: datetime | None,
    correlation_id: UUID | None,
    checkpoints: Checkpoints | None,
) -> Reading:
    """Read a period, or one trade, and verify everything. Takes the connection in the transaction of one_moment().

    Raises NotThere for an unknown trade, psycopg.Error for what is no period and if the connection is lost.
    """
    period = None if correlation_id else read_period(conn, begins_at, ends_at)
    (here,) = ask(conn, "installation")
    if correlation_id:
        activity, trades = None, one_trade(conn, correlation_id)
    else:
        assert period is not None
        activity = read_activity(conn, period)
        newest, problems = newest_trades(conn, period)
        trades = read_trades(conn, newest, ROWS_OF_TRADE)
        trades.problems.extend(problems)
    checked = verify(conn, checkpoints)
    last_day = (read_period(conn, None, None).ends_at.astimezone(UTC) - timedelta(days=1)).date()
    return Reading(str(here["installation_id"]), schema, period, checked, activity, trades, last_day)
