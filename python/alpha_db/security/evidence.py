"""What the database says of its risk state and how it came about: one consistent read, nothing believed yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg import IsolationLevel
from psycopg.rows import class_row

from alpha_db.queries import query

Row = TypeVar("Row")


@dataclass(frozen=True)
class ActiveState:
    """The row of active_risk_state()."""

    version: int
    state_text: str
    state_hash: str
    origin: str
    is_locked: bool
    read_at: datetime
    limits_valid_from: datetime | None


@dataclass(frozen=True)
class AgentKey:
    """A row of agent_keys()."""

    agent_id: str
    public_key: str
    proposal_id: str | None
    revoked: bool
    name: str
    role: str
    signature: str | None


@dataclass(frozen=True)
class LockdownEvent:
    """A row of lockdown_evidence(): the alarm as it stands, and a RELEASED event, or the last event."""

    alarm: int | None
    event_id: int | None = None
    event_type: str | None = None
    event_alarm: int | None = None
    proposal_id: str | None = None
    damage_hash: str | None = None
    row_hash: str | None = None


@dataclass(frozen=True)
class Change:
    """A row of risk_evidence(): an applied proposal with the votes that carried it."""

    version: int
    kind: str
    previous: str
    state_text: str
    state_hash: str
    proposal_text: str
    proposer: str
    proposer_key: str
    proposal_signature: str
    reason: str
    payload: str
    approved_by: str
    approvals: str
    applied_at: datetime


@dataclass(frozen=True)
class Reading:
    """All that one read gave; `since` is the version after which `changes` begin."""

    active: tuple[ActiveState, ...]
    agents: tuple[AgentKey, ...]
    changes: tuple[Change, ...]
    lockdown: tuple[LockdownEvent, ...]
    since: int = 0
    in_recovery: bool = False
    replay_lag: float | None = None


def read_evidence(conn: psycopg.Connection[Any], since: int = 0) -> Reading:
    """Read state, agents and applied changes in one snapshot.

    Takes a connection outside a transaction, whose search_path begins with the install schema. `since` leaves
    out the changes up to that version. Raises psycopg.Error.
    """
    with _one_snapshot(conn):
        in_recovery, lag = conn.execute(query("replay_lag")).fetchone() or (False, None)
        return Reading(
            _rows(conn, "active_risk_state", ActiveState),
            _rows(conn, "agent_keys", AgentKey),
            _rows(conn, "risk_evidence", Change, {"since": since}),
            _rows(conn, "lockdown_evidence", LockdownEvent),
            since,
            in_recovery,
            lag,
        )


@contextmanager
def _one_snapshot(conn: psycopg.Connection[Any]) -> Iterator[None]:
    """A read-only transaction with a single snapshot; afterwards the connection is as it was."""
    before = conn.isolation_level, conn.read_only
    conn.isolation_level, conn.read_only = IsolationLevel.REPEATABLE_READ, True
    try:
        with conn.transaction():
            yield
    finally:
        if not conn.closed:
            conn.isolation_level, conn.read_only = before


def _rows(
    conn: psycopg.Connection[Any], name: str, kind: type[Row], values: dict[str, Any] | None = None
) -> tuple[Row, ...]:
    with conn.cursor(row_factory=class_row(kind)) as cursor:
        return tuple(cursor.execute(query(name), values).fetchall())
