"""The command line of whoever archives: agents with keys in files, checkpoints, and a directory of segments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cli.desk import Desk, Result
from tests.support import Connection, one


@dataclass
class Keeper:
    """Runs alpha-db on a book; `key` signs checkpoints."""

    desk: Desk
    db: Connection
    key: Path

    @property
    def folder(self) -> Path:
        return self.desk.folder

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def segments(self) -> Path:
        return self.folder / "segments"

    @property
    def trust(self) -> str:
        return str(self.key.with_name(f"{self.key.name}.vkey"))

    @property
    def evidence(self) -> tuple[str, ...]:
        """The options that name the checkpoints."""
        return "--checkpoints", str(self.checkpoints), "--trust", self.trust

    def run(self, *arguments: object, expect: int | None = 0) -> Result:
        return self.desk.run(*map(str, arguments), expect=expect)

    def sign(self) -> Path:
        """Make a checkpoint; gives the run's directory."""
        made = self.run("checkpoint", "create", "--key", self.key, self.checkpoints, "--json").json
        return self.checkpoints / str(made["run"])

    @property
    def now(self) -> str:
        """A moment after all rows, by the server's clock."""
        return str(one(self.db, "select to_json(clock_timestamp()) #>> '{}'"))

    def propose(self, *options: object, before: str | None = None, expect: int = 0) -> Any:
        """alpha-db retention propose; gives its JSON, or what it said on stderr."""
        done = self.run(
            "retention", "propose", "--before", before or self.now, "--segments", self.segments,
            *self.evidence, "--reason", "seven years", *self.desk.sign("ada"), "--json", *options, expect=expect,
        )  # fmt: skip
        return done.json if expect == 0 else done.err

    def segment(self, table: str, first: int, last: int) -> Path:
        """The file of a segment."""
        return self.segments / f"{table}.{first:012}-{last:012}.segment"

    def approve(self, proposal_id: str) -> None:
        assert self.desk.approve(proposal_id, "ben", "cyd") == ["PENDING", "APPLIED"]

    def archive(self, *options: object) -> list[dict[str, Any]]:
        """Propose and approve; gives what is told of the segments."""
        made = self.propose(*options)
        self.approve(made["proposal_id"])
        return list(made["segments"])

    def prune(self, *options: object) -> list[dict[str, Any]]:
        return list(self.run("retention", "prune", *options, "--json").json["pruned"])

    def leave(self, *options: object) -> list[dict[str, Any]]:
        """Archive and delete what may leave; gives what is told of the segments."""
        told = self.archive(*options)
        self.prune()
        return told
