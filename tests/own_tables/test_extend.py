"""Columns that are added to an own table, and columns that become longer."""

from __future__ import annotations

import psycopg
import pytest

from tests.fix_database import Connect, LoginRole
from tests.own_tables.books import chain_holds
from tests.security.refusals import refused
from tests.support import Connection, as_role, assert_healthy, changed_guards, one, query, tamper, verdicts


@pytest.fixture
def filled(trades: Connection) -> Connection:
    """Where trades holds two rows."""
    query(trades, "insert into trades (ref) values ('a'), ('b')")
    return trades


def test_a_column_is_covered(filled: Connection) -> None:
    with filled.transaction():
        query(filled, "alter table trades add column venue text")
        assert one(filled, "select extend_table('trades')") == ["venue"]
    query(filled, "insert into trades (ref, venue) values ('c', 'x')")
    assert chain_holds(filled, "trades")
    assert_healthy(filled)
    tamper(filled, "update trades set venue = 'y' where ref = 'c'")
    assert verdicts(filled)["trades"].verdict == "content_mismatch"


def test_an_older_row_keeps_what_it_held(filled: Connection) -> None:
    query(filled, "alter table trades add column venue text default 'old'; select extend_table('trades')")
    assert_healthy(filled)
    tamper(filled, "update trades set venue = 'y' where ref = 'a'")
    assert verdicts(filled)["trades"].broken_id == 1


def test_by_its_dba(db: Connection, filled: Connection, connect: Connect, login_role: LoginRole) -> None:
    member = connect(login_role("alpha_owner"))
    query(db, "select record_guards('a new DBA')")
    with as_role(member, "alpha_owner"):
        query(member, "alter table trades add column venue text")
    assert one(member, "select extend_table('trades')") == ["venue"]
    assert_healthy(filled)


def test_nothing_to_do_records_nothing(filled: Connection) -> None:
    states = one(filled, "select count(*) from guard_states")
    assert one(filled, "select extend_table('trades')") == []
    assert one(filled, "select count(*) from guard_states") == states


@pytest.mark.parametrize(
    ("change", "state", "message"),
    [
        ("alter table trades add column m money", "0A000", "no stable text for m money"),
        ("alter table trades add column g int generated always as (1) stored", "0A000", "generated"),
        ("alter table trades add column u uuid default gen_random_uuid()", "55000", "different values"),
        (
            "alter table trades drop column note, add column x int",
            "AUD09",
            "has lost what its rows",
        ),
        (
            "alter table trades add column x int; alter table trades disable trigger zzz_chain",
            "AUD11",
            "zzz_chain",
        ),
        ("alter table trades add column x int check (x > 0)", "AUD11", "constraint"),
    ],
)
def test_what_cannot_be_covered(filled: Connection, change: str, state: str, message: str) -> None:
    query(filled, change)
    with pytest.raises(psycopg.Error, match=message) as caught:
        query(filled, "select extend_table('trades')")
    assert caught.value.sqlstate == state
    assert caught.value.diag.message_hint
    assert changed_guards(filled) != []


def test_a_table_of_ours_is_not_extended(filled: Connection) -> None:
    with pytest.raises(psycopg.Error, match="signals is a table of alpha-db itself"):
        query(filled, "select extend_table('signals')")


def test_a_column_is_widened(filled: Connection) -> None:
    with refused("AUD-012", "trades"):
        query(filled, """call append_row('trades', '{"ref": "c", "note": "12345678901"}')""")
    query(filled, "set alpha.maintenance = 'longer notes'; select widen_column('trades', 'note', 20)")
    query(filled, """call append_row('trades', '{"ref": "c", "note": "12345678901"}')""")
    assert_healthy(filled)
