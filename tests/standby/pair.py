"""A primary, its standby, and the same database on both, with agents, limits, checkpoints and a tracked table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.checkpoint.book import run
from tests.cli.desk import Desk, Result
from tests.cli.votes import signed_vote
from tests.cluster import Server
from tests.standbys import catch_up
from tests.support import Connection, fill, query, wait_until

DATABASE = "trading"
#: Logins, each a member of one role.
LOGINS = {"trader": "app_trading", "auditor": "app_auditor", "risk": "app_risk"}


class QuietDesk(Desk):
    """A desk without capsys, for a fixture that many tests share."""

    def run(self, *arguments: str, expect: int | None = 0) -> Result:
        found = run("--dsn", self.dsn, *arguments, expect=expect)
        return Result(found.code, found.out, found.err)


@dataclass
class Pair:
    """The two servers, and a folder with the agents' keys (desk), `key`, `runs` and what commands need."""

    primary: Server
    standby: Server
    folder: Path

    def connect(self, server: Server, user: str = "postgres") -> Connection:
        return psycopg.connect(server.dsn(DATABASE, user), autocommit=True)

    def catch_up(self) -> None:
        catch_up(self.primary, self.standby)

    def desk(self, server: Server, user: str | None = None) -> QuietDesk:
        return QuietDesk(server.dsn(DATABASE, user), self.folder, None)  # type: ignore[arg-type]


@contextmanager
def fenced(server: Server) -> Iterator[None]:
    """Have a server's configuration say that nothing is to be written, as an operator fences off a former primary."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
        shown = "select current_setting('default_transaction_read_only') = %s"
        try:
            query(admin, "alter system set default_transaction_read_only = on")
            query(admin, "select pg_reload_conf()")
            wait_until(admin, shown, ["on"])
            yield
        finally:
            query(admin, "alter system reset default_transaction_read_only")
            query(admin, "select pg_reload_conf()")
            wait_until(admin, shown, ["off"])


def prepare(primary: Server, folder: Path) -> dict[str, str]:
    """Fill the primary's database; give what the commands' arguments stand for."""
    desk = QuietDesk(primary.dsn(DATABASE), folder, None)  # type: ignore[arg-type]
    with psycopg.connect(primary.dsn(DATABASE), autocommit=True) as db:
        for login, role in LOGINS.items():
            query(db, f"create role {login} login in role {role}")
        fill(db)
        query(db, "create table positions (id integer primary key, v integer)")
        query(db, "create table other (id integer primary key)")
        query(db, "create table mine (ref text primary key)")
        query(db, "create table own (ref text primary key)")
        query(db, "select track_table('positions'), chain_table('own')")
        query(db, "insert into positions values (1, 1)")
    desk.bootstrap("ada", "ben", "cyd")
    desk.first_limits()
    pending = desk.propose("ada", "risk", "update-param", "max_leverage_ratio", "1")
    (folder / "vote.json").write_text(json.dumps(signed_vote(desk, pending, "ben")))
    desk.keygen("dan")
    runs, key = folder / "runs", folder / "key"
    runs.mkdir()
    desk.run("checkpoint", "keygen", "--name", "desk.example/log", "--output", str(key))
    desk.run("checkpoint", "create", "--key", str(key), str(runs))
    return {"pending": pending, "folder": str(folder), "runs": str(runs), "key": str(key)}
