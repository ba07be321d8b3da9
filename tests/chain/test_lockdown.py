"""Proven damage engages the lockdown, once, and nothing else does."""

from __future__ import annotations

import json

import psycopg
import pytest

from tests.chain.by_force import broken_in_python, release
from tests.fix_database import Connect, Prepared
from tests.support import (
    PATIENCE,
    Connection,
    as_role,
    changed_guards,
    fill,
    make_signal,
    one,
    query,
    tamper,
    verdicts,
)

#: A table that its own owner cannot read, so that it cannot be verified.
HIDDEN = "alter table ai_debates enable row level security; alter table ai_debates force row level security"


def _damage(connection: Connection) -> None:
    tamper(connection, "update signals set price = 1 where id = 2")


@pytest.fixture
def origin(request: pytest.FixtureRequest, prepared: Prepared, template: str) -> str:
    if not {"filled", "damaged"} & set(request.fixturenames):
        return template
    filled = prepared("missing_book", fill)
    return prepared("lockdown_damaged", _damage, filled) if "damaged" in request.fixturenames else filled


@pytest.fixture
def filled(db: Connection) -> Connection:
    """A book with a little of everything."""
    return db


@pytest.fixture
def damaged(db: Connection) -> Connection:
    """The same, with signal 2 changed, which nobody has found yet."""
    return db


def locked(connection: Connection) -> bool:
    return bool(one(connection, "select is_locked from lockdown_status()"))


def test_damage_engages_the_lockdown_once(damaged: Connection) -> None:
    first = verdicts(damaged)
    assert first["signals"].verdict == "content_mismatch"
    assert "lockdown engaged" in first["signals"].detail
    (event,) = query(damaged, "select * from lockdown_events")
    (status,) = query(damaged, "select * from lockdown_status()")
    assert (status["is_locked"], status["event_id"], status["since"]) == (True, 1, event["created_at"])
    assert (event["event_type"], event["proposal_id"], event["recorded_by"]) == ("ENGAGED", None, "postgres")
    (damage,) = event["damage"]
    assert (damage["table"], damage["id"], damage["verdict"]) == ("signals", 2, "content_mismatch")
    assert damage["actual_hash"] == first["signals"].actual_hash
    assert damage["expected_hash"] == first["signals"].expected_hash
    assert status["damage"] == event["damage"]
    assert "signals 2" in status["reason"] == event["reason"]

    again = verdicts(damaged)
    assert "engaged already" in again["signals"].detail
    assert one(damaged, "select count(*) from lockdown_events") == 1


def test_the_event_is_chained(damaged: Connection) -> None:
    verdicts(damaged)
    after = verdicts(damaged)["lockdown_events"]
    assert (after.verdict, after.rows_checked) == ("intact", 1)
    assert broken_in_python(damaged, "lockdown_events") is None


def test_every_damaged_chain_is_in_the_event(damaged: Connection) -> None:
    tamper(damaged, "delete from order_events where id = 2")
    found = verdicts(damaged)
    assert {table for table, verdict in found.items() if verdict.error_code == "AUD-009"} == {
        "signals",
        "order_events",
    }
    assert found["ai_debates"].is_valid is True
    damage = one(damaged, "select damage from lockdown_status()")
    assert [(item["table"], item["id"], item["verdict"]) for item in damage] == [
        ("signals", 2, "content_mismatch"),
        ("order_events", 2, "missing_rows"),
    ]


def test_engaging_notifies_nobody(damaged: Connection, connect: Connect) -> None:
    """A NOTIFY fails at commit when somebody has filled its queue; a client may send one afterwards."""
    listener = connect()
    listener.execute("listen alpha_lockdown")
    verdicts(damaged)
    assert list(listener.notifies(timeout=0.2)) == []


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("signals", "select id from record_signal('new', 'X', 'BUY', 1, 1, '{}')"),
        (
            "signals",
            "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
            " values ('n', 'X', 'BUY', 1, 1, '{}')",
        ),
        ("ai_debates", "select id from record_ai_debate(%(correlation_id)s, 'phi-4', '{}', 0.5, 1)"),
        ("order_execution", "select id from record_order(%(correlation_id)s, 'MARKET', 'X', 'BUY', 1)"),
    ],
)
def test_the_lockdown_refuses_new_trades(damaged: Connection, table: str, statement: str) -> None:
    correlation_id = one(damaged, "select correlation_id from signals where id = 1")
    verdicts(damaged)
    with pytest.raises(psycopg.DatabaseError) as caught:
        query(damaged, statement, {"correlation_id": correlation_id})
    assert caught.value.sqlstate == "AUD09"
    assert str(caught.value.diag.message_primary).startswith("AUD-009: ")
    assert caught.value.diag.table_name == table
    assert "Lockdown event 1" in str(caught.value.diag.message_detail)
    assert (
        one(
            damaged,
            "select attempts from vw_rejected_attempts where code = 'AUD-009' and table_name = %s",
            [table],
        )
        == 1
    )


def test_a_liquidation_can_still_be_recorded(damaged: Connection) -> None:
    verdicts(damaged)
    query(
        damaged,
        "select record_order_event(id, 'KILL_SWITCH', zar_equity => 1, positions_closed => '[]')"
        " from order_execution where order_type = 'MARKET'",
    )
    assert verdicts(damaged)["order_events"].verdict == "intact"


def test_an_idempotent_retry_needs_no_write_and_is_answered(damaged: Connection) -> None:
    verdicts(damaged)
    assert make_signal(damaged, 1)["id"] == 1


def test_a_lockdown_that_was_not_asked_for_is_not_engaged(damaged: Connection) -> None:
    found = verdicts(damaged, engage_lockdown=False)["signals"]
    assert (found.is_valid, found.error_code) == (False, "AUD-009")
    assert "not asked for" in found.detail
    assert not locked(damaged)
    assert make_signal(damaged, 9)["id"] == 4


@pytest.mark.parametrize(
    "arguments", [{}, {"table_name": "ai_debates"}, {"from_id": 3}, {"from_id": 1, "to_id": 1}]
)
def test_what_is_not_read_engages_nothing(damaged: Connection, arguments: dict[str, object]) -> None:
    if not arguments:  # and an intact book does not either
        tamper(damaged, "update signals set price = 60002.55 where id = 2")
        tamper(damaged, "update signals set price = price + 0.0000000000 where id = 2")
    # the other tables have no such rows
    assert {verdict.verdict for verdict in verdicts(damaged, **arguments).values()} <= {"intact", "not_there"}
    assert verdicts(damaged, **{"table_name": "signals", **arguments}).popitem()[1].verdict == "intact"
    assert not locked(damaged)


def test_a_read_only_transaction_reports_and_says_that_it_can_not_lock(damaged: Connection) -> None:
    with damaged.transaction():
        query(damaged, "set transaction read only")
        found = verdicts(damaged)["signals"]
    assert (found.verdict, found.broken_id, found.error_code) == ("content_mismatch", 2, "AUD-009")
    assert "NOT engaged" in found.detail
    assert "cannot write" in found.detail
    assert not locked(damaged)


def test_an_intact_book_verifies_in_a_read_only_transaction(filled: Connection) -> None:
    db = filled
    with db.transaction():
        query(db, "set transaction isolation level repeatable read, read only")
        assert {verdict.verdict for verdict in verdicts(db).values()} == {"intact"}


def test_engaging_waits_for_no_writer(damaged: Connection, connect: Connect) -> None:
    """A writer that idles in its transaction holds its chain, and is refused at its next row."""
    writer = connect(autocommit=False)
    make_signal(writer, 8)
    query(damaged, f"set statement_timeout = '{PATIENCE}s'")
    found = verdicts(damaged)["signals"]
    assert (found.verdict, found.broken_id) == ("content_mismatch", 2)
    assert "lockdown engaged (event 1)" in found.detail
    with pytest.raises(psycopg.Error, match="AUD-009"):
        make_signal(writer, 9)


def alarm(connection: Connection) -> object:
    return one(connection, "select pg_sequence_last_value('lockdown_alarm')")


def test_an_alarm_whose_transaction_is_rolled_back_stays(db: Connection) -> None:
    make_signal(db, 1)
    assert alarm(db) is None
    with db.transaction(force_rollback=True):
        query(db, "select _engage_lockdown('test', '[]')")
    assert alarm(db) is not None
    assert locked(db)
    with pytest.raises(psycopg.DatabaseError, match="AUD-009"):
        make_signal(db, 2)


def test_the_next_verification_records_an_alarm_that_was_rolled_back(filled: Connection) -> None:
    db = filled
    with db.transaction(force_rollback=True):
        query(db, "select _engage_lockdown('test', '[]')")
    assert "raised by postgres is not recorded" in one(db, "select reason from lockdown_status()")
    assert {verdict.verdict for verdict in verdicts(db).values()} == {"intact"}
    (event,) = query(db, "select * from lockdown_events")
    assert (event["event_type"], event["alarm"], event["damage"]) == ("ENGAGED", alarm(db), [])
    assert "postgres raised" in event["reason"]
    verdicts(db)
    assert one(db, "select count(*) from lockdown_events") == 1


def test_a_lockdown_that_was_replicated_refuses_too(db: Connection) -> None:
    make_signal(db, 1)
    with db.transaction():
        query(db, "set local session_replication_role = replica")
        query(
            db,
            "insert into lockdown_events (id, event_type, reason, damage, alarm, recorded_by, row_hash, created_at)"
            " values (1, 'ENGAGED', 'test', '[]', 17, 'x', repeat('a', 64), now())",
        )
    assert alarm(db) == 17
    for number in (2, 3):
        with pytest.raises(psycopg.DatabaseError, match="AUD-009"):
            make_signal(db, number)


def test_a_lockdown_whose_alarm_was_taken_away_refuses_too_and_is_raised_again(db: Connection) -> None:
    make_signal(db, 1)
    query(db, "select _engage_lockdown('test', '[]')")
    query(db, "select setval('lockdown_alarm', 1, false)")
    for number in (2, 3):
        with pytest.raises(psycopg.DatabaseError, match="AUD-009"):
            make_signal(db, number)
    verdicts(db)
    assert one(db, "select reason from lockdown_events order by id desc limit 1") == (
        "the alarm was set back by force"
    )
    assert one(db, "select alarm from lockdown_events order by id desc limit 1") == alarm(db)


def test_an_alarm_that_was_spoilt_does_not_keep_the_lockdown_off(damaged: Connection) -> None:
    query(damaged, "alter sequence lockdown_alarm minvalue -5 maxvalue 0 start 0 restart 0")
    assert "lockdown engaged" in verdicts(damaged)["signals"].detail
    with pytest.raises(psycopg.DatabaseError, match="AUD-009"):
        make_signal(damaged, 9)


@pytest.mark.parametrize("level", [pytest.param("repeatable read", marks=pytest.mark.long), "serializable"])
def test_a_writer_with_a_snapshot_older_than_the_lockdown_is_refused(
    damaged: Connection, connect: Connect, level: str
) -> None:
    """It cannot see the lockdown's row, but the alarm is no row: it is refused, or sent back to look again."""
    tables = {
        "signals": "select id from record_signal('n', 'X', 'BUY', 1, 1, '{}')",
        "ai_debates": "select id from record_ai_debate(%(c)s, 'phi-4', '{}', 0.5, 1)",
        "order_execution": "select id from record_order(%(c)s, 'MARKET', 'X', 'BUY', 1)",
    }
    correlation_id = one(damaged, "select correlation_id from signals where id = 1")
    writers = {table: connect(autocommit=False) for table in tables}
    for writer in writers.values():
        writer.execute(f"set transaction isolation level {level}")
        writer.execute("select")
    verdicts(damaged)
    for table, statement in tables.items():
        with pytest.raises(psycopg.DatabaseError) as caught:
            query(writers[table], statement, {"c": correlation_id})
        assert caught.value.sqlstate in ("AUD09", "40001")


def test_a_verification_that_can_not_run_is_neither_fine_nor_damage(filled: Connection) -> None:
    db = filled
    with db.transaction(force_rollback=True):
        query(db, HIDDEN)
        found = verdicts(db, from_id=1)  # a range: without the guards
        (verdict, is_valid, code) = (
            found["ai_debates"].verdict,
            found["ai_debates"].is_valid,
            found["ai_debates"].error_code,
        )
        assert (verdict, is_valid, code) == ("not_run", None, None)
        assert "row-level security" in found["ai_debates"].detail
        assert found["signals"].verdict == "intact"
        assert not locked(db)


def test_a_chain_that_can_not_be_read_hides_no_other_damage(damaged: Connection) -> None:
    with damaged.transaction(force_rollback=True):
        query(damaged, HIDDEN)
        found = verdicts(damaged, from_id=1)
        assert (found["ai_debates"].verdict, found["signals"].verdict) == ("not_run", "content_mismatch")
        assert locked(damaged)


def test_a_changed_guard_is_told_apart_from_damage(filled: Connection) -> None:
    db = filled
    query(db, "alter table signals disable trigger zzz_chain")
    found = verdicts(db)
    assert (found["signals"].verdict, found["signals"].error_code, found["signals"].is_valid) == (
        "guard_changed",
        "AUD-011",
        False,
    )
    assert "zzz_chain" in found["signals"].detail
    assert {verdict.verdict for table, verdict in found.items() if table != "signals"} == {"intact"}
    assert not locked(db)
    query(db, "alter table signals enable trigger zzz_chain")
    assert changed_guards(db) == []
    assert verdicts(db)["signals"].verdict == "intact"


def test_damage_outweighs_a_changed_guard(damaged: Connection) -> None:
    query(damaged, "alter table signals disable trigger zzz_chain")
    assert verdicts(damaged, engage_lockdown=False)["signals"].verdict == "content_mismatch"


def test_a_guard_of_no_table_is_reported_too(db: Connection) -> None:
    query(db, "alter function chain_status() set work_mem = '1MB'")
    found = verdicts(db, engage_lockdown=False)
    assert "guard_changed" in {verdict.verdict for verdict in found.values()}


def test_the_event_is_json_that_a_release_can_name(damaged: Connection) -> None:
    verdicts(damaged)
    damage = one(damaged, "select damage::text from lockdown_status()")
    (place,) = json.loads(damage)
    assert set(place) >= {"table", "id", "actual_hash"}


# --------------------------------------------------------------------------------------------------
# What writers remember as lifted


def refused_in_lockdown(connection: Connection, n: int) -> None:
    with pytest.raises(psycopg.Error) as refusal:
        make_signal(connection, n)
    assert refusal.value.sqlstate == "AUD09"


def test_what_lifts_the_alarm_set_by_force_is_found(damaged: Connection) -> None:
    """Who may set sequences can let writers in; the next verification shuts it again and says so."""
    verdicts(damaged)
    query(damaged, "select setval('lockdown_lifted', pg_sequence_last_value('lockdown_alarm'))")
    make_signal(damaged, 50)
    verdicts(damaged)
    refused_in_lockdown(damaged, 51)
    (last,) = query(damaged, "select * from lockdown_events order by id desc limit 1")
    assert (last["event_type"], last["id"]) == ("ENGAGED", 2)
    assert "set by force" in last["reason"]
    verdicts(damaged)
    assert one(damaged, "select count(*) from lockdown_events") == 2


def test_both_sequences_set_to_one_number_are_found(damaged: Connection) -> None:
    verdicts(damaged)
    query(damaged, "select setval('lockdown_alarm', 77), setval('lockdown_lifted', 77)")
    make_signal(damaged, 50)
    verdicts(damaged)
    refused_in_lockdown(damaged, 51)
    assert one(damaged, "select count(*) from lockdown_events") == 2


def test_engaging_again_shuts_what_was_lifted_by_force(damaged: Connection) -> None:
    verdicts(damaged)
    query(damaged, "select setval('lockdown_lifted', pg_sequence_last_value('lockdown_alarm'))")
    assert "engaged already" not in one(
        damaged, "select _engage_lockdown('again', (select damage from lockdown_events))"
    )
    refused_in_lockdown(damaged, 51)


def test_verification_does_not_take_a_lawful_release_for_force(damaged: Connection) -> None:
    verdicts(damaged)
    release(damaged, "test")
    make_signal(damaged, 50)  # remembers it
    damaged.execute("select _attend_alarm(true)")
    assert not locked(damaged)
    assert one(damaged, "select count(*) from lockdown_events") == 2
    make_signal(damaged, 51)


def test_an_event_after_the_release_of_its_own_alarm_raises_another(damaged: Connection) -> None:
    """Two may record one alarm; if the later one comes after its release, writers remember that number as lifted."""
    verdicts(damaged)
    alarm = one(damaged, "select alarm from lockdown_events")
    release(damaged, "test")
    make_signal(damaged, 50)
    with as_role(damaged, "alpha_owner"):
        query(
            damaged,
            "insert into lockdown_events (event_type, reason, damage, alarm) values ('ENGAGED', 'late', '[]', %s)",
            (alarm,),
        )
    assert locked(damaged)
    refused_in_lockdown(damaged, 51)
