"""Part handover: how a chain's lock passes from writer to writer; a queueing model beside what was measured.

The model plays W writers on C cores. Each turn of a writer is: its client's work, a wake-up of the backend, work before
the lock, the lock (first come, first served), the work under it, work after it, and a flush that all who wait share. A
turn of work keeps its core until it has to wait; who is woken first waits `wake` and then, in turn, for a free core. So
the chain passes on in no time if nobody waits, and otherwise in `wake` plus the wait for a core. That is the convoy:
with W writers on C cores, the next holder stands behind others who wait for a core as well.

What it is given is measured with one writer: the processor time of a row, the time under the lock (from created_at,
which the trigger takes under it, to the commit's time-stamp), the rest of a turn, which is the client's, and the flush.
`wake` is half a turn of two processes that wake each other. With eight writers a row costs the processor more than with
one: a process that slept finds other data in the caches. What that adds is `cold`, and the model charges it to
whoever waited for the lock. All else, and the rates of the other numbers of writers, is the model's own.
"""

from __future__ import annotations

import heapq
import itertools
import os
import tempfile
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import psycopg

from alpha_db.embedded import throwaway_server
from bench.contestants import CALL, PLAIN, arena
from bench.host import Host
from bench.measure import Figure, figures
from bench.pgbench import Run, pgbench
from bench.statements import ALONE

NAME = "handover"
TITLE = "the chain's lock from writer to writer: a queueing model beside the measured rates, and for 16 cores"

WRITERS = (1, 2, 4, 8, 16, 32)
MANY_CORES = 16


@dataclass(frozen=True)
class Turn:
    """The parts of a writer's turn, in microseconds."""

    client: float
    before: float
    hold: float
    after: float
    wake: float
    flush: float = 0.0
    cold: float = 0.0


@dataclass
class Model:
    """Writers on cores; see the file's head. `run` gives turns a second."""

    turn: Turn
    cores: int
    now: float = 0.0
    turns: int = 0
    _events: list[tuple[float, int, Writer]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _free: int = 0
    _ready: deque[Writer] = field(default_factory=deque)
    _held: bool = False
    _queue: deque[Writer] = field(default_factory=deque)
    _flushed: deque[Writer] = field(default_factory=deque)
    _flushing: list[Writer] = field(default_factory=list)

    def run(self, writers: int, seconds: float = 2.0) -> float:
        """Return the turns a second of so many writers."""
        self._free = self.cores
