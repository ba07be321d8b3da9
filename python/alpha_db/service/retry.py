"""Running a transaction again that lost a race, or that did not get a lock in time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Self

import psycopg

from alpha_db.errors import AlphaDbError, WrongState
from alpha_db.service.backoff import Backoff

logger = logging.getLogger("alpha_db.retry")

#: What may succeed when it is run again: a serialization failure, a deadlock, a lock that was not to be had in time.
RETRIED = ("40001", "40P01", "55P03")


class Attempt:
    """One run of what stands in its ``with`` block. It swallows an error after which there is another attempt."""

    def __init__(self, number: int, most: int, before: Attempt | None, pause: float) -> None:
        self.number = number
        self._most, self._before, self._pause = most, before, pause
        #: what it failed with, if there is another attempt
        self.problem: BaseException | None = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: Any, problem: BaseException | None, traceback: TracebackType | None) -> bool:
        """Swallow the error if the block is to run again. Raises WrongState if it can never succeed."""
        state = problem.sqlstate if isinstance(problem, AlphaDbError | psycopg.Error) else None
        if state == "25P02" and self._before:
            raise WrongState(
                "retrying() cannot help: the transaction that failed is still open",
                detail=f"It failed with: {self._before.problem}",
                hint="Begin the transaction inside the attempt: with attempt, conn.transaction(): ...",
                sqlstate="25P02",
            ) from self._before.problem
        if problem is None or state not in RETRIED:
            return False
        if self.number == self._most:
            logger.warning(
                "attempt %s of %s failed, the last: %s %s", self.number, self._most, state, problem
            )
            return False
        self.problem = problem
        said = "attempt %s of %s failed, the next one in %.3f s: %s %s"
        logger.info(said, self.number, self._most, self._pause, state, problem)
        return True

    async def __aenter__(self) -> Self:
        """As ``with``: nothing is awaited."""
        return self.__enter__()

    async def __aexit__(
        self, kind: Any, problem: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """As ``with``: nothing is awaited."""
        return self.__exit__(kind, problem, traceback)


def retrying(attempts: int = 5, *, first: float = 0.05, longest: float = 2.0) -> Iterator[Attempt]:
    """Give attempts until one succeeds: ``for attempt in alpha_db.retrying():``, and ``with attempt, ...:`` in it.

    An attempt that fails with 40001, 40P01 or 55P03 is made again, after a random pause that doubles from `first`
    seconds up to `longest`. Every other error is raised at once, and so is that of the last attempt, each as it is.
    The logger ``alpha_db.retry`` says so.

    The whole transaction must be inside the attempt. In one that is open already nothing can succeed after an error:
    the second attempt raises WrongState (25P02), from the first one's error.
    """
    for attempt, pause in _attempts(attempts, first, longest):
        yield attempt
        if attempt.problem is None:
            return
        time.sleep(pause)


async def aretrying(
    attempts: int = 5, *, first: float = 0.05, longest: float = 2.0
) -> AsyncIterator[Attempt]:
    """As alpha_db.retrying(): ``async for attempt in alpha_db.aio.retrying():``, ``async with attempt, ...:`` in it."""
    for attempt, pause in _attempts(attempts, first, longest):
        yield attempt
        if attempt.problem is None:
            return
        await asyncio.sleep(pause)


def _attempts(attempts: int, first: float, longest: float) -> Iterator[tuple[Attempt, float]]:
    backoff, attempt = Backoff(first, longest), None
    for number in range(1, max(attempts, 1) + 1):
        pause = backoff.next()
        attempt = Attempt(number, max(attempts, 1), attempt, pause)
        yield attempt, pause
