"""verify_tracked finds whatever was changed behind the triggers' back; verify-chain says AUD-015, and locks nothing."""

from __future__ import annotations

import psycopg
import pytest

from tests.fix_database import Prepared
from tests.history.tracked import (
    behind_the_triggers,
    differences,
    entries,
    history_verdict,
    in_order,
    positions,
    track,
)
from tests.support import Connection, assert_healthy, one, query


@pytest.fixture(scope="session")
def origin(prepared: Prepared) -> str:
    """Positions of three rows, tracked."""
    return prepared("history_positions", positions)


BTC = {"account": "1", "symbol": "BTC"}
TRIGGER = "_000_alpha_history"


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("update positions set quantity = 99 where account = 1 and symbol = 'BTC'", [("changed_row", BTC)]),
        pytest.param(
            "update positions set note = 'x' where account = 1 and symbol = 'BTC'",
            [("changed_row", BTC)],
            marks=pytest.mark.long,
        ),
        ("update positions set quantity = 1.5 where account = 1 and symbol = 'BTC'", [("changed_row", BTC)]),
        ("delete from positions where account = 1 and symbol = 'BTC'", [("missing_row", BTC)]),
        ("insert into positions values (8, 'X', 1)", [("extra_row", {"account": "8", "symbol": "X"})]),
        (
            "update positions set account = 8 where account = 1 and symbol = 'BTC'",
            [("missing_row", BTC), ("extra_row", {"account": "8", "symbol": "BTC"})],
        ),
        (
            "truncate positions",
            [
                ("missing_row", BTC),
                ("missing_row", {"account": "1", "symbol": "ETH"}),
                ("missing_row", {"account": "2", "symbol": "BTC"}),
            ],
        ),
    ],
)
def test_rows(db: Connection, statement: str, found: list[tuple[str, object]]) -> None:
    with behind_the_triggers(db):
        db.execute(statement)
    assert differences(db, "positions") == sorted(found, key=in_order)
    assert history_verdict(db) == ("history_mismatch", "AUD-015", False)
    assert one(db, "select is_locked from lockdown_status()") is False


def test_a_change_that_a_recorded_change_covers(db: Connection) -> None:
    """The table holds what its history says, but an entry says of the row before what no entry made it."""
    with behind_the_triggers(db):
        db.execute("update positions set quantity = 99 where account = 1 and symbol = 'BTC'")
    db.execute("update positions set quantity = 1 where account = 1 and symbol = 'BTC'")
    assert differences(db) == [("unrecorded_change", BTC)]


def test_a_row_that_was_removed_and_recorded_again(db: Connection) -> None:
    with behind_the_triggers(db):
        db.execute("delete from positions where account = 1 and symbol = 'BTC'")
    db.execute("insert into positions values (1, 'BTC', 5)")
    assert differences(db) == [("unrecorded_change", BTC)]


def test_an_unrecorded_change_before_a_recorded_delete(db: Connection) -> None:
    with behind_the_triggers(db):
        db.execute("update positions set quantity = 99 where account = 1 and symbol = 'BTC'")
    db.execute("delete from positions where account = 1 and symbol = 'BTC'")
    assert differences(db) == [("unrecorded_change", BTC)]


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        (f"alter table positions disable trigger {TRIGGER}", "is disabled"),
        pytest.param(
            f"alter table positions enable trigger {TRIGGER}", "is not ENABLE ALWAYS", marks=pytest.mark.long
        ),
        (f"alter table positions enable replica trigger {TRIGGER}_truncate", "is not ENABLE ALWAYS"),
        pytest.param(f"drop trigger {TRIGGER} on positions", "is gone", marks=pytest.mark.long),
        (f"drop trigger {TRIGGER}_lock on positions", "is gone"),
        (
            f"create or replace trigger {TRIGGER} after insert on positions for each row"
            " execute function _history_b8d8d07ac1d18bc6()",
            "is not the one",
        ),
        (
            f"create or replace trigger {TRIGGER}_truncate before truncate on positions for each statement"
            " execute function _record_truncate('public.other')",
            "is not the one",
        ),
    ],
)
def test_triggers(db: Connection, statement: str, what: str) -> None:
    function = one(db, "select _history_function('public.positions')")
    db.execute(statement.replace("_history_b8d8d07ac1d18bc6", function))
    if "create or replace" in statement:
        name = statement.split()[4]
        db.execute(f"alter table positions enable always trigger {name}")
    (found,) = query(db, "select problem, detail from verify_tracked()")
    assert found["problem"] == "trigger_changed"
    assert what in found["detail"]
    assert history_verdict(db)[0] == "history_mismatch"


def test_a_trigger_that_is_dropped_and_put_back(db: Connection) -> None:
    definition = one(db, "select pg_get_triggerdef(oid) from pg_trigger where tgname = %s", [TRIGGER])
    db.execute(f"drop trigger {TRIGGER} on positions")
    db.execute("update positions set quantity = 99 where account = 2")
    db.execute(definition)
    db.execute(f"alter table positions enable always trigger {TRIGGER}")
    assert differences(db) == [("changed_row", {"account": "2", "symbol": "BTC"})]


def test_the_function_of_the_trigger_is_a_guard(db: Connection) -> None:
    function = one(db, "select _history_function('public.positions')")
    db.execute(
        f"create or replace function {function}() returns trigger language plpgsql security definer"
        " set search_path = public, pg_temp as 'begin return null; end'"
    )
    db.execute("update positions set quantity = 99 where account = 2")
    assert differences(db) == [("changed_row", {"account": "2", "symbol": "BTC"})]
    assert [row["object_name"] for row in query(db, "select * from verify_guards()")] == [f"{function}()"]


def test_a_replica_session_changes_nothing(db: Connection) -> None:
    db.execute("set session_replication_role = replica")
    for statement in (
        "insert into positions values (8, 'X', 1)",
        "update positions set quantity = 1",
        "delete from positions",
        "truncate positions",
    ):
        with pytest.raises(psycopg.Error, match="AUD-015") as refusal:
            db.execute(statement)
        assert refusal.value.sqlstate == "AUD15"
    db.execute("reset session_replication_role")
    assert entries(db) == []
    assert differences(db) == []


def test_a_table_that_was_renamed_takes_no_change(db: Connection) -> None:
    db.execute("alter table positions rename to other")
    for statement in ("delete from other", "truncate other"):
        with pytest.raises(psycopg.Error, match="AUD-015"):
            db.execute(statement)
    assert differences(db) == [("table_gone", None)]
    db.execute("alter table other rename to positions")
    db.execute("delete from positions where account = 2")
    assert differences(db) == []


@pytest.mark.parametrize("readable", [False, True])
def test_another_table_under_the_old_name(db: Connection, readable: bool) -> None:
    db.execute("alter table positions rename to other")
    db.execute("create table positions (like other including all)")
    if readable:
        db.execute("grant select on positions to alpha_owner")
    problems = [problem for problem, _ in differences(db)]
    assert problems == ["missing_row"] * 3 * readable + ["trigger_changed"] * 3


def test_a_table_that_may_not_be_read_is_not_reported_as_changed(db: Connection) -> None:
    db.execute("revoke select on positions from alpha_owner")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        differences(db)
    assert history_verdict(db) == ("not_run", None, None)


def test_a_table_that_was_dropped(db: Connection) -> None:
    db.execute("drop table positions")
    assert differences(db) == [("table_gone", None)]
    db.execute("select untrack_table('positions')")
    assert_healthy(db)
    assert (
        len(query(db, 'select * from table_history(\'positions\', \'{"account": 1, "symbol": "BTC"}\')')) == 1
    )


def test_a_fresh_beginning_says_what_it_takes_in(db: Connection) -> None:
    with behind_the_triggers(db):
        db.execute("update positions set quantity = 99")
    track(db)
    assert (
        one(
            db,
            "select new_row -> 'differences' from table_changes where operation = 'TRACK' order by id desc",
        )
        == 3
    )
    assert_healthy(db)


def test_a_changed_history_breaks_its_chain(db: Connection) -> None:
    """Rewriting the history to fit the table is damage as in any chain."""
    with behind_the_triggers(db):
        db.execute("update positions set quantity = 99 where account = 2")
    db.execute("alter table table_changes disable trigger all")
    db.execute(
        "update table_changes set new_row = jsonb_set(new_row, '{quantity}', '\"99\"') where key ->> 'account' = '2'"
    )
    db.execute("alter table table_changes enable trigger all")
    assert differences(db) == []
    assert history_verdict(db)[:2] == ("content_mismatch", "AUD-009")
