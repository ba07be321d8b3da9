"""Objects of the database's owner, under every name that our SQL uses and in front of pg_catalog, never run."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from alpha_db import connection as connections
from alpha_db.risk.hydrator import RiskGuardrailService
from alpha_db.writers import (
    append_ai_debate,
    append_order,
    append_order_event,
    append_signal,
    record_ai_debate,
    record_order,
    record_order_event,
    record_signal,
)
from tests.cli.desk import Desk as Commands
from tests.cluster import Server, client_environment
from tests.fix_database import LoginRole, fresh_name
from tests.migration.conftest import prefix
from tests.migration.desk import MIGRATION, ROLLBACK, Desk
from tests.security.hostile import Hostile
from tests.support import PATIENCE, ROOT, SUPERUSER, Connection, migrate_with_psql, tamper

__all__ = ["prefix"]  # a fixture

HOSTILE = "evil"
PATHS = {
    "behind the install schema": f"public, {HOSTILE}, pg_catalog",
    "with $user": f'"$user", public, {HOSTILE}, pg_catalog',
    "as $user": 'public, "$user", pg_catalog',  # the login is called as the hostile schema
}
SCOPES = ("database", "role", "session")
# What a client looks up is the same on every server; what a server looks up is tested by installing on each.
on_one = pytest.mark.any_server
# Both users, and the two paths that differ most; the other combinations with --all.
EVERY_DAY = {
    ("superuser", "database", "behind the install schema"): [on_one],
    ("migrator", "role", "as $user"): [],
}
INSTALLING = [
    pytest.param(*case, id="-".join(case), marks=EVERY_DAY.get(case, [pytest.mark.long]))
    for case in itertools.product(("superuser", "migrator"), SCOPES, PATHS)
]
# One slow test for each scope: migrating with the session's path, the other commands with the role's.
BY_ROLE = ["role", pytest.param("session", marks=pytest.mark.long)]
BY_SESSION = [pytest.param("role", marks=pytest.mark.long), "session"]


@pytest.fixture(scope="session")
def hostile_template(server: Server, admin: Connection, template: str) -> Hostile:
    """A database without an installation, with the hostile schema, to be cloned."""
    name, owner = "hostile_template", fresh_name("database_owner")
    admin.execute(f"create role {owner} login")
    admin.execute(f"create database {name} template template0 owner {owner}")
    hostile = Hostile(server, name, owner, HOSTILE)
    with psycopg.connect(server.dsn(template), autocommit=True) as model:
        hostile.plant(model)
    return hostile


@pytest.fixture(scope="session")
def hostile_installed(server: Server, admin: Connection, hostile_template: Hostile) -> Hostile:
    """The same with an installation, which was made on a path without the hostile schema; to be cloned."""
    name = "hostile_installed"
    admin.execute(f"create database {name} template {hostile_template.dbname} owner {hostile_template.owner}")
    migrate_with_psql(server, name)
    return replace(hostile_template, dbname=name)


Clone = Callable[[Hostile], Hostile]


@pytest.fixture
def clone(admin: Connection, make_database: Callable[..., str]) -> Clone:
    """Factory: clone(template) is a fresh database of the hostile owner's."""

    def make(origin: Hostile) -> Hostile:
        name = make_database(origin.dbname)
        admin.execute(f"alter database {name} owner to {origin.owner}")
        return replace(origin, dbname=name)

    return make


@pytest.fixture
def evil_login(admin: Connection, login_role: LoginRole) -> Iterator[str]:
    """A login called as the hostile schema, for paths with "$user"."""
    made = login_role(attributes="createrole")
    admin.execute(f"alter role {made} rename to {HOSTILE}")
    yield HOSTILE
    admin.execute(f"alter role {HOSTILE} rename to {made}")


def set_path(admin: Connection, scope: str, hostile: Hostile, login: str, path: str) -> dict[str, str]:
    """Set a search_path for a login of a database; gives the environment that a session needs for it."""
    if scope == "session":
        return {"PGOPTIONS": f"-c search_path={path.replace(' ', '')}"}
    where = f"database {hostile.dbname}"
    admin.execute(
        f"alter {where if scope == 'database' else f'role {login} in {where}'} set search_path = {path}"
    )
    return {}


# --------------------------------------------------------------------------------------------------


def test_what_is_planted_runs_when_it_is_looked_up(hostile_template: Hostile, clone: Clone) -> None:
    """Otherwise the tests below would see nothing."""
    hostile = clone(hostile_template)
    least = {"type": 45, "function": 300, "better function": 150, "aggregate": 40, "operator": 500, "cast": 15,
             "relation": 60, "ours": 130}  # fmt: skip
    assert {kind: n for kind, n in hostile.planted.items() if n < least[kind]} == {}, hostile.failed
    with psycopg.connect(hostile.server.dsn(hostile.dbname), autocommit=True) as conn:
        conn.execute(f"set search_path = public, {HOSTILE}, pg_catalog")
        for said, statement in {
            "type text": "do $$ declare x text; begin end $$",
            "type record": "do $$ declare x record; begin end $$",
            'function format(text,"any")': "select format('%s', 'x'::pg_catalog.text)",
            "function quote_ident(name)": "select quote_ident(pg_catalog.current_schema())",
            "operator integer = integer": "select 1 = 1",
            "operator text ~~ text": "select 'a'::pg_catalog.text like 'b'",
            "aggregate count": "select count(*)",
            "relation pg_class": "select * from pg_class",
            "function _begin_migration of ours": "select _begin_migration('x'::pg_catalog.text)",
        }.items():
            with suppress(psycopg.Error):
                conn.execute(statement)
            assert [ran for ran in hostile.ran() if ran.startswith(said)], (said, hostile.ran())


@pytest.mark.parametrize(("who", "scope", "kind"), INSTALLING)
def test_installing_and_removing_with_psql(
    who: str,
    scope: str,
    kind: str,
    hostile_template: Hostile,
    clone: Clone,
    admin: Connection,
    evil_login: str,
    login_role: LoginRole,
    prefix: str,
) -> None:
    """All migrations, the superuser's step and its rollback, and all rollbacks."""
    hostile, path = clone(hostile_template), PATHS[kind]
    login = "postgres"
    if who == "migrator":
        login = evil_login if path == PATHS["as $user"] else login_role(attributes="createrole")
        with psycopg.connect(hostile.server.dsn(hostile.dbname), autocommit=True) as conn:
            conn.execute(f"grant usage, create on schema public to {login} with grant option")
    desk = Desk(hostile.server, hostile.dbname, prefix=prefix, user=login)
    steps = [(login, file) for file in MIGRATION.values()]
    steps += [("postgres", SUPERUSER / f"ddl_guard{kind}.sql") for kind in ("", ".rollback")]
    steps += [(login, file) for file in reversed(ROLLBACK.values())]
    for user in (login, "postgres"):
        environment = set_path(admin, scope, hostile, user, path)
    options = f"{environment.get('PGOPTIONS', '')} -c alpha.role_prefix={prefix}"
    for user, file in steps:
        run = desk.server.psql(
            hostile.dbname, "-1", "-f", file, user=user, environment={"PGOPTIONS": options}, check=False
        )
        assert hostile.ran() == [], file.name
        assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("file", [*MIGRATION.values(), *ROLLBACK.values(), SUPERUSER / "ddl_guard.sql"])
def test_a_hostile_schema_that_is_first_is_no_installation(
    file: Path, hostile_installed: Hostile, clone: Clone
) -> None:
    """It has objects under the names of ours; 001 would install into it, and refuses what stands there."""
    hostile = clone(hostile_installed)
    run = hostile.server.psql(
        hostile.dbname,
        "-1",
        "-f",
        file,
        environment={"PGOPTIONS": f"-c search_path={HOSTILE},public"},
        check=False,
    )
    assert hostile.ran() == []
    assert run.returncode == 3
    said = ("table or a type lock_migrations, which is not ours", "is not installed in schema evil")
    assert any(text in run.stderr for text in said)


@on_one
def test_no_command_takes_a_hostile_schema_for_an_installation(
    hostile_installed: Hostile, clone: Clone, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    hostile = clone(hostile_installed)
    options = f"-c search_path={HOSTILE},public"
    commands = Commands(hostile.server.dsn(hostile.dbname, options=options), tmp_path, capsys)
    for arguments in (["status"], ["verify-chain"], ["guards"], ["risk", "get-config"], ["migrate"]):
        done = commands.run(*arguments, expect=3)
        assert hostile.ran() == [], arguments
        if arguments != ["migrate"]:
            assert 'alpha-db is not installed in schema "evil"' in done.err
            assert "it is in public" in done.err
    assert commands.run("--schema", "public", "verify-chain").code == 0
    assert hostile.ran() == []


def run_alpha_db(
    desk: Desk, environment: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """A program of this Python in an environment of libpq's."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=client_environment(
            {
                "PGHOST": str(desk.server.directory),
                "PGUSER": desk.user or desk.server.superuser,
                "PGDATABASE": desk.dbname,
                "PYTHONPATH": os.pathsep.join(
                    filter(None, [str(ROOT / "python"), os.environ.get("PYTHONPATH")])
                ),
                **environment,
            }
        ),
        capture_output=True,
        text=True,
        check=False,
    )


@on_one
@pytest.mark.parametrize("scope", BY_SESSION)  # to the client, a database's is like a role's
def test_migrating_with_alpha_db(
    scope: str, hostile_template: Hostile, clone: Clone, admin: Connection, login_role: LoginRole, prefix: str
) -> None:
    hostile = clone(hostile_template)
    login = login_role(attributes="createrole")
    with psycopg.connect(hostile.server.dsn(hostile.dbname), autocommit=True) as conn:
        conn.execute(f"grant usage, create on schema public to {login} with grant option")
    desk = Desk(hostile.server, hostile.dbname, user=login)
    environment = set_path(admin, scope, hostile, login, PATHS["behind the install schema"])
    run = run_alpha_db(desk, environment, "alpha_db", "migrate", "--role-prefix", prefix)
    assert hostile.ran() == []
    assert run.returncode == 0, run.stderr


@on_one
def test_migrating_with_yoyo(hostile_template: Hostile, clone: Clone, admin: Connection) -> None:
    """yoyo's own statements are pinned by nothing but the schema in its URL, as docs/operations.md has it."""
    hostile = clone(hostile_template)
    set_path(admin, "role", hostile, "postgres", PATHS["behind the install schema"])
    url = f"postgresql+psycopg:///{hostile.dbname}?options=-csearch_path%3Dpublic"
    for command in ("apply", "rollback"):
        arguments = ("yoyo.scripts.main", command, "--batch", "--database", url, "--all", "migrations")
        run = run_alpha_db(
            Desk(hostile.server, hostile.dbname),
            {},
            *[a for a in arguments if command == "rollback" or a != "--all"],
        )
        assert hostile.ran() == []
        assert run.returncode == 0, run.stderr


# --------------------------------------------------------------------------------------------------
# What runs every day


@pytest.fixture
def logins(login_role: LoginRole) -> dict[str, str]:
    """A login for each application role."""
    return {role: login_role(role) for role in ("app_trading", "app_auditor", "app_risk")}


Book = tuple[Hostile, dict[str, str]]


@pytest.fixture(params=["role", "session"])  # to the client, a database's is like a role's
def book(
    request: pytest.FixtureRequest,
    hostile_installed: Hostile,
    clone: Clone,
    admin: Connection,
    logins: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Book]:
    """An installation in which everybody's search_path has the hostile schema; and a login for each role."""
    hostile = clone(hostile_installed)
    for login in (*logins.values(), "postgres"):
        for name, value in set_path(
            admin, request.param, hostile, login, PATHS["behind the install schema"]
        ).items():
            monkeypatch.setenv(name, value)
    yield hostile, logins
    assert hostile.ran() == []


def dsn(book: Book, role: str) -> str:
    hostile, logins = book
    return hostile.server.dsn(hostile.dbname, logins[role])


@on_one
def test_writing_with_python(book: Book) -> None:
    with closing(connections.connect(dsn(book, "app_trading"), autocommit=True)) as conn:
        for n, (signal, debate, order, event) in enumerate([
            (record_signal, record_ai_debate, record_order, record_order_event),
            (append_signal, append_ai_debate, append_order, append_order_event),
        ]):  # fmt: skip
            row = signal(
                conn,
                signal_id=f"s-{n}",
                symbol="BTCUSD",
                side="BUY",
                price="1.5",
                quantity=2,
                raw_payload={"n": n},
            )
            correlation = row["correlation_id"]
            debate(
                conn, correlation_id=correlation, model_name="llama-3.1", reasoning_json={}, confidence_score="0.5",
                elapsed_ms=1,
            )  # fmt: skip
            order(
                conn,
                correlation_id=correlation,
                order_type="MARKET",
                symbol="BTCUSD",
                side="BUY",
                quantity="0.25",
            )
            event(conn, order_execution_id=n + 1, event_type="FILL", fill_quantity="0.25", fill_price="1.5")


def test_writing_with_sql(book: Book) -> None:
    """What an application calls by its schema, on whatever path it has, runs nothing else; nor does what is refused."""
    hostile, logins = book
    with psycopg.connect(hostile.server.dsn(hostile.dbname, logins["app_trading"]), autocommit=True) as conn:
        signal = conn.execute(
            "select correlation_id"
            " from public.record_signal('a', 'BTCUSD', 'BUY', 1.5, 2, '{\"n\": 1}', '10.0.0.1', true)"
        ).fetchone()
        assert signal is not None
        for statement in (
            "call public.append_signal('b', 'BTCUSD', 'BUY', '1.5', 2, '{}', '10.0.0.1', true)",
            f"call public.append_ai_debate('{signal[0]}', 'llama-3.1', '{{}}', 0.5, 1)",
            f"select public.record_ai_debate('{signal[0]}', 'llama-3.1', '{{}}', '0.5', 1)",
            f"call public.append_order('{signal[0]}', 'LIMIT', 'BTCUSD', 'SELL', 1, 2)",
            f"select public.record_order('{signal[0]}', 'MARKET', 'BTCUSD', 'SELL', 1)",
            "call public.append_order_event(1, 'FILL', 1, 2)",
            "select public.record_order_event(1, 'REJECTED', rejection_reason => 'x')",
            "insert into public.signals (signal_id, symbol, side, price, quantity, raw_payload)"
            " values ('c', 'B', 'BUY', 1.5, '2', '{}')",
        ):
            conn.execute(statement)
            assert hostile.ran() == [], statement
        for statement in (
            "update public.signals set side = 'SELL'",
            "select public.record_signal('a', 'BTCUSD', 'SELL', 1.5, 2, '{}')",
            "select public.record_signal('d', 'BTCUSD', 'SELL', 1.123456789012, 2, '{}')",
        ):
            with pytest.raises(psycopg.Error) as caught:
                conn.execute(statement)
            assert caught.value.sqlstate in ("42501", "AUD10", "AUD01")


@pytest.mark.parametrize("book", BY_ROLE, indirect=True)
def test_verifying_in_sql(book: Book) -> None:
    hostile, logins = book
    for user in (logins["app_auditor"], "postgres"):
        with psycopg.connect(hostile.server.dsn(hostile.dbname, user), autocommit=True) as conn:
            conn.execute("table public.vw_trade_audit_full")
            for function in (
                "verify_chain_integrity()", "verify_guards()", "guard_facts()", "lockdown_status()", "chain_status()",
                "verification_plan(true, 2)", "seal_log()", "checkpoint_facts()", "verify_config_integrity()",
                "active_risk_state()", "acknowledged_damage()", "find_chain_damage('signals')", "changed_guards()",
            ):  # fmt: skip
                conn.execute(f"select pg_catalog.row_to_json(f) from public.{function} as f")


@on_one
@pytest.mark.parametrize("book", BY_ROLE, indirect=True)
def test_commands(book: Book, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command that connects, as who may run it."""
    hostile, _ = book
    auditor, risk = (Commands(dsn(book, role), tmp_path, capsys) for role in ("app_auditor", "app_risk"))
    root = Commands(hostile.server.dsn(hostile.dbname), tmp_path, capsys)
    with closing(connections.connect(hostile.server.dsn(hostile.dbname), autocommit=True)) as conn:
        conn.execute("select public.record_guards('a path like that is reported')")
    with closing(connections.connect(dsn(book, "app_trading"), autocommit=True)) as conn:
        for n in range(3):
            record_signal(
                conn,
                signal_id=f"s-{n}",
                symbol="BTCUSD",
                side="BUY",
                price="1.5",
                quantity=2,
                raw_payload={"n": n},
            )
    root.bootstrap("ada", "ben", "cyd")
    root.run("migrate")
    risk.names = root.names
    risk.first_limits()
    root.run("checkpoint", "keygen", "--name", "a.example/b", "-o", str(tmp_path / "c.key"))
    notes, trust = str(tmp_path / "notes"), ("--trust", str(tmp_path / "c.key.vkey"))
    (tmp_path / "notes").mkdir()
    for arguments in (
        ["status"], ["migrate", "--list"], ["migrate", "--dry-run"], ["verify-chain", "--jobs", "2"],
        ["verify-chain", "--since-last"], ["verify-chain", "--no-lockdown"], ["guards"], ["attempts"],
        ["lockdown", "status"], ["agents", "list"],
        ["checkpoint", "create", notes, "--key", str(tmp_path / "c.key")],
        ["checkpoint", "verify", notes, *trust], ["checkpoint", "list", notes],
        ["verify-chain", "--checkpoints", notes, *trust],
        ["guards", "--checkpoints", notes, *trust],
        ["prove", "signals", "1", "--checkpoints", notes, *trust, "-o", str(tmp_path / "p")],
        ["export", "-o", str(tmp_path / "book")],
        ["risk", "get-config"], ["risk", "history"], ["risk", "verify"], ["risk", "proposals"],
    ):  # fmt: skip
        done = auditor.run(*arguments, expect=None)
        assert hostile.ran() == [], arguments
        assert done.code == 0, (arguments, done)
    service = RiskGuardrailService(dsn(book, "app_trading"), good_reads=1).start()
    try:
        assert service.wait_for(lambda state: state.is_normal, PATIENCE)
    finally:
        service.stop()
    with psycopg.connect(hostile.server.dsn(hostile.dbname), autocommit=True) as conn:
        conn.execute("set search_path = public")
        tamper(conn, "update signals set side = 'SELL' where id = 2")
    auditor.run("verify-chain", expect=1)
    released = risk.propose("ada", "lockdown", "release")
    risk.approve(released, "ben", "cyd")
    auditor.run("verify-chain", expect=None)
