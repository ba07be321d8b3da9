"""A database with checkpoints of three moments, to be copied and tampered with; and the command line."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from alpha_db.cli.main import main
from alpha_db.evidence.checkpoint.keys import SigningKey
from tests.cluster import Server
from tests.support import fill, result_of

NAME = "audit.example.org/trading"


@dataclass
class Result:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return result_of(self.out, self.code)


def run(*arguments: object, expect: int | None = 0) -> Result:
    """Run alpha-db in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    result = Result(code, out.getvalue(), err.getvalue())
    assert expect is None or code == expect, (arguments, result)
    assert "Traceback" not in result.err
    assert code == 0 or not result.err or result.err.count("\n") == 1, "an error is one line"
    return result


def make_key(folder: Path, name: str = NAME, file: str = "checkpoint.key") -> Path:
    """A private key's file; the public one is beside it."""
    run("checkpoint", "keygen", "--name", name, "-o", folder / file)
    return folder / file


def public(key: Path) -> Path:
    """The file of the public key."""
    return key.with_name(f"{key.name}.vkey")


@dataclass(frozen=True)
class Book:
    """A database, its checkpoints, and the key that signs them."""

    server: Server
    dbname: str
    checkpoints: Path
    key: Path

    @property
    def dsn(self) -> str:
        return self.server.dsn(self.dbname)

    @property
    def vkey(self) -> str:
        return SigningKey.load(self.key).vkey

    def create(self, *options: object, expect: int | None = 0) -> Result:
        """alpha-db checkpoint create."""
        return run("--dsn", self.dsn, "checkpoint", "create", "--key", self.key, *options, expect=expect)

    def sign(self) -> str:
        """Make a checkpoint; gives the run's name."""
        return str(self.create(self.checkpoints, "--json").json["run"])

    def verify(self, *options: object, expect: int | None = 0) -> Any:
        """alpha-db verify-chain --checkpoints; gives its JSON document."""
        checkpoints = ("--checkpoints", self.checkpoints, "--trust", public(self.key))
        return run("--dsn", self.dsn, "verify-chain", *checkpoints, "--json", *options, expect=expect).json

    def findings(self, *options: object, expect: int = 1) -> dict[str, Any]:
        """What verify-chain found besides what is as signed, by subject."""
        document = self.verify(*options, expect=expect)
        return {
            row["subject"]: row
            for row in document["checkpoints"]["results"]
            if row["verdict"] not in ("intact",)
        }

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.dsn, autocommit=True)

    def write(self, first: int, signals: int = 3) -> None:
        """Write a little of everything, signals numbered from `first`."""
        with self.connect() as conn:
            fill(conn, signals=signals, first=first)

    @property
    def runs(self) -> list[Path]:
        """The runs, oldest first."""
        return sorted(path for path in self.checkpoints.iterdir() if path.name[0] != ".")
