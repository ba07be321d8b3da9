"""A provider's PostgreSQL, as far as plain PostgreSQL can imitate it: its roles, and what it does to a database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from tests.cluster import Server
from tests.support import Connection, install_options, migrate_with_psql, one, quote

PROFILES = Path(__file__).parent / "profiles"
#: The superuser that a provider keeps to itself.
SUPERUSERS = {
    "rds": "rdsadmin",
    "cloud_sql": "cloudsqladmin",
    "supabase": "supabase_admin",
    "neon": "cloud_admin",
    "azure": "azuresu",
}
#: The customer's administrator, in every profile.
ADMIN = "dba"
#: Logins that this administrator makes, and what they are members of.
LOGINS = {"trader": "app_trading", "auditor": "app_auditor", "approver": "app_risk"}


@dataclass(frozen=True)
class Provider:
    """A server of a provider, and a database on it."""

    name: str
    server: Server
    dbname: str = "trading"
    schema: str = "public"

    def dsn(self, user: str = ADMIN, **parameters: str) -> str:
        return self.server.dsn(self.dbname, user, options=install_options(self.schema), **parameters)

    def connect(self, user: str = ADMIN) -> Connection:
        """A connection in autocommit. The caller closes it."""
        return psycopg.connect(self.dsn(user), autocommit=True)

    def root(self) -> Connection:
        """The provider's own superuser, whom no customer is."""
        return self.connect(self.server.superuser)

    def make_schema(self) -> None:
        """A schema that is not there yet, as its owner; and nobody else may create in it."""
        with self.connect() as admin:
            admin.execute(f"create schema if not exists {quote(self.schema)}")
            admin.execute(
                f"revoke create on schema {quote(self.schema)} from public"
            )  # as doctor says on Azure

    def migrate(self) -> None:
        migrate_with_psql(self.server, self.dbname, self.schema, ADMIN)

    def make_logins(self) -> None:
        with self.connect() as admin:
            for login, role in LOGINS.items():
                admin.execute(f"create role {login} login in role {role}")

    @contextmanager
    def copy(self, name: str, schema: str | None = None) -> Iterator[Provider]:
        """The database once more, under another name, with the same owner."""
        copied = replace(self, dbname=name, schema=schema or self.schema)
        with psycopg.connect(self.server.dsn("postgres"), autocommit=True) as connection:
            owner = one(
                connection, "select datdba::regrole::text from pg_database where datname = %s", [self.dbname]
            )
            connection.execute(
                f"create database {quote(name)} template {quote(self.dbname)} owner {owner} strategy file_copy"
            )
            yield copied
            connection.execute(f"drop database {quote(name)} with (force)")


@contextmanager
def provided(name: str, binaries: Path) -> Iterator[Provider]:
    """A server whose roles and database are as the provider's, with nothing of ours in it."""
    with Server(binaries, superuser=SUPERUSERS[name]) as server:
        server.psql("postgres", "-f", PROFILES / f"{name}.sql")
        yield Provider(name, server)
