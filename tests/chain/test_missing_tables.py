"""A chained table that is gone, in whole or in part: damage of that table, and every other is verified."""

from __future__ import annotations

import psycopg
import pytest

from tests.fix_database import Prepared
from tests.support import Connection, fill, make_signal, one, query, verdicts

GONE = {
    "dropped": ("ai_debates", "drop table ai_debates cascade", "is not there"),
    "renamed": ("ai_debates", "alter table ai_debates rename to other", "is not there"),
    "moved": ("ai_debates", "create schema s; alter table ai_debates set schema s", "is not there"),
    "a view": (
        "ai_debates",
        "alter table ai_debates rename to other; create view ai_debates as select * from other",
        "a view",
    ),
    "column dropped": ("signals", "alter table signals drop column price cascade", "hashed with: price"),
    "column renamed": ("signals", "alter table signals rename column side to way", "hashed with: side"),
    "hash dropped": ("signals", "alter table signals drop column row_hash cascade", "hashed with: row_hash"),
    "internal": ("votes", "drop table votes cascade", "is not there"),
    "runs": ("verification_runs", "drop table verification_runs cascade", "is not there"),
    "list of columns": ("chain_columns", "drop table chain_columns cascade", "is not there"),
    "guards": ("guard_states", "drop table guard_states cascade", "is not there"),
}


@pytest.fixture
def origin(prepared: Prepared) -> str:
    return prepared("missing_book", fill)


#: Like another one, but for the name.
ALIKE = ("moved", "column renamed", "internal", "guards")


@pytest.mark.parametrize(
    "how", [pytest.param(how, marks=pytest.mark.long if how in ALIKE else ()) for how in GONE]
)
def test_what_is_gone_is_damage_and_hides_nothing(db: Connection, how: str) -> None:
    table, statement, said = GONE[how]
    query(db, "set session_replication_role = replica")
    query(db, "alter table order_events disable trigger all")
    query(db, "update order_events set event_type = 'CANCELLED' where id = 1")
    query(db, statement)
    found = verdicts(db)
    assert (found[table].verdict, found[table].is_valid, found[table].error_code) == (
        "table_missing",
        False,
        "AUD-009",
    )
    assert said in found[table].detail
    assert "lockdown engaged" in found[table].detail
    assert list(found) == [r["table_name"] for r in query(db, "select * from chains order by position")]
    if table != "chain_columns":  # it says how the others are read
        assert found["order_events"].verdict == "content_mismatch"
        assert found["proposals"].verdict == "intact"
    assert one(db, "select is_locked from lockdown_status()")


def test_what_is_gone_is_listed_but_no_release_acknowledges_it(db: Connection) -> None:
    query(db, "drop table ai_debates cascade")
    listed = query(db, "select * from open_damage()")
    assert [(row["table"], row["verdict"]) for row in listed] == [("ai_debates", "table_missing")]
    assert query(db, "select verdict, row_data from damaged_rows()") == [
        {"verdict": "table_missing", "row_data": None}
    ]
    with pytest.raises(psycopg.Error, match=r"RSK-005.*a table that is gone") as caught:
        query(db, "select _refuse_other_damage(d.x, d.x) from _open_damage_items() as d(x)")
    assert "Restore it" in str(caught.value.diag.message_hint)


def test_nothing_is_signed_over_a_table_that_is_gone(db: Connection) -> None:
    query(db, "drop table ai_debates cascade")
    for call in (
        "checkpoint_facts()",
        "_known_heads()",
        "chain_rows('ai_debates')",
        "log_root('ai_debates', 0)",
    ):
        with pytest.raises(psycopg.Error, match="AUD-009: the table ai_debates is not there") as caught:
            query(db, f"select * from {call}")
        assert caught.value.sqlstate == "AUD09"
    found = query(db, "select (verify_checkpoint('ai_debates', 1, sha256('x'))).*")[0]
    assert (found["verdict"], found["is_valid"]) == ("table_missing", False)
    heads = {row["table_name"]: row["error_code"] for row in query(db, "select * from chain_status()")}
    assert (heads["ai_debates"], heads["signals"]) == ("AUD-009", None)


def test_without_lockdown_events_damage_is_still_found(db: Connection) -> None:
    query(db, "drop table lockdown_events cascade")
    found = verdicts(db)
    assert found["lockdown_events"].verdict == "table_missing"
    assert "NOT engaged" in found["lockdown_events"].detail
    assert found["signals"].verdict == "intact"
    with pytest.raises(psycopg.Error):  # nobody writes on, although no lockdown can be engaged
        make_signal(db, 9)


def test_without_the_register_of_chains_nothing_is_fine(db: Connection) -> None:
    query(db, "drop table chains cascade")
    with pytest.raises(psycopg.Error, match="AUD-009: the register of the chains is gone"):
        query(db, "select * from chain_status()")
    assert [row["table_name"] for row in query(db, "select * from verification_plan()")] == ["chains"]
    found = verdicts(db)
    assert list(found) == ["chains"]
    assert (found["chains"].verdict, found["chains"].is_valid) == ("table_missing", False)
    assert "lockdown engaged" in found["chains"].detail
    assert [(g["object_name"], g["problem"]) for g in query(db, "select * from verify_guards()")] == [
        ("chains", "missing")
    ]


def test_a_forged_list_of_columns_does_not_make_a_table_missing(db: Connection) -> None:
    query(db, "set session_replication_role = replica")
    query(db, "alter table chain_columns disable trigger all")
    query(
        db, "update chain_columns set column_names = column_names || 'x'::text where table_name = 'signals'"
    )
    found = verdicts(db)
    assert (found["signals"].verdict, found["chain_columns"].verdict) == ("not_run", "content_mismatch")


@pytest.mark.parametrize(
    ("ahead", "said"), [pytest.param("1 day", True, marks=pytest.mark.long), ("20 s", True), ("5 s", False)]
)
def test_a_last_row_ahead_of_the_clock_is_told_and_is_no_damage(
    db: Connection, ahead: str, *, said: bool
) -> None:
    """Such a time comes from a clock that was wrong, or was put back since."""
    later = f"select clock_timestamp() + interval '{ahead}'"
    query(db, f"create function later() returns timestamptz language sql as $$ {later} $$")
    source = one(db, "select pg_get_functiondef('_chain_signals'::regproc)")
    query(db, source.replace("clock_timestamp()", "public.later()"))
    make_signal(db, 9)
    query(db, source)
    make_signal(db, 10)  # by the right clock, with the wrong time
    detail = verdicts(db)["signals"].detail
    head = query(db, "select * from chain_status() where table_name = 'signals'")[0]
    assert ("the last row is" in detail and "ahead of the server's clock" in detail) is said
    assert verdicts(db)["signals"].verdict == "intact"
    assert (head["error_code"], bool(head["problem"])) == (None, said)
