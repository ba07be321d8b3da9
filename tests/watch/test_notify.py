"""--notify: what is told, in which order, and that nothing is lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alpha_db.watch.events import StateError
from alpha_db.watch.notifier import Command, Notifier, as_json
from tests.cli.desk import Desk
from tests.support import PATIENCE, Connection, query, tamper
from tests.watch.desk import Watched

pytest_plugins = ["tests.cli.fix_desk"]

MISMATCH = "select * from verify_checkpoint('signals', %s, sha256('another book'))"


class Told:
    """A command that writes what it is given into a file, and a notifier over one database."""

    def __init__(self, watched: Watched, folder: Path) -> None:
        self.watched, self.file, self.state = watched, folder / "told", folder / "state.json"
        self.said: list[str] = []

    def notifier(self, script: str = "", *, state: bool = True, **options: Any) -> Notifier:
        """One whose command runs a script of sh before it writes."""
        command = Command(["sh", "-c", f"{script}\ncat >> {self.file}"], options.pop("time_limit", 30))
        where = self.state if state else None
        guards = self.watched.refresher.guards_changed
        return Notifier(self.watched.database, command, where, guards, self.said.append, pause=0, **options)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the command was given so far."""
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []

    @property
    def names(self) -> list[str]:
        """The events by name."""
        return [told["event"] for told in self.events]


@pytest.fixture
def told(watched: Watched, tmp_path: Path) -> Told:
    return Told(watched, tmp_path)


def counts(told: Notifier) -> dict[str, float]:
    return {row["labels"]["result"]: row["value"] for row in told.figures() if row["labels"]}


def test_damage(told: Told, db: Connection) -> None:
    notifier = told.notifier()
    notifier.look()
    query(db, MISMATCH, [1])
    notifier.look()
    notifier.look()
    (event,) = told.events
    assert list(event) == ["event", "desk", "time", "what", "detail"]
    assert (event["event"], event["desk"]) == ("damage_found", f"{db.info.dbname}/public")
    assert event["what"] == "checkpoint_mismatch at signals 1"
    assert event["detail"]["damage"][0]["table"] == "signals"
    assert counts(notifier) == {"delivered": 1, "retried": 0, "failed": 0}


def test_guards(told: Told, db: Connection) -> None:
    notifier = told.notifier()
    for statement in (
        "alter table signals disable trigger _100_reject_change",
        "select 1",  # the same guards are told once
        "alter table signals enable always trigger _100_reject_change",
    ):
        query(db, statement)
        told.watched.refresher.refresh()
        notifier.look()
    assert told.names == ["guards_changed", "guards_restored"]
    assert told.events[0]["detail"]["guards"][0]["object_name"] == "signals._100_reject_change"


def test_proposals_and_a_release_in_order(told: Told, desk: Desk, db: Connection) -> None:
    desk.bootstrap("ada", "ben", "cyd")
    notifier = told.notifier()
    notifier.look()
    desk.first_limits()
    query(db, MISMATCH, [1])
    release = desk.propose("ada", "lockdown", "release", reason="looked at")
    desk.approve(release, "ben", "cyd")
    notifier.look()
    assert told.names == [
        "proposal_made",
        "proposal_applied",
        "damage_found",
        "proposal_made",
        "proposal_applied",
        "lockdown_released",
    ]
    made = told.events[0]["detail"]
    assert (made["kind"], made["proposer"], made["status"], made["needed"]) == (
        "risk_config",
        "ada",
        "APPLIED",
        2,
    )
    assert told.watched.value("alpha_db_writers_locked_out") == 0


def test_a_release_that_was_forged_is_told_as_such(told: Told, db: Connection) -> None:
    query(db, MISMATCH, [1])
    notifier = told.notifier()
    notifier.look()
    tamper(
        db,
        "insert into lockdown_events (id, event_type, reason, damage, alarm, recorded_by, row_hash, created_at)"
        " select id + 1, 'RELEASED', 'well', '[]', alarm, recorded_by, row_hash, created_at from lockdown_events",
    )
    notifier.look()
    assert told.names == ["release_not_approved"]


def test_a_command_that_fails_is_run_again(told: Told, db: Connection, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    notifier = told.notifier(f"test -e {mark} || {{ touch {mark}; exit 1; }}")
    notifier.look()
    query(db, MISMATCH, [1])
    notifier.look()
    assert told.names == ["damage_found"]
    assert counts(notifier) == {"delivered": 1, "retried": 1, "failed": 0}


def test_what_failed_for_good_is_said_and_does_not_hold_up_the_next(told: Told, db: Connection) -> None:
    notifier = told.notifier('text=$(cat); case $text in *"signals 1"*) exit 7;; esac; echo "$text" | ')
    notifier.look()
    query(db, MISMATCH, [1])
    query(db, MISMATCH, [2])
    notifier.look()
    assert [event["what"] for event in told.events] == ["checkpoint_mismatch at signals 2"]
    assert counts(notifier) == {"delivered": 1, "retried": 5, "failed": 1}
    (said,) = told.said
    assert "failed 6 times, it exited with 7; lost: " in said
    assert json.loads(said.split("lost: ")[1])["what"] == "checkpoint_mismatch at signals 1"


def test_what_happens_between_two_runs_is_told(told: Told, db: Connection) -> None:
    told.notifier().look()
    query(db, MISMATCH, [1])
    told.notifier().look()
    told.notifier().look()
    assert told.names == ["damage_found"]


def test_without_a_state_it_begins_with_now(told: Told, db: Connection) -> None:
    query(db, MISMATCH, [1])
    told.notifier(state=False).look()
    assert told.names == []


def test_an_event_that_was_not_delivered_is_told_after_a_restart(told: Told, db: Connection) -> None:
    told.notifier().look()
    query(db, MISMATCH, [1])
    stopped = told.notifier(f"touch {told.file}.runs; exec sleep 600")
    stopped.start()
    _wait_for(Path(f"{told.file}.runs").exists)
    stopped.stop()
    assert told.names == []
    told.notifier().look()
    assert told.names == ["damage_found"]


def test_a_command_that_hangs_is_ended_with_what_it_started(told: Told, db: Connection) -> None:
    notifier = told.notifier("sleep 600 & wait", time_limit=0.05)
    notifier.look()
    query(db, MISMATCH, [1])
    notifier.look()
    assert counts(notifier)["failed"] == 1
    assert "it took longer than 0.05 s" in told.said[0]


def test_a_command_that_hangs_holds_up_no_scrape(told: Told, db: Connection) -> None:
    notifier = told.notifier(f"touch {told.file}.runs; exec sleep 600")
    notifier.look()
    query(db, MISMATCH, [1])
    notifier.start()
    try:
        _wait_for(Path(f"{told.file}.runs").exists)
        assert told.watched.value("alpha_db_up") == 1
    finally:
        notifier.stop()


def test_a_command_that_reads_nothing(told: Told, db: Connection) -> None:
    notifier = told.notifier("exit 0")
    notifier.look()
    query(db, MISMATCH, [1])
    notifier.look()
    assert counts(notifier)["delivered"] == 1


@pytest.mark.reads_only
@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"format": "alpha-db/watch-state/v1"}', "[" * 100000, "\0"],
)
def test_a_state_that_is_none(told: Told, content: str) -> None:
    told.state.write_text(content)
    with pytest.raises(StateError, match="is no state of alpha-db watch"):
        told.notifier().look()
    assert told.state.read_text() == content


def test_a_state_of_another_installation(told: Told) -> None:
    told.notifier().look()
    state = json.loads(told.state.read_text())
    told.state.write_text(json.dumps({**state, "installation_id": "another"}))
    with pytest.raises(StateError, match="is of another installation, another"):
        told.notifier().look()


def test_a_database_that_was_restored_from_before(told: Told, db: Connection) -> None:
    query(db, MISMATCH, [1])
    told.notifier().look()
    tamper(db, "delete from lockdown_events")
    tamper(db, "select setval('lockdown_events_id_seq', 1, false)")
    told.notifier().look()
    query(db, MISMATCH, [2])
    told.notifier().look()
    assert [event["what"] for event in told.events] == ["checkpoint_mismatch at signals 2"]


@pytest.mark.any_server
def test_hostile_text_is_ascii_on_one_line_and_bounded() -> None:
    what = "\x1b]0;owned\x07\n\u202e" + "x" * 100_000
    row = {"event": "proposal_made", "happened_at": datetime.now(UTC), "what": what, "detail": {"a": what}}
    text = as_json(row, "trading/public")
    assert text.isascii()
    assert text.count(b"\n") == 1
    assert b"\x1b" not in text
    assert len(text) < 16384
    assert json.loads(text)["what"] == what[:2000]


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.005)
