"""An exporter in this process, over a database of the tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alpha_db.queries import Row
from alpha_db.watch.database import Database
from alpha_db.watch.exporter import Exporter
from alpha_db.watch.refresher import Refresher


@dataclass
class Watched:
    """What asks one database."""

    dsn: str
    deadline: float = 20
    checkpoints: Path | None = None

    def __post_init__(self) -> None:
        self.said: list[str] = []
        self.database = Database(self.dsn, None, self.deadline)
        self.background = Database(self.dsn, None, self.deadline)
        self.refresher = Refresher(self.background, 60, self.checkpoints)
        self.exporter = Exporter(self.database, self.refresher.figures, tell=self.said.append)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()
        self.background.close()

    def figures(self) -> list[Row]:
        """Every figure of now, the costly ones too."""
        self.refresher.refresh()
        return self.exporter.figures()

    def value(self, name: str, **labels: str) -> float | None:
        """The value of one figure of now; None if there is none."""
        found = [
            row["value"]
            for row in self.figures()
            if row["name"] == name and labels.items() <= row["labels"].items()
        ]
        assert len(found) <= 1, (name, found)
        return found[0] if found else None
