"""The demo's chapter on risk limits: three agents, limits that they change together, and a running hydrator.

Every value was read from the database or is the hydrator's own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg

from alpha_db.connection import connect
from alpha_db.demo.council import Council, Keys
from alpha_db.demo.statements import statement
from alpha_db.errors import Refused, translate
from alpha_db.risk import GuardrailState, Order, RiskGuardrailService
from alpha_db.risk.config_manager import ConfigManager
from alpha_db.security.audit_signer import AuditSigner, bootstrap_text

LIMITS = {"max_position_size_pct": "0.05", "daily_drawdown_limit_pct": "0.03", "max_leverage_ratio": "2"}
TIGHTER = {**LIMITS, "max_leverage_ratio": "1.5"}
LOOSER = {**LIMITS, "max_leverage_ratio": "5"}

#: An order for ten times the equity.
TOO_LARGE = Order(
    symbol="ETHBTC",
    side="BUY",
    quantity=Decimal(100),
    price=Decimal(1),
    position=Decimal(0),
    equity=Decimal(10),
    exposure=Decimal(0),
    drawdown_pct=Decimal(0),
)

BY_FORCE = ("as_owner", "switch_off_risk", "loosen", "switch_on_risk")

# A laptop that is busy with something else must not end the lease in the middle of the story.
_SERVICE: dict[str, Any] = {"lease": 10.0, "poll": 0.2, "read_deadline": 5.0}
_PATIENCE = 30.0

Row = dict[str, Any]
Dsn = Callable[[str, str], str]


@dataclass(frozen=True)
class Stage:
    """Where the chapter plays: the databases, and who connects."""

    database: str
    copy: str
    superuser: str
    trader: str
    council: str


def risk_chapter(dsn: Dsn, stage: Stage, keys: Keys) -> tuple[Row, bool]:
    """Run the chapter with the keys of agents to enrol; return what was found, and whether it was as promised.

    Raises AlphaDbError and psycopg.Error for what is no finding.
    """
    with _quiet():
        found, as_promised = _consensus(dsn, stage, keys)
        with closing(_connect(dsn("postgres", stage.superuser))) as conn:
            # nobody is connected to the original now
            conn.execute(statement("copy_for_risk"))
        forced, is_found_out = _by_force(dsn, stage)
    found["refused"] |= forced.pop("refused")
    return found | forced, as_promised and is_found_out


def _consensus(dsn: Dsn, stage: Stage, keys: Keys) -> tuple[Row, bool]:
    with closing(_connect(dsn(stage.database, stage.superuser))) as conn:
        conn.execute(statement("create_council"))
        owner = ConfigManager(conn)
        enrolments = [_enrolment(name, signer) for name, signer in keys.items()]
        text = bootstrap_text(owner.active()["origin"], enrolments)
        owner.bootstrap([row | {"signature": keys[row["name"]].sign(text).hex()} for row in enrolments])
        agents = [agent.name for agent in owner.agents()]
    with (
        RiskGuardrailService(dsn(stage.database, stage.trader), **_SERVICE) as hydrator,
        closing(_connect(dsn(stage.database, stage.council))) as conn,
    ):
        hydrator.wait_for(lambda state: "approved" in state.reason, _PATIENCE)
        before = hydrator.state
        council = Council(ConfigManager(conn), keys)

        first = council.propose("ada", "risk_config", LIMITS, "the first limits")
        votes = [council.approve(first, "ben"), council.approve(first, "cyd")]
        hydrator.wait_for(_has(1), _PATIENCE)
        begun = hydrator.state

        alone = council.propose("ada", "risk_config", LOOSER, "more leverage")
        refusal: Refused | None = None
        try:
            council.approve(alone, "ada")
        except Refused as exc:
            refusal = exc
        held = council.config.active()

        tighter = council.propose("ben", "risk_config", TIGHTER, "less leverage")
        ballot = council.ballot(tighter, "ada")
        started = time.perf_counter()
        outcome = council.config.vote(ballot, keys["ada"])
        was_seen = outcome == "APPLIED" and hydrator.wait_for(_has(2), _PATIENCE)
        seen_ms = (time.perf_counter() - started) * 1000
        seen = hydrator.state
        active = council.config.active()
        with closing(_connect(dsn(stage.database, stage.trader))) as trader:
            asked = hydrator.decide_and_record(trader, TOO_LARGE, decision_maker="demo desk")
            recorded = trader.execute(statement("latest_decision")).fetchone()
    data = {
        "agents": agents,
        "before": before.reason,
        "first": {"version": begun.version, "limits": _limits(begun), "votes": votes},
        "refused": {refusal.code: refusal.message} if refusal else {},
        "applied": {"version": seen.version, "state_hash": seen.state_hash, "limits": _limits(seen)},
        "seen_by_hydrator_ms": round(seen_ms, 1) if was_seen else None,
        "decision": {"allowed": asked.allowed, "reason": asked.reason, "is_recorded": recorded is not None},
    }
    as_promised = (
        not before.is_normal
        and votes == ["PENDING", "APPLIED"]
        and begun.is_normal
        and refusal is not None
        and refusal.code == "RSK-004"
        and held["state_hash"] == begun.state_hash
        and outcome == "APPLIED"
        and was_seen
        and (seen.version, seen.state_hash) == (active["version"], active["state_hash"])
        and seen.max_leverage_ratio < begun.max_leverage_ratio
        and recorded == (False, asked.reason, seen.version)
    )
    return data, as_promised


def _by_force(dsn: Dsn, stage: Stage) -> tuple[Row, bool]:
    with (
        RiskGuardrailService(dsn(stage.copy, stage.trader), **_SERVICE) as hydrator,
        closing(_connect(dsn(stage.copy, stage.superuser))) as conn,
    ):
        hydrator.wait_for(lambda state: state.is_normal, _PATIENCE)
        before = hydrator.state
        refusal = _refusal(conn)
        with conn.transaction():
            conn.execute(statement("as_owner"))
            conn.execute(statement("switch_off_risk"))
            edited = conn.execute(statement("loosen")).rowcount
            conn.execute(statement("switch_on_risk"))
        started = time.perf_counter()
        entered = hydrator.wait_for(lambda state: not state.is_normal, _PATIENCE)
        milliseconds = (time.perf_counter() - started) * 1000
        after = hydrator.state
    data = {
        "refused": {refusal.code: refusal.message} if refusal else {},
        "copied_by": statement("copy_for_risk"),
        "statements": [statement(name) for name in BY_FORCE],
        "version_before": before.version,
        "safe_mode": {
            "entered": entered,
            "reason": after.reason if entered else None,
            "milliseconds": round(milliseconds, 1) if entered else None,
        },
    }
    as_promised = (
        before.is_normal
        and refusal is not None
        and refusal.code == "RSK-002"
        and edited == 1
        and entered
        and after.reason.startswith("RSK-007")
    )
    return data, as_promised


def _enrolment(name: str, signer: AuditSigner) -> Row:
    return {
        "agent_id": str(uuid4()),
        "name": name,
        "role": "risk",
        "public_key": signer.public_key_hex,
    }


def _has(version: int) -> Callable[[GuardrailState], bool]:
    return lambda state: state.is_normal and state.version == version


def _limits(state: GuardrailState) -> Row:
    return {name: getattr(state, name) for name in LIMITS}


def _refusal(conn: psycopg.Connection[Any]) -> Refused | None:
    try:
        with translate(), conn.transaction(force_rollback=True):
            conn.execute(statement("as_owner"))
            conn.execute(statement("loosen"))
    except Refused as exc:
        return exc
    return None


def _connect(dsn: str) -> psycopg.Connection[Any]:
    return connect(dsn, autocommit=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the hydrator's log off stderr: what it says there is what the chapter is about to show."""
    logger = logging.getLogger("alpha_db.risk")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
