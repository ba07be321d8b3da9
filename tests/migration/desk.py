"""An installation as the tests of migrations see it: a schema of a database, and who migrates it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import psycopg
import pytest
from _pytest.mark import ParameterSet

from tests.cluster import Server
from tests.support import (
    MIGRATIONS,
    SUPERUSER,
    Connection,
    Row,
    install_options,
    migrate_with_psql,
    psql_file,
    query,
    quote,
)

#: The migration files by their number.
MIGRATION = {file.name.split("_")[0]: file for file in MIGRATIONS}
#: The rollback files by the number of the migration that they take back.
ROLLBACK = {number: file.with_suffix(".rollback.sql") for number, file in MIGRATION.items()}
#: The number of the last one.
LAST = list(MIGRATION)[-1]


def few(numbers: Iterable[str]) -> list[ParameterSet]:
    """The first, the last and one between; the others with --all, for what is the same frame in each file."""
    listed = list(numbers)
    kept = {listed[0], listed[len(listed) // 2], listed[-1]}
    return [pytest.param(number, marks=() if number in kept else pytest.mark.long) for number in listed]


@dataclass(frozen=True)
class Desk:
    """Where and as whom the migrations run."""

    server: Server
    dbname: str
    schema: str = "public"
    prefix: str | None = None
    user: str | None = None

    def by(self, user: str) -> Desk:
        return replace(self, user=user)

    def run(self, file: Path, check: bool = True) -> CompletedProcess[str]:
        """One file by psql -1."""
        return psql_file(
            self.server,
            self.dbname,
            file,
            schema=self.schema,
            user=self.user,
            prefix=self.prefix,
            check=check,
        )

    def migrate(self, numbers: Iterable[str] = tuple(MIGRATION)) -> None:
        """The migrations with these numbers, by default all."""
        self._run_in_turn([MIGRATION[number] for number in numbers])

    def roll_back(self, numbers: Iterable[str] = tuple(MIGRATION)) -> None:
        """The rollbacks of these migrations, by default all, the last first."""
        self._run_in_turn([ROLLBACK[number] for number in sorted(numbers, key=int, reverse=True)])

    def _run_in_turn(self, files: Sequence[Path]) -> None:
        """Each file in a transaction of its own; all by one psql, which costs a quarter less than one each."""
        if files:
            migrate_with_psql(self.server, self.dbname, self.schema, self.user, self.prefix, files)

    def guard_ddl(self) -> None:
        """The superuser's step, recorded as its head says."""
        self.run(SUPERUSER / "ddl_guard.sql")
        with self.connect() as connection:
            connection.execute("select record_guards('DDL guard installed')")

    def unguard_ddl(self) -> None:
        """The superuser's step taken back, and recorded."""
        self.run(SUPERUSER / "ddl_guard.rollback.sql")
        with self.connect() as connection:
            connection.execute("select record_guards('DDL guard taken away')")

    def refused(self, file: Path) -> str:
        """Run a file that must fail; gives what psql said on stderr."""
        run = self.run(file, check=False)
        assert run.returncode == 3, f"{file.name} was not refused"
        return run.stderr

    def connect(self, user: str | None = None, autocommit: bool = True) -> psycopg.Connection[Any]:
        """A connection whose search_path is this schema; by default the superuser's. The caller closes it."""
        return psycopg.connect(
            self.server.dsn(self.dbname, user, options=install_options(self.schema)),
            autocommit=autocommit,
        )


def facts(connection: Connection) -> set[tuple[Any, ...]]:
    """What guard_facts() knows of an installation, but for its own identity."""
    return {tuple(row.values()) for row in query(connection, "select * from guard_facts()")
            if row["fact"] != "installation_id"}  # fmt: skip


def names_the_schema(fact: tuple[Any, ...]) -> bool:
    """Whether a fact is the body of a procedure that commits: it cannot pin a search_path, and names the schema."""
    committing = ("append_", "prune_archived", "seal_logs")
    return fact[1] == "function" and fact[3] == "body" and str(fact[2]).startswith(committing)


def function_bodies(connection: Connection) -> dict[str, str]:
    """Hash of the body of each function that does not name the schema."""
    found = (
        f for f in facts(connection) if f[1] == "function" and f[3] == "body" and not names_the_schema(f)
    )
    return {fact[2]: fact[4] for fact in found}


def contents(connection: Connection, schema: str) -> list[str]:
    """Everything in a schema: relations, functions, types, and what else has a namespace."""
    rows = query(
        connection,
        """
        select format('%%s %%s', d.type, d.identity) as item
        from (select 'pg_class'::regclass as catalogue, oid from pg_class where relnamespace = %(schema)s::regnamespace
              union all select 'pg_proc'::regclass, oid from pg_proc where pronamespace = %(schema)s::regnamespace
              union all select 'pg_type'::regclass, oid from pg_type where typnamespace = %(schema)s::regnamespace
              union all select 'pg_operator'::regclass, oid from pg_operator
                        where oprnamespace = %(schema)s::regnamespace
              union all select 'pg_constraint'::regclass, oid from pg_constraint
                        where connamespace = %(schema)s::regnamespace) as o
        cross join lateral pg_identify_object(o.catalogue, o.oid, 0) as d
        order by 1
        """,
        {"schema": quote(schema)},
    )
    return [row["item"] for row in rows]


def last_writes(connection: Connection, schema: str) -> dict[str, Any]:
    """Which transactions wrote what there is in a schema, so that even a rewrite of the same value shows."""
    catalogues = {
        "pg_class": "relnamespace = %(schema)s::regnamespace",
        "pg_proc": "pronamespace = %(schema)s::regnamespace",
        "pg_type": "typnamespace = %(schema)s::regnamespace",
        "pg_constraint": "connamespace = %(schema)s::regnamespace",
        "pg_namespace": "oid = %(schema)s::regnamespace",
        "pg_attribute": "attrelid in (select oid from pg_class where relnamespace = %(schema)s::regnamespace)",
        "pg_trigger": "tgrelid in (select oid from pg_class where relnamespace = %(schema)s::regnamespace)",
        "pg_description": "true",
        "pg_authid": "true",
        "pg_auth_members": "true",
    }
    found: dict[str, Any] = {
        catalogue: query(
            connection,
            f"select count(*) as rows, md5(string_agg(t.xmin::text || t.ctid::text, ' ' order by t.ctid)) as written"
            f" from {catalogue} as t where {condition}",
            {"schema": quote(schema)},
        )
        for catalogue, condition in catalogues.items()
    }
    tables = [
        row["relname"]
        for row in query(
            connection,
            "select relname from pg_class where relnamespace = %s::regnamespace and relkind = 'r'"
            " and relname !~ 'yoyo' order by 1",
            [quote(schema)],
        )
    ]
    for table in tables:
        rows = query(
            connection, f"select xmin::text, ctid::text, t::text from {quote(schema)}.{quote(table)} as t"
        )
        found[table] = sorted(tuple(row.values()) for row in rows)
    return found


def dumped_schema(server: Server, dbname: str, schema: str = "public") -> list[str]:
    """pg_dump --schema-only of a schema without what differs from run to run, and without yoyo's tables."""
    dump = server.program(
        "pg_dump", "-s", "-n", quote(schema), "-T", "*._yoyo*", "-T", "*.yoyo*", "-d", server.dsn(dbname)
    ).stdout
    return [line for line in dump.splitlines() if line and not re.match(r"--|\\(un)?restrict ", line)]


def guard_log(connection: Connection) -> list[str]:
    """Reasons of guard_states, oldest first."""
    return [row["reason"] for row in query(connection, "select reason from guard_states order by id")]


def hint(stderr: str) -> str:
    """The HINT of psql's message: one line that can be followed as it stands."""
    hints = re.findall(r"^HINT:  (.*)$", stderr, re.MULTILINE)
    assert len(hints) == 1, stderr
    return str(hints[0])


def registered(connection: Connection) -> list[Row]:
    """installed_migrations, in order."""
    return query(connection, "select * from installed_migrations order by name")
