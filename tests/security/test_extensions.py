"""An extension in the schema of the installation is one changed guard, whatever it consists of."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.cluster import Server
from tests.support import MIGRATIONS, Connection, changed_guards, one, psql_file, query

#: With many functions and operators, and types; every build of PostgreSQL has one of them.
CANDIDATES = ["pg_trgm", "btree_gist", "hstore", "vector"]


@pytest.fixture
def extension(admin: Connection) -> str:
    found = one(admin, "select name from pg_available_extensions where name = any (%s) limit 1", [CANDIDATES])
    if found is None:
        pytest.skip("this PostgreSQL has no extension to make")
    return str(found)


def test_an_extension_is_one_line_and_its_next_change_another(db: Connection, extension: str) -> None:
    query(db, f"create extension {extension}")
    (found,) = changed_guards(db)
    assert (found["object_kind"], found["object_name"], found["problem"]) == (
        "extension",
        extension,
        "extra",
    )
    assert found["found"].startswith("of postgres, version ")
    query(db, "select record_guards('this extension is accepted')")
    assert changed_guards(db) == []
    query(db, "create function added() returns integer language sql as 'select 1'")
    query(db, f"alter extension {extension} add function added()")
    assert [(row["object_kind"], row["problem"]) for row in changed_guards(db)] == [("extension", "changed")]


def test_what_is_ours_cannot_hide_in_one(db: Connection, extension: str) -> None:
    query(db, f"create extension {extension}; alter extension {extension} add function chain_genesis(text)")
    found = {(row["object_kind"], row["problem"]) for row in changed_guards(db)}
    assert found == {("extension", "extra"), ("function", "missing")}


def test_elsewhere_it_is_none_of_our_business(db: Connection, extension: str) -> None:
    query(db, f"create schema extensions; create extension {extension} schema extensions")
    assert changed_guards(db) == []


def test_the_install_names_the_extension_of_somebody_else(
    server: Server, make_database: Callable[..., str], extension: str, login_role: Callable[..., str]
) -> None:
    name, stranger = make_database(), login_role()
    with psycopg.connect(server.dsn(name), autocommit=True) as conn:
        query(conn, f"create schema desk; create extension {extension} schema desk")
        query(
            conn,
            "update pg_proc set proowner = %s::regrole where pronamespace = 'desk'::regnamespace",
            [stranger],
        )
    said = psql_file(server, name, MIGRATIONS[0], schema="desk", check=False).stderr
    assert f"holds functions or operators of others: extension {extension} of {stranger}\n" in said
