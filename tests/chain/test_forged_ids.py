"""Rows under ids that no writer can get, at both ends of bigint: damage, never an error or an endless count."""

from __future__ import annotations

from tests.fix_database import Connect
from tests.support import Connection, make_signal, query, tamper, verdicts


def forge(db: Connection, row_id: str) -> None:
    """Copy row 1 of signals under another id, by force."""
    tamper(
        db,
        f"insert into signals select {row_id}, gen_random_uuid(), 'forged', symbol, side, price, quantity,"
        " raw_payload, source_ip, hmac_verified, delivery_id, row_hash, created_at, recorded_by"
        " from signals where id = 1",
    )


def test_the_lowest_id_of_all_is_damage(db: Connection) -> None:
    make_signal(db)
    forge(db, "(-9223372036854775808)::bigint")
    assert query(db, "select * from find_chain_damage('signals')")
    assert verdicts(db, table_name="signals", engage_lockdown=False)["signals"].verdict == "content_mismatch"


def test_a_forged_id_at_the_end_of_bigint_is_damage_not_an_error(connect: Connect, db: Connection) -> None:
    make_signal(db)
    forge(db, "9223372036854775807")
    assert query(db, "select * from verification_plan()")
    # Nothing is sealed over the gap, and nobody counts to the end first, in a file.
    query(connect(temp_file_limit="1MB"), "select seal_log('signals')")
