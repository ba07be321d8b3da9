"""alpha-db lockdown: what approvers see before they sign, and what the command does not believe."""

from __future__ import annotations

import pytest

from tests.cli.desk import Desk
from tests.risk.forging import engage, forge_release
from tests.support import Connection, fill, query, tamper

pytest_plugins = ["tests.cli.fix_desk"]


@pytest.fixture
def damaged(trio: Desk, db: Connection) -> Desk:
    """Signal 2 was given an escape sequence, debate 2 is gone, and the lockdown is engaged."""
    fill(db)
    tamper(db, "update signals set symbol = 'X' || chr(155) || 'Y' where id = 2")
    tamper(db, "delete from ai_debates where id = 2")
    engage(db)
    return trio


def seen(out: str) -> None:
    """Both places, with verdict, hashes and content, and nothing that a terminal would obey."""
    assert "signals 2  content_mismatch" in out
    assert "ai_debates 2  missing_rows" in out
    assert "stored hash" in out
    assert '"signal_id":"tv-000002"' in out.replace("\n", "").replace(" ", "")
    assert "no row" in out
    assert "\\u009b" in out
    assert "\x9b" not in out


def test_proposer_and_approvers_see_the_damaged_rows(damaged: Desk) -> None:
    release = ("lockdown", "release", "--reason", "known")
    made = damaged.run(*release, *damaged.sign("ada"))
    seen(made.out)
    (found,) = damaged.run("risk", "proposals", "--json").json
    assert [(place["table"], place["verdict"]) for place in found["damage"]] == [
        ("signals", "content_mismatch"),
        ("ai_debates", "missing_rows"),
    ]
    seen(damaged.run("risk", "proposals").out)
    seen(damaged.run("risk", "approve", found["proposal_id"], *damaged.sign("ben")).out)
    damaged.approve(found["proposal_id"], "cyd")
    assert damaged.run("lockdown", "status").code == 0


def test_a_long_row_is_shortened(damaged: Desk, db: Connection) -> None:
    tamper(db, "update signals set raw_payload = to_jsonb(repeat('z', 10000)) where id = 2")
    out = damaged.run("lockdown", "release", "--reason", "x", *damaged.sign("ada")).out
    assert 1000 < out.count("z") < 2000
    assert "z …" in out


def test_an_edit_far_behind_in_a_row_is_seen(damaged: Desk, db: Connection) -> None:
    tamper(db, "update signals set raw_payload = to_jsonb(repeat('z', 1000) || 'EVIL') where id = 2")
    assert "EVIL" in damaged.run("lockdown", "release", "--reason", "x", *damaged.sign("ada")).out


def test_a_false_alarm_is_released_with_an_empty_list(trio: Desk, db: Connection) -> None:
    query(db, "select _engage_lockdown('a drill', '[]')")
    made = trio.run("lockdown", "release", "--reason", "a drill", *trio.sign("ada"), "--json").json
    assert made["payload"] == {"damage": []}
    assert trio.approve(made["proposal_id"], "ben", "cyd") == ["PENDING", "APPLIED"]
    assert trio.run("lockdown", "status").code == 0
    assert "acknowledged: none" in trio.run("risk", "history").out


def test_without_a_lockdown_there_is_nothing_to_release(trio: Desk) -> None:
    found = trio.run("lockdown", "release", "--reason", "x", *trio.sign("ada"), expect=None)
    assert "[RSK-005]" in found.err


def test_a_release_that_nobody_signed_is_not_believed(trio: Desk, db: Connection) -> None:
    """Not even if the database's own functions were made to believe it."""
    fill(db)
    engage(db)
    forge_release(db)
    assert trio.run("lockdown", "status", expect=1).out.startswith("LOCKED DOWN")
    query(
        db,
        "create or replace function _release_holds(event lockdown_events) returns boolean language sql stable"
        " as 'select true'",
    )
    assert "[RSK-007]" in trio.run("lockdown", "status", expect=1).err
    assert trio.run("risk", "verify", expect=1).code == 1
