"""Each alert's condition is made on a server, scraped, and the rules fire: that alert, and no other."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from alpha_db.watch.notifier import Command, Notifier
from tests.cli.desk import Desk
from tests.cluster import Server
from tests.fix_database import Connect
from tests.support import Connection, make_signal, one, query, tamper, verdicts, wait_blocked
from tests.watch.desk import Watched
from tests.watch.promtool import PROGRAM, RULES, Scrape, assert_firing, needs_promtool

pytestmark = needs_promtool
pytest_plugins = ["tests.cli.fix_desk"]

#: The tests' server has no autovacuum, and that is what this alert is for.
ALWAYS = {"AlphaDbRunsOut"}


def scrape(watched: Watched) -> Scrape:
    """A scrape of now."""
    return Scrape(watched.figures())


@pytest.mark.any_server
def test_the_rules_hold_their_own_tests() -> None:
    tests = sorted(path.name for path in RULES.glob("*.test.yml"))
    for command in (["check", "rules", "alpha-db.rules.yml"], ["test", "rules", *tests]):
        run = subprocess.run([str(PROGRAM), *command], cwd=RULES, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr


def test_a_desk_that_is_well(watched: Watched, tmp_path: Path) -> None:
    assert_firing(tmp_path, ALWAYS, scrape(watched))


def test_a_row_was_changed_and_verified(watched: Watched, db: Connection, tmp_path: Path) -> None:
    tamper(db, "update signals set price = 1 where id = 2")
    assert verdicts(db)["signals"].verdict == "content_mismatch"
    assert_firing(tmp_path, {"AlphaDbDamage", "AlphaDbLockdown", *ALWAYS}, scrape(watched))


@pytest.mark.long
def test_rows_that_were_verified_are_gone(watched: Watched, db: Connection, tmp_path: Path) -> None:
    tamper(db, "delete from order_events where id = (select max(id) from order_events)")
    assert_firing(tmp_path, {"AlphaDbDamage", *ALWAYS}, scrape(watched))


@pytest.mark.long
def test_a_release_was_forged(watched: Watched, db: Connection, tmp_path: Path) -> None:
    query(db, "select * from verify_checkpoint('signals', 1, sha256('another book'))")
    alarm = one(db, "select last_value from lockdown_alarm")
    tamper(
        db,
        "insert into lockdown_events (id, event_type, reason, damage, alarm, recorded_by, row_hash, created_at)"
        " select id + 1, 'RELEASED', 'well', '[]', alarm, recorded_by, row_hash, created_at from lockdown_events",
    )
    query(db, "select setval('lockdown_lifted', %s)", [alarm])
    last = scrape(watched)
    assert {row["name"]: row["value"] for row in last.figures}["alpha_db_writers_locked_out"] == 0
    assert_firing(tmp_path, {"AlphaDbDamage", "AlphaDbLockdown", *ALWAYS}, last)


def test_a_trigger_was_disabled(watched: Watched, db: Connection, tmp_path: Path) -> None:
    query(db, "alter table signals disable trigger _100_reject_change")
    assert_firing(tmp_path, {"AlphaDbGuardsChanged", *ALWAYS}, scrape(watched))


@pytest.mark.long
def test_the_verifier_stopped(watched: Watched, db: Connection, tmp_path: Path) -> None:
    tamper(db, "update verification_runs set created_at = now() - interval '3 hours'")
    assert_firing(tmp_path, {"AlphaDbVerifierStopped", *ALWAYS}, scrape(watched))


@pytest.mark.long
def test_nobody_signs_checkpoints(watched: Watched, db: Connection, tmp_path: Path) -> None:
    tamper(db, "update checkpoint_runs set created_at = now() - interval '27 hours'")
    assert_firing(tmp_path, {"AlphaDbCheckpointOld", *ALWAYS}, scrape(watched))


@pytest.mark.long
def test_a_new_installation(server: Server, template: str, tmp_path: Path) -> None:
    expected = {"AlphaDbNeverVerified", "AlphaDbCheckpointOld", *ALWAYS}
    with Watched(server.dsn(template)) as new:
        assert_firing(tmp_path, expected, scrape(new))


def test_the_database_is_gone(server: Server, tmp_path: Path) -> None:
    with Watched(server.dsn("no_such_database")) as gone:
        assert_firing(tmp_path, {"AlphaDbUnreachable", "AlphaDbSilent"}, scrape(gone))


@pytest.mark.any_server
def test_the_exporter_is_gone(tmp_path: Path) -> None:
    assert_firing(tmp_path, {"AlphaDbExporterDown", "AlphaDbSilent"}, Scrape([], up=False))


@pytest.mark.long
def test_a_table_is_locked(watched: Watched, connect: Connect, tmp_path: Path) -> None:
    with connect(autocommit=False) as holder:
        holder.execute("lock table ai_debates in access exclusive mode")
        assert_firing(tmp_path, {"AlphaDbFiguresMissing", *ALWAYS}, scrape(watched))


@pytest.mark.long
def test_a_part_cannot_be_read(watched: Watched, db: Connection, tmp_path: Path) -> None:
    query(db, "revoke select on checkpoint_runs from app_auditor")
    expected = {"AlphaDbFiguresMissing", "AlphaDbGuardsChanged", *ALWAYS}
    assert_firing(tmp_path, expected, scrape(watched))


@pytest.mark.long
def test_a_table_fell_silent(watched: Watched, db: Connection, tmp_path: Path) -> None:
    before = scrape(watched)
    for n in range(10, 70):
        make_signal(db, n)
    tamper(db, "update signals set created_at = created_at - interval '2 hours'")
    assert_firing(tmp_path, {"AlphaDbTableSilent", *ALWAYS}, before, scrape(watched), hours=26, before=10)


@pytest.mark.long
def test_a_clock_was_wrong(watched: Watched, db: Connection, tmp_path: Path) -> None:
    tamper(db, "update signals set created_at = now() + interval '1 hour' where id = 3")
    assert_firing(tmp_path, {"AlphaDbClockAhead", *ALWAYS}, scrape(watched))


def test_writers_wait_for_a_session(watched: Watched, connect: Connect, tmp_path: Path) -> None:
    lasting = {"alpha_db_lock_longest_wait_seconds", "alpha_db_lock_longest_hold_seconds"}
    holder, writer = connect(autocommit=False), connect()
    make_signal(holder, 10)
    waiting = threading.Thread(target=make_signal, args=(writer, 11))
    waiting.start()
    try:
        wait_blocked(holder, writer.info.backend_pid)
        assert_firing(tmp_path, {"AlphaDbChainBlocked", *ALWAYS}, scrape(watched), lasting=lasting)
    finally:
        holder.rollback()
        waiting.join()


@pytest.mark.long
def test_a_transaction_is_prepared(watched: Watched, db: Connection, tmp_path: Path) -> None:
    db.execute("begin")
    make_signal(db, 10)
    db.execute("prepare transaction 'forgotten'")
    try:
        assert_firing(tmp_path, {"AlphaDbPreparedTransaction", *ALWAYS}, scrape(watched))
    finally:
        db.execute("rollback prepared 'forgotten'")


def test_a_proposal_expires_within_the_hour(watched: Watched, desk: Desk, tmp_path: Path) -> None:
    desk.bootstrap("ada", "ben", "cyd")
    limits = "max_position_size_pct", "0.05", "daily_drawdown_limit_pct", "0.03", "max_leverage_ratio", "2"
    desk.propose("ada", "risk", "update-param", *limits, "--expires-in", "59m")
    assert watched.value("alpha_db_proposals_pending") == 1
    assert_firing(tmp_path, {"AlphaDbProposalExpires", *ALWAYS}, scrape(watched))


@pytest.mark.long
def test_rows_are_kept_too_long(watched: Watched, db: Connection, tmp_path: Path) -> None:
    for n in range(10, 300):
        make_signal(db, n)
    tamper(db, "update signals set created_at = created_at - interval '2 days'")
    db.execute("begin; set local alpha.maintenance = 'a test'; set local role alpha_owner")
    db.execute("select set_retention_policy('signals', '1 day'); commit")
    assert_firing(tmp_path, {"AlphaDbRetentionOverdue", *ALWAYS}, scrape(watched), hours=26)


@pytest.mark.long
def test_somebody_tries_to_change_rows(watched: Watched, db: Connection, tmp_path: Path) -> None:
    before = scrape(watched)
    with pytest.raises(Exception, match="AUD-002"):
        query(db, "update signals set price = 1")
    assert_firing(tmp_path, {"AlphaDbAttempts", *ALWAYS}, before, scrape(watched), before=2.9)


@pytest.mark.long
def test_nobody_could_be_told(watched: Watched, db: Connection, tmp_path: Path) -> None:
    notifier = Notifier(watched.database, Command(["false"]), None, lambda: 0, lambda _text: None, pause=0)
    notifier.look()
    before = notifier.figures()
    query(db, "select * from verify_checkpoint('signals', 1, sha256('another book'))")
    notifier.look()
    expected = {"AlphaDbNotifyFailed", "AlphaDbLockdown", "AlphaDbDamage", *ALWAYS}
    first, last = (Scrape([*watched.figures(), *counts]) for counts in (before, notifier.figures()))
    assert_firing(tmp_path, expected, first, last, before=2.5)
