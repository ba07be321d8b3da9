"""Login roles of every attacker, and the databases that attacks begin with, made once for each file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest

from tests.checkpoint.book import Book, make_key
from tests.cluster import Server
from tests.fix_database import Connect, Connection
from tests.security.refusals import install_guard
from tests.support import changed_guards, query, tamper, verdicts
from tests.tampering.stage import LOGINS, Base, Stage, fill_book, release, write_on

MakeStage = Callable[..., Stage]


@pytest.fixture(scope="module")
def logins(admin: Connection, template: str) -> Iterator[Mapping[str, str]]:
    """A login role for each attacker, by what it is; gone with the file, because members of alpha_owner show."""
    del template  # whose migrations make the roles
    names = {login: f"tamper_{login}" for login in LOGINS}
    for login, (group, attributes) in LOGINS.items():
        admin.execute(f"create role {names[login]} login {attributes}")
        if group:
            admin.execute(f"grant {group} to {names[login]}")
    yield names
    for name in names.values():
        admin.execute(f"drop role {name}")


@pytest.fixture(scope="module")
def bases(
    server: Server,
    admin: Connection,
    template: str,
    logins: Mapping[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Base]]:
    """Factory: the base of a name, made when it is first asked for."""
    del logins  # they are facts that verify_guards() knows
    made: dict[str, Base] = {}
    folder = tmp_path_factory.mktemp("tampering")
    (folder / "checkpoints").mkdir()
    key = folder / "checkpoint.key"

    def make(name: str) -> Base:
        if name not in made:
            before = {"book": None, "empty": None, "released": "locked"}.get(name, "book")
            origin = make(before).name if before else template
            dbname = f"tampering_{name}"
            admin.execute(f"create database {dbname} template {origin}")
            with psycopg.connect(server.dsn(dbname), autocommit=True) as connection:
                if name == "book":
                    fill_book(connection)
                elif name == "guarded":
                    install_guard(server, dbname)
                elif name == "locked":
                    tamper(connection, "update signals set price = 1 where id = 2")
                    verdicts(connection)
                elif name == "released":
                    release(connection)
                elif name == "signed":
                    book = Book(server, dbname, folder / "checkpoints", make_key(folder))
                    book.sign()
                    write_on(connection)
                    book.sign()
                facts = query(connection, "select table_name, size, root from checkpoint_facts()")
            roots = {row["table_name"]: (row["size"], row["root"]) for row in facts}
            made[name] = Base(dbname, roots, folder / "checkpoints", key)
        return made[name]

    yield make
    for base in made.values():
        admin.execute(f"drop database {base.name} with (force)")


@pytest.fixture
def undo(admin: Connection) -> Iterator[list[str]]:
    """Statements that put the cluster's roles back, once the attacked database is gone."""
    statements: list[str] = []
    yield statements
    for statement in statements:
        admin.execute(statement)


@pytest.fixture(scope="module")
def shared(
    server: Server, admin: Connection, logins: Mapping[str, str]
) -> Iterator[Callable[[Base], Connection]]:
    """Factory: the superuser's session in the one copy of a base for all attacks that leave nothing. Afterwards the
    copy must be as its base is."""
    del logins  # they are facts that verify_guards() knows
    made: dict[str, tuple[Base, Connection]] = {}
    copies: list[str] = []

    def make(base: Base) -> Connection:
        if base.name not in made or made[base.name][1].closed:
            copies.append(f"{base.name}_shared_{len(copies)}")
            admin.execute(f"create database {copies[-1]} template {base.name}")
            dsn = server.dsn(copies[-1], options="-c lock_timeout=20s")
            made[base.name] = base, psycopg.connect(dsn, autocommit=True)
        return made[base.name][1]

    yield make
    try:
        for base, connection in made.values():
            if not connection.closed:
                facts = query(connection, "select table_name, size, root from checkpoint_facts()")
                assert {row["table_name"]: (row["size"], row["root"]) for row in facts} == base.roots
                assert changed_guards(connection) == []
    finally:
        for _, connection in made.values():
            connection.close()
        for name in copies:
            admin.execute(f"drop database {name} with (force)")


@pytest.fixture
def make_stage(
    undo: list[str],
    server: Server,
    logins: Mapping[str, str],
    bases: Callable[[str], Base],
    shared: Callable[[Base], Connection],
    make_database: Callable[..., str],
    connect: Connect,
    tmp_path: Path,
) -> MakeStage:
    """Factory: make_stage(login, begins='book', cleanup=(), is_shared=False) gives a stage on a fresh copy of a base,
    or on the shared one."""

    def make(
        login: str = "superuser", begins: str = "book", cleanup: tuple[str, ...] = (), is_shared: bool = False
    ) -> Stage:
        undo.extend(cleanup)
        base = bases(begins)
        session = shared(base) if is_shared else None
        name = session.info.dbname if session else make_database(base.name)

        def copy(of: str) -> str:
            return make_database(bases(of).name)

        return Stage(server, base, name, connect, logins, login, tmp_path, copy, session)

    return make
