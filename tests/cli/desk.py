"""The command line in this process, with three agents whose keys are in files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from alpha_db.cli.main import main
from tests.support import result_of

#: A second schema beside public, whose name would leave a directory, end a string and begin a label.
ODD = 'de\'sk/../"b" {schema}%'


@dataclass
class Result:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return result_of(self.out, self.code)


@dataclass
class Desk:
    """Runs alpha-db on one database; `folder` has NAME.key and NAME.json of every agent made."""

    dsn: str
    folder: Path
    capsys: pytest.CaptureFixture[str]
    names: list[str] = field(default_factory=list)

    def run(self, *arguments: str, expect: int | None = 0) -> Result:
        self.capsys.readouterr()
        code = main(["--dsn", self.dsn, *arguments])
        out, err = self.capsys.readouterr()
        assert expect is None or code == expect, (arguments, code, out, err)
        assert "Traceback" not in err or "--debug" in arguments
        return Result(code, out, err)

    def keygen(self, name: str, *options: str) -> Path:
        made = self.run(
            "agents", "keygen", "--output", str(self.key(name)), "--name", name, "--json", *options
        )
        file = self.folder / f"{name}.json"
        file.write_text(made.out)
        self.names.append(name)
        return file

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def bootstrap(self, *names: str) -> Result:
        files = [str(self.keygen(name)) for name in names]
        return self.run("agents", "bootstrap", *files, *self.sign_all(*names))

    def sign_all(self, *names: str) -> list[str]:
        """The options by which agents sign their bootstrap."""
        return [*(option for name in names for option in ("--key", str(self.key(name)))), "--yes"]

    def sign(self, name: str) -> tuple[str, ...]:
        return "--agent", name, "--key", str(self.key(name)), "--yes"

    def propose(self, by: str, *arguments: str, reason: str = "because") -> str:
        """Propose; gives the proposal's id."""
        made = self.run(*arguments, "--reason", reason, *self.sign(by), "--json")
        return str(made.json["proposal_id"])

    def approve(self, proposal_id: str, *names: str) -> list[str]:
        return [
            self.run("risk", "approve", proposal_id, *self.sign(name), "--json").json["status"]
            for name in names
        ]

    def first_limits(self) -> None:
        """Limits 0.05, 0.03 and 2, proposed by ada."""
        limits = [
            "max_position_size_pct",
            "0.05",
            "daily_drawdown_limit_pct",
            "0.03",
            "max_leverage_ratio",
            "2",
        ]
        proposal_id = self.propose("ada", "risk", "update-param", *limits, reason="first")
        assert self.approve(proposal_id, "ben", "cyd") == ["PENDING", "APPLIED"]
