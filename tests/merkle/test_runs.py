"""checkpoint_runs: a run says where every log stands, and nobody can record another."""

from __future__ import annotations

import psycopg
import pytest

from tests.concurrency.background import Background
from tests.fix_database import Connect
from tests.merkle.logs import root
from tests.security.refusals import refused
from tests.support import ROOT, Connection, as_role, make_signal, one, query, tamper


def record(connection: Connection) -> dict[str, object]:
    """The row that record_checkpoint_run returns."""
    return query(connection, "select * from record_checkpoint_run()")[0]


def test_a_run_names_the_head_of_every_other_log(logged: Connection) -> None:
    with as_role(logged, "app_auditor"):
        run = record(logged)
    facts = {row["table_name"]: row for row in query(logged, "select * from checkpoint_facts()")}
    itself = facts.pop("checkpoint_runs")
    assert run["heads"] == {
        table: {"size": fact["size"], "root": fact["root"].hex(), "row_hash": fact["head_hash"]}
        for table, fact in facts.items()
    }
    for column in ("installation_id", "guards_hash", "system_identifier", "timeline"):
        assert run[column] == itself[column]
    assert run["server_version"] == one(logged, "show server_version")
    assert run["recorded_by"] == one(logged, "select session_user::text")
    assert (run["id"], run["row_hash"]) == (itself["size"], itself["head_hash"])


def test_a_run_says_what_is_so_or_is_refused(logged: Connection) -> None:
    with refused("AUD-011", "checkpoint_runs"):
        query(logged, "insert into checkpoint_runs (heads) values ('{}')")
    with refused("AUD-011", "checkpoint_runs"):
        query(logged, "insert into checkpoint_runs default values")
    with as_role(logged, "alpha_owner"):
        query(logged, "insert into checkpoint_runs (guards_hash, wal_lsn) values (repeat('0', 64), '0/0')")
    (made,) = query(logged, "select guards_hash = guards_hash() as is_so, wal_lsn from checkpoint_runs")
    assert made["is_so"]
    assert made["wal_lsn"] != "0/0"


@pytest.mark.parametrize("role", ["app_trading", "app_risk"])
def test_only_the_auditor_records_a_run(logged: Connection, role: str) -> None:
    with as_role(logged, role), pytest.raises(psycopg.errors.InsufficientPrivilege):
        record(logged)


def test_a_later_run_never_names_a_smaller_size(logged: Connection, connect: Connect) -> None:
    """Its heads are read once it has the lock, so not before the run that it waited for."""
    name = logged.info.dbname
    first, second = connect(dbname=name, autocommit=False), connect(dbname=name)
    record(first)
    waiting = Background(second, "select heads -> 'signals' ->> 'size' as size from record_checkpoint_run()")
    waiting.blocked(logged)
    make_signal(logged, 301)
    first.commit()
    assert waiting.result() == [{"size": "301"}]


def test_a_snapshot_that_misses_a_run_is_40001(logged: Connection, connect: Connect) -> None:
    late = connect(dbname=logged.info.dbname, autocommit=False)
    late.execute("set transaction isolation level repeatable read")
    query(late, "select from signals")
    record(logged)
    with pytest.raises(psycopg.errors.SerializationFailure):
        record(late)


def test_a_log_with_a_missing_row_has_no_root(logged: Connection) -> None:
    tamper(logged, "delete from only signals where id = 7")
    heads = record(logged)["heads"]
    assert isinstance(heads, dict)
    assert heads["signals"]["root"] is None
    assert heads["order_events"]["root"] == root(logged, "order_events", 0).hex()


def test_a_table_that_is_gone_is_never_left_out(logged: Connection) -> None:
    query(logged, "drop table votes cascade")
    with pytest.raises(psycopg.Error, match="AUD-009") as caught:
        record(logged)
    assert caught.value.sqlstate == "AUD09"


def test_the_chapter_is_not_rolled_back_over_runs(db: Connection) -> None:
    record(db)
    folder = ROOT / "migrations"
    for later in ("24_reporting", "23_risk_config", "007_own_tables"):
        db.execute((folder / f"{later}.rollback.sql").read_bytes())
    with (
        pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="checkpoint_runs holds rows"),
        db.transaction(),
    ):
        db.execute((folder / "006_checkpoints.rollback.sql").read_bytes())
