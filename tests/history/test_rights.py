"""Who may do what: the owner of alpha-db, who owns the table, too, begins and ends a history; the auditor reads."""

from __future__ import annotations

import psycopg
import pytest

from tests.fix_database import Connect, LoginRole, Prepared
from tests.history.tracked import differences, entries, positions, track
from tests.support import Connection, as_role, assert_healthy, one, query


@pytest.fixture(scope="session")
def origin(prepared: Prepared) -> str:
    """Positions of three rows, tracked."""
    return prepared("history_positions", positions)


def test_a_member_of_the_owner_who_owns_the_table(
    db: Connection, connect: Connect, login_role: LoginRole
) -> None:
    dba = login_role("alpha_owner")
    db.execute(
        f"create schema app; grant all on schema app to {dba}; grant usage on schema app to alpha_owner"
    )
    db.execute("select record_guards('another DBA')")
    session = connect(dba)
    session.execute("create table app.t (id integer primary key); insert into app.t values (1)")
    track(session, "app.t")
    session.execute("update app.t set id = 2")
    assert entries(db, "app.t")[0]["recorded_by"] == dba
    assert differences(session, "app.t") == []
    session.execute("select untrack_table('app.t')")
    assert_healthy(db)


@pytest.mark.parametrize("role", ["app_trading", "app_auditor", "app_risk"])
@pytest.mark.parametrize("call", ["track_table('t')", "untrack_table('positions')"])
def test_nobody_else_begins_or_ends_a_history(
    connect: Connect, login_role: LoginRole, role: str, call: str
) -> None:
    session = connect(login_role(role))
    session.execute("create temporary table t (id integer primary key)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute(f"select {call}")


def test_the_owner_of_the_table_alone_cannot_end_it(db: Connection, login_role: LoginRole) -> None:
    clerk = login_role()
    db.execute(f"alter table positions owner to {clerk}")
    with as_role(db, clerk), pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("select untrack_table('positions')")


def test_another_table_cannot_write_the_history(
    db: Connection, connect: Connect, login_role: LoginRole
) -> None:
    """PostgreSQL asks whether the maker of a trigger may execute its function."""
    functions = [one(db, "select _history_function('public.positions')"), "_record_truncate"]
    clerk = login_role("app_trading", "app_auditor")
    db.execute(f"create schema app; grant all on schema app to {clerk}")
    session = connect(clerk)
    session.execute("create table app.positions (account integer, symbol text, quantity numeric, note text)")
    for function in functions:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(
                "create trigger t after insert on app.positions for each statement"
                f" execute function public.{function}('public.positions')"
            )


def test_anyone_who_may_change_the_table_writes_its_history(
    db: Connection, connect: Connect, login_role: LoginRole
) -> None:
    """And nothing else of it."""
    clerk = login_role()
    db.execute(f"grant select, update on positions to {clerk}")
    session = connect(clerk)
    session.execute("update positions set quantity = 9 where account = 2")
    assert entries(db)[0]["recorded_by"] == clerk
    for statement in ("select from table_changes", "insert into table_changes default values"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(statement)


def test_an_auditor_reads_and_verifies(connect: Connect, login_role: LoginRole) -> None:
    """A history also of a table that he may not read himself."""
    session = connect(login_role("app_auditor"))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute("select from positions")
    assert differences(session) == []
    assert len(query(session, "select table_as_of('positions', 'infinity')")) == 3
    assert query(session, 'select * from table_history(\'positions\', \'{"account": 2, "symbol": "BTC"}\')')


def test_a_cast_of_the_tables_owner_does_not_run_as_the_owner_of_the_log(
    db: Connection, login_role: LoginRole
) -> None:
    """Values are printed by their types' output functions, so nobody can make a cast that is called."""
    clerk = login_role()
    db.execute(
        f"create schema app; grant all on schema app to {clerk}, alpha_owner; create table app.seen (who text);"
        "grant insert on app.seen to public; create type app.mood as enum ('good', 'bad');"
        f"create table app.t (id integer primary key, m app.mood); alter type app.mood owner to {clerk};"
        f"alter table app.t owner to {clerk}"
    )
    track(db, "app.t")
    with as_role(db, clerk):
        for target in ("text", "json"):
            db.execute(
                f"create function app.trap_{target}(app.mood) returns {target} language plpgsql as"
                f" $$begin insert into app.seen values (current_user); return '\"x\"'; end$$;"
                f"create cast (app.mood as {target}) with function app.trap_{target}(app.mood) as assignment"
            )
        db.execute("insert into app.t values (1, 'good')")
        db.execute("alter table app.t add column more app.mood default 'bad'")
        db.execute("update app.t set m = 'bad'")
    differences(db)
    track(db, "app.t")
    assert one(db, "select count(*) from app.seen") == 0
    assert entries(db, "app.t")[0]["new_row"] == {"id": "1", "m": "good"}
