"""Agents that propose and vote through SQL alone, signing with `cryptography` and none of this package's code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg.types.json import Jsonb

from tests.support import Connection, Row, one, query

Payload = dict[str, Any]

CHAINED = ("agents", "agent_revocations", "proposals", "votes", "risk_change_log")
LIMITS = ("risk_configurations", "risk_asset_kill_thresholds")


#: A damaged place as a release lists it.
PLACE: Payload = {
    "table": "signals",
    "id": 2,
    "verdict": "content_mismatch",
    "actual_hash": None,
    "expected_hash": None,
}

#: Rows that an archive names.
SEGMENT: Payload = {
    "table": "signals",
    "through_id": 256,
    "row_hash": "0" * 64,
    "root": "a" * 64,
    "segment_sha256": "9" * 64,
}


def private_key(name: str) -> Ed25519PrivateKey:
    """The same key for a name in every run."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"alpha-db test {name}".encode()).digest())


def public_hex(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


def agent_id(name: str) -> UUID:
    return UUID(bytes=hashlib.sha256(f"agent {name}".encode()).digest()[:16], version=4)


def agent(name: str, key: Ed25519PrivateKey | None = None) -> Payload:
    """An agent as bootstrap_agents wants it."""
    public = public_hex(key or private_key(name))
    return {"agent_id": str(agent_id(name)), "name": name, "role": "risk", "public_key": public}


def bootstrap_text(origin: object, agents: list[Payload]) -> str:
    """The text that each of the first agents signs, as docs/risk.md defines it."""
    lines = [f'alpha-db/bootstrap/v1\norigin: "{origin}"\n']
    for member in sorted(agents, key=lambda member: str(member["agent_id"])):
        said = ", ".join(
            f'"{n}": {json.dumps(member[n])}' for n in ("name", "role", "agent_id", "public_key")
        )
        lines.append(f"agent: {{{said}}}\n")
    return "".join(lines)


def signed_bootstrap(
    connection: Connection, agents: list[Payload], signers: dict[str, Ed25519PrivateKey] | None = None
) -> list[Payload]:
    """The agents with their signatures of the whole list; each signs with its own key unless `signers` says."""
    text = bootstrap_text(one(connection, "select origin from active_risk_state()"), agents).encode()
    keys = {a["name"]: private_key(str(a["name"])) for a in agents} | (signers or {})
    return [a | {"signature": keys[a["name"]].sign(text).hex()} for a in agents]


def limits(position: str = "0.05", drawdown: str = "0.03", leverage: str = "2") -> Payload:
    return {
        "max_position_size_pct": position,
        "daily_drawdown_limit_pct": drawdown,
        "max_leverage_ratio": leverage,
    }


def threshold(
    asset: str = "BTC", loss: str = "0.1", price: str | None = None, retired: bool = False
) -> Payload:
    return {"asset": asset, "kill_loss_pct": loss, "kill_price": price, "retired": retired}


def soon(hours: float = 1) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


def code_of(caught: pytest.ExceptionInfo[psycopg.Error]) -> str:
    """The code with which the message begins, having compared it with the SQLSTATE."""
    code = str(caught.value.diag.message_primary)[:7]
    assert caught.value.sqlstate == code[:3] + code[5:], caught.value
    return code


@dataclass
class Council:
    """The agents of an installation, by name."""

    connection: Connection
    keys: dict[str, Ed25519PrivateKey] = field(default_factory=dict)

    def bootstrap(self, *names: str) -> Council:
        self.keys |= {name: private_key(name) for name in names}
        signed = signed_bootstrap(self.connection, [agent(name) for name in names])
        query(self.connection, "select bootstrap_agents(%s)", [Jsonb(signed)])
        return self

    def through(self, connection: Connection) -> Council:
        """The same agents on another connection."""
        return Council(connection, self.keys)

    def sign_proposal(
        self,
        kind: str,
        payload: Payload,
        by: str,
        *,
        reason: str = "because",
        expires_at: Any = None,
        proposal_id: UUID | None = None,
        previous: str | None = None,
    ) -> Row:
        """The arguments of propose(), signed."""
        row: Row = {
            "proposal_id": proposal_id or uuid4(),
            "kind": kind,
            "payload": Jsonb(payload),
            "reason": reason,
            "proposer": agent_id(by),
            "expires_at": expires_at or soon(),
            "previous": previous,
        }
        text = one(
            self.connection,
            "select proposal_message(%(proposal_id)s, %(kind)s, %(payload)s, %(reason)s, %(proposer)s,"
            " %(expires_at)s, %(previous)s)",
            row,
        )
        # with previous as it is signed, a proposal says of itself which state it was made for
        return row | {"signature": self.keys[by].sign((text or "").encode())}

    def send_proposal(self, row: Row) -> UUID:
        found = one(
            self.connection,
            "select proposal_id from propose(%(proposal_id)s, %(kind)s, %(payload)s, %(reason)s, %(proposer)s,"
            " %(expires_at)s, %(signature)s, %(previous)s)",
            row,
        )
        assert isinstance(found, UUID)
        return found

    def propose(self, kind: str, payload: Payload, by: str, **others: Any) -> UUID:
        return self.send_proposal(self.sign_proposal(kind, payload, by, **others))

    def sign_vote(
        self, proposal_id: UUID, by: str, decision: str = "APPROVE", signed_at: Any = None
    ) -> tuple[Any, ...]:
        """The arguments of vote(), signed."""
        at = signed_at or datetime.now(UTC)
        text = one(
            self.connection,
            "select approval_message(%s, %s, %s, %s)",
            [proposal_id, agent_id(by), decision, at],
        )
        return proposal_id, agent_id(by), decision, at, self.keys[by].sign((text or "").encode())

    def send_vote(self, arguments: tuple[Any, ...]) -> str:
        return str(one(self.connection, "select vote(%s, %s, %s, %s, %s)", arguments))

    def vote(self, proposal_id: UUID, by: str, decision: str = "APPROVE", **others: Any) -> str:
        return self.send_vote(self.sign_vote(proposal_id, by, decision, **others))

    def enact(self, kind: str, payload: Payload, by: str, *voters: str) -> UUID:
        """Propose, and approve until it is applied; every voter given must be needed."""
        proposal_id = self.propose(kind, payload, by)
        results = [self.vote(proposal_id, voter) for voter in voters]
        assert results == ["PENDING"] * (len(voters) - 1) + ["APPLIED"]
        return proposal_id

    def damage(self) -> Payload:
        """The payload of a release: all damage that is there, as the database lists it."""
        columns = '"table", id, verdict, actual_hash, expected_hash'
        return {"damage": query(self.connection, f"select {columns} from damaged_rows()")}

    def release(self, by: str = "ada", *voters: str) -> UUID:
        """Lift the lockdown, acknowledging what is there."""
        return self.enact("lockdown_release", self.damage(), by, *(voters or ("ben", "cyd")))

    def status(self, proposal_id: UUID) -> str:
        return str(one(self.connection, "select status from proposal_progress(%s)", [proposal_id]))

    def needed(self, kind: str, payload: Payload, by: str) -> int:
        """How many approvals the database wants for such a proposal now; it stays pending."""
        proposal_id = self.propose(kind, payload, by)
        return int(one(self.connection, "select needed from proposal_progress(%s)", [proposal_id]))

    def state(self) -> Row:
        return query(self.connection, "select * from active_risk_state()")[0]


def unguarded(connection: Connection, statement: str, parameters: Any = (), *, replica: bool = True) -> None:
    """Run a statement as superuser with every trigger of these tables off, foreign keys' too if replica;
    afterwards each is as it was."""
    triggers = query(
        connection,
        "select tgrelid::regclass::text as relation, quote_ident(tgname) as name, tgenabled as state from pg_trigger"
        " where not tgisinternal and tgrelid = any (%s::regclass[])",
        [[*CHAINED, *LIMITS]],
    )
    enable = {"O": "enable", "A": "enable always"}
    with connection.transaction():
        if replica:
            connection.execute("set local session_replication_role = replica")
        for trigger in triggers:
            connection.execute(f"alter table {trigger['relation']} disable trigger {trigger['name']}")
        query(connection, statement, parameters)
        for trigger in triggers:
            state = enable[trigger["state"]]
            connection.execute(f"alter table {trigger['relation']} {state} trigger {trigger['name']}")
