"""The figures that cost more: asked for in the background, never at a scrape."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from alpha_db.cli.optional import load
from alpha_db.errors import AlphaDbError, NotThere
from alpha_db.queries import Row
from alpha_db.watch.database import Asks
from alpha_db.watch.exporter import figure

#: After so many intervals the figures are too old to be shown.
STALE = 3


class Refresher:
    """Keeps the last costly figures. Takes the database, how often in seconds, and the directory of checkpoints."""

    def __init__(self, database: Asks, interval: float, checkpoints: Path | None) -> None:
        self._database, self.interval, self._checkpoints = database, interval, checkpoints
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._rows: list[Row] | None = None
        self._asked = (0.0, 0.0)

    def refresh(self) -> None:
        """Ask once. What fails leaves no figures of before."""
        moment = (time.time(), time.monotonic())
        rows: list[Row] | None = None
        try:
            rows = self._database.ask("costly_metrics")
            if self._checkpoints is not None:
                rows += newest_checkpoint(self._checkpoints)
        except AlphaDbError:  # the scrape says why
            rows = None
        finally:
            self._rows, self._asked = rows, moment

    def figures(self) -> list[Row]:
        """Return the last figures with their age; none of them if they are too old, or could not be had."""
        rows, (moment, since) = self._rows, self._asked
        if rows is None or time.monotonic() - since > STALE * self.interval:
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
            self._stop.wait(self.interval)


def newest_checkpoint(directory: Path) -> list[Row]:
    """Return the figures of the newest run in a directory: when it was recorded, as its files say, unverified."""
    glance = load("alpha_db.evidence.checkpoint.note:glance")
    part, moment, code = "checkpoint directory", None, None
    try:
        if names := runs_in(directory):
            files = _store(directory).read(names[-1]).files
            told = glance(files.get("checkpoint.note", ""), files.get("run.tlog-proof", ""))
            moment = datetime.fromisoformat(told.time).timestamp()
    except NotThere:
        code = "not_there"
    except (AlphaDbError, ValueError, OverflowError):  # or it says no time
        code = "unreadable"
    figures = [figure("alpha_db_part_up", int(code is None), part=part)]
    if code is not None:
        figures.append(figure("alpha_db_part_error_info", 1, part=part, code=code))
    if moment is not None:
        figures.append(figure("alpha_db_checkpoint_last_timestamp_seconds", moment, source="directory"))
    return figures


def runs_in(directory: Path) -> list[str]:
    """Return the names of the runs in a directory of checkpoints. Raises AlphaDbError if it cannot be read."""
    names: list[str] = _store(directory).names()
    return names


def _store(directory: Path) -> Any:
    return load("alpha_db.evidence.checkpoint.store:Store")(directory)
