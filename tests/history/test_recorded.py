"""What an entry of the history says."""

from __future__ import annotations

import pytest

from tests.fix_database import Connect, Prepared
from tests.history.tracked import differences, entries, positions, rows_as_of, track
from tests.support import Connection, as_role, assert_healthy, one, query


@pytest.fixture(scope="session")
def origin(prepared: Prepared) -> str:
    """Positions of three rows, tracked."""
    return prepared("history_positions", positions)


BTC = {"account": "1", "symbol": "BTC"}


def test_the_rows_that_are_there_come_first(db: Connection) -> None:
    found = query(db, "select operation, key, new_row from table_changes order by id")
    assert [row["operation"] for row in found] == ["TRACK", *["SNAPSHOT"] * 3]
    assert found[1]["new_row"] == {**BTC, "quantity": "1.50", "note": None}
    assert_healthy(db)


def test_an_insert_an_update_and_a_delete(db: Connection) -> None:
    db.execute("insert into positions values (3, 'BTC', 1.0)")
    db.execute("update positions set quantity = 2 where account = 3")
    db.execute("delete from positions where account = 3")
    inserted, updated, deleted = entries(db)
    key: dict[str, str | None] = {"account": "3", "symbol": "BTC"}
    first, second = {**key, "quantity": "1.0", "note": None}, {**key, "quantity": "2", "note": None}
    assert (inserted["operation"], inserted["old_row"], inserted["new_row"]) == ("INSERT", None, first)
    assert (updated["operation"], updated["old_row"], updated["new_row"]) == ("UPDATE", first, second)
    assert updated["changed_columns"] == ["quantity"]
    assert (deleted["operation"], deleted["old_row"], deleted["new_row"]) == ("DELETE", second, None)
    assert [row["key"] for row in entries(db)] == [key] * 3


def test_an_update_of_the_key_is_in_the_history_of_both_keys(db: Connection) -> None:
    db.execute("update positions set account = 9 where account = 1 and symbol = 'BTC'")
    new = {**BTC, "account": "9"}
    for key, other, old_row, new_row in (
        (BTC, new, {**BTC, "quantity": "1.50", "note": None}, None),
        (new, BTC, None, {**new, "quantity": "1.50", "note": None}),
    ):
        last = query(
            db,
            "select operation, other_key, old_row, new_row from table_history('public.positions', %s)"
            " order by id desc limit 1",
            [f'{{"account": {key["account"]}, "symbol": "{key["symbol"]}"}}'],
        )
        assert last == [{"operation": "UPDATE", "other_key": other, "old_row": old_row, "new_row": new_row}]


def test_an_update_that_changes_nothing_is_no_entry(db: Connection) -> None:
    db.execute("update positions set quantity = quantity")
    assert entries(db) == []


def test_another_scale_is_a_change(db: Connection) -> None:
    db.execute("update positions set quantity = 20.0 where symbol = 'ETH'")
    assert [row["changed_columns"] for row in entries(db)] == [["quantity"]]


def test_a_truncate_empties_every_row(db: Connection) -> None:
    db.execute("truncate positions")
    db.execute("insert into positions values (7, 'X', 1)")
    assert [row["operation"] for row in entries(db)] == ["TRUNCATE", "INSERT"]
    assert [row["account"] for row in rows_as_of(db, "positions", "infinity")] == ["7"]
    history = query(
        db, 'select operation from table_history(\'positions\', \'{"account": 1, "symbol": "BTC"}\')'
    )
    assert [row["operation"] for row in history] == ["SNAPSHOT", "TRUNCATE"]
    assert differences(db) == []


def test_who_did_it(db: Connection, connect: Connect) -> None:
    db.execute("create role clerk")
    db.execute("grant all on positions to clerk")
    session = connect(application_name="back office")
    with as_role(session, "clerk"):
        session.execute("update positions set quantity = 3 where symbol = 'ETH'")
    (entry,) = entries(db)
    assert entry["recorded_by"] == one(session, "select session_user::text")
    assert (entry["acting_role"], entry["application_name"]) == ("clerk", "back office")


def test_what_a_before_trigger_makes_of_a_row(db: Connection) -> None:
    db.execute(
        "create schema app; create table app.t (id integer primary key, v text);"
        "create function app.shout() returns trigger language plpgsql as"
        " 'begin new.v := upper(new.v); return new; end';"
        "create trigger zz_shout before insert on app.t for each row execute function app.shout()"
    )
    track(db, "app.t")
    db.execute("insert into app.t values (1, 'hello')")
    assert entries(db, "app.t")[0]["new_row"]["v"] == "HELLO"


def test_what_an_after_trigger_changes_comes_later(db: Connection) -> None:
    """An AFTER trigger whose name sorts before most changes the row that fired it."""
    db.execute(
        "create schema app; create table app.t (id integer primary key, v integer);"
        "create function app.again() returns trigger language plpgsql as"
        " 'begin update app.t set v = v + 1 where id = new.id; return null; end';"
        "create trigger a_again after insert on app.t for each row execute function app.again()"
    )
    track(db, "app.t")
    db.execute("insert into app.t values (1, 1)")
    assert [row["operation"] for row in entries(db, "app.t")] == ["INSERT", "UPDATE"]
    assert differences(db) == []


def test_what_is_rolled_back_to_a_savepoint_leaves_nothing(db: Connection) -> None:
    with db.transaction():
        db.execute("insert into positions values (3, 'A', 1)")
        with db.transaction(force_rollback=True):
            db.execute("insert into positions values (4, 'B', 1)")
    assert [row["key"]["account"] for row in entries(db)] == ["3"]
    assert differences(db) == []


@pytest.mark.parametrize("wide", [50, 300])
def test_a_table_of_many_columns(db: Connection, wide: int) -> None:
    columns = ", ".join(f"c{n} integer default {n}" for n in range(wide))
    db.execute(f"create table t (id integer primary key, {columns})")
    track(db, "t")
    db.execute("insert into t (id) values (1)")
    assert len(entries(db, "public.t")[0]["new_row"]) == wide + 1
    assert differences(db) == []
