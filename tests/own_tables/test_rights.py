"""Who may do what with an own table, and that no code of others runs as its owner."""

from __future__ import annotations

import psycopg
import pytest

from tests.fix_database import Connect, LoginRole
from tests.own_tables.books import TRADES, chain
from tests.security.refusals import denied
from tests.support import Connection, as_role, assert_healthy, one, query

#: A stranger's function in every place from which PostgreSQL or the chain trigger would run it as the owner.
FOREIGN = {
    "a check": "create table t (a int check (x.f(a)))",
    "a default": "create table t (a boolean default x.f(1))",
    "an index": "create table t (a int); create index on t ((x.f(a)))",
    "a partial index": "create table t (a int); create index on t (a) where x.f(a)",
    "statistics": "create table t (a int, b int); create statistics st on x.f(a), b from t",
    "a domain": "create domain x.d as int check (x.f(value)); create table t (a x.d)",
    "a domain of a domain": "create domain x.d as int check (x.f(value)); create domain x.e as x.d;"
    " create table t (a x.e)",
    "a domain named as ours": "create domain x.decimal_28_10 as numeric check (x.f(1));"
    " create table t (a x.decimal_28_10)",
    "a domain that may get a check later": "create domain x.d as int; create table t (a x.d)",
    "a domain's default": "create domain x.d as boolean default x.f(1); create table t (a x.d)",
    "an operator": "create function x.eq(int, int) returns boolean language sql immutable as 'select true';"
    " create operator x.=== (leftarg = int, rightarg = int, function = x.eq);"
    " create table t (a int check (a operator(x.===) 1))",
}  # fmt: skip


@pytest.mark.parametrize("where", FOREIGN)
def test_code_of_others_is_refused(db: Connection, login_role: LoginRole, where: str) -> None:
    stranger = login_role()
    query(db, f"create schema x authorization {stranger}; grant create on schema public to {stranger}")
    with as_role(db, stranger):
        query(db, "create function x.f(int) returns boolean language sql immutable as 'select true'")
        query(db, FOREIGN[where])
    query(db, f"revoke create on schema public from {stranger}")
    if where == "a domain of a domain":
        query(db, "alter domain x.d owner to alpha_owner; alter domain x.e owner to alpha_owner")
    with pytest.raises(
        psycopg.errors.InsufficientPrivilege, match="would run with the rights of alpha_owner"
    ) as caught:
        chain(db, "t")
    assert " owner to alpha_owner" in (caught.value.diag.message_hint or "")


def test_code_of_the_owner_is_accepted(db: Connection) -> None:
    query(
        db,
        "create schema x; create function x.f(int) returns boolean language sql immutable as 'select $1 > 0';"
        "alter function x.f(int) owner to alpha_owner; grant usage on schema x to public;"
        "create table t (a int check (x.f(a))); select record_guards('x.f is ours')",
    )
    chain(db, "t")
    query(db, "insert into t values (1)")
    with denied("23514"):
        query(db, "insert into t values (0)")
    assert_healthy(db)


def test_a_chained_domain_of_ours_is_accepted(db: Connection) -> None:
    query(db, "create table t (a decimal_28_10)")
    chain(db, "t")
    query(db, "insert into t values (1.5)")
    assert one(db, "select a::text from t") == "1.5000000000"


@pytest.mark.parametrize(
    ("role", "may"),
    [("app_trading", "INSERT, SELECT"), ("app_auditor", "SELECT"), ("app_risk", "SELECT"), ("public", None)],
)
def test_the_rights_of_our_roles(trades: Connection, role: str, may: str | None) -> None:
    found = one(
        trades,
        "select (select g.privileges from _grants_text(c.relacl, c.relowner) as g where lower(g.grantee) = %s)"
        " from pg_class as c where c.oid = 'trades'::regclass",
        [role],
    )
    assert found == may


def test_rights_to_change_it_are_taken_from_everybody(db: Connection, login_role: LoginRole) -> None:
    stranger = login_role()
    query(db, TRADES)
    query(db, f"grant all on trades to {stranger} with grant option; grant update (price) on trades to {stranger};"
              "grant delete, trigger on trades to public")  # fmt: skip
    with as_role(db, stranger):
        query(db, "grant trigger on trades to app_risk")
    chain(db, "trades")
    found = query(
        db,
        "select lower(privilege_type) as may from information_schema.table_privileges where table_name = 'trades'"
        " and grantee not in ('alpha_owner', 'app_trading', 'app_auditor', 'app_risk')"
        " union select 'column ' || privilege_type from information_schema.column_privileges"
        " where table_name = 'trades' and privilege_type = 'UPDATE' and grantee <> 'alpha_owner' order by 1",
    )
    assert [row["may"] for row in found] == ["insert", "select"]
    assert one(db, "select has_table_privilege('app_risk', 'trades', 'trigger')") is False


def test_a_serial_column_can_be_written(db: Connection, connect: Connect, login_role: LoginRole) -> None:
    query(db, "create table t (id bigserial primary key, n serial, a int)")
    chain(db, "t")
    query(connect(login_role("app_trading")), "insert into t (a) values (1)")
    assert_healthy(db)


def test_the_auditor_lists_and_verifies(trades: Connection, connect: Connect, login_role: LoginRole) -> None:
    query(trades, "insert into trades (ref) values ('a')")
    auditor = connect(login_role("app_auditor"))
    assert one(auditor, "select last_id from chained_tables() where kind = 'own'") == 1
    assert one(auditor, "select (verify_chain('trades')).verdict") == "intact"


@pytest.mark.parametrize(
    "call",
    ["chain_table('trades')", "extend_table('trades')", "_chain_own_table('trades', true)", "_release_own_tables()",
     "_take_in_rows('trades', true)", "_revoke_changes('trades')"],
)  # fmt: skip
@pytest.mark.parametrize("role", ["app_trading", "app_auditor", "app_risk"])
def test_only_the_owner_chains(db: Connection, role: str, call: str) -> None:
    with denied(), as_role(db, role):
        query(db, f"select {call}")


def test_with_the_ddl_guard(guarded_database: str, connect: Connect) -> None:
    """Its reason is chain_table's own, and it protects the table afterwards."""
    db = connect(dbname=guarded_database)
    query(db, f"{TRADES}; select record_guards('with the DDL guard')")
    chain(db, "trades")
    assert one(db, "select current_setting('alpha.maintenance', true)") in ("", None)
    assert one(db, "select count(*) > 0 from maintenance_events where reason = 'chain_table trades'") is True
    with pytest.raises(psycopg.Error, match="AUD-011"):
        query(db, "alter table trades add column x int")
    with pytest.raises(psycopg.Error, match="AUD-011"):
        query(db, "drop table trades")
    assert_healthy(db)
