"""A database to attack: sessions of every attacker, the agents' keys, and what was kept outside."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alpha_db.risk.hydrator import RiskGuardrailService
from alpha_db.risk.pins import Pins
from alpha_db.security.evidence import Reading, read_evidence
from tests.checkpoint.book import Book
from tests.cluster import Server
from tests.fix_database import Connect
from tests.risk.council import Council, agent_id, limits, private_key, public_hex, threshold
from tests.risk.signed_history import FakeSource
from tests.support import Connection, as_role, fill, one, query, tamper, verdicts

NAMES = ("ada", "ben", "cyd")
#: Login roles by what they are in this catalogue: the role that each is a member of, and its attributes.
LOGINS = {
    "trader": ("app_trading", ""),
    "auditor": ("app_auditor", ""),
    "risk": ("app_risk", ""),
    "owner": ("alpha_owner", ""),
    "dba": ("", "createrole"),
    "stranger": ("", ""),
}


def fill_book(connection: Connection) -> None:
    """A little of everything: five signals and what follows, three agents, limits, a threshold, a fourth agent that was
    revoked, and a proposal with one vote."""
    fill(connection, signals=5)
    council = Council(connection).bootstrap(*NAMES)
    council.enact("risk_config", limits(), *NAMES)
    council.enact("asset_kill_threshold", threshold(), "ben", "ada")
    dan = {"agent_id": str(agent_id("dan")), "name": "dan", "role": "risk", "replaces": None}
    council.enact("agent_enrol", {**dan, "public_key": public_hex(private_key("dan"))}, *NAMES)
    council.enact("agent_revoke", {"agent_id": str(agent_id("dan"))}, *NAMES)
    council.vote(council.propose("risk_config", limits("0.5"), "ada"), "ben")
    query(connection, "select record_guards('the logins of this test are accepted')")


def write_on(connection: Connection) -> None:
    """What happens after a backup was made: signals, and tighter limits."""
    fill(connection, signals=2, first=6)
    council = Council(connection, {name: private_key(name) for name in NAMES})
    council.enact("risk_config", limits("0.04"), "ben", "ada")


def release(connection: Connection) -> None:
    """Release the lockdown by a quorum, over exactly the damage that is there."""
    council = Council(connection, {name: private_key(name) for name in NAMES})
    council.enact("lockdown_release", {"damage": query(connection, "select * from open_damage()")}, *NAMES)


def pins() -> Pins:
    """The keys of the bootstrap's agents, as a guardrail keeps them on its own machine."""
    return Pins({str(agent_id(name)): bytes.fromhex(public_hex(private_key(name))) for name in NAMES})


@dataclass(frozen=True)
class Base:
    """A database that attacks begin with, and what was kept outside of it: the root of each log; for the base that is
    called signed also the folder of its signed checkpoints, and their key."""

    name: str
    roots: Mapping[str, tuple[int, bytes]]
    checkpoints: Path
    key: Path


@dataclass
class Stage:
    """One attack's own copy of a base."""

    server: Server
    base: Base
    dbname: str
    connect: Connect
    logins: Mapping[str, str]
    login: str
    folder: Path
    copy: Callable[[str], str]
    shared: Connection | None = None  #: the superuser's session, if other attacks use the copy, too
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.db = self.shared or self.connect(dbname=self.dbname, lock_timeout="20s")
        self._book: Book | None = None
        self._me: Connection | None = None

    def session(self, login: str, autocommit: bool = True, **options: Any) -> Connection:
        """A new session of a login; the owner's has become alpha_owner."""
        user = None if login == "superuser" else self.logins[login]
        connection = self.connect(user, autocommit=autocommit, dbname=self.dbname, **options)
        if login == "owner":
            connection.execute("set role alpha_owner")
            if not autocommit:
                connection.commit()
        return connection

    @property
    def me(self) -> Connection:
        """The attacker's session."""
        if self._me is None:
            self._me = self.session(self.login)
        return self._me

    def calmly(self, statement: str) -> None:
        """Run a statement of the attacker that is not refused, and say which if it is."""
        try:
            self.me.execute(statement)
        except Exception as problem:
            problem.add_note(statement)
            raise AssertionError(f"refused too early: {statement}: {problem}") from problem

    @property
    def council(self) -> Council:
        """The agents, who sign for the attacker's session to send; dan was revoked."""
        return Council(self.me, {name: private_key(name) for name in (*NAMES, "dan")})

    @property
    def honest(self) -> Council:
        """The same agents in a superuser's session: what they do lawfully."""
        return self.council.through(self.db)

    @property
    def book(self) -> Book:
        """The database with a copy of the signed checkpoints that were kept outside."""
        if self._book is None:
            folder = self.folder / "checkpoints"
            shutil.copytree(self.base.checkpoints, folder)
            self._book = Book(self.server, self.dbname, folder, self.base.key)
        return self._book

    def put_back(self, base: str) -> None:
        """Replace the database by a fresh copy of another base."""
        self.dbname = self.copy(base)
        self.db = self.connect(dbname=self.dbname, lock_timeout="20s")

    # ------------------------------------------------------------------------------------------------
    # What is asked afterwards

    def heads(self) -> dict[str, Any]:
        """Every chain's last id and hash."""
        return {
            row["table_name"]: (row["last_id"], row["head_hash"])
            for row in query(self.db, "select * from chain_status()")
        }

    def locked(self) -> bool:
        return bool(one(self.db, "select is_locked from lockdown_status()"))

    def lock_down(self) -> None:
        """Engage the lockdown, as a verification does that finds damage."""
        with as_role(self.db, "alpha_owner"):
            query(self.db, "select _engage_lockdown('a test', '[]')")

    def damage(self, table: str = "signals", row_id: int = 2) -> None:
        """Change a row behind the triggers' back, so that there is something to find."""
        column = {"signals": "symbol", "ai_debates": "model_name", "order_events": "exchange_error_code"}[
            table
        ]
        tamper(self.db, f"update {table} set {column} = 'X' where id = %s", [row_id])

    def open_damage(self) -> list[dict[str, Any]]:
        """The damage that is there, as a release must list it."""
        return query(self.db, "select * from open_damage()")

    def inside(self) -> list[str]:
        """Everything that anything inside the database shows: guards, chains, limits, sealed nodes, lockdown."""
        config = query(self.db, "select * from verify_config_integrity() where is_valid is not true")
        sealed = query(
            self.db, "select c.table_name from chains as c cross join lateral find_log_damage(c.table_name)"
        )
        return [
            # changed guards are a verdict, too
            *(
                f"{v.table_name} {v.verdict}: {v.detail}"
                for v in verdicts(self.db).values()
                if v.verdict != "intact"
            ),
            *(f"config {row['source']}" for row in config),
            *(f"sealed {row['table_name']}" for row in sealed),
            *(["lockdown"] if self.locked() else []),
        ]

    def guardrail(self, **options: Any) -> RiskGuardrailService:
        """A guardrail service with pinned keys that has read once; one good read is enough for it."""

        def read(since: int) -> Reading:
            return read_evidence(self.db, since)

        source = FakeSource(read)
        service = RiskGuardrailService(
            source=lambda: source,
            **{"good_reads": 1, "lease": 120.0, "clock_tolerance": 60.0, "pins": pins(), **options},
        )
        service.read_once(source)
        return service
