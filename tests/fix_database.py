"""Databases, connections and login roles, fresh for each test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import psycopg
import pytest
from psycopg import sql

from tests.cluster import Server
from tests.support import migrate_with_psql, server_options, wait_until

Connection = psycopg.Connection[tuple[Any, ...]]


class Connect(Protocol):
    def __call__(
        self, user: str | None = None, autocommit: bool = True, dbname: str | None = None, **options: Any
    ) -> Connection: ...


class LoginRole(Protocol):
    def __call__(self, *member_of: str, attributes: str = "") -> str: ...


class Prepared(Protocol):
    def __call__(self, name: str, fill: Callable[[Connection], object], origin: str = ...) -> str: ...


_LIBPQ_PARAMETERS = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
_numbers = itertools.count(1)


def fresh_name(kind: str) -> str:
    """A name that nothing else in this run's cluster has."""
    return f"{kind}_{next(_numbers)}"


@pytest.fixture(scope="session")
def admin(server: Server) -> Iterator[Connection]:
    """The superuser in the database postgres, autocommit."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def template(server: Server, admin: Connection) -> str:
    """Name of a database with all migrations in schema public, which `database` clones: do not change it."""
    name = "alpha_template"
    admin.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
    migrate_with_psql(server, name)
    return name


@pytest.fixture
def make_database(admin: Connection) -> Iterator[Callable[..., str]]:
    """Factory: make_database(template='template0', options='') gives the name of a new database."""
    made: list[str] = []

    def make(template: str = "template0", options: str = "") -> str:
        name = fresh_name("t")
        admin.execute(
            # Copying files takes two thirds of the time that writing every block to the WAL takes.
            sql.SQL("create database {} template {} strategy file_copy {}").format(
                sql.Identifier(name), sql.Identifier(template), sql.SQL(options)
            )
        )
        made.append(name)
        return name

    yield make
    # Closed connections take a moment to leave; DROP DATABASE would look again only after 100 ms.
    wait_until(
        admin,
        "select clock_timestamp() > %s::timestamptz + interval '1 s'"
        " or not exists (select from pg_stat_activity where datname = any (%s))",
        [admin.execute("select now()").fetchone()[0], made],  # type: ignore[index]
    )
    for name in made:
        admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def prepared(server: Server, admin: Connection, template: str) -> Prepared:
    """Factory: prepared(name, fill) gives the name of a clone of the template in which fill(connection) was run
    once, to be cloned in turn: do not change it."""
    made: set[str] = set()

    def make(name: str, fill: Callable[[Connection], object], origin: str = template) -> str:
        if name not in made:
            command = sql.SQL("create database {} template {}")
            admin.execute(command.format(sql.Identifier(name), sql.Identifier(origin)))
            with psycopg.connect(server.dsn(name), autocommit=True) as connection:
                fill(connection)
            made.add(name)
        return name

    return make


@pytest.fixture
def origin(template: str) -> str:
    """Name of the database that `database` clones; a file whose tests begin alike gives one of its own."""
    return template


@pytest.fixture
def database(request: pytest.FixtureRequest, prepared: Prepared, make_database: Callable[..., str]) -> str:
    """Name of a fresh clone; of the shared one for a test marked reads_only."""
    if request.node.get_closest_marker("reads_only"):
        return prepared("alpha_read_only", lambda _: None)
    return make_database(request.getfixturevalue("origin"))


@pytest.fixture
def empty_database(make_database: Callable[..., str]) -> str:
    """Name of a fresh UTF8 database without anything."""
    return make_database()


@pytest.fixture
def connect(
    server: Server, request: pytest.FixtureRequest, make_database: Callable[..., str]
) -> Iterator[Connect]:
    """Factory: connect(user=None, autocommit=True, dbname=None, **options).

    By default to `database` as superuser. Options that libpq knows are connection parameters, all others are
    server settings: connect(lock_timeout="5s").
    """
    # make_database is asked for only so that connections are closed before databases are dropped.
    del make_database
    opened: list[Connection] = []

    def connect(
        user: str | None = None, autocommit: bool = True, dbname: str | None = None, **options: Any
    ) -> Connection:
        if dbname is None:
            dbname = request.getfixturevalue("database")
            if request.node.get_closest_marker("reads_only"):
                options = {"default_transaction_read_only": "on", **options}
        parameters = {k: v for k, v in options.items() if k in _LIBPQ_PARAMETERS}
        settings = server_options({k: v for k, v in options.items() if k not in _LIBPQ_PARAMETERS})
        if settings:
            parameters["options"] = f"{parameters.get('options', '')} {settings}".strip()
        connection = psycopg.connect(server.dsn(dbname, user, **parameters), autocommit=autocommit)
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def db(connect: Connect) -> Connection:
    """The superuser in `database`, autocommit."""
    return connect()


@pytest.fixture
def login_role(server: Server, admin: Connection) -> Iterator[LoginRole]:
    """Factory: login_role('app_trading', ..., attributes='createrole') gives the name of a fresh LOGIN role
    that is a member of the given roles."""
    made: list[str] = []

    def make(*member_of: str, attributes: str = "") -> str:
        name = fresh_name("login")
        admin.execute(sql.SQL("create role {} login {}").format(sql.Identifier(name), sql.SQL(attributes)))
        made.append(name)
        for role in member_of:
            admin.execute(sql.SQL("grant {} to {}").format(sql.Identifier(role), sql.Identifier(name)))
        return name

    yield make
    for name in reversed(made):
        _drop_role(server, admin, name)


def _drop_role(server: Server, admin: Connection, name: str) -> None:
    """Drop a role with what it owns and may do in any database of the cluster."""
    role = sql.Identifier(name)
    admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", [name])
    try:
        admin.execute(sql.SQL("drop role {}").format(role))
    except psycopg.errors.DependentObjectsStillExist:
        names = admin.execute(
            "select d.datname from pg_database as d where d.datallowconn and exists ("
            " select from pg_shdepend as s join pg_roles as r on r.oid = s.refobjid"
            " where r.rolname = %s and s.dbid in (d.oid, 0))",
            [name],
        ).fetchall()
        for (dbname,) in names:
            with psycopg.connect(server.dsn(dbname), autocommit=True) as connection:
                connection.execute("set session_replication_role = replica")
                connection.execute(sql.SQL("drop owned by {} cascade").format(role))
        admin.execute(sql.SQL("drop role {}").format(role))
