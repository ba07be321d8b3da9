"""A call that runs in a thread of its own, because it will wait for a lock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tests.support import PATIENCE, Connection, query, wait_blocked

TIMEOUT = 30


class Background:
    """Runs a statement on a connection; `blocked` waits until the server says that it waits for a lock."""

    def __init__(self, connection: Connection, statement: str, parameters: Any = ()) -> None:
        connection.execute(f"set statement_timeout = '{PATIENCE}s'")  # a fault is to fail, not to hang
        self.pid = connection.info.backend_pid
        pool = ThreadPoolExecutor(1)
        self._future: Future[Any] = pool.submit(query, connection, statement, parameters)
        pool.shutdown(wait=False)

    def blocked(self, observer: Connection) -> Background:
        wait_blocked(observer, self.pid)
        return self

    @property
    def done(self) -> bool:
        """Whether the statement has ended, in whatever way."""
        return self._future.done()

    def result(self) -> Any:
        """The rows; raises what the statement raised."""
        return self._future.result(TIMEOUT)

    def error(self) -> BaseException | None:
        return self._future.exception(TIMEOUT)


def all_at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """Run the calls in as many threads; gives their results, or raises the first error."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(TIMEOUT * 4) for future in [pool.submit(call) for call in calls]]
