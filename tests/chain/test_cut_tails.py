"""Rows cut from the end of a chain, once and again: what verification remembers, and what a release acknowledges."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest

from tests.chain.by_force import release
from tests.fix_database import Connect, LoginRole
from tests.support import Connection, make_signal, query, tamper, verdicts


@pytest.fixture
def book(db: Connection) -> Connection:
    """A book of five signals, all of which a recorded run has read."""
    for n in range(1, 6):
        make_signal(db, n)
    record(db)
    return db


def record(connection: Connection) -> None:
    """Record a run that read every chain to its end."""
    heads = "select jsonb_object_agg(table_name, last_id) from chain_status() where last_id is not null"
    query(connection, f"select record_verification(true, ({heads}), 1)")


def verdict(connection: Connection) -> str:
    return verdicts(connection, table_name="signals", engage_lockdown=False)["signals"].verdict


def cut(connection: Connection, last: int) -> None:
    """Delete the rows after `last`, behind the triggers' back."""
    tamper(connection, "delete from signals where id > %s", [last])


def acknowledge(connection: Connection, first: int) -> None:
    """Lift the lockdown, as if a quorum had acknowledged that the rows from `first` on are missing."""
    query(connection, "select _engage_lockdown('a test', '[]')")
    release(
        connection,
        "a test",
        f'[{{"table": "signals", "id": {first}, "verdict": "tail_missing", "actual_hash": null}}]',
    )


def test_an_auditor_cannot_make_the_memory_forget(
    connect: Connect, book: Connection, login_role: LoginRole
) -> None:
    cut(book, 2)
    auditor = connect(login_role("app_auditor"))
    for heads in ("{}", '{"signals": 1}'):
        with suppress(psycopg.Error):  # refused is as good
            query(auditor, "select record_verification(true, %s, 0)", [heads])
        assert verdict(book) == "tail_missing", heads


def test_a_tail_that_is_cut_again_at_the_same_place_is_new_damage(book: Connection) -> None:
    cut(book, 2)
    acknowledge(book, 3)
    assert verdict(book) == "acknowledged"
    for n in range(6, 16):
        make_signal(book, n)
    record(book)
    cut(book, 2)
    assert verdict(book) == "tail_missing"


def test_after_a_released_cut_tail_rows_can_be_written_and_runs_recorded(book: Connection) -> None:
    cut(book, 2)
    acknowledge(book, 3)
    seen = []
    for n in range(6, 11):  # until the chain is longer than it was
        seen.append(verdict(book))
        make_signal(book, n)
    assert set(seen) <= {"acknowledged", "intact"}, seen
    record(book)


def test_what_is_cut_beyond_a_released_tail_is_new_damage(book: Connection) -> None:
    cut(book, 3)
    acknowledge(book, 4)
    assert verdict(book) == "acknowledged"
    cut(book, 1)
    assert verdict(book) == "tail_missing"
