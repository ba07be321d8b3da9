"""Replaying the applied changes from the empty state, believing nothing but keys and signatures.

Everything is taken from the signed texts: what the database says besides is only compared with them. The
quorum of each change is counted again by the policy and the agents of that moment, which the changes before
it made. Source: docs/risk.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from alpha_db.errors import RiskTampered, shown
from alpha_db.security.ed25519 import verify
from alpha_db.security.evidence import Change
from alpha_db.security.payloads import check_payload, decimal_of, key_of
from alpha_db.security.signed_text import (
    SIGNATURE_TEXT,
    UUID_TEXT,
    SignedProposal,
    approval_text,
    digest_of,
    jsonb_text,
    load_json,
    parse_proposal,
    parse_time,
)
from alpha_db.security.state import EMPTY_STATE, KillThreshold, Limits, RiskState

Keys = Mapping[str, bytes]

# The database takes a vote that was signed by a clock up to five minutes fast.
_CLOCK_SLACK = timedelta(minutes=6)
_TICK = timedelta(microseconds=1)
_LATEST = datetime.max.replace(tzinfo=UTC) - _CLOCK_SLACK


@dataclass(frozen=True)
class Policy:
    """How many approvals besides the proposer a change needs."""

    tighten: int = 1
    loosen: int = 2
    govern: int = 2


@dataclass(frozen=True)
class Replay:
    """Where the replay stands: the state, who may vote, by which quorum, and how it came there.

    `enrolled` has name and role of the agents that proposals enrolled; `released`, of every applied
    lockdown_release, the proposal_id and the hash of the damage it lists; `disowned`, id and stored hash of the
    forged RELEASED events that such a release acknowledged as damage.
    """

    origin: str
    first: Keys
    active: Keys
    ever: Keys
    enrolled: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    state: RiskState = EMPTY_STATE
    policy: Policy = Policy()
    hashes: tuple[str, ...] = (EMPTY_STATE.hash,)
    released: tuple[tuple[str, str], ...] = ()
    disowned: frozenset[tuple[int, str]] = frozenset()
    limits_since: datetime | None = None
    approvers: tuple[str, ...] = ()

    @property
    def releases(self) -> int:
        """How many releases of a lockdown were applied."""
        return len(self.released)

    @classmethod
    def start(cls, origin: str, agents: Keys) -> Replay:
        """The empty state of an installation with the agents of its bootstrap."""
        return cls(origin, dict(agents), dict(agents), dict(agents))

    def extend(self, changes: Iterable[Change]) -> Replay:
        """Replay further changes. Raises RiskTampered (RSK-007) at the first that does not hold."""
        now = self
        for change in changes:
            try:
                now = _apply(now, change)
            except (
                ValueError,
                TypeError,
                LookupError,
                AttributeError,
                ArithmeticError,
                RecursionError,
            ) as problem:
                raise tampered(f"change {change.version} does not hold: {problem}") from problem
        return now


def tampered(problem: str, detail: str | None = None) -> RiskTampered:
    """Return the tripwire's exception."""
    return RiskTampered(
        f"RSK-007: {problem}",
        detail=detail,
        hint="alpha-db risk verify and docs/risk.md: the risk tables were changed by force, or restored",
        sqlstate="RSK07",
    )


def direction(kind: str, payload: Any, state: RiskState) -> str:
    """Return what a proposal would do to a state: tighten, loosen or govern. Raises ValueError for an unknown kind."""
    if kind == "risk_config":
        now = state.limits
        down = now is not None and all(
            decimal_of(name, payload[name]) <= getattr(now, name) for name in Limits.__dataclass_fields__
        )
        return "tighten" if down else "loosen"
    if kind == "asset_kill_threshold":
        known = state.kill_thresholds.get(payload["asset"])
        if payload["retired"]:
            return "loosen"
        if known is None:
            return "tighten"
        # which side of a kill price is the safe one, only the position knows: adding one tightens, no more
        price = None if payload["kill_price"] is None else decimal_of("kill_price", payload["kill_price"])
        earlier = decimal_of("kill_loss_pct", payload["kill_loss_pct"]) <= known.kill_loss_pct
        return "tighten" if earlier and known.kill_price in (None, price) else "loosen"
    if kind == "hold":
        return "tighten"
    if kind in ("lockdown_release", "archive", "unhold"):
        return "loosen"
    if kind in ("agent_enrol", "agent_revoke", "quorum_policy"):
        return "govern"
    raise ValueError(f"unknown kind of proposal: {shown(kind, 40)}")


def next_state(state: RiskState, kind: str, payload: Any) -> RiskState:
    """Return the state that an applied proposal leads to."""
    limits, thresholds = state.limits, dict(state.kill_thresholds)
    if kind == "risk_config":
        limits = Limits(**{name: decimal_of(name, value) for name, value in payload.items()})
    elif kind == "asset_kill_threshold":
        asset, price = payload["asset"], payload["kill_price"]
        thresholds.pop(asset, None)
        if not payload["retired"]:
            thresholds[asset] = KillThreshold(
                asset,
                decimal_of("kill_loss_pct", payload["kill_loss_pct"]),
                None if price is None else decimal_of("kill_price", price),
            )
    return RiskState(state.version + 1, limits, thresholds)


def approvals_needed(now: Replay, said: SignedProposal) -> int:
    """Return how many approvals besides the proposer's own signature a proposal needs."""
    way = direction(said.kind, said.payload, now.state)
    policy = now.policy
    if way == "tighten":
        return policy.tighten
    if way == "loosen":
        return policy.loosen
    # as many as there are eligible voters, if fewer, but never none: a lost key can always be voted out
    most = max(policy.tighten, policy.loosen, policy.govern)
    wanted = most if said.kind == "quorum_policy" else policy.govern
    return max(1, min(wanted, len(eligible(now, said))))


def _apply(now: Replay, change: Change) -> Replay:
    _require(change.version == now.state.version + 1, f"it follows version {now.state.version}")
    said = parse_proposal(change.proposal_text)
    digest = digest_of(change.proposal_text)
    _require(said.origin == now.origin, f"it was signed for installation {said.origin}")
    _require(said.previous == now.hashes[-1], "it was made for another state")
    _require(
        (said.kind, said.payload_text, said.reason, said.proposer, said.previous)
        == (change.kind, change.payload, change.reason, change.proposer, change.previous),
        "the signed text says otherwise than the stored columns",
    )
    check_payload(said.kind, said.payload)
    _require(isinstance(change.applied_at, datetime), f"{change.applied_at!s:.60} is no time of application")
    key = now.active.get(said.proposer)
    _require(key is not None, f"its proposer {said.proposer} is unknown or revoked")
    assert key is not None
    _require(key.hex() == change.proposer_key, f"the key of its proposer {said.proposer} is another")
    _require(
        _holds(key, change.proposal_text, change.proposal_signature), "the proposer's signature is invalid"
    )

    voters = eligible(now, said)
    tightens = direction(said.kind, said.payload, now.state) == "tighten"
    approvers = _approvers(change, said, digest, now.origin, voters, tightens=tightens)
    needed = approvals_needed(now, said)
    _require(len(approvers) >= needed, f"it has {len(approvers)} valid approvals, and needs {needed}")
    _require(change.approved_by in approvers, "the agent that completed the quorum did not approve")

    state = next_state(now.state, said.kind, said.payload)
    _require(state.text == change.state_text, "it leads to another state than is stored")
    _require(state.hash == change.state_hash, "the stored hash is not that of its state")
    released, disowned, since = now.released, now.disowned, now.limits_since
    if said.kind == "lockdown_release":
        disowned |= {
            (place["id"], place["actual_hash"])
            for place in said.payload["damage"]
            if (place["table"], place["verdict"]) == ("lockdown_events", "consensus_mismatch")
        }
        released = (*released, (said.proposal_id, digest_of(jsonb_text(said.payload["damage"]))))
    elif said.kind == "risk_config":
        # the clock may have been set back since the version before
        since = change.applied_at if since is None else max(change.applied_at, since + _TICK)
    return replace(
        _governed(now, said),
        state=state,
        hashes=(*now.hashes, state.hash),
        released=released,
        disowned=disowned,
        limits_since=since,
        approvers=approvers,
    )


def _subject(said: SignedProposal) -> str | None:
    """The agent that is to be revoked or replaced: it has no vote on that."""
    name = {"agent_revoke": "agent_id", "agent_enrol": "replaces"}.get(said.kind)
    subject = said.payload[name] if name else None
    return subject if isinstance(subject, str) else None


def eligible(now: Replay, said: SignedProposal) -> Keys:
    """Return the agents whose approval of a proposal counts, with their keys."""
    out = {said.proposer, _subject(said)}
    mine = now.active.get(said.proposer)
    return {agent: key for agent, key in now.active.items() if agent not in out and key != mine}


def _approvers(
    change: Change, said: SignedProposal, digest: str, origin: str, voters: Keys, *, tightens: bool
) -> tuple[str, ...]:
    latest = min(parse_time(said.expires), _LATEST) + _CLOCK_SLACK
    agents: list[str] = []
    keys: set[bytes] = set()
    votes = load_json(change.approvals)
    members = {"agent_id", "public_key", "signed_at", "signature"}
    listed = isinstance(votes, list) and all(
        isinstance(vote, dict) and set(vote) == members for vote in votes
    )
    _require(listed, "its approvals are no list of votes")
    for vote in votes:
        agent, signed_at = vote["agent_id"], vote["signed_at"]
        _require(isinstance(agent, str) and bool(UUID_TEXT.fullmatch(agent)), "an approval names no agent")
        key = voters.get(agent)
        _require(key is not None, f"agent {agent} has no vote on it")
        assert key is not None
        _require(key.hex() == vote["public_key"], f"the key of agent {agent} is another")
        _require(agent not in agents and key not in keys, f"agent {agent} is counted twice")
        # the database's clock may have been set back: that must not keep off a tightening
        in_time = tightens or parse_time(signed_at) <= latest
        _require(in_time, f"agent {agent} approved after it had expired")
        text = approval_text(
            origin=origin, decision="APPROVE", digest=digest, agent_id=agent, signed_at=signed_at
        )
        _require(_holds(key, text, vote["signature"]), f"the signature of agent {agent} is invalid")
        agents.append(agent)
        keys.add(key)
    return tuple(agents)


def _governed(now: Replay, said: SignedProposal) -> Replay:
    """What a change does to agents and quorum."""
    payload = said.payload
    if said.kind == "quorum_policy":
        others = len(now.active) - 1
        _require(max(payload.values()) <= others, f"a quorum of more than the {others} other agents")
        return replace(now, policy=Policy(**payload))
    if said.kind not in ("agent_revoke", "agent_enrol"):
        return now
    gone = _subject(said)
    _require(gone is None or gone in now.active, f"agent {gone} is unknown or revoked already")
    active = {agent: key for agent, key in now.active.items() if agent != gone}
    if said.kind == "agent_revoke":
        return replace(now, active=active)
    agent, key = payload["agent_id"], key_of(payload["public_key"])
    _require(agent not in now.ever and key not in now.ever.values(), "agent or key were enrolled before")
    return replace(
        now,
        active={**active, agent: key},
        ever={**now.ever, agent: key},
        enrolled={**now.enrolled, agent: (payload["name"], payload["role"])},
    )


def _holds(key: bytes, text: str, signature: Any) -> bool:
    if not isinstance(signature, str) or not SIGNATURE_TEXT.fullmatch(signature):
        return False
    return verify(key, text.encode(), bytes.fromhex(signature))


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise ValueError(problem)
