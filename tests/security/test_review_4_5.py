"""Attacks that a review of the fast path, the memory of verification and the Merkle logs found."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest

from alpha_db.chain import recompute
from tests.chain.behind import release as acknowledge
from tests.fix_database import Connect, Connection, LoginRole
from tests.support import changed_guards, make_signal, one, query, tamper, verdicts


def forge(db: Connection, row_id: str) -> None:
    """Copy row 1 of signals under another id, by force."""
    tamper(
        db,
        f"insert into signals select {row_id}, gen_random_uuid(), 'forged', symbol, side, price, quantity,"
        " raw_payload, source_ip, hmac_verified, row_hash, created_at, recorded_by from signals where id = 1",
    )


def release(db: Connection, row_id: int) -> None:
    """Release the lockdown, as if a quorum had acknowledged that the rows from row_id on are missing."""
    query(db, "select _engage_lockdown('a test', '[]')")
    acknowledge(
        db,
        "a test",
        f'[{{"table": "signals", "id": {row_id}, "verdict": "tail_missing", "actual_hash": null}}]',
    )


def record(db: Connection) -> None:
    """Record a run that read every chain to its end."""
    heads = "select jsonb_object_agg(table_name, last_id) from chain_status() where last_id is not null"
    query(db, f"select record_verification(true, ({heads}), 1)")


def verdict(db: Connection) -> str:
    return verdicts(db, table_name="signals", engage_lockdown=False)["signals"].verdict


def test_no_function_of_the_schemas_owner_stands_beside_ours_unseen(
    connect: Connect, db: Connection, login_role: LoginRole
) -> None:
    """The chain trigger, as alpha_owner, would call a better match than pg_catalog's for an untyped literal."""
    owner = login_role()
    query(db, f"alter schema public owner to {owner}")
    query(db, "select record_guards('the schema has another owner')")
    connect(owner).execute(
        "create function public.setval(text, bigint) returns bigint language plpgsql as"
        " $$ begin raise exception 'called as %', current_user; end $$"
    )
    assert [g["object_name"] for g in changed_guards(db)] == ["setval(text, bigint)"]
    make_signal(db)


def test_a_prepared_transaction_that_outlives_a_crash_is_no_23505(connect: Connect, db: Connection) -> None:
    make_signal(db)
    prepared = connect(autocommit=False)
    make_signal(prepared, 2)
    prepared.execute("prepare transaction 'outlives'")
    query(
        db, "select setval('writer_signals', 1, false), setval('tail_signals', 1, false)"
    )  # as after a crash
    late = connect(autocommit=False)
    late.execute("set transaction isolation level repeatable read")
    query(late, "select 1")
    db.execute("commit prepared 'outlives'")
    with pytest.raises(psycopg.errors.SerializationFailure):
        make_signal(late, 3)
    late.rollback()
    late.execute("set transaction isolation level repeatable read")
    assert make_signal(late, 3)["id"] == 3


def test_an_auditor_cannot_make_the_memory_forget(
    connect: Connect, db: Connection, login_role: LoginRole
) -> None:
    for n in range(1, 6):
        make_signal(db, n)
    record(db)
    tamper(db, "delete from signals where id > 2")
    auditor = connect(login_role("app_auditor"))
    for heads in ("{}", '{"signals": 1}'):
        with suppress(psycopg.Error):  # refused is as good
            query(auditor, "select record_verification(true, %s, 0)", [heads])
        assert verdict(db) == "tail_missing", heads


def test_a_tail_that_is_cut_again_at_the_same_place_is_new_damage(db: Connection) -> None:
    for n in range(1, 6):
        make_signal(db, n)
    record(db)
    tamper(db, "delete from signals where id > 2")
    release(db, 3)
    assert verdict(db) == "acknowledged"
    for n in range(6, 16):
        make_signal(db, n)
    record(db)
    tamper(db, "delete from signals where id > 2")
    assert verdict(db) == "tail_missing"


def test_after_a_released_cut_tail_rows_can_be_written_and_runs_recorded(db: Connection) -> None:
    for n in range(1, 6):
        make_signal(db, n)
    record(db)
    tamper(db, "delete from signals where id > 2")
    release(db, 3)
    seen = []
    for n in range(6, 11):  # until the chain is longer than it was
        seen.append(verdict(db))
        make_signal(db, n)
    assert set(seen) <= {"acknowledged", "intact"}, seen
    record(db)


def test_what_is_cut_beyond_a_released_tail_is_new_damage(db: Connection) -> None:
    for n in range(1, 6):
        make_signal(db, n)
    record(db)
    tamper(db, "delete from signals where id > 3")
    release(db, 4)
    assert verdict(db) == "acknowledged"
    tamper(db, "delete from signals where id > 1")
    assert verdict(db) == "tail_missing"


def test_after_a_cut_tail_a_new_checkpoint_holds_against_the_rows(db: Connection) -> None:
    many = (
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " select %s || i, 'B', 'BUY', 1, 1, '{}' from generate_series(1, %s) as i"
    )
    query(db, many, ["a", 300])
    query(db, "select seal_log('signals')")
    tamper(db, "delete from signals where id > 200")
    query(db, many, ["b", 100])
    size, root = next(
        iter(f.values())
        for f in query(db, "select size, root from checkpoint_facts() where table_name = 'signals'")
    )
    found = query(db, "select * from verify_checkpoint('signals', %s, %s, false)", [size, root])[0]
    assert found["verdict"] == "intact"


def test_the_lowest_id_of_all_is_damage(db: Connection) -> None:
    make_signal(db)
    forge(db, "(-9223372036854775808)::bigint")
    assert query(db, "select * from find_chain_damage('signals')")
    assert verdict(db) == "content_mismatch"


def test_a_forged_id_at_the_end_of_bigint_is_damage_not_an_error(connect: Connect, db: Connection) -> None:
    make_signal(db)
    forge(db, "9223372036854775807")
    assert query(db, "select * from verification_plan()")
    # Nothing is sealed over the gap, and nobody counts to the end first, in a file.
    query(connect(temp_file_limit="1MB"), "select seal_log('signals')")


def test_sql_and_python_agree_on_a_time_without_end(db: Connection) -> None:
    make_signal(db)
    make_signal(db, 2)
    tamper(db, "update signals set created_at = 'infinity' where id = 2")
    tamper(
        db,
        "update signals as s set row_hash = encode(sha256("
        "decode((select p.row_hash from signals as p where p.id = 1), 'hex') ||"
        " convert_to((select r.row_data from chain_rows('signals', 2, 2) as r), 'UTF8')), 'hex') where s.id = 2",
    )
    assert (verdict(db) == "intact") == (recompute(db, "signals").broken is None)


def test_a_domain_over_a_float_is_a_float(db: Connection) -> None:
    query(db, "create domain public.amount as double precision")
    with pytest.raises(psycopg.Error) as caught:
        query(
            db,
            "select record_signal('s', 'B', 'BUY', 0.1::amount, 1::amount, '{}', money_type => null::amount)",
        )
    assert caught.value.sqlstate == "AUD01"


def test_a_type_of_the_callers_does_not_stand_in_front_of_ours(connect: Connect) -> None:
    caller = connect()
    query(caller, "create temporary table text (a integer)")
    query(caller, "call append_signal('s', 'B', 'BUY', 1, 1, '{}')")


def test_an_engagement_with_an_old_snapshot_does_not_say_that_it_is_done(
    connect: Connect, db: Connection
) -> None:
    query(db, "select _engage_lockdown('a test', '[]')")
    old = connect(autocommit=False)
    old.execute("set transaction isolation level repeatable read")
    query(old, "select 1")
    release(db, 1)
    said = one(old, "select _lockdown_over('[{}]', true)")
    old.rollback()
    assert said != "the lockdown is engaged already"
