"""What a proposal changes, derived from its signed text and the replayed log, without the database's word.

The database's proposal_changes() says the same to people who use psql; whoever signs relies on this. Source:
docs/risk.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alpha_db.security.payloads import segments_of
from alpha_db.security.replay import Replay, next_state
from alpha_db.security.signed_text import SignedProposal, json_string, load_json

#: An old value that the signed texts at hand do not say.
UNKNOWN = object()
#: An asset that is shown without quotes.
_PLAIN = re.compile(r"[-A-Za-z0-9._:/]+")
#: How many letters that are not ASCII spelt() names.
_MOST_SPELT = 8
_LIMITS = ("max_position_size_pct", "daily_drawdown_limit_pct", "max_leverage_ratio")


@dataclass(frozen=True)
class Change:
    """What a proposal does to one thing: old and new value (None: there is none), and direction.

    The direction is tighten, loosen, govern (who decides), or same. `old` is UNKNOWN, and so is the direction if it
    depends on it, where no replayed log says what holds.
    """

    name: str
    old: Any
    new: str | None
    direction: Any

    def fits(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row of proposal_changes() says this, as far as it is known."""
        return (
            (row["name"], row["new"]) == (self.name, self.new)
            and (self.old is UNKNOWN or row["old"] == self.old)
            and (self.direction is UNKNOWN or row["direction"] == self.direction)
        )


#: Name and role of an agent with its public key in hex, by its id: "ben (risk), key a075…".
Names = Mapping[str, str]


def changes_of(said: SignedProposal, replay: Replay | None, names: Names) -> list[Change]:
    """Return what a proposal changes, in the order of proposal_changes().

    Takes what its text says, the log as it was replayed up to the state that the proposal was made for (None: it does
    not hold, so old values are unknown), and the agents. Raises ValueError for an unknown kind, and ValueError,
    TypeError or LookupError for a payload that is not one of its kind.
    """
    return list(_KINDS[said.kind](said, replay, names)) if said.kind in _KINDS else _unknown(said.kind)


def _unknown(kind: str) -> list[Change]:
    raise ValueError(f"nothing shows a {kind}")


def _limits(said: SignedProposal, replay: Replay | None, _names: Names) -> Iterator[Change]:
    before, after = _states(said, replay)
    for name in _LIMITS:
        old, new = (before["limits"] or {}).get(name), after["limits"][name]
        yield Change(name, _text(old), _text(new), _lower(old, new))


def _threshold(said: SignedProposal, replay: Replay | None, _names: Names) -> Iterator[Change]:
    asset = said.payload["asset"]
    before, after = (
        {t["asset"]: t for t in each["kill_thresholds"]}.get(asset) for each in _states(said, replay)
    )
    for name in ("kill_loss_pct", "kill_price"):
        old, new = ((each or {}).get(name) for each in (before, after))
        if old is None and new is None:
            continue
        if old == new:
            way = "same"
        elif after is None:
            way = "loosen"
        elif before is None:
            way = "tighten"
        elif name == "kill_loss_pct":
            way = _lower(old, new)
        else:
            way = "tighten" if old is None else "loosen"
        shown = asset if _PLAIN.fullmatch(asset) else json_string(asset)
        yield Change(f"{shown} {name}", _text(old), _text(new), way)


def _states(said: SignedProposal, replay: Replay | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state before and after, as their canonical texts say it. What builds on limits needs them verified."""
    if replay is None:
        raise ValueError("the state that it was made for is not known")
    after = next_state(replay.state, said.kind, said.payload)
    before, then = load_json(replay.state.text), load_json(after.text)
    return before, then


def _lower(old: Any, new: Any) -> str:
    return "same" if new == old else "tighten" if old is not None and new < old else "loosen"


def _text(value: Any) -> str | None:
    return None if value is None else format(value, "f")


def _quorum(said: SignedProposal, replay: Replay | None, _names: Names) -> Iterator[Change]:
    for name in ("tighten", "loosen", "govern"):
        new = said.payload[name]
        if replay is None:
            yield Change(f"approvals to {name}", UNKNOWN, str(new), UNKNOWN)
            continue
        old = getattr(replay.policy, name)
        yield Change(f"approvals to {name}", str(old), str(new), "same" if old == new else "govern")


def _agent(said: SignedProposal, replay: Replay | None, names: Names) -> Iterator[Change]:
    payload, new = said.payload, None
    gone = payload["agent_id"]
    if said.kind == "agent_enrol":
        gone = payload["replaces"]
        new = f"{payload['name']} ({payload['role']}), key {payload['public_key']}"
    old = None if gone is None else names[gone]
    if replay is not None and gone is not None and not str(old).endswith(f", key {replay.ever[gone].hex()}"):
        raise ValueError(f"the key of agent {gone} is another")
    yield Change("agent", old, new, "govern")


def _release(said: SignedProposal, _replay: Replay | None, _names: Names) -> Iterator[Change]:
    yield Change("lockdown", "engaged", "released", "loosen")
    for place in said.payload["damage"]:
        yield Change(f"{place['table']} {place['id']}", place["verdict"], "acknowledged", "loosen")


def _archive(said: SignedProposal, _replay: Replay | None, _names: Names) -> Iterator[Change]:
    for item in segments_of(said.payload):
        where = f"leave the database; the segment with SHA-256 {item['segment_sha256']} has them"
        yield Change(f"{item['table']}, rows up to {item['through_id']}", "in the database", where, "loosen")


def _hold(said: SignedProposal, _replay: Replay | None, _names: Names) -> Iterator[Change]:
    rows = f"{said.payload['table']}, rows from {said.payload['from_id']} on"
    yield Change(rows, "may leave", "held", "tighten")


def _unhold(said: SignedProposal, _replay: Replay | None, _names: Names) -> Iterator[Change]:
    yield Change(f"hold {said.payload['hold']}", UNKNOWN, None, "loosen")


_KINDS: Mapping[str, Callable[[SignedProposal, Replay | None, Names], Iterator[Change]]] = {
    "risk_config": _limits,
    "asset_kill_threshold": _threshold,
    "quorum_policy": _quorum,
    "agent_enrol": _agent,
    "agent_revoke": _agent,
    "lockdown_release": _release,
    "archive": _archive,
    "hold": _hold,
    "unhold": _unhold,
}


def differing(rows: Sequence[Mapping[str, Any]], expected: Sequence[Change]) -> str | None:
    """Return the first row of the database that says otherwise than the signed text, in words; None if none does."""
    for row, change in zip(rows, expected, strict=False):
        if not change.fits(row):
            return f"{row['name']}: {row['old']} → {row['new']} ({row['direction']})"
    if len(rows) != len(expected):
        return f"{len(rows)} changes instead of {len(expected)}"
    return None


def spelt(text: str) -> str:
    """Return a text, and the numbers of its first letters that are not ASCII: U+0430 looks like an a, and is none."""
    others = [f"U+{ord(letter):04X}" for letter in text if not letter.isascii()]
    more = " …" if len(others) > _MOST_SPELT else ""
    return f"{text} (not ASCII: {' '.join(others[:_MOST_SPELT])}{more})" if others else text
