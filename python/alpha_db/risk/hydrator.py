"""RiskGuardrailService: keeps verified risk limits in memory, and falls back to Safe Mode.

A supervisor thread runs a worker thread that reads; a worker that gets no answer in time is cut off and
replaced, so that a socket which hangs without an error cannot stop the rest. Questions touch neither.
Source: docs/risk.md.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from alpha_db.connection import connect as connect_to
from alpha_db.errors import AlphaDbError, ValueRefused, from_database, squeeze
from alpha_db.risk.clock import Clock, boottime
from alpha_db.risk.decisions import append_decision, to_record
from alpha_db.risk.guardrail import CEILINGS, Ceilings, Guardrail, GuardrailState
from alpha_db.risk.high_water import HighWater
from alpha_db.risk.orders import Decision, Order, decide
from alpha_db.risk.pins import Pins, load_pins
from alpha_db.risk.source import ConnectionFactory, PostgresSource, Source
from alpha_db.risk.worker import Worker
from alpha_db.security.config_integrity import IntegrityChecker, Verified
from alpha_db.security.evidence import Reading
from alpha_db.service.backoff import Backoff

logger = logging.getLogger("alpha_db.risk")

#: Up to this many applied changes every read compares the whole log; beyond, it does so every FULL_EVERY seconds.
SMALL_LOG = 500
FULL_EVERY = 30.0
#: Workers that were given up and still hang in the system; with so many no more are started.
MOST_ABANDONED = 8

# Data that cannot be what an approved change wrote (a value that does not parse, two rows for one) is no outage.
_BROKEN_DATA = ("21", "22", "23")


@dataclass(frozen=True)
class _Answer:
    """A reading, when it began on the lease's clock, and between which moments of the wall clock it came."""

    reading: Reading
    started: float
    asked: datetime
    answered: datetime


_Worker = Worker[_Answer]


class NotProven(AlphaDbError):  # noqa: N818
    """A read that completed and proves nothing: the standby may be behind, or a clock is wrong."""


class RiskGuardrailService:
    """Risk limits that an order path can ask without waiting.

    Takes a DSN and schema as alpha_db.connect does, or `connect`, which opens a connection; or `source`, for
    what is no PostgreSQL at all. `pins` is a file of pinned keys (see alpha_db.risk.pins), `high_water` the
    file that remembers the highest version: without it a restored older state is found only by a process that
    has seen the newer. `lease`, `poll`, `read_deadline` and `clock_tolerance` are seconds.

    start() returns at once; until `good_reads` reads in a row have completed and verified, and from the end of
    the lease on, the state is Safe Mode. Nothing that goes wrong later is raised: `state.reason` says it.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        schema: str | None = None,
        connect: ConnectionFactory | None = None,
        source: Callable[[], Source] | None = None,
        pins: Path | str | Pins | None = None,
        high_water: Path | str | None = None,
        lease: float = 2.0,
        poll: float = 0.5,
        read_deadline: float = 1.0,
        good_reads: int = 3,
        clock_tolerance: float = 5.0,
        ceilings: Ceilings | None = None,
        clock: Clock = boottime,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        backoff: Backoff | None = None,
    ) -> None:
        if not (0 < poll < lease and 0 < read_deadline <= lease and good_reads >= 1 and clock_tolerance >= 0):
            raise ValueRefused(
                "the times of the guardrail do not fit together",
                hint="Keep 0 < poll < lease, 0 < read_deadline <= lease, and good_reads >= 1.",
                sqlstate="22023",
            )
        # libpq waits at least 2 seconds
        connect_timeout = max(2, round(lease))
        opener = connect or (
            lambda: connect_to(dsn, schema=schema, connect_timeout=connect_timeout, autocommit=True)
        )
        self._open_deadline = connect_timeout + read_deadline
        self._source = source or (lambda: PostgresSource(opener, read_deadline))
        self._pins = pins
        self._high_water = HighWater(high_water)
        self._poll, self._read_deadline = poll, read_deadline
        self._tolerance = timedelta(seconds=clock_tolerance)
        self._lease = lease
        self._ceilings = CEILINGS.lowered(ceilings)
        self._clock, self._wall = clock, wall
        self._backoff = backoff or Backoff()
        self._guardrail = Guardrail(lease, good_reads, clock)
        self._checker: IntegrityChecker | None = None
        self._full_at = clock()
        self._log_size = 0
        self._said = ""
        self._taking = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        #: reads that completed, good or not; for tests and for a metric
        self.reads = 0

    # ------------------------------------------------------------------------------------------------
    # Questions: no lock, no network

    @property
    def state(self) -> GuardrailState:
        """What holds at this moment; looks at the lease's clock."""
        return self._guardrail.state

    @property
    def lease_left(self) -> float:
        """Seconds until Safe Mode, if no further read verifies."""
        return self._guardrail.lease_left

    def allows(self, order: Order) -> Decision:
        """Decide on an order. In Safe Mode only one that strictly reduces a position is allowed."""
        return decide(order, self._guardrail.state, self._wall())

    # ------------------------------------------------------------------------------------------------
    # The answer on record

    def decide_and_record(
        self,
        conn: psycopg.Connection[Any],
        order: Order,
        *,
        correlation_id: UUID | str | None = None,
        decision_maker: str | None = None,
    ) -> Decision:
        """Decide on an order, and return the decision once it is on record.

        It is on disk then on a connection in autocommit; inside a transaction it is as durable as that. If it cannot
        be recorded, this raises what append_decision raises, and the order is not allowed. An order that is allowed
        but cannot be recorded exactly is refused. Recording may take long, so the guardrail is asked again: if it
        refuses by now, that is recorded, too, and returned.
        """
        decision, recorded = to_record(
            order, self.allows(order), correlation_id=correlation_id, decision_maker=decision_maker
        )
        append_decision(conn, **recorded)
        if decision and not (now := self.allows(order)):
            decision, recorded = to_record(
                order, now, correlation_id=correlation_id, decision_maker=decision_maker
            )
            append_decision(conn, **recorded)
        return decision

    # ------------------------------------------------------------------------------------------------
    # Running

    def start(self) -> RiskGuardrailService:
        """Begin to read in the background, and return at once."""
        if self._thread is not None:
            raise RuntimeError("the service was started before")
        self._thread = threading.Thread(target=self._supervise, name="alpha-db-risk", daemon=True)
        self._thread.start()
        return self

    def stop(self, timeout: float = 5.0) -> None:
        """Stop reading and enter Safe Mode. What hangs in the system is left to itself."""
        self._stopping.set()
        self._guardrail.close("the guardrail service was stopped")
        if self._thread is not None:
            self._thread.join(timeout)

    def __enter__(self) -> RiskGuardrailService:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_for(self, condition: Callable[[GuardrailState], bool], timeout: float) -> bool:
        """Wait until the state fulfils a condition; return whether it did in time. Not for the order path."""
        end = self._clock() + timeout
        with self._guardrail.changed:
            while not condition(self._guardrail.state):
                left = end - self._clock()
                if left <= 0:
                    return False
                # the end of a lease is no event: wake up for it
                self._guardrail.changed.wait(min(left, self._guardrail.lease_left or left, 1.0) + 0.001)
        return True

    # ------------------------------------------------------------------------------------------------
    # One read

    def read_once(self, source: Source) -> None:
        """Read by a source in the caller's thread and publish what came of it, as a worker does. Raises nothing."""
        try:
            self._take(self._ask(source))
        except Exception as problem:
            self._missed(problem)

    def _ask(self, source: Source) -> _Answer:
        started, asked = self._clock(), self._wall()
        reading = source.read(self._since())
        return _Answer(reading, started, asked, self._wall())

    def _since(self) -> int:
        checker = self._checker
        if checker is None or self._log_size <= SMALL_LOG or self._clock() >= self._full_at:
            return 0
        return checker.version

    def _take(self, answer: _Answer) -> None:
        with self._taking:
            self.reads += 1
            self._backoff.reset()
            # unless it verifies, the next read is a full one
            full_at, self._full_at = self._full_at, self._clock()
            try:
                verified = self._verify(answer, full_at)
            except NotProven as problem:
                self._guardrail.miss(problem.message)
            except AlphaDbError as problem:
                self._trip(problem.message)
            except Exception as problem:  # fail closed, whatever it is
                message = f"the verification itself failed: {type(problem).__name__}: {problem}"
                if message != self._said:
                    logger.exception("the verification of the risk limits failed")
                self._said = message
                self._trip(message)
            else:
                if verified.is_locked:
                    self._trip(
                        "lockdown: the audit log is damaged, until an approved release", is_locked=True
                    )
                elif verified.state.limits is None:
                    self._trip("no risk limits were approved yet")
                else:
                    was_normal = self._guardrail.state.is_normal
                    self._guardrail.renew(verified, answer.started)
                    self._said = ""
                    if not was_normal and self._guardrail.state.is_normal:
                        logger.info("risk limits of version %s in force", verified.state.version)

    def _verify(self, answer: _Answer, full_at: float) -> Verified:
        reading = answer.reading
        if reading.in_recovery:
            self._require_fresh(reading.replay_lag)
        if self._checker is None:
            pins = load_pins(self._pins) if isinstance(self._pins, Path | str) else self._pins
            keys, origin = (pins.keys, pins.origin) if pins else (None, None)
            self._checker = IntegrityChecker(keys, origin=origin)
        verified = self._checker.check(reading)
        if not reading.since:
            self._log_size, full_at = len(reading.changes), self._clock() + FULL_EVERY
        self._full_at = full_at
        if not answer.asked - self._tolerance <= verified.read_at <= answer.answered + self._tolerance:
            raise NotProven(f"the clocks disagree: {verified.read_at} there, {answer.answered} here")
        self._high_water.accept(verified)
        if verified.limits_valid_from is not None and verified.limits_valid_from > verified.read_at:
            raise AlphaDbError(f"the limits hold only from {verified.limits_valid_from}")
        if verified.state.limits and (above := self._ceilings.exceeded(verified.state.limits)):
            raise AlphaDbError(above)
        return verified

    def _require_fresh(self, lag: float | None) -> None:
        """Raise NotProven if a standby has replayed nothing that its primary committed within a lease."""
        if lag is None or lag > self._lease:
            said = "it has replayed nothing" if lag is None else f"{lag:.1f} s"
            raise NotProven(f"the standby may be behind its primary: {said}")
        if lag < -self._tolerance.total_seconds():  # that commit would look fresh for so much longer
            raise NotProven(f"the primary's clock is {-lag:.1f} s ahead of its standby's")

    def _trip(self, problem: str, *, is_locked: bool = False) -> None:
        if self._guardrail.state.is_normal:
            logger.error("Safe Mode: %s", problem)
        self._guardrail.trip(problem, is_locked=is_locked)

    def _missed(self, problem: BaseException) -> None:
        """The source failed: data that cannot be right trips at once, all else when the lease ends."""
        if isinstance(problem, psycopg.Error):
            message = squeeze(from_database(problem).message)
            if (problem.sqlstate or "")[:2] in _BROKEN_DATA:
                self._trip(f"RSK-007: the risk tables cannot be read: {message}")
                return
        elif isinstance(problem, AlphaDbError):
            message = problem.message
        else:
            message = f"{type(problem).__name__}: {problem}"
        # an outage is one line in the log, however often it is tried again
        logger.log(
            logging.DEBUG if message == self._said else logging.WARNING, "risk limits not read: %s", message
        )
        self._said = message
        self._guardrail.miss(message)

    # ------------------------------------------------------------------------------------------------
    # Threads

    def _supervise(self) -> None:
        abandoned: list[_Worker] = []
        while not self._stopping.is_set():
            abandoned = [worker for worker in abandoned if not worker.ended.is_set()]
            if len(abandoned) < MOST_ABANDONED:
                worker: _Worker = Worker(
                    self._source, self._ask, self._take, self._missed,
                    poll=self._poll, read_deadline=self._read_deadline, open_deadline=self._open_deadline,
                )  # fmt: skip
                if not self._watch(worker):
                    abandoned.append(worker)
            self._stopping.wait(self._backoff.next())

    def _watch(self, worker: _Worker) -> bool:
        """Run a worker; return whether it ended by itself, False if it gave no answer in time."""
        worker.start()
        while not worker.ended.wait(min(0.1, self._read_deadline / 4)):
            if self._stopping.is_set():
                worker.cut_off()
                return worker.ended.wait(self._read_deadline)
            if worker.is_overdue:
                worker.cut_off()
                self._missed(TimeoutError("the database did not answer in time"))
                return False
        return True
