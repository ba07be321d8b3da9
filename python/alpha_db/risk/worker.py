"""A thread that reads by a source of its own, and can be given up from outside."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from alpha_db.risk.source import Source

Answer = TypeVar("Answer")

#: A flood of notifications makes no more reads than this many seconds apart.
READ_GAP = 0.05


class Worker(Generic[Answer]):
    """Opens a source, reads, waits for a notification or `poll` seconds, reads again; ends at the first failure.

    `ask` reads and does nothing else, so that it can be given up at any moment; `take` gets the answer, `failed`
    what was raised. Once the worker is cut off, neither is called any more.
    """

    def __init__(
        self,
        make: Callable[[], Source],
        ask: Callable[[Source], Answer],
        take: Callable[[Answer], None],
        failed: Callable[[BaseException], None],
        *,
        poll: float,
        read_deadline: float,
        open_deadline: float,
    ) -> None:
        self._make, self._ask, self._take, self._failed = make, ask, take, failed
        self._poll, self._read_deadline, self._open_deadline = poll, read_deadline, open_deadline
        self._lock = threading.Lock()
        self._source: Source | None = None
        self._due: float | None = None
        self._cut = threading.Event()
        #: set when the thread has ended and its connection is closed
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alpha-db-risk-reader", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._expect(self._open_deadline)
        self._thread.start()

    @property
    def is_overdue(self) -> bool:
        """Whether an answer should have come by now."""
        due = self._due
        return due is not None and time.monotonic() > due

    def cut_off(self) -> None:
        """Give the worker up: whatever it waits for fails, and what it still finds out does not count."""
        with self._lock:
            self._cut.set()
            source = self._source
        if source is not None:
            source.abort()

    def _run(self) -> None:
        try:
            source = self._make()
            with self._lock:
                self._source = source
            try:
                self._read_on(source)
            finally:
                with contextlib.suppress(Exception):
                    source.close()
        except BaseException as problem:
            self._due = None
            with self._lock:
                counts = not self._cut.is_set()
            if counts:
                self._failed(problem)
        finally:
            self.ended.set()

    def _read_on(self, source: Source) -> None:
        if self._cut.is_set():
            return
        source.open()
        while not self._cut.is_set():
            begun = time.monotonic()
            self._expect(self._read_deadline)
            answer = self._ask(source)
            with self._lock:
                self._due = None
                if self._cut.is_set():
                    return
            self._take(answer)
            self._expect(self._poll + self._read_deadline)
            source.wait(self._poll)
            self._cut.wait(max(0.0, begun + READ_GAP - time.monotonic()))

    def _expect(self, seconds: float) -> None:
        self._due = time.monotonic() + seconds
