"""Citus and TimescaleDB beside us: what they keep elsewhere cannot be chained, and is reported if it is."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.engines import imitate_citus, imitate_timescaledb
from tests.fix_database import Connect, LoginRole
from tests.support import Connection, changed_guards, make_signal, query

Refusal = psycopg.errors.FeatureNotSupported


@pytest.fixture
def measures(db: Connection) -> str:
    """A table of the user's own, in the schema of the installation."""
    query(db, "create table measures (id bigint primary key, what text not null)")
    return "measures"


def test_a_table_that_citus_distributed_is_reported(db: Connection) -> None:
    imitate_citus(db)
    assert changed_guards(db) == []
    query(db, "insert into pg_dist_partition values ('signals')")
    (found,) = changed_guards(db)
    assert (found["object_name"], found["fact"], found["problem"]) == (
        "signals",
        "is a distributed table of Citus",
        "extra",
    )


def test_a_hypertable_and_its_chunks_are_reported(db: Connection) -> None:
    imitate_timescaledb(db)
    query(db, "create table _timescaledb_internal._hyper_1_1_chunk () inherits (signals)")
    query(
        db,
        "insert into _timescaledb_catalog.hypertable values ('public', 'signals'), ('elsewhere', 'ai_debates')",
    )
    facts = {(row["object_name"], row["fact"]) for row in changed_guards(db)}
    assert facts == {
        ("signals", "is a hypertable of TimescaleDB"),
        ("signals", "child _timescaledb_internal._hyper_1_1_chunk"),
    }


def test_a_row_of_a_chunk_is_refused(db: Connection) -> None:
    """TimescaleDB gives each chunk the row triggers of its table."""
    imitate_timescaledb(db)
    query(db, "create table _timescaledb_internal._hyper_1_1_chunk () inherits (signals)")
    query(
        db,
        "create trigger zzz_chain before insert on _timescaledb_internal._hyper_1_1_chunk"
        " for each row execute function _chain_signals('signals')",
    )
    make_signal(db)
    with pytest.raises(
        psycopg.Error, match="AUD-011: a row of signals would be stored in _timescaledb_internal"
    ):
        query(db, "insert into _timescaledb_internal._hyper_1_1_chunk select * from signals")


def test_hypertables_of_others_are_none_of_our_business(db: Connection) -> None:
    imitate_timescaledb(db)
    query(db, "create schema metrics; create table metrics.cpu (at timestamptz primary key)")
    query(db, "insert into _timescaledb_catalog.hypertable values ('metrics', 'cpu')")
    assert changed_guards(db) == []


@pytest.mark.parametrize(
    ("imitate", "kept", "what"),
    [
        (imitate_citus, "insert into pg_dist_partition values ('measures')", "a distributed table of Citus"),
        (
            imitate_timescaledb,
            "insert into _timescaledb_catalog.hypertable values ('public', 'measures')",
            "a hypertable of TimescaleDB",
        ),
    ],
    ids=["Citus", "TimescaleDB"],
)
def test_it_can_be_neither_chained_nor_tracked(
    imitate: Callable[[Connection], None], kept: str, what: str, db: Connection, measures: str
) -> None:
    imitate(db)
    query(db, kept)
    with pytest.raises(Refusal, match=f"cannot be chained: it is {what}"):
        query(db, "select chain_table(%s)", [measures])
    with pytest.raises(psycopg.errors.WrongObjectType, match=f"is {what} and cannot be tracked"):
        query(db, "select track_table(%s::regclass)", [measures])


def test_nothing_is_made_while_citus_would_distribute_it(db: Connection, measures: str) -> None:
    imitate_citus(db)
    query(db, "set citus.enable_ddl_propagation = on")
    for call in ("chain_table(%s)", "track_table(%s::regclass)"):
        with pytest.raises(Refusal, match=r"Citus would distribute this installation: citus\.enable_ddl"):
            query(db, f"select {call}", [measures])
    query(db, "set citus.enable_ddl_propagation = off")
    query(db, "select chain_table(%s)", [measures])


def test_a_catalogue_that_somebody_made_up_is_not_read(
    db: Connection, connect: Connect, login_role: LoginRole
) -> None:
    """His view would run with the rights of whoever compares the guards, or records them."""
    stranger = login_role()
    query(db, f"create schema _timescaledb_catalog authorization {stranger}")
    with connect(stranger) as his:
        query(
            his,
            "create function _timescaledb_catalog.hit() returns name language plpgsql as"
            " $$ begin raise exception 'called by %', current_user; end $$;"
            " create view _timescaledb_catalog.hypertable as"
            " select _timescaledb_catalog.hit() as schema_name, _timescaledb_catalog.hit() as table_name;"
            " grant usage on schema _timescaledb_catalog to public;"
            " grant select on _timescaledb_catalog.hypertable to public",
        )
    assert changed_guards(db) == []
