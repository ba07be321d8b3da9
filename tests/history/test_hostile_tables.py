"""A table whose owner is a stranger runs none of his code with the rights of alpha_owner."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.fix_database import Connect, LoginRole
from tests.history.tracked import differences, entries, history_verdict, track
from tests.support import Connection, assert_healthy, query, quote, wait_blocked

ENDS_A_TEXT = "x$history$; drop table t; --$chain$"


def test_a_column_whose_name_would_end_the_function(db: Connection) -> None:
    db.execute(f"create table t (id integer primary key, {quote(ENDS_A_TEXT)} integer)")
    track(db, "t")
    db.execute("insert into t values (1, 2)")
    assert entries(db, "public.t")[0]["new_row"] == {"id": "1", ENDS_A_TEXT: "2"}
    assert_healthy(db)


def test_a_key_whose_name_is_that_of_a_placeholder(db: Connection) -> None:
    db.execute('create table t ("{row}" integer primary key)')
    track(db, "t")
    db.execute("insert into t values (1), (2)")
    assert [entry["key"] for entry in entries(db, "public.t")] == [{"{row}": "1"}, {"{row}": "2"}]
    assert differences(db) == []


def test_a_view_that_takes_the_table_s_place_while_it_is_compared(
    db: Connection, connect: Connect, login_role: LoginRole
) -> None:
    clerk = login_role()
    db.execute(f"create schema clerk authorization {clerk}")
    owner = connect(clerk, autocommit=False)
    owner.execute("create table clerk.t (id integer primary key)")
    owner.execute(
        "create function clerk.ran() returns integer language plpgsql as"
        " $$ begin raise exception 'ran as %', current_user; end $$"
    )
    owner.commit()
    track(db, "clerk.t")
    owner.execute("lock table clerk.t in access exclusive mode")
    auditor = connect()
    with ThreadPoolExecutor(1) as pool:
        compared = pool.submit(query, auditor, "select * from verify_tracked('clerk.t')")
        wait_blocked(db, auditor.info.backend_pid)
        owner.execute("alter table clerk.t rename to was_t")
        owner.execute("create view clerk.t as select clerk.ran() as id; grant select on clerk.t to public")
        owner.commit()
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="TABLESAMPLE"):
            compared.result()


def test_an_owner_who_keeps_his_table_locked_holds_up_no_verdict(db: Connection, connect: Connect) -> None:
    db.execute("create table t (id integer primary key)")
    track(db, "t")
    owner = connect(autocommit=False)
    owner.execute("lock table t in access exclusive mode")
    assert history_verdict(db) == ("not_run", None, None)
    owner.rollback()
    assert_healthy(db)
