"""headroom() says what runs out, and where somebody has to act."""

from __future__ import annotations

from typing import Any

import pytest

from tests.growth.years import force, spread, write
from tests.support import Connection, one, query


def of(db: Connection, kind: str, name: str) -> dict[str, Any]:
    """One row."""
    (row,) = query(db, "select * from headroom() where (kind, name) = (%s, %s)", [kind, name])
    return row


def problems(db: Connection) -> dict[tuple[str, str], str]:
    """Where somebody has to act. The tests' server has no autovacuum; a test of its own is about that."""
    found = query(db, "select kind, name, problem from headroom() where problem is not null")
    return {(row["kind"], row["name"]): row["problem"] for row in found if row["kind"] != "autovacuum"}


def make_older(db: Connection, column: str, transactions: int) -> None:
    """Let the oldest row of signals that is not frozen be so much older."""
    query(
        db,
        f"update pg_class set {column} = ((({column}::text::bigint - %s) %% 4294967296 + 4294967296) %% 4294967296)"
        "::text::xid where oid = 'signals'::regclass",
        [transactions],
    )


@pytest.mark.reads_only
def test_a_new_installation_has_no_problem(db: Connection) -> None:
    assert problems(db) == {}


def test_how_long_ids_last(db: Connection) -> None:
    write(db, 1000)
    spread(db, 100)
    found = of(db, "ids", "signals")
    assert (found["used"], found["usable"]) == (1000, 2**63 - 1)
    assert found["days_left"] == pytest.approx(2**63 / found["a_day"])


def test_a_sequence_of_a_table_runs_out_at_the_rate_of_its_rows(db: Connection) -> None:
    write(db, 1000)
    spread(db, 100)
    query(db, "alter sequence signals_id_seq maxvalue 1505")
    assert problems(db) == {("sequence", "signals_id_seq"): "runs out at the present rate; days left: 50"}


def test_a_sequence_that_lasts_for_more_than_ninety_days_is_no_problem(db: Connection) -> None:
    write(db, 1000)
    spread(db, 100)
    query(db, "alter sequence signals_id_seq maxvalue 2000")
    assert problems(db) == {}


def test_a_counter_of_which_nine_tenths_are_used(db: Connection) -> None:
    """What it counts comes rarely, so it lasts for years at its rate."""
    name = one(
        db, "select sequence_name from attempt_counters where (code, operation) = ('AUD-002', 'UPDATE')"
    )
    force(db, "installation", "update installation set installed_at = now() - interval '20 years'")
    query(db, f"alter sequence {name} maxvalue 1000")
    query(db, "select setval(%s, 950)", [name])
    assert problems(db) == {("sequence", name): "950 of 1000 are used"}


@pytest.mark.parametrize(
    ("column", "kind", "setting"),
    [
        ("relfrozenxid", "transaction ids", "autovacuum_freeze_max_age"),
        ("relminmxid", "multixact ids", "autovacuum_multixact_freeze_max_age"),
    ],
)
def test_rows_that_were_not_frozen_in_time(db: Connection, column: str, kind: str, setting: str) -> None:
    limit = one(db, "select current_setting(%s)::bigint", [setting])
    make_older(db, column, limit - 1_000_000)
    assert problems(db) == {}
    make_older(db, column, 2_000_000)
    assert list(problems(db)) == [(kind, "signals")]
    found = of(db, kind, "signals")
    assert found["due"] == limit < found["used"] < found["usable"]
    assert f"{setting} is {limit}" in found["problem"]


def test_a_table_may_have_to_be_frozen_earlier_than_others(db: Connection) -> None:
    query(db, "alter table signals set (autovacuum_freeze_max_age = 100000)")
    make_older(db, "relfrozenxid", 110_000)
    assert list(problems(db)) == [("transaction ids", "signals")]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("set (autovacuum_enabled = off)", "autovacuum is off for it"),
        ("set (autovacuum_vacuum_insert_threshold = -1)", "inserts never start a vacuum of it"),
        ("set (autovacuum_vacuum_insert_threshold = 10000001)", "only after 10000001 inserts"),
    ],
)
def test_a_table_that_autovacuum_freezes_late(db: Connection, options: str, problem: str) -> None:
    query(db, f"alter table signals {options}")
    (told,) = problems(db).values()
    assert problem in told


def test_the_default_is_late_for_a_large_table(db: Connection) -> None:
    query(
        db,
        "alter table signals reset (autovacuum_vacuum_insert_threshold, autovacuum_vacuum_insert_scale_factor)",
    )
    assert problems(db) == {}
    query(db, "update pg_class set reltuples = 1e9 where oid = 'signals'::regclass")
    assert problems(db) == {
        ("inserts until a vacuum", "signals"): "a vacuum comes only after 200001000 inserts"
    }


@pytest.mark.reads_only
def test_a_server_without_autovacuum(db: Connection) -> None:
    assert one(db, "select current_setting('autovacuum')") == "off"
    assert "autovacuum is off" in of(db, "autovacuum", "server")["problem"]
