"""Reading things side by side, over several connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any, TypeVar

import psycopg

from alpha_db.errors import ConnectionFailed
from alpha_db.verify.again import Reader

Connection = psycopg.Connection[Any]
Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    connect: Callable[[], Connection],
    items: Sequence[Item],
    read: Callable[[Reader, Item], Result],
    *,
    jobs: int,
    on_progress: Callable[[int], None] = lambda _done: None,
    on_fewer: Callable[[int, ConnectionFailed], None] = lambda _number, _problem: None,
    on_again: Callable[[int], None] = lambda _conflicts: None,
    spare: Reader | None = None,
) -> list[Result]:
    """Read items over as many connections as there are jobs; return the results in the order of the items.

    A connection that is not to be had is done without as long as another one works; if there is none, `spare` reads
    what is left. `on_progress` is told how many items are read, `on_fewer` how many connections worked, and why not
    all did, and `on_again` how often a standby cancelled what was read. Interrupted, or if an item fails, the
    statements that run are cancelled and every connection is closed. Raises what `read` raises, and ConnectionFailed.
    """
    waiting: SimpleQueue[int] = SimpleQueue()
    for number in range(len(items)):
        waiting.put(number)
    results: dict[int, Result] = {}
    is_over = Event()
    readers: list[Reader] = []
    refused: list[ConnectionFailed] = []

    def work() -> None:
        try:
            reader = Reader(connect, is_over=is_over)
        except ConnectionFailed as problem:
            refused.append(problem)
            return
        with closing(reader):
            readers.append(reader)
            for number in _drain(waiting):
                if is_over.is_set():
                    return
                results[number] = read(reader, items[number])

    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="verify") as pool:
        running: set[Future[None]] = {pool.submit(work) for _ in range(min(jobs, len(items)))}
        try:
            while running:
                done, running = wait(running, timeout=0.1, return_when=FIRST_COMPLETED)
                on_progress(len(results))
                for future in done:
                    future.result()
        except BaseException:
            is_over.set()
            while running:  # a cancel that comes before its statement is lost
                for reader in readers:
                    with suppress(psycopg.Error):
                        reader.conn.cancel()
                _, running = wait(running, timeout=0.2)
            raise
    if refused:
        on_fewer(len(readers), refused[0])
    if len(results) < len(items):  # no connection worked
        if spare is None:
            raise refused[0]
        for number in _drain(waiting):
            results[number] = read(spare, items[number])
            on_progress(len(results))
    if conflicts := sum(reader.conflicts for reader in readers):
        on_again(conflicts)
    return [results[number] for number in range(len(items))]


def _drain(waiting: SimpleQueue[int]) -> Iterator[int]:
    with suppress(Empty):
        while True:
            yield waiting.get_nowait()
