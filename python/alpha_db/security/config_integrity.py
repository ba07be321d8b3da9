"""Whether a risk configuration is what the agents signed: the check that does not trust the database.

The hash is taken here, of the very text from which the values are read. Source: docs/risk.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from alpha_db.errors import AlphaDbError, from_database
from alpha_db.security.ed25519 import verify
from alpha_db.security.evidence import (
    ActiveState,
    AgentKey,
    Change,
    LockdownEvent,
    Reading,
    read_evidence,
)
from alpha_db.security.payloads import key_of
from alpha_db.security.replay import Keys, Replay, tampered
from alpha_db.security.signed_text import SIGNATURE_TEXT, UUID_TEXT, bootstrap_text, digest_of
from alpha_db.security.state import Limits, RiskState

__all__ = ["IntegrityChecker", "Keys", "Verified", "verify_database"]

#: A bootstrap has as many agents, or more.
LEAST_AGENTS = 3


@dataclass(frozen=True)
class Verified:
    """A state that holds, and what it was read with."""

    state: RiskState
    state_hash: str
    origin: str
    is_locked: bool
    read_at: datetime
    limits_valid_from: datetime | None
    replay: Replay


class IntegrityChecker:
    """Checks what was read against the signed log, and remembers what it has checked.

    Takes the keys of the bootstrap's agents if they are pinned (agent_id -> 32 bytes), and the installation
    that is expected. Without pins the agents of the bootstrap are those that the database names: then only a
    bootstrap that was replaced as a whole passes: each of its agents signs the list, so that one that was
    added, removed or altered shows.
    """

    def __init__(
        self,
        pins: Keys | None = None,
        *,
        origin: str | None = None,
        read: Callable[[], Reading] | None = None,
    ) -> None:
        self._pins = pins
        self._origin = origin
        self._read = read
        self._first: Keys | None = None
        self._changes: tuple[Change, ...] = ()
        self._replay: Replay | None = None
        #: why verify_config_integrity last said no
        self.problem: AlphaDbError | None = None

    @classmethod
    def on(
        cls, conn: psycopg.Connection[Any], pins: Keys | None = None, *, origin: str | None = None
    ) -> IntegrityChecker:
        """A checker that reads by a connection."""
        return cls(pins, origin=origin, read=lambda: read_evidence(conn))

    def verify_config_integrity(self, config: RiskState | Mapping[str, Any] | str) -> bool:
        """Return whether a configuration is the one that the agents' signatures lead to.

        Takes a RiskState, the canonical text, or a mapping with max_position_size_pct,
        daily_drawdown_limit_pct and max_leverage_ratio (compared as decimals; other members are ignored).
        False also if it could not be checked; `problem` says which: RSK-007, or an error of the connection.
        """
        self.problem = None
        try:
            if self._read is None:
                raise AlphaDbError("the checker has no connection to read by")
            _same(config, self.check(self._read()).state)
        except psycopg.Error as problem:
            self.problem = from_database(problem)
        except AlphaDbError as problem:
            self.problem = problem
        except Exception as problem:  # fail closed, whatever it is
            self.problem = AlphaDbError(f"the verification failed: {type(problem).__name__}: {problem}")
        return self.problem is None

    @property
    def version(self) -> int:
        """The version up to which the log was replayed; 0 before the first check."""
        return self._replay.state.version if self._replay else 0

    def check(self, reading: Reading) -> Verified:
        """Return the verified state. Raises RiskTampered (RSK-007) if anything disagrees."""
        if len(reading.active) != 1:
            raise tampered(f"there are {len(reading.active)} current states instead of one")
        active = reading.active[0]
        if self._origin is not None and active.origin != self._origin:
            raise tampered(f"the installation is {active.origin} instead of {self._origin}")
        replay = self._replayed(reading, active.origin)
        _check_agents(reading.agents, replay)
        return _check_state(active, replay, _is_locked(active, reading.lockdown, replay))

    def _replayed(self, reading: Reading, origin: str) -> Replay:
        first = self._first_agents(reading)
        if self._first and first != self._first:
            raise tampered("the agents of the bootstrap are not those of the first look")
        _check_bootstrap(reading.agents, origin)
        known, replay = self._changes, self._replay
        if first != self._first:  # the bootstrap came after the first look
            known, replay = (), None
        if reading.since:
            if replay is None or replay.state.version != reading.since or replay.origin != origin:
                raise tampered(f"the log begins after version {reading.since}")
            new = reading.changes
        elif replay and replay.origin == origin and reading.changes[: len(known)] == known:
            new = reading.changes[len(known) :]
        else:
            # something in the known part is another now: the replay finds out what, and whether it matters
            replay, known, new = Replay.start(origin, first), (), reading.changes
        replay = replay.extend(new)
        self._first, self._changes, self._replay = first, known + new, replay
        return replay

    def _first_agents(self, reading: Reading) -> Keys:
        stored = {row.agent_id: row.public_key for row in _bootstrapped(reading.agents)}
        try:
            keys = {agent: key_of(key) for agent, key in stored.items()}
        except ValueError as problem:
            raise tampered(f"an agent of the bootstrap: {problem}") from problem
        if not all(UUID_TEXT.fullmatch(agent) for agent in keys) or len(set(keys.values())) != len(keys):
            raise tampered("two agents of the bootstrap share a key, or one has no identity")
        if self._pins is None:
            return keys
        # An agent that a proposal enrolled may be pinned as well; the replay gives it its key.
        later = {row.agent_id for row in reading.agents if row.proposal_id is not None}
        first = {agent: key for agent, key in self._pins.items() if agent not in later}
        if keys != first:
            wrong = sorted(a for a in keys.keys() | first.keys() if keys.get(a) != first.get(a))
            raise tampered(f"the agents of the bootstrap are not the pinned ones: {', '.join(wrong)}")
        for row in reading.agents:
            pinned = self._pins.get(row.agent_id)
            if pinned is not None and pinned.hex() != row.public_key:
                raise tampered(f"the key of agent {row.agent_id} is not the pinned one")
        return first


def verify_database(
    conn: psycopg.Connection[Any], pins: Keys | None = None, *, origin: str | None = None
) -> Verified:
    """Read and verify everything once. Raises RiskTampered (RSK-007) or psycopg.Error."""
    return IntegrityChecker(pins, origin=origin).check(read_evidence(conn))


def _bootstrapped(agents: tuple[AgentKey, ...]) -> tuple[AgentKey, ...]:
    return tuple(row for row in sorted(agents, key=lambda row: str(row.agent_id)) if row.proposal_id is None)


def _check_bootstrap(agents: tuple[AgentKey, ...], origin: str) -> None:
    """Raise RiskTampered unless each of the first agents signed the list of them as it stands."""
    first = _bootstrapped(agents)
    if not first and not agents:
        return
    if len(first) < LEAST_AGENTS:
        raise tampered(f"the bootstrap has {len(first)} agents instead of {LEAST_AGENTS} or more")
    text = bootstrap_text(origin, (vars(row) for row in first)).encode()
    for row in first:
        signature = row.signature or ""
        try:
            key = key_of(row.public_key)
        except ValueError as problem:
            raise tampered(f"an agent of the bootstrap: {problem}") from problem
        if not (SIGNATURE_TEXT.fullmatch(signature) and verify(key, text, bytes.fromhex(signature))):
            raise tampered(f"agent {row.agent_id} did not sign the bootstrap as it stands")


def _is_locked(active: ActiveState, events: tuple[LockdownEvent, ...], replay: Replay) -> bool:
    """Return whether the lockdown is engaged: it is, unless an applied release lifted the alarm as it stands.

    Raises RiskTampered for a RELEASED event that no applied release made, or a release that left none.
    """
    if active.is_locked not in (True, False) or not events:
        raise tampered("it is not known whether the lockdown is engaged")
    approved, seen = dict(replay.released), set()
    for event in events:
        if event.event_type != "RELEASED" or (event.event_id, event.row_hash) in replay.disowned:
            continue
        if event.proposal_id in seen or approved.get(str(event.proposal_id)) != event.damage_hash:
            raise tampered(f"lockdown event {event.event_id} releases what no applied proposal released")
        seen.add(event.proposal_id)
    if len(seen) != len(approved):
        raise tampered("an applied release of the lockdown left no event")
    last = max(events, key=lambda event: event.event_id or 0)
    if last.event_id is None and last.alarm is None:
        return active.is_locked
    # the alarm is raised outside transactions: it may be newer than all else that was read
    lifted = last.proposal_id in seen and last.alarm is not None and last.event_alarm == last.alarm
    return active.is_locked or not lifted


def _check_agents(agents: tuple[AgentKey, ...], replay: Replay) -> None:
    stored = {row.agent_id: (row.public_key, row.revoked) for row in agents}
    said = {agent: (key.hex(), agent not in replay.active) for agent, key in replay.ever.items()}
    later = {row.agent_id: (row.name, row.role) for row in agents if row.proposal_id is not None}
    if later != replay.enrolled:
        raise tampered("name or role of an agent are not those that the log enrolled")
    if stored != said or len(stored) != len(agents):
        wrong = sorted(str(a) for a in stored.keys() | said.keys() if stored.get(a) != said.get(a))
        raise tampered(f"the agents are not those that the log enrolled and revoked: {', '.join(wrong)}")


def _check_state(active: ActiveState, replay: Replay, is_locked: bool) -> Verified:
    try:
        state = RiskState.parse(active.state_text)
    except (ValueError, TypeError, LookupError) as problem:
        raise tampered(f"the state cannot be read: {problem}", detail=str(active.state_text)) from problem
    state_hash = digest_of(active.state_text)
    if state_hash != active.state_hash:
        raise tampered("the state's hash is not that of its text", detail=active.state_text)
    if state.version != active.version or state.text != replay.state.text:
        raise tampered(
            "the stored state is not the one that the agents approved",
            detail=f"Stored: {active.state_text}. Approved: {replay.state.text}.",
        )
    for moment in (active.read_at, active.limits_valid_from):
        if not isinstance(moment, datetime | None):  # what Python has no time for comes as text
            raise tampered(f"{moment!s:.60} is no time at which limits can hold or be read")
    if active.limits_valid_from != replay.limits_since:
        raise tampered(
            f"the limits hold from {active.limits_valid_from}, and were applied at {replay.limits_since}"
        )
    return Verified(
        state, state_hash, active.origin, is_locked, active.read_at, active.limits_valid_from, replay
    )


def _same(config: RiskState | Mapping[str, Any] | str, state: RiskState) -> None:
    if isinstance(config, Mapping):
        limits = state.limits
        given = {name: config.get(name) for name in Limits.__dataclass_fields__}
        if limits is None or any(getattr(limits, name) != value for name, value in given.items()):
            raise tampered(f"the configuration is not the approved one: {given}", detail=state.text)
        return
    text = config.text if isinstance(config, RiskState) else config
    if text != state.text:
        raise tampered("the configuration is not the approved one", detail=f"{text} instead of {state.text}")
