"""Checking many files in several processes of this machine: the same verdicts as one after another, sooner."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread

from alpha_db.evidence.exports import Against, Result, check_export, not_checked

_ENDED = "the process that should check it was ended from outside: there may be too little memory for so many at once"
#: Only the process that was given them can read these.
_OURS = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")

Tell = Callable[[int], None]


def check_exports(
    files: Sequence[str], against: Against, jobs: int = 1, progress: Tell = lambda _bytes: None
) -> list[Result]:
    """Check files, so many at once; return the results in the order of the files.

    `progress` is told how many bytes of all of them were read. A file whose process was ended is not_run. Interrupted,
    it ends the processes. Raises nothing of what a file can hold.
    """
    sizes = [size_of(file) or 0 for file in files]
    results: dict[int, Result] = {}
    elsewhere = [number for number, file in enumerate(files) if file != "-" and not file.startswith(_OURS)]
    if jobs > 1 and len(elsewhere) > 1:
        results = _by_processes(
            {number: files[number] for number in elsewhere}, against, jobs, sizes, progress
        )
    before = sum(sizes[number] for number in results)
    for number, file in enumerate(files):
        if number not in results:
            results[number] = check_export(file, against, lambda read, done=before: progress(done + read))  # type: ignore[misc]
            before += sizes[number]
            progress(before)
    return [results[number] for number in range(len(files))]


def size_of(file: str) -> int | None:
    """Return how many bytes a file has; None for what is none, or is not there."""
    with suppress(OSError, ValueError):
        facts = Path(file).stat()
        return facts.st_size if stat.S_ISREG(facts.st_mode) else None
    return None


def _by_processes(
    files: dict[int, str], against: Against, jobs: int, sizes: Sequence[int], progress: Tell
) -> dict[int, Result]:
    """The results by number; fewer, or none, if no process is to be had."""
    others = set(multiprocessing.active_children())
    results: dict[int, Result] = {}
    running: dict[Future[Result], int] = {}
    with suppress(OSError, ImportError, NotImplementedError):  # no semaphores here, or no more processes
        pool = ProcessPoolExecutor(min(jobs, len(files)), initializer=_begin)
        try:
            for number, file in files.items():
                running[pool.submit(check_export, file, against)] = number
            for future in as_completed(running):
                results[running[future]] = _result(future, files[running[future]])
                progress(sum(sizes[number] for number in results))
            pool.shutdown()
        except BrokenProcessPool:  # before all were sent
            results |= {n: not_checked(file, _ENDED) for n, file in files.items() if n not in results}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            raise
    return results


def _result(future: Future[Result], file: str) -> Result:
    try:
        return future.result()
    except BrokenProcessPool:
        return not_checked(file, _ENDED)


def _begin() -> None:
    """Leave Ctrl-C to the process that waits for this one, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if parent := multiprocessing.parent_process():
        Thread(target=_end_with, args=[parent.sentinel], daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
