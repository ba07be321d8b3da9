"""The figures that cost more: asked for in the background, never at a scrape."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from pathlib import Path

from alpha_db.cli.optional import load
from alpha_db.errors import AlphaDbError
from alpha_db.queries import Row
from alpha_db.watch.database import Database
from alpha_db.watch.exporter import figure

#: After so many intervals the figures are too old to be shown.
STALE = 3


class Refresher:
    """Keeps the last costly figures. Takes the database, how often in seconds, and the directory of checkpoints."""

    def __init__(self, database: Database, interval: float, checkpoints: Path | None) -> None:
        self._database, self._interval, self._checkpoints = database, interval, checkpoints
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._rows: list[Row] | None = None
        self._asked = (0.0, 0.0)

    def refresh(self) -> None:
        """Ask once. What fails leaves no figures of before."""
        moment = (time.time(), time.monotonic())
        try:
            rows: list[Row] | None = self._database.ask("costly_metrics")
        except AlphaDbError:  # the scrape says why
            rows = None
        if rows is not None and self._checkpoints is not None:
            rows += newest_checkpoint(self._checkpoints)
        self._rows, self._asked = rows, moment

    def figures(self) -> list[Row]:
        """Return the last figures with their age; none of them if they are too old, or could not be had."""
        rows, (moment, since) = self._rows, self._asked
        if rows is None or time.monotonic() - since > STALE * self._interval:
            return [figure("alpha_db_refresh_up", 0)]
        return [
            figure("alpha_db_refresh_up", 1),
            figure("alpha_db_refresh_timestamp_seconds", moment),
            *rows,
        ]

    def guards_changed(self) -> float | None:
        """Return how many guards are changed; None if that is not known."""
        return next(
            (row["value"] for row in self.figures() if row["name"] == "alpha_db_guards_changed"), None
        )

    def start(self) -> None:
        """Ask now and at every interval, in the background."""
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stop.set()

    def _go_on(self) -> None:
        while not self._stop.is_set():
            self.refresh()
            self._stop.wait(self._interval)


def newest_checkpoint(directory: Path) -> list[Row]:
    """Return the figures of the newest run in a directory: when it was recorded, as its files say, unverified."""
    store, glance = (
        load("alpha_db.evidence.checkpoint.store:Store"),
        load("alpha_db.evidence.checkpoint.note:glance"),
    )
    part = "checkpoint directory"
    try:
        names = store(directory).names()
        if not names:
            return [figure("alpha_db_part_up", 1, part=part)]
        files = store(directory).read(names[-1]).files
        told = glance(files.get("checkpoint.note", ""), files.get("run.tlog-proof", ""))
        moment = datetime.fromisoformat(told.time).timestamp()
    except AlphaDbError as problem:
        return [
            figure("alpha_db_part_up", 0, part=part),
            figure("alpha_db_part_error_info", 1, part=part, code=type(problem).__name__),
        ]
    except (ValueError, OverflowError):  # it says no time
        return [
            figure("alpha_db_part_up", 0, part=part),
            figure("alpha_db_part_error_info", 1, part=part, code="Unreadable"),
        ]
    name = "alpha_db_checkpoint_last_timestamp_seconds"
    return [figure(name, moment, source="directory"), figure("alpha_db_part_up", 1, part=part)]
