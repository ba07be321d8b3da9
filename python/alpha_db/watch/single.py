"""What alpha-db watch shows of one installation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.registry import Collector

from alpha_db.queries import Row
from alpha_db.watch.database import Database
from alpha_db.watch.exporter import Exporter, families
from alpha_db.watch.notifier import EVERY, Command, Notifier
from alpha_db.watch.refresher import Refresher


class Single(Collector):
    """The parts for one desk, put together: each scrape asks, and the costly figures come from the background.

    Takes what gives a connection, how often the costly figures are asked for, the directory of checkpoints, the
    command of --notify and its state file, and where to say what goes wrong.
    """

    def __init__(
        self,
        connection: Callable[[], Database],
        interval: float,
        checkpoints: Path | None,
        command: Command | None,
        state: Path | None,
        tell: Callable[[str], object],
    ) -> None:
        self._asks, self._background = connection(), connection()
        self._refresher = Refresher(self._background, interval, checkpoints)
        self._notifier = (
            Notifier(
                self._background,
                command,
                state,
                self._refresher.guards_changed,
                tell,
                every=min(EVERY, interval),
            )
            if command is not None
            else None
        )
        more = self._notifier.figures if self._notifier else list
        self._exporter = Exporter(self._asks, self._refresher.figures, more, tell)

    def refresh(self) -> None:
        """Ask for the costly figures once."""
        self._refresher.refresh()

    def figures(self) -> list[Row]:
        """Return all figures of this moment. Raises nothing."""
        return self._exporter.figures()

    def collect(self) -> Iterator[Metric]:
        """Yield the figures as prometheus_client takes them."""
        return families(self.figures())

    def start(self) -> None:
        """Begin what goes on in the background."""
        self._refresher.start()
        if self._notifier is not None:
            self._notifier.start()
        self.figures()  # says so at once if the database cannot be asked

    def stop(self) -> None:
        """End it."""
        self._refresher.stop()
        if self._notifier is not None:
            self._notifier.stop()
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._asks.close()
        self._background.close()
