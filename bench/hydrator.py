"""Part hydrator: from COMMIT of an approved change to the state that the order path sees."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import psycopg

from alpha_db.errors import AlphaDbError
from alpha_db.queries import query
from alpha_db.risk.config_manager import ConfigManager
from alpha_db.risk.guardrail import GuardrailState
from alpha_db.risk.hydrator import RiskGuardrailService
from alpha_db.risk.source import PostgresSource
from alpha_db.security.audit_signer import AuditSigner, bootstrap_text
from alpha_db.verify.courtesy import RISK, tell
from bench.host import Host
from bench.measure import Figure, Target, figures

NAME = "hydrator"
TITLE = (
    "COMMIT of an approved change until RiskGuardrailService.state shows it, by NOTIFY and by polling alone"
)

LISTENER, NOTIFIED, POLLED = "a bare LISTEN hears it", "state, by NOTIFY", "state, by polling alone"
#: The targets, in milliseconds.
TARGETS = {NOTIFIED: Target(50.0), POLLED: Target(600.0)}

# the service's default, which the moments of COMMIT are spread over
_POLL = 0.5
_PATIENCE = 30.0


class Deaf(PostgresSource):
    """A source that hears no notification."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]], statement_timeout: float) -> None:
        super().__init__(connect, statement_timeout)
        self._given_up = threading.Event()

    def wait(self, timeout: float) -> None:
        """Wait the whole time."""
        self._given_up.wait(timeout)

    def abort(self) -> None:
        """End the wait, too."""
        self._given_up.set()
        super().abort()


class Council:
    """Three agents who approve a tighter limit and a looser one in turn."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn
        self._manager = ConfigManager(conn)
        self._signers = {uuid4(): AuditSigner.generate() for _ in range(3)}
        agents: list[dict[str, Any]] = [
            {
                "agent_id": str(agent),
                "name": f"agent {number}",
                "role": "risk",
                "public_key": signer.public_key_hex,
            }
            for number, (agent, signer) in enumerate(self._signers.items())
        ]
        text = bootstrap_text(self._manager.active()["origin"], agents)
        for row, signer in zip(agents, self._signers.values(), strict=True):
            row["signature"] = signer.sign(text).hex()
        self._manager.bootstrap(agents)
        self._tight = True

    def prepare(self) -> Callable[[], float]:
        """Propose a change and vote but for the last vote.

        Return what casts that and commits; it returns the moment just before COMMIT was sent.
        """
        manager = self._manager
        self._tight = not self._tight
        payload = {
            "max_position_size_pct": "0.04" if self._tight else "0.05",
            "daily_drawdown_limit_pct": "0.03",
            "max_leverage_ratio": "2",
        }
        proposer, *voters = self._signers
        draft = manager.draft("risk_config", payload, reason="bench", proposer=proposer)
        proposal = manager.propose(draft, self._signers[proposer])["proposal_id"]
        *before, last = voters[: draft.needed]
        for voter in before:
            manager.vote(manager.ballot(proposal, voter, "APPROVE"), self._signers[voter])
        ballot = manager.ballot(proposal, last, "APPROVE")

        def commit() -> float:
            with self._conn.transaction():
                manager.vote(ballot, self._signers[last])
                moment = time.perf_counter()  # COMMIT follows
            tell(self._conn, RISK)  # as a vote does that is in no transaction of the caller's
            return moment

        return commit

    @property
    def version(self) -> int:
        """The version in force."""
        return int(self._manager.active()["version"])


def run(host: Host) -> list[Figure]:
    """Measure. Raises AlphaDbError if a service does not come to show a change."""
    dsn = host.database("bench_hydrator")
    samples: dict[str, list[float]] = {LISTENER: [], NOTIFIED: [], POLLED: []}
    with ExitStack() as stack:
        council = Council(stack.enter_context(host.connect(dsn)))
        council.prepare()()
        listener = stack.enter_context(host.connect(dsn))
        listener.execute(query("listen_risk"))
        services = {
            NOTIFIED: stack.enter_context(RiskGuardrailService(dsn, poll=_POLL)),
            POLLED: stack.enter_context(
                RiskGuardrailService(source=lambda: Deaf(lambda: host.connect(dsn), 1.0), poll=_POLL)
            ),
        }
        for name, service in services.items():
            if not service.wait_for(lambda state: state.is_normal, _PATIENCE):
                raise AlphaDbError(f"{name}: not in force: {service.state.reason}")
        for _ in range(5 if host.quick else 30):
            for name, milliseconds in _one_change(council, listener, services).items():
                samples[name].append(milliseconds)
    return figures(NAME, "COMMIT to …", "ms", samples, baseline=LISTENER, targets=TARGETS)


def _one_change(
    council: Council, listener: psycopg.Connection[Any], services: dict[str, RiskGuardrailService]
) -> dict[str, float]:
    """Apply a change and return how long each took to see it: all of them look at the same COMMIT."""
    commit = council.prepare()
    version = council.version + 1
    for _ in listener.notifies(timeout=0):
        pass
    seen: dict[str, float] = {}

    def shows(state: GuardrailState) -> bool:
        return state.is_normal and state.version == version

    def watch(name: str, service: RiskGuardrailService) -> None:
        if service.wait_for(shows, _PATIENCE):
            seen[name] = time.perf_counter()

    def listen() -> None:
        for _ in listener.notifies(timeout=_PATIENCE, stop_after=1):
            seen[LISTENER] = time.perf_counter()

    watchers = [threading.Thread(target=watch, args=item, daemon=True) for item in services.items()]
    watchers.append(threading.Thread(target=listen, daemon=True))
    for watcher in watchers:
        watcher.start()
    time.sleep(random.uniform(0.06, 0.06 + _POLL))
    started = commit()
    for watcher in watchers:
        watcher.join()
    for name in (LISTENER, *services):
        if name not in seen:
            raise AlphaDbError(f"{name}: not within {_PATIENCE:g} s")
    return {name: (moment - started) * 1000 for name, moment in seen.items()}
