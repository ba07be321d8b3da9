"""What a run verified is remembered: the next reads new rows and a turn of the old ones, and misses what is gone."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings, strategies

from tests.concurrency.background import Background
from tests.fix_database import Connect, LoginRole
from tests.risk.council import Council
from tests.support import Connection, as_role, fill, make_signal, one, query, tamper, verdicts

Span = tuple[int | None, int | None]


def spans(connection: Connection, **arguments: Any) -> list[Span]:
    """The plan's ranges of signals."""
    call = ", ".join(f"{name} => %({name})s" for name in arguments)
    plan = query(connection, f"select * from verification_plan({call})", arguments)
    return [(row["from_id"], row["to_id"]) for row in plan if row["table_name"] == "signals"]


def rows_read(ranges: list[Span], tail: int) -> list[int]:
    """The ids that ranges cover, up to the tail."""
    return [row for first, last in ranges for row in range(first or 1, (last or tail) + 1)]


def record(
    connection: Connection, *, is_full: bool, full_every: int | None = None, turn: int | None = None
) -> int:
    """Record a run that read every chain to its end."""
    heads = "(select jsonb_object_agg(table_name, last_id) from chain_status() where last_id is not null)"
    values = [is_full, full_every, turn]
    return int(one(connection, f"select record_verification(%s, {heads}, 1, %s, %s)", values))


@pytest.mark.parametrize("rows_per_range", [1, 3, 4, 100])
def test_a_full_plan_reads_every_row_once_and_has_no_ends(db: Connection, rows_per_range: int) -> None:
    for n in range(1, 8):
        make_signal(db, n)
    ranges = spans(db, rows_per_range=rows_per_range)
    assert (ranges[0][0], ranges[-1][1]) == (None, None)
    assert rows_read(ranges, 7) == list(range(1, 8))
    tables = query(db, "select distinct table_name from verification_plan()")
    assert len(tables) == one(db, "select count(*) from chains")


def planned(connection: Connection, every: int) -> tuple[int | None, list[Span]]:
    """The turn that a run reads, and its ranges of signals; the run is recorded."""
    plan = query(connection, "select * from verification_plan(true, %s)", [every])
    turn = plan[0]["turn"]
    assert {row["turn"] for row in plan} == {turn}
    assert {row["is_full"] for row in plan} == {turn is None}
    record(connection, is_full=turn is None, full_every=every, turn=turn)
    return turn, [(row["from_id"], row["to_id"]) for row in plan if row["table_name"] == "signals"]


def test_only_the_first_run_reads_all_rows_and_the_others_read_new_ones_and_a_turn(db: Connection) -> None:
    fill(db, signals=10)
    seen: list[list[int]] = []
    for run in range(9):
        tail = one(db, "select max(id) from signals")
        turn, ranges = planned(db, 4)
        assert turn == (None if run == 0 else (run - 1) % 4)
        seen.append(rows_read(ranges, tail))
        make_signal(db, 100 + run)
        # The row that was written since has not been missed, and none is read that is not there.
        assert set(seen[-1]) <= set(range(1, tail + 1))
        assert tail in seen[-1]
    assert seen[0] == list(range(1, 11))
    # so few rows are one block, which has one turn in four
    assert [len(rows) > 1 for rows in seen] == [True, *([turn == 2 for turn in range(4)] * 2)]
    assert seen[3] == list(range(1, 14))


def test_every_table_of_one_block_has_another_turn_than_the_next(db: Connection) -> None:
    for table in ("signals", "ai_debates"):
        assert one(db, "select count(*) from chains where table_name = %s", [table])
    fill(db)
    planned(db, 24)
    turns: dict[str, int] = {}
    for turn in range(24):
        plan = query(db, "select * from verification_plan(true, 24)")
        turns |= {row["table_name"]: turn for row in plan if row["to_id"] is not None}
        planned(db, 24)
    assert len({turns[table] for table in ("signals", "ai_debates", "order_execution", "order_events")}) == 4


@pytest.mark.parametrize(
    ("before", "every", "turn"),
    [
        ({"full_every": 4, "turn": 2}, 4, 3),
        ({"full_every": 4, "turn": 3}, 4, 0),
        ({"full_every": 4, "turn": 2}, 5, None),
        ({"full_every": 4, "turn": 2}, 3, None),
        ({"full_every": 4, "turn": 2}, 1, None),
        ({"is_full": True}, 4, 0),
        ({}, 4, None),  # by a program that does not say which turn it read
    ],
)
def test_whose_turn_it_is(db: Connection, before: dict[str, Any], every: int, turn: int | None) -> None:
    """A run that cannot go on with the turns of the last one reads every row: so no row waits longer than it should."""
    make_signal(db, 1)
    record(db, is_full=True)
    for earlier in range(before.get("turn", 0)):
        record(db, is_full=False, full_every=before["full_every"], turn=earlier)
    record(db, **({"is_full": False} | before))
    assert planned(db, every)[0] == turn


@pytest.mark.parametrize(
    "said",
    [
        "false, '{}', 1, 4, 4",
        "false, '{}', 1, 4, -1",
        "false, '{}', 1, null, 0",
        "true, '{}', 1, 4, 0",
        "false, '{}', 1, 1, 0",
    ],
)
def test_a_turn_that_is_none_is_not_recorded(db: Connection, said: str) -> None:
    record(db, is_full=True)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="turn"):
        query(db, f"select record_verification({said})")


def test_only_the_next_turn_is_recorded(db: Connection) -> None:
    """Neither by the function nor by a row of one's own, so that no sweep seems to have ended that did not."""
    insert = (
        "insert into verification_runs (is_full, full_every, turn, heads, rows_checked)"
        " values (false, %s, %s, '{}', 0)"
    )
    for is_full, bad in ((False, [(4, 0), (2, 1)]), (True, [(4, 1), (4, 3), (2147483647, 2147483646)])):
        record(db, is_full=is_full)
        for every, turn in bad:
            with pytest.raises(psycopg.errors.InvalidParameterValue, match="does not follow run"):
                record(db, is_full=False, full_every=every, turn=turn)
            with (
                as_role(db, "alpha_owner"),
                pytest.raises(psycopg.Error, match=r"AUD-011.* is not the next one"),
            ):
                query(db, insert, [every, turn])
    record(db, is_full=False, full_every=4, turn=0)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="does not follow run"):
        record(db, is_full=False, full_every=3, turn=1)
    record(db, is_full=False, full_every=4, turn=1)


def test_of_runs_that_overlap_only_one_is_recorded(db: Connection, connect: Connect) -> None:
    record(db, is_full=True)
    call = "select record_verification(false, '{}', 0, 4, %(turn)s, %(after_run)s)"
    first, second = (query(db, "select * from verification_plan(true, 4)")[0] for _ in range(2))
    assert (first["turn"], first["after_run"]) == (second["turn"], second["after_run"]) == (0, 1)
    other = connect(autocommit=False)
    assert one(other, call, first) == 2
    waiting = Background(connect(), call, second).blocked(
        db
    )  # it compares when the other has ended, not before
    other.commit()
    with pytest.raises(psycopg.errors.SerializationFailure, match="another verification run"):
        waiting.result()
    assert query(db, "select turn from verification_runs order by id") == [{"turn": None}, {"turn": 0}]


@pytest.mark.parametrize(
    "said",
    ["null, '{}', 1", "true, '{}', null", "true, '{}', -1", "true, '[]', 1", "true, '3', 1"]
    + [
        f"true, '{{\"signals\": {value}}}', 1"
        for value in ('"x"', "1.5", "true", "{}", "9223372036854775808")
    ],
)
@pytest.mark.reads_only
def test_what_is_no_run_is_refused_with_a_hint(db: Connection, said: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue) as refused:
        query(db, f"select record_verification({said})")
    assert refused.value.diag.message_hint


@pytest.mark.reads_only
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    every=strategies.integers(2, 30),
    place=strategies.integers(1, 1003),
    first=strategies.integers(0, 29),
    start=strategies.integers(0, 4).map(lambda blocks: blocks * 16_384 + blocks * 256),
    grown=strategies.lists(strategies.integers(0, 60_000), min_size=30, max_size=30),
)
def test_any_full_every_runs_in_a_row_read_every_row_that_was_there(
    db: Connection, every: int, place: int, first: int, start: int, grown: list[int]
) -> None:
    """Whatever the log grows by between the runs, and however it is archived before them."""
    known = [start + sum(grown[: run + 1]) for run in range(every)]
    found = query(
        db,
        "select r.from_id, r.to_id, %(known)s::bigint[] as known"
        " from unnest(%(known)s::bigint[]) with ordinality as k(known_to, run)"
        " cross join lateral _ranges_of_turn(%(start)s, k.known_to, %(place)s,"
        "   ((%(first)s + k.run) %% %(every)s)::integer, %(every)s, 50000) as r order by 1",
        {"known": known, "start": start, "place": place, "first": first, "every": every},
    )
    reached = start
    for row in found:  # in the order of the ids: each begins where the one before ends
        if row["from_id"] > known[0]:
            break
        assert row["from_id"] == reached + 1
        reached = row["to_id"]
    assert reached >= known[0]


def test_the_oldest_turn_has_no_beginning(db: Connection) -> None:
    """So it finds a row that somebody put before the first."""
    fill(db, signals=6)
    planned(db, 2)
    ranges = [planned(db, 2)[1] for _ in range(2)]
    assert sum((None, 6) in run for run in ranges) == 1


def test_a_forged_id_does_not_make_an_endless_plan(db: Connection) -> None:
    make_signal(db, 1)
    tamper(db, "update signals set id = 9223372036854775807")
    assert len(spans(db)) <= 10_001


@pytest.mark.parametrize(
    "bad",
    [
        "full_every => 0",
        "rows_per_range => 0",
        "full_every => null",
        "rows_per_range => null",
        "rows_per_range => 9223372036854775807",
        "since_last => null",
    ],
)
def test_a_plan_of_nothing_is_refused(db: Connection, bad: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue) as refused:
        query(db, f"select * from verification_plan({bad})")
    assert refused.value.diag.message_hint


def test_a_range_says_what_the_whole_says_and_locks(db: Connection) -> None:
    for n in range(1, 7):
        make_signal(db, n)
    tamper(db, "update signals set price = 1 where id = 5")
    assert one(db, "select (verify_range('signals', 1, 4)).verdict") == "intact"
    assert one(db, "select (verify_range('signals', 5, 6, false)).broken_id") == 5
    assert one(db, "select is_locked from lockdown_status()") is False
    found = query(db, "select * from verify_range('signals', 4)")[0]
    assert (found["verdict"], found["broken_id"], found["is_valid"]) == ("content_mismatch", 5, False)
    assert "lockdown engaged" in found["detail"]
    assert one(db, "select is_locked from lockdown_status()") is True
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        query(db, "select verify_range('signals', 3, 2)")
    with pytest.raises(psycopg.errors.UndefinedTable):
        query(db, "select verify_range('nosuch')")


# What a chain alone cannot see, and the memory does
GONE = {
    "tail cut off": ("delete from signals where id > 4", "tail_missing", 5),
    "emptied": ("truncate signals cascade", "tail_missing", 1),
    "rewritten": ("delete from signals where id > 4", "checkpoint_mismatch", 6),
}


@pytest.mark.parametrize("attack", GONE)
def test_rows_that_a_run_read_cannot_vanish(db: Connection, attack: str) -> None:
    statement, verdict, broken_id = GONE[attack]
    for n in range(1, 7):
        make_signal(db, n)
    record(db, is_full=True)
    assert {v.verdict for v in verdicts(db).values()} == {"intact"}
    tamper(db, statement)
    if attack == "rewritten":  # by the chain's own trigger: every hash fits
        for n in range(50, 54):
            make_signal(db, n)
    found = verdicts(db)["signals"]
    assert (found.verdict, found.broken_id, found.is_valid) == (verdict, broken_id, False)
    assert found.error_code == "AUD-009"
    assert "verification run 1" in found.detail
    assert one(db, "select is_locked from lockdown_status()") is True


def test_a_release_acknowledges_a_missing_tail(db: Connection) -> None:
    council = Council(db).bootstrap("ada", "ben", "cyd")
    for n in range(1, 7):
        make_signal(db, n)
    record(db, is_full=True)
    tamper(db, "delete from signals where id > 4")
    assert verdicts(db)["signals"].verdict == "tail_missing"
    council.release()
    found = verdicts(db)["signals"]
    assert (found.verdict, found.is_valid) == ("acknowledged", True)
    # What is written before the next run, in the place of what was lost, is no new damage.
    for n in range(60, 64):
        make_signal(db, n)
    assert verdicts(db)["signals"].verdict == "acknowledged"
    # From the next run on it is the new tail that counts, and a second loss at the same place is a new one.
    record(db, is_full=True)
    assert verdicts(db)["signals"].verdict == "intact"
    tamper(db, "delete from signals where id > 4")
    found = verdicts(db)["signals"]
    assert (found.verdict, found.broken_id, found.is_valid) == ("tail_missing", 5, False)


def test_what_is_remembered_is_not_forgotten_by_leaving_it_out(db: Connection) -> None:
    for n in range(1, 7):
        make_signal(db, n)
    record(db, is_full=True)
    query(db, "select record_verification(true, '{}', 0)")
    query(db, "select record_verification(true, '{\"signals\": 2}', 0)")
    assert one(db, "select last_id from _verified_heads() where table_name = 'signals'") == 6


def test_only_rows_that_are_there_are_remembered(db: Connection) -> None:
    make_signal(db, 1)
    for last_ids in ('{"signals": 2}', '{"signals": 0}'):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="has no row"):
            query(db, "select record_verification(true, %s, 1)", [last_ids])
    with pytest.raises(psycopg.errors.UndefinedTable):
        query(db, "select record_verification(true, %s, 1)", ['{"nosuch": 1}'])
    assert one(db, "select count(*) from verification_runs") == 0


def test_memory_is_append_only_and_chained(db: Connection) -> None:
    make_signal(db, 1)
    record(db, is_full=True)
    for statement in (
        "update verification_runs set is_full = false",
        "delete from verification_runs",
        "truncate verification_runs",
    ):
        with pytest.raises(psycopg.Error, match="AUD-011"):
            query(db, statement)
    tamper(db, "update verification_runs set rows_checked = 0")
    assert verdicts(db)["verification_runs"].verdict == "content_mismatch"


def test_an_auditor_remembers_and_a_writer_does_not(
    db: Connection, connect: Connect, login_role: LoginRole
) -> None:
    make_signal(db, 1)
    auditor = connect(login_role("app_auditor"))
    assert record(auditor, is_full=True) == 1
    assert one(auditor, "select (verify_range('signals')).verdict") == "intact"
    writer = connect(login_role("app_trading"))
    for statement in ("select record_verification(true, '{}', 1)", "select verify_range('signals')"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            query(writer, statement)
