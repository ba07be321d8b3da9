"""Damage that a release acknowledged is shown as such, and nothing else is."""

from __future__ import annotations

import json

import pytest

from tests.chain.by_force import behind_its_back, filled_book, judge, release
from tests.fix_database import Prepared
from tests.support import Connection, one, query, tamper, verdicts

pytestmark = pytest.mark.any_server  # what is derived does not depend on the server


def find_damage(connection: Connection) -> None:
    """Change signal 3 of a filled book, and engage the lockdown by finding it."""
    tamper(connection, "update signals set price = 1 where id = 3")
    assert verdicts(connection, table_name="signals")["signals"].verdict == "content_mismatch"


@pytest.fixture
def origin(request: pytest.FixtureRequest, prepared: Prepared) -> str:
    filled = filled_book(prepared)
    return prepared("damaged_book", find_damage, filled) if "damaged" in request.fixturenames else filled


@pytest.fixture
def damaged(db: Connection) -> Connection:
    """A book whose signal 3 was changed, with the lockdown that this engaged."""
    return db


def damage_of(connection: Connection, table: str, row_id: int) -> dict[str, object]:
    """The damage of a row as a release lists it."""
    (place,) = query(
        connection,
        'select damaged_table as "table", id, verdict, actual_hash, expected_hash from find_chain_damage(%s)'
        " where id = %s",
        [table, row_id],
    )
    return place


def test_acknowledged_damage_is_valid_and_shown(damaged: Connection) -> None:
    release(damaged, "known", json.dumps([damage_of(damaged, "signals", 3)]))
    verdict = judge(damaged, "signals")
    assert (verdict.verdict, verdict.is_valid, verdict.error_code) == ("acknowledged", True, None)
    assert "1 place" in verdict.detail
    assert one(damaged, "select count(*) from find_chain_damage('signals')") == 1
    assert judge(damaged, "lockdown_events").verdict == "intact"
    assert one(damaged, "select is_locked from lockdown_status()") is False


def test_acknowledged_missing_rows(db: Connection) -> None:
    """A gap is named by its first row and by the hash of the row behind it: when it grows, it is another."""
    tamper(db, "delete from signals where id = 2")
    release(db, "known", json.dumps([damage_of(db, "signals", 2)]))
    assert judge(db, "signals").verdict == "acknowledged"
    assert judge(db, "signals", 2, 2).verdict == "acknowledged"
    assert judge(db, "signals", 3).verdict == "acknowledged"
    tamper(db, "delete from signals where id = 3")
    assert (judge(db, "signals").verdict, judge(db, "signals").broken_id) == ("missing_rows", 2)


@pytest.mark.parametrize(
    "other",
    [
        "update signals set price = 1 where id = 4",
        pytest.param("update signals set row_hash = repeat('0', 64) where id = 3", marks=pytest.mark.long),
        "update signals set price = 2 where id = 3",
        pytest.param("delete from signals where id = 3", marks=pytest.mark.long),
        "update ai_debates set elapsed_ms = 1 where id = 3",
    ],
)
def test_further_damage_engages_the_lockdown_again(damaged: Connection, other: str) -> None:
    release(damaged, "known", json.dumps([damage_of(damaged, "signals", 3)]))
    tamper(damaged, other)
    found = [v for v in verdicts(damaged).values() if v.error_code == "AUD-009"]
    assert len(found) == 1
    assert "lockdown engaged" in found[0].detail
    assert one(damaged, "select is_locked from lockdown_status()") is True


@pytest.mark.parametrize(
    "damage",
    [
        '{"n": 1}',
        '"text"',
        "[1, null, []]",
        '[{"table": "signals", "id": "x"}]',
        '[{"table": "signals", "id": 1e99}]',
    ],
)
def test_a_release_that_was_made_nonsense_hides_nothing(damaged: Connection, damage: str) -> None:
    release(damaged, "known")
    with behind_its_back(damaged, "lockdown_events"):
        last = one(damaged, "select max(id) from lockdown_events")
        query(damaged, "update lockdown_events set damage = %s where id = %s", [damage, last])
        assert (judge(damaged, "lockdown_events").verdict, judge(damaged, "lockdown_events").broken_id) == (
            "content_mismatch",
            last,
        )
        assert judge(damaged, "signals").verdict == "content_mismatch"


def test_a_forged_release_acknowledges_nothing(damaged: Connection) -> None:
    """Not the damage that it lists, and least of all itself."""
    with behind_its_back(damaged, "lockdown_events"):
        forged = one(damaged, "select max(id) + 1 from lockdown_events")
        damage = [
            damage_of(damaged, "signals", 3),
            {
                "table": "lockdown_events",
                "id": forged,
                "verdict": "content_mismatch",
                "actual_hash": "0" * 64,
            },
        ]
        query(
            damaged,
            "insert into lockdown_events (id, event_type, reason, damage, alarm, recorded_by, row_hash, created_at)"
            " values (%s, 'RELEASED', 'forged', %s, 1, 'x', repeat('0', 64), clock_timestamp())",
            [forged, json.dumps(damage)],
        )
        assert (judge(damaged, "lockdown_events").verdict, judge(damaged, "lockdown_events").broken_id) == (
            "content_mismatch",
            forged,
        )
        assert judge(damaged, "signals").verdict == "content_mismatch"


def test_a_release_that_was_edited_acknowledges_nothing(damaged: Connection) -> None:
    release(damaged, "known")
    with behind_its_back(damaged, "lockdown_events"):
        last = one(damaged, "select max(id) from lockdown_events")
        damage = [damage_of(damaged, "signals", 3)]
        query(damaged, "update lockdown_events set damage = %s where id = %s", [json.dumps(damage), last])
        assert judge(damaged, "lockdown_events").verdict == "content_mismatch"
        assert judge(damaged, "signals").verdict == "content_mismatch"


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("delete from signals where id = 2", "update signals set price = 7 where id = 3"),
        ("update signals set id = 0 where id = 1", "update signals set price = 7 where id = 0"),
    ],
    ids=["the row behind a gap", "a row before the first"],
)
def test_an_edit_where_no_hash_covers_the_row_is_further_damage(
    db: Connection, first: str, then: str
) -> None:
    """Its predecessor is not there, so the release names the hash of its content alone."""
    tamper(db, first)
    release(db, "known", json.dumps(query(db, "select * from open_damage()")))
    assert judge(db, "signals", None).verdict == "acknowledged"
    tamper(db, then)
    assert judge(db, "signals", None).is_valid is False
