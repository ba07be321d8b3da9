"""Running a command for each event: in order, again if it fails, and never in the way of a scrape."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC
from pathlib import Path

from alpha_db.errors import AlphaDbError
from alpha_db.queries import Row
from alpha_db.watch.database import Asks
from alpha_db.watch.events import Position, StateError, events
from alpha_db.watch.exporter import figure

#: How often a command is tried, the pause before the second try in seconds, and what the pauses double up to.
TRIES, PAUSE, LONGEST_PAUSE = 6, 1.0, 60.0
#: How many seconds a try may take.
TIME_LIMIT = 30.0
#: How often it looks, in seconds.
EVERY = 5.0
_MAX_JSON = 65536


class Command:
    """A command that gets JSON on its standard input. Takes its words, and how long it may take."""

    def __init__(self, words: Sequence[str], time_limit: float = TIME_LIMIT) -> None:
        self.words, self._time_limit = list(words), time_limit
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, text: bytes) -> str | None:
        """Run it once; return why it failed, None if it did not."""
        try:
            self._process = subprocess.Popen(
                self.words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as problem:
            return f"it cannot be started: {problem.strerror}"
        try:
            self._process.communicate(text, self._time_limit)
        except subprocess.TimeoutExpired:
            self.kill()
            return f"it took longer than {self._time_limit:g} s"
        code = self._process.returncode
        return (
            None if code == 0 else f"it was ended by signal {-code}" if code < 0 else f"it exited with {code}"
        )

    def kill(self) -> None:
        """End it if it runs, with all that it started."""
        process = self._process
        if process is not None and process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Notifier:
    """Looks for events and hands them to a command, one after the other.

    Takes the database, the command, the file that remembers how far it came (None: nothing is remembered), how many
    guards are known to be changed, the name of the desk, and where to say what fails for good.
    """

    def __init__(
        self,
        database: Asks,
        command: Command,
        state: Path | None,
        guards_changed: Callable[[], float | None],
        tell: Callable[[str], object],
        *,
        every: float = EVERY,
        pause: float = PAUSE,
    ) -> None:
        self._database, self._command, self._state = database, command, state
        self._guards_changed, self._tell, self._every, self._pause = guards_changed, tell, every, pause
        self._position: Position | None = None
        self._desk = self._said = ""
        self._counts = Counter(delivered=0, retried=0, failed=0)
        self._is_up = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def figures(self) -> list[Row]:
        """Return what became of the notifications."""
        counts = [
            figure("alpha_db_notifications_total", number, result=result)
            for result, number in self._counts.items()
        ]
        return [figure("alpha_db_notify_up", int(self._is_up)), *counts]

    def start(self) -> None:
        """Look for events in the background."""
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; an event whose command runs is told again after a restart, if there is a state file."""
        self._stop.set()
        self._command.kill()
        if self._thread is not None:
            self._thread.join(5)

    def look(self) -> None:
        """Tell everything that happened since. Raises AlphaDbError if that cannot be known."""
        if self._position is None:
            self._begin()
        while (found := self._next()) and not self._stop.is_set():
            for row in found:
                if not self._deliver(row):
                    return
                self._remember(row)
        self._is_up = True

    def look_again(self) -> None:
        """Look, and say once why that is not possible. Raises nothing."""
        try:
            self.look()
            self._said = ""
        except Exception as problem:  # whatever it is, the next look may succeed
            self._is_up = False
            told = problem.message if isinstance(problem, AlphaDbError) else repr(problem)
            if told != self._said:
                self._said = told
                self._tell(f"events cannot be read: {told}")

    def _begin(self) -> None:
        place = self._database.ask("where_am_i", schema=None)[0]
        self._desk = f"{place['database']}/{place['schema']}"
        if self._state is None:
            self._position = Position.now(self._database)
            return
        self._position = Position.read(self._state, self._database)
        self._position.write(self._state)

    def _next(self) -> list[Row]:
        assert self._position is not None
        return events(self._database, self._position, self._guards_changed())

    def _deliver(self, row: Row) -> bool:
        """Run the command until it succeeds, or has failed too often; whether the event is done with."""
        text = as_json(row, self._desk)
        pause = self._pause
        for number in range(1, TRIES + 1):
            if self._stop.is_set():
                return False
            problem = self._command.run(text)
            if problem is None:
                self._counts["delivered"] += 1
                return True
            if self._stop.is_set():
                return False
            if number == TRIES:
                break
            self._counts["retried"] += 1
            self._is_up = False
            if self._stop.wait(pause):
                return False
            pause = min(2 * pause, LONGEST_PAUSE)
        self._counts["failed"] += 1
        self._tell(f"the command of --notify failed {TRIES} times, {problem}; lost: {text.decode().rstrip()}")
        return True

    def _remember(self, row: Row) -> None:
        assert self._position is not None
        self._position.pass_by(row)
        if self._state is not None:
            try:
                self._position.write(self._state)
            except StateError as problem:  # after a restart it is told twice, which is better than never
                self._tell(problem.message)

    def _go_on(self) -> None:
        while not self._stop.is_set():
            self.look_again()
            self._stop.wait(self._every)


def as_json(row: Row, desk: str) -> bytes:
    """Return an event as the command gets it: one JSON object in ASCII, and a line feed."""
    told = {
        "event": row["event"],
        "desk": desk,
        "time": row["happened_at"].astimezone(UTC).isoformat(),
        "what": row["what"],
        "detail": row["detail"],
    }
    text = json.dumps(told, default=str)
    if len(text) > _MAX_JSON:
        text = json.dumps({**told, "what": told["what"][:2000], "detail": {"left_out": "it is too long"}})
    return text.encode() + b"\n"
