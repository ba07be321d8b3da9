"""What alpha-db watch shows of all desks of a database: asked in turn, each in a session of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.registry import Collector

from alpha_db.errors import AlphaDbError, NotThere
from alpha_db.queries import Row
from alpha_db.verify.cli.desk_names import of_desk
from alpha_db.watch.database import OneOfMany, SharedDatabase
from alpha_db.watch.exporter import Exporter, families, figure
from alpha_db.watch.notifier import EVERY, Command, Notifier
from alpha_db.watch.refresher import STALE, Refresher


@dataclass
class _Desk:
    """One desk: what asks it, and what it said in its last turn."""

    refresher: Refresher
    exporter: Exporter
    notifier: Notifier | None
    rows: list[Row] = field(default_factory=list)
    asked: float = 0.0


class Desks(Collector):
    """The parts for every desk. A scrape asks nothing: it shows what each desk said in its last turn.

    Takes what gives a connection, how long to wait between two rounds, and, with {schema} in them, the directory of
    checkpoints and the state file of --notify; the command of --notify; and where to say what goes wrong. A desk that
    appears is asked in the next round. One that is gone stays, as one that cannot be asked, until a restart.
    """

    def __init__(
        self,
        connection: Callable[[], SharedDatabase],
        interval: float,
        checkpoints: Path | None,
        command: Command | None,
        state: Path | None,
        tell: Callable[[str], object],
    ) -> None:
        self._database, self._events = connection(), connection()
        self._interval, self._checkpoints, self._command = interval, checkpoints, command
        self._state, self._tell = state, tell
        self._desks: dict[str, _Desk] = {}
        self._whole = Exporter(self._database, list, tell=tell)
        self._rows: list[Row] = []
        self._took = self._asked = 0.0
        #: Why the desks could not be asked in the last round, if that is so.
        self.problem: AlphaDbError | None = None
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def refresh(self) -> None:
        """Ask every desk once. If the database itself cannot be asked, the desks after that are not asked."""
        begin = time.monotonic()
        problem = self._look_for_desks()
        for name, desk in sorted(self._desks.items()):
            if self._stop.is_set():
                return
            if problem is None:
                desk.refresher.refresh()
                rows = desk.exporter.figures()
                if not desk.exporter.is_up:
                    problem = self._lost()
            else:
                rows = desk.exporter.down(problem)
            desk.rows, desk.asked = (
                [_labelled(row, name) for row in rows if _is_of_a_desk(row)],
                time.monotonic(),
            )
        self._database.close()
        self._asked = time.monotonic()
        self._took = self._asked - begin
        self.problem = problem
        self._whole.note(problem)
        self._rows = [
            *self._whole.own(problem, self._took),
            figure("alpha_db_desks", len(self._desks)),
            figure("alpha_db_round_duration_seconds", self._took),
        ]
        for desk in self._desks.values():
            desk.refresher.interval = self._interval + self._took

    def _look_for_desks(self) -> AlphaDbError | None:
        """Take in the desks that there are now; return why they cannot be listed, if so."""
        try:
            for name in self._database.desks():
                if name not in self._desks:
                    self._desks = {**self._desks, name: self._new(name)}  # a scrape may be reading it
        except AlphaDbError as problem:
            return problem
        return None if self._desks else NotThere("no schema of the database holds an installation")

    def _lost(self) -> AlphaDbError | None:
        """Return why the database cannot be asked, after a desk could not: None if it can."""
        try:
            self._database.desks()
        except AlphaDbError as problem:
            return problem
        return None

    def _new(self, name: str) -> _Desk:
        def tell(text: str) -> None:
            self._tell(f"{name}: {text}")

        refresher = Refresher(
            OneOfMany(self._database, name), self._interval + self._took, of_desk(self._checkpoints, name)
        )
        notifier = None
        if self._command is not None:
            state = of_desk(self._state, name)
            events = OneOfMany(self._events, name)
            notifier = Notifier(events, self._command, state, refresher.guards_changed, tell)
        more = notifier.figures if notifier else list
        exporter = Exporter(OneOfMany(self._database, name), refresher.figures, more, tell)
        return _Desk(refresher, exporter, notifier)

    def figures(self) -> list[Row]:
        """Return what each desk said in its last turn; of a turn too long ago only that. Raises nothing."""
        oldest = time.monotonic() - STALE * (self._interval + self._took)
        is_fresh = not self._asked or self._asked >= oldest
        rows = list(self._rows) if is_fresh else [figure("alpha_db_up", 0)]
        for name, desk in sorted(self._desks.items()):
            if desk.asked >= oldest:
                rows += desk.rows
            elif desk.asked:
                rows += [_labelled(figure(each, 0), name) for each in ("alpha_db_up", "alpha_db_refresh_up")]
        return rows

    def collect(self) -> Iterator[Metric]:
        """Yield the figures as prometheus_client takes them."""
        return families(self.figures())

    def look(self) -> None:
        """Look once for events of every desk, and tell them. Raises nothing."""
        for desk in self._desks.values():
            if desk.notifier is not None and not self._stop.is_set():
                desk.notifier.look_again()
        self._events.close()

    def start(self) -> None:
        """Ask in rounds, in the background; look for events beside that, if there is a command."""
        jobs = [self._go_on, *([self._watch_events] if self._command is not None else [])]
        self._threads = [threading.Thread(target=job, daemon=True) for job in jobs]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        for desk in self._desks.values():
            if desk.notifier is not None:
                desk.notifier.stop()
        for thread in self._threads:
            thread.join(5)
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._database.close()
        self._events.close()

    def _go_on(self) -> None:
        while not self._stop.is_set():
            self.refresh()
            self._stop.wait(self._interval)

    def _watch_events(self) -> None:
        while not self._stop.is_set():
            begin = time.monotonic()
            self.look()
            # no more than half of the time
            self._stop.wait(max(min(EVERY, self._interval), time.monotonic() - begin))


def _is_of_a_desk(row: Row) -> bool:
    return bool(row["name"] != "alpha_db_build_info")


def _labelled(row: Row, schema: str) -> Row:
    return row | {"labels": {"schema": schema} | row["labels"]}
