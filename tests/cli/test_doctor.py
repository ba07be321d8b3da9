"""alpha-db doctor on servers that are nobody's service: what must be set, and that doing so helps."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from alpha_db.connection import connect as open_connection
from alpha_db.doctor import Check, examination, examine
from tests.checkpoint.book import run
from tests.cluster import Server
from tests.engines import imitate_citus
from tests.fix_database import Connect, LoginRole, fresh_name
from tests.support import MIGRATIONS, ROOT, SUPERUSER, psql_file, query


@pytest.fixture
def prefix() -> str:
    """Roles that are not there."""
    return fresh_name("d") + "_"


def checks(dsn: str, schema: str | None = None, prefix: str | None = None) -> dict[str, Check]:
    with open_connection(dsn, schema=schema) as conn:
        return {check.name: check for check in examine(conn, schema, prefix)}


def states(found: dict[str, Check], *wanted: str) -> set[str]:
    return {name for name, check in found.items() if check.state in wanted}


def test_what_the_migrating_login_lacks_is_said_and_following_it_helps(
    server: Server, empty_database: str, connect: Connect, login_role: LoginRole, prefix: str
) -> None:
    root, login = connect(dbname=empty_database), login_role()
    query(root, "create schema desk")
    dsn = server.dsn(empty_database, login)
    assert states(checks(dsn, "desk", prefix), "set", "stop") == {"schema", "roles"}, (
        "it may not even look in"
    )
    query(root, f"grant usage on schema desk to {login}")
    found = checks(dsn, "desk", prefix)
    assert states(found, "set", "stop") == {"schema", "roles"}
    for name in ("schema", "roles"):
        query(root, str(found[name].remedy).split(": ")[1])
    assert states(checks(dsn, "desk", prefix), "set", "stop") == set()
    psql_file(server, empty_database, MIGRATIONS[0], schema="desk", user=login, prefix=prefix)
    assert states(checks(dsn, "desk"), "set", "stop") == set()


def test_owner_role_that_somebody_else_made(
    server: Server, empty_database: str, connect: Connect, login_role: LoginRole, prefix: str
) -> None:
    if server.major < 16:
        pytest.skip("before 16, CREATEROLE may grant any role")
    root, login = connect(dbname=empty_database), login_role(attributes="createrole")
    query(root, f"create schema desk authorization {login}; create role {prefix}alpha_owner")
    dsn = server.dsn(empty_database, login)
    refused = checks(dsn, "desk", prefix)["owner"]
    assert (refused.state, refused.found) == (
        "set",
        f"{login} may not become {prefix}alpha_owner, so it cannot migrate",
    )
    query(root, str(refused.remedy).split(": ")[1].split(". ")[0])
    assert states(checks(dsn, "desk", prefix), "set", "stop") == set()
    query(root, f"drop role {prefix}alpha_owner")


def test_schema_that_is_not_there(server: Server, empty_database: str) -> None:
    found = checks(server.dsn(empty_database), "nowhere")["schema"]
    assert (found.state, found.remedy) == ("set", "create schema nowhere, and name it: --schema nowhere")


def test_database_of_another_encoding_cannot_take_it(
    server: Server, make_database: Callable[..., str]
) -> None:
    name = make_database(options="encoding 'LATIN1'")
    assert states(checks(server.dsn(name)), "stop") == {"encoding"}
    told = run("--dsn", server.dsn(name), "doctor", expect=1).out
    assert "This database cannot take alpha-db (" in told


def test_read_only_by_default(server: Server, empty_database: str, connect: Connect) -> None:
    query(
        connect(dbname=empty_database),
        f"alter database {empty_database} set default_transaction_read_only = on",
    )
    assert states(checks(server.dsn(empty_database)), "set") == {"writes"}


def test_functions_of_others_are_named_and_never_called(
    server: Server, empty_database: str, connect: Connect, login_role: LoginRole
) -> None:
    """They would fit a call better than PostgreSQL's own, and run with the rights of whoever asks."""
    root, stranger = connect(dbname=empty_database), login_role()
    query(root, f"create schema desk; grant usage, create on schema desk to {stranger}")
    with psycopg.connect(server.dsn(empty_database, stranger), autocommit=True) as his:
        for made in ("quote_ident(name)", "format(text, name)", "to_regrole(text)", "current_setting(text)"):
            his.execute(
                f"create function desk.{made} returns text language plpgsql as"
                " $$ begin raise exception 'called'; end $$"
            )
    found = checks(server.dsn(empty_database), "desk")
    assert states(found, "set") == {"others create", "foreign code"}
    assert "desk.quote_ident(name)" in found["foreign code"].found


def test_login_of_an_application_finds_nothing_to_set(
    server: Server, database: str, login_role: LoginRole
) -> None:
    found = checks(server.dsn(database, login_role("app_trading")))
    assert states(found, "set", "stop") == set()
    assert "cannot migrate" in found["owner"].found


def test_ddl_guard_that_is_there(server: Server, database: str) -> None:
    assert checks(server.dsn(database))["DDL guard"].state == "lost"
    psql_file(server, database, SUPERUSER / "ddl_guard.sql")
    assert checks(server.dsn(database))["DDL guard"].state == "ok"


@pytest.mark.long
def test_server_without_room_for_the_locks(binaries: Path) -> None:
    settings = {"max_connections": "20", "max_prepared_transactions": "0", "max_locks_per_transaction": "10"}
    with Server(binaries, settings) as small:
        found = checks(small.dsn("postgres"))["locks"]
    assert found.state == "set"
    assert str(found.remedy).startswith(
        "max_locks_per_transaction = 128, then restart the server. Or dump each"
    )


def test_wrong_clock(server: Server, empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz or UTC) + timedelta(minutes=2)

    monkeypatch.setattr(examination, "datetime", Ahead)
    found = checks(server.dsn(empty_database))["clock"]
    assert found.state == "lost"
    assert re.fullmatch(r"the server is 1(19|20) s behind this machine", found.found)


def test_lines_fit_a_terminal_and_json_has_the_same(server: Server, database: str) -> None:
    told = run("--dsn", server.dsn(database), "doctor").out
    assert max(map(len, told.splitlines())) <= 80
    answer = run("--dsn", server.dsn(database), "doctor", "--json").json
    assert [line.split()[0] for line in told.splitlines() if not line.startswith(" ")][:-1] == [
        check["state"] for check in answer
    ]
    assert answer == [asdict(check) for check in checks(server.dsn(database)).values()]


def test_no_server_is_exit_code_3(server: Server) -> None:
    run("--dsn", server.dsn("there is none"), "doctor", expect=3)


def test_the_page_names_every_line(server: Server, database: str, connect: Connect) -> None:
    imitate_citus(connect())
    query(connect(), "insert into pg_dist_schema values ('public'::regnamespace)")
    page = (ROOT / "docs" / "managed.md").read_text(encoding="utf-8")
    table = page.split("## What doctor looks at")[1].split("\n## ")[0]
    named = {
        name
        for row in table.splitlines()
        for name in re.findall(r"`([^`]+)`", row.split("|")[1:2][0] if "|" in row else "")
    }
    assert named == set(checks(server.dsn(database)))


def test_citus_that_would_distribute_the_installation(
    server: Server, empty_database: str, connect: Connect
) -> None:
    root = connect(dbname=empty_database)
    assert "citus" not in checks(server.dsn(empty_database))
    imitate_citus(root)
    assert checks(server.dsn(empty_database))["citus"].state == "ok"
    query(root, "insert into pg_dist_schema values ('public'::regnamespace)")
    query(root, f"alter database {empty_database} set citus.enable_ddl_propagation = on")
    found = checks(server.dsn(empty_database))
    assert states(found, "set") >= {"citus", "citus schema"}
    assert found["citus"].remedy == (
        "alter role postgres set citus.enable_ddl_propagation = off, then connect again"
    )
    assert found["citus schema"].remedy == "select citus_schema_undistribute('public')"
