"""A signed history made in Python alone, as the database would hand it out: to be falsified at will."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alpha_db.security.evidence import ActiveState, AgentKey, Change, LockdownEvent, Reading
from alpha_db.security.signed_text import approval_text, jsonb_text, proposal_text
from tests.risk.council import Payload, agent_id, bootstrap_text, private_key, public_hex

ORIGIN = "11111111-2222-4333-8444-555555555555"
NOON = datetime(2026, 1, 25, 12, tzinfo=UTC)
EMPTY = '{"version":0,"limits":null,"kill_thresholds":[]}'


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def state_text(version: int, limits: str | None = None, thresholds: str = "") -> str:
    """A state's text, its limits given as 'position drawdown leverage' at column scale."""
    said = "null"
    if limits:
        names = ("max_position_size_pct", "daily_drawdown_limit_pct", "max_leverage_ratio")
        said = "{" + ",".join(f'"{n}":{v}' for n, v in zip(names, limits.split(), strict=True)) + "}"
    return f'{{"version":{version},"limits":{said},"kill_thresholds":[{thresholds}]}}'


@dataclass
class Book:
    """An installation's agents, log and current state."""

    keys: dict[str, Ed25519PrivateKey] = field(default_factory=dict)
    agents: list[AgentKey] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    text: str = EMPTY
    limits_since: datetime | None = None
    origin: str = ORIGIN
    locked: bool = False
    events: list[LockdownEvent] = field(default_factory=list)
    read_at: datetime = NOON

    @classmethod
    def of(cls, *names: str) -> Book:
        book = cls()
        for name in names:
            book.enrol(name)
        return book

    def enrol(self, name: str, proposal: str | None = None) -> None:
        self.keys[name] = private_key(name)
        key = public_hex(private_key(name))
        self.agents.append(AgentKey(str(agent_id(name)), key, proposal, False, name, "risk", None))

    def revoke(self, name: str) -> None:
        gone = str(agent_id(name))
        self.agents = [replace(a, revoked=a.revoked or a.agent_id == gone) for a in self.agents]

    @property
    def pins(self) -> dict[str, bytes]:
        return {a.agent_id: bytes.fromhex(a.public_key) for a in self.agents}

    def apply(
        self,
        kind: str,
        payload: Payload,
        by: str,
        *voters: str,
        to: str,
        reason: str = "because",
        proposal_id: UUID | None = None,
        expires_at: datetime = NOON + timedelta(hours=1),
        signed_at: datetime = NOON,
        signers: dict[str, str] | None = None,
        origin: str | None = None,
    ) -> Change:
        """Append a change that leads to the state text `to`. `signers`: who really signs for whom;
        `origin`: the installation that the proposal, not its approvals, is signed for."""
        by_hand = {name: name for name in self.keys} | (signers or {})
        previous, version = sha(self.text), len(self.changes) + 1
        proposal_id = proposal_id or uuid4()
        text = proposal_text(
            origin=origin or self.origin, proposal_id=proposal_id, kind=kind, previous=previous,
            payload=payload, reason=reason, proposer=agent_id(by), expires_at=expires_at,
        )  # fmt: skip

        def approval(name: str) -> dict[str, Any]:
            said = approval_text(
                origin=self.origin, decision="APPROVE", digest=sha(text), agent_id=agent_id(name), signed_at=signed_at
            )  # fmt: skip
            return {
                "agent_id": str(agent_id(name)),
                "public_key": public_hex(private_key(name)),
                "signed_at": signed_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "signature": private_key(by_hand[name]).sign(said.encode()).hex(),
            }

        change = Change(
            version=version,
            kind=kind,
            previous=previous,
            state_text=to,
            state_hash=sha(to),
            proposal_text=text,
            proposer=str(agent_id(by)),
            proposer_key=public_hex(private_key(by)),
            proposal_signature=private_key(by_hand[by]).sign(text.encode()).hex(),
            reason=reason,
            payload=jsonb_text(payload),
            approved_by=str(agent_id(voters[-1])) if voters else str(agent_id(by)),
            approvals=json.dumps([approval(name) for name in voters]),
            applied_at=NOON - timedelta(minutes=10) + timedelta(seconds=version),
        )
        self.changes.append(change)
        self.text = to
        if kind == "risk_config":
            self.limits_since = change.applied_at
        elif kind == "lockdown_release":
            self.release(str(proposal_id), payload["damage"])
        return change

    def release(self, proposal_id: str, damage: Any, alarm: int = 7) -> None:
        """Append the RELEASED event of a proposal; the alarm is as it releases it."""
        number = 2 * len(self.events) + 2
        self.events.append(
            LockdownEvent(alarm, number, "RELEASED", alarm, proposal_id, sha(jsonb_text(damage)))
        )

    def active(self) -> ActiveState:
        version = json.loads(self.text)["version"]
        return ActiveState(
            version, self.text, sha(self.text), self.origin, self.locked, self.read_at, self.limits_since
        )

    def reading(self, since: int = 0, **changes: Any) -> Reading:
        """What a read gives now, with some of it replaced."""
        lockdown = tuple(self.events) or (LockdownEvent(None),)
        whole = Reading((self.active(),), self.signed(), tuple(self.changes[since:]), lockdown, since)
        return replace(whole, **changes)

    def signed(self) -> tuple[AgentKey, ...]:
        """The agents, those of the bootstrap with their signatures of the list as it is now."""
        first = [vars(a) for a in self.agents if a.proposal_id is None]
        text = bootstrap_text(self.origin, first).encode()
        return tuple(
            replace(a, signature=private_key(a.name).sign(text).hex() if a.proposal_id is None else None)
            for a in self.agents
        )

    def edit(self, number: int, **changes: Any) -> None:
        """Falsify a change that stands in the log."""
        self.changes[number - 1] = replace(self.changes[number - 1], **changes)


def governed_book() -> Book:
    """Ada, ben and cyd; position 0.05, drawdown 0.03, leverage 2."""
    book = Book.of("ada", "ben", "cyd")
    payload = {
        "max_position_size_pct": "0.05",
        "daily_drawdown_limit_pct": "0.03",
        "max_leverage_ratio": "2",
    }
    book.apply("risk_config", payload, "ada", "ben", "cyd", to=state_text(1, "0.0500 0.0300 2.00"))
    return book


@dataclass
class FakeSource:
    """A source that hands out what a function gives, or raises what it raises."""

    give: Callable[[int], Reading]
    opened: int = 0
    closed: int = 0

    def open(self) -> None:
        self.opened += 1

    def read(self, since: int) -> Reading:
        return self.give(since)

    def wait(self, timeout: float) -> None:
        raise AssertionError(f"nobody waits here ({timeout})")

    def abort(self) -> None:
        raise AssertionError("nobody aborts here")

    def close(self) -> None:
        self.closed += 1
