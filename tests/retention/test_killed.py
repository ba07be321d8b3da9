"""A run that is killed leaves nothing that the next one cannot go on from."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.cluster import client_environment
from tests.fix_database import Connect
from tests.retention.keeper import Keeper
from tests.retention.test_bad_input import propose_by_hand
from tests.support import assert_healthy, one, query, wait_until

pytestmark = pytest.mark.any_server


def kill_while_waiting(keeper: Keeper, command: list[str]) -> None:
    """Start a command, and kill it as soon as it waits for a lock."""
    running = subprocess.Popen(
        command, env=client_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(
        keeper.db,
        "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')",
    )
    running.send_signal(signal.SIGKILL)
    running.wait()


def gone(keeper: Keeper) -> None:
    """Wait until no other session is left."""
    wait_until(
        keeper.db,
        "select count(*) = 2 from pg_stat_activity"
        " where datname = current_database() and backend_type = 'client backend'",
    )


def test_killed_before_it_proposes(keeper: Keeper, connect: Connect) -> None:
    other = connect(dbname=keeper.db.info.dbname, autocommit=False)
    query(other, "lock table proposals in share mode")
    kill_while_waiting(keeper, propose_by_hand(keeper))
    other.rollback()
    gone(keeper)
    # and one that was killed earlier
    lost = keeper.segment("order_events", 1, 512)
    lost.rename(lost.with_name(f".{lost.name}.0a1b2c3d.part"))
    kept = {file.name: file.stat().st_ino for file in keeper.segments.glob("*.segment")}
    made = keeper.propose()
    assert {item["file"] for item in made["segments"] if item["is_new"]} == {str(lost)}
    assert {name: (keeper.segments / name).stat().st_ino for name in kept} == kept
    assert not list(keeper.segments.glob(".*.part"))
    assert one(keeper.db, "select count(*) from proposals") == 1


def test_killed_while_rows_are_deleted(keeper: Keeper, connect: Connect) -> None:
    keeper.archive("--table", "order_events")
    other = connect(dbname=keeper.db.info.dbname, autocommit=False)
    # The second block cannot be locked.
    query(other, "select from order_events where id = 300 for key share")
    prune = ["retention", "prune", "--batch", "256"]
    command = propose_by_hand(keeper)[:5]
    kill_while_waiting(keeper, [*command, *prune])
    other.rollback()
    gone(keeper)
    assert one(keeper.db, "select min(id) from order_events") in (257, 513)
    assert_healthy(keeper.db)
    keeper.run(*prune)
    assert one(keeper.db, "select min(id) from order_events") == 513
    assert one(keeper.db, "select array_agg(id order by id) from chain_starts") == [256, 512]
    assert_healthy(keeper.db)
