"""What a scrape gives, what it leaves out, and how long it may take."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from alpha_db.errors import AlphaDbError
from alpha_db.watch.catalog import CHEAP, COSTLY, HELP
from alpha_db.watch.exporter import Exporter, figure
from alpha_db.watch.refresher import newest_checkpoint
from tests.cli.desk import Desk
from tests.cluster import Server
from tests.fix_database import Connect
from tests.support import PATIENCE, Connection, make_signal, one, query, tamper, wait_until
from tests.watch.desk import Watched

pytest_plugins = ["tests.cli.fix_desk"]


def names(watched: Watched) -> set[str]:
    return {row["name"] for row in watched.figures()}


def test_the_catalog_has_every_figure_of_the_database(watched: Watched, db: Connection) -> None:
    known = {
        row["name"] for call in ("metrics", "costly_metrics") for row in query(db, f"select * from {call}()")
    }
    assert known <= CHEAP.keys() | COSTLY.keys()
    assert names(watched) <= HELP.keys()


def test_a_scrape_reads_no_table_whole(db: Connection) -> None:
    """Ten million rows cost as much as ten."""
    for n in range(10, 20):
        make_signal(db, n)
    read = "select sum(seq_tup_read + idx_tup_fetch)::bigint from pg_stat_xact_user_tables where relname = 'signals'"
    with db.transaction():
        before = one(db, read)
        query(db, "select * from metrics()")
        assert one(db, read) - before <= 2


def test_counters_end_with_total(watched: Watched) -> None:
    text = watched.exporter.text(watched.figures())
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert set(kinds.values()) == {"gauge", "counter"}
    assert {name for name, kind in kinds.items() if kind == "counter"} == {
        n for n in kinds if n.endswith("_total")
    }


@pytest.mark.any_server
def test_a_name_cannot_become_a_figure() -> None:
    name = 'a"}\nalpha_db_writers_locked_out 7\n\\'
    text = Exporter.text([figure("alpha_db_rows_total", 1, table=name)])
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        r'alpha_db_rows_total{table="a\"}\nalpha_db_writers_locked_out 7\n\\"} 1.0'
    ]


def test_without_a_database_there_are_no_figures_of_it(server: Server) -> None:
    with Watched(server.dsn("no_such_database")) as gone:
        found = gone.figures()
    assert {row["name"] for row in found} & (CHEAP.keys() | COSTLY.keys()) == set()
    values = {row["name"]: (row["labels"], row["value"]) for row in found}
    assert values["alpha_db_up"] == ({}, 0)
    assert values["alpha_db_last_error_info"] == ({"code": "3D000"}, 1)
    assert [text.split(":")[0] for text in gone.said] == ["the database cannot be asked"]


def test_figures_of_before_are_not_shown_again(watched: Watched, db: Connection) -> None:
    assert {"alpha_db_guards_changed", "alpha_db_rows_total"} <= names(watched)
    login = one(
        db,
        "select usename from pg_stat_activity where datname = current_database() and usename <> user limit 1",
    )
    query(db, f'revoke app_auditor from "{login}"')
    found = watched.exporter.figures()
    assert [row["value"] for row in found if row["name"] == "alpha_db_up"] == [0]
    assert {row["name"] for row in found} & (CHEAP.keys() | COSTLY.keys()) == set()


def test_a_table_that_is_gone(watched: Watched, db: Connection) -> None:
    query(db, "alter table ai_debates rename to elsewhere")
    assert watched.value("alpha_db_table_readable", table="ai_debates") == 0
    assert watched.value("alpha_db_rows_total", table="ai_debates") is None
    assert watched.value("alpha_db_verdict_info", table="ai_debates", verdict="table_missing") == 1
    assert watched.value("alpha_db_writers_locked_out") == 0


def test_what_is_known_of_each_table(watched: Watched, db: Connection) -> None:
    tamper(db, "delete from order_events where id = (select max(id) from order_events)")
    assert watched.value("alpha_db_verdict_info", table="signals", verdict="intact") == 1
    assert watched.value("alpha_db_verdict_info", table="votes", verdict="empty") == 1
    assert watched.value("alpha_db_verdict_info", table="order_events", verdict="tail_missing") == 1


def test_who_waits_for_what(watched: Watched, db: Connection, connect: Connect) -> None:
    db.execute("begin")
    make_signal(db, 10)
    db.execute("prepare transaction 'holder'")
    writer = connect()
    waiting = threading.Thread(target=make_signal, args=(writer, 11))
    waiting.start()
    try:
        wait_until(
            db,
            "select exists (select from pg_locks where pid = %s and not granted)",
            [writer.info.backend_pid],
        )
        assert watched.value("alpha_db_lock_waiters", holder="prepared transaction") == 1
        assert watched.value("alpha_db_lock_waiters", holder="session") == 0
        assert (watched.value("alpha_db_lock_longest_hold_seconds", holder="prepared transaction") or 0) > 0
    finally:
        db.execute("rollback prepared 'holder'")
        waiting.join()


def test_a_hold_that_cannot_be_seen_is_left_out(watched: Watched, connect: Connect) -> None:
    with connect(autocommit=False) as holder:
        make_signal(holder, 10)
        assert watched.value("alpha_db_lock_holders", holder="session") == 1
        assert watched.value("alpha_db_lock_longest_hold_seconds", holder="session") is None


def test_a_stopped_server_process_stops_no_scrape(server: Server, database: str, db: Connection) -> None:
    """The next scrapes go over another connection, even while the old one hangs."""
    with Watched(server.dsn(database, application_name="stopped"), deadline=0.5) as watched:
        assert watched.value("alpha_db_up") == 1
        stopped = query(db, "select pid from pg_stat_activity where application_name = 'stopped'")
        for row in stopped:
            os.kill(row["pid"], signal.SIGSTOP)
        try:
            begin = time.monotonic()
            figures = {row["name"]: row for row in watched.exporter.figures()}
            assert time.monotonic() - begin < 5
            assert figures["alpha_db_up"]["value"] == 0
            assert figures["alpha_db_last_error_info"]["labels"] == {"code": "timeout"}
            assert "alpha_db_rows_total" not in figures
            while not watched.exporter.is_up:
                assert time.monotonic() - begin < PATIENCE
                watched.exporter.figures()
        finally:
            for row in stopped:
                os.kill(row["pid"], signal.SIGCONT)
        assert watched.said[-1] == "the database answers again"


def test_a_lost_connection_costs_no_scrape(watched: Watched, db: Connection) -> None:
    assert watched.value("alpha_db_up") == 1
    query(
        db,
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()",
    )
    assert watched.value("alpha_db_up") == 1


def test_old_figures_are_left_out(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched.value("alpha_db_refresh_up") == 1
    now = time.monotonic()
    monkeypatch.setattr("alpha_db.watch.refresher.time.monotonic", lambda: now + 181)
    assert [row["name"] for row in watched.refresher.figures()] == ["alpha_db_refresh_up"]


def test_the_exporter_can_write_nothing(watched: Watched) -> None:
    watched.figures()
    with pytest.raises(AlphaDbError, match="read-only"):
        watched.database.ask("record_checkpoint_run")


def test_the_newest_checkpoint_of_a_directory(server: Server, database: str, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    with Watched(server.dsn(database), checkpoints=runs) as watched:
        assert watched.value("alpha_db_checkpoint_last_timestamp_seconds", source="directory") is None
        assert watched.value("alpha_db_part_up", part="checkpoint directory") == 1
        (runs / "000000001").mkdir()
        assert watched.value("alpha_db_part_error_info", part="checkpoint directory", code="unreadable") == 1


def test_a_checkpoint_of_a_directory(watched: Watched, desk: Desk, tmp_path: Path) -> None:
    key, runs = tmp_path / "key", tmp_path / "runs"
    runs.mkdir()
    desk.run("checkpoint", "keygen", "--name", "desk.example/log", "--output", str(key))
    desk.run("checkpoint", "create", "--key", str(key), str(runs))
    (directory,) = (
        row["value"] for row in newest_checkpoint(runs) if row["labels"].get("source") == "directory"
    )
    database = watched.value("alpha_db_checkpoint_last_timestamp_seconds", source="database")
    assert directory == pytest.approx(database, abs=0.001)
