"""A model of a chain's lock: how many turns a second W writers get on C cores.

A turn of a writer is: its client's work, the backend's wake-up, work before the lock, the lock (first come, first
served), the work under it, work after it, a flush that all who wait for it share, and the client's wake-up. Who works
keeps a core until it has to wait for something; who is woken comes back `wake` later, and then waits in turn for a free
core. So the lock passes on in no time if nobody waits for it, and otherwise in `wake` and what a core takes to come
free. This is the convoy: the next holder stands in the queue for a core behind writers who only want to queue for the
lock. Who slept for the lock finds other data in the processor's caches: its work under the lock takes `cold` longer.
Work takes from half to one and a half times as long as given, at random, because otherwise writers would keep in step.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """The parts of a turn, in microseconds."""

    client: float = 0.0
    before: float = 0.0
    hold: float = 0.0
    after: float = 0.0
    wake: float = 0.0
    flush: float = 0.0
    cold: float = 0.0


class Writer:
    """A writer: what it does next, whether it has a core, and whether it slept for the lock."""

    def __init__(self, turn: Turn) -> None:
        self.has_core = False
        self.slept = False
        self.turns = 0
        self.steps = self._steps(turn)

    def _steps(self, turn: Turn) -> Iterator[tuple[str, float]]:
        while True:
            yield "work", turn.client
            yield "sleep", turn.wake
            yield "work", turn.before
            yield "lock", 0.0
            yield "work", turn.hold + (turn.cold if self.slept else 0.0)
            yield "unlock", 0.0
            yield "work", turn.after
            yield "flush", turn.flush
            yield "sleep", turn.wake
            self.turns += 1


class Model:
    """Writers, cores, a lock and a disk."""

    def __init__(self, turn: Turn, cores: int) -> None:
        self.turn = turn
        self.free_cores = cores
        self.now = 0.0
        self.is_locked = False
        self._chance = random.Random(1)
        self._number = itertools.count()
        self._events: list[tuple[float, int, list[Writer]]] = []
        self._for_core: deque[tuple[Writer, float]] = deque()
        self._for_lock: deque[Writer] = deque()
        self._for_disk: list[Writer] = []
        self._is_flushing = False

    def rate(self, writers: int, seconds: float = 1.0) -> float:
        """Return the turns a second of so many writers, of a fresh model."""
        everybody = [Writer(self.turn) for _ in range(writers)]
        for writer in everybody:
            self._step(writer)
        begin, end = seconds * 0.2e6, seconds * 1.2e6  # how it starts does not count
        before = 0
        while self._events and self._events[0][0] < end:
            moment, _, who = heapq.heappop(self._events)
            if self.now < begin <= moment:
                before = sum(writer.turns for writer in everybody)
            self.now = moment
            if not who:
                self._flushed()
            for writer in who:
                self._step(writer)
        return (sum(writer.turns for writer in everybody) - before) / seconds

    def _later(self, delay: float, *who: Writer) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._number), list(who)))

    def _step(self, writer: Writer) -> None:
        """Let a writer go on until it has to wait."""
        for what, microseconds in writer.steps:
            if what == "work" and microseconds:
                return self._work(writer, microseconds)
            if what == "lock" and self.is_locked:
                self._for_lock.append(writer)
                return self._leave_core(writer)
            if what == "lock":
                self.is_locked, writer.slept = True, False
            elif what == "unlock" and self._for_lock:
                follower = self._for_lock.popleft()  # the lock is its own while it still sleeps
                follower.slept = True
                self._later(self.turn.wake, follower)
            elif what == "unlock":
                self.is_locked = False
            elif what == "flush" and microseconds:
                self._for_disk.append(writer)
                if not self._is_flushing:
                    self._flush()
                return self._leave_core(writer)
            elif what == "sleep" and microseconds:
                self._later(microseconds, writer)
                return self._leave_core(writer)
        return None

    def _work(self, writer: Writer, microseconds: float) -> None:
        if not writer.has_core and not self.free_cores:
            self._for_core.append((writer, microseconds))
            return
        self.free_cores -= not writer.has_core
        writer.has_core = True
        self._later(microseconds * self._chance.uniform(0.5, 1.5), writer)

    def _leave_core(self, writer: Writer) -> None:
        self.free_cores += writer.has_core
        writer.has_core = False
        if self.free_cores and self._for_core:
            self._work(*self._for_core.popleft())

    def _flush(self) -> None:
        """Begin a flush for all who wait for one; who comes later waits for the next."""
        self._is_flushing = True
        self._later(self.turn.flush)
        self._later(self.turn.flush, *self._for_disk)
        self._for_disk = []

    def _flushed(self) -> None:
        self._is_flushing = False
        if self._for_disk:
            self._flush()
