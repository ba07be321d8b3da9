"""The primary is killed under load, and its synchronous standby promoted: nothing that was acknowledged is lost.

CALL lets the chain go before its row is on the standby. So a row may be visible that is nowhere else yet; but no writer
is told that it is recorded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import pytest

from tests.cluster import Server
from tests.concurrency.background import Background
from tests.durability.acknowledged import Acknowledged, assert_whole, call_each, fresh_key, lost
from tests.durability.conftest import Connecting
from tests.durability.desk import Desk
from tests.durability.processes import kill_everything
from tests.standbys import promote, standby_of
from tests.support import AUDIT_TABLES, Connection, changed_guards, one, query, wait_until

IS_SYNCHRONOUS = "select exists (select from pg_stat_replication where sync_state = 'sync')"


@pytest.fixture
def standby(durable: Server) -> Iterator[Server]:
    """A synchronous standby of the durable server. The server runs again afterwards, and waits for nobody."""
    with standby_of(durable, synchronous_standby_names="") as server:
        try:
            with psycopg.connect(durable.dsn("postgres"), autocommit=True) as admin:
                query(admin, "alter system set synchronous_standby_names = 'walreceiver'")
                query(admin, "select pg_reload_conf()")
                wait_until(admin, IS_SYNCHRONOUS)
            yield server
        finally:
            (durable.data / "postgresql.auto.conf").write_text("")
            if not (durable.data / "postmaster.pid").exists():
                durable.start()
            with psycopg.connect(durable.dsn("postgres"), autocommit=True) as admin:
                query(admin, "select pg_reload_conf()")
                wait_until(admin, "select current_setting('synchronous_standby_names') = ''")


def kill_under_load(primary: Server, session: Connecting, setting: str, rows: int) -> list[Acknowledged]:
    """Write in every way, until so many rows are acknowledged, and kill the primary; gives what was acknowledged."""
    desk = Desk()

    def connection() -> Connection:
        return session(synchronous_commit=setting)

    writers: list[Callable[[], None]] = [
        *(partial(desk.call, connection(), f"shared-{fresh_key()}") for _ in range(2)),
        partial(desk.insert, connection()),
        partial(desk.record_many, connection()),
        partial(desk.record, connection()),
    ]
    with ThreadPoolExecutor(len(writers)) as pool:
        futures = [pool.submit(writer) for writer in writers]
        try:
            desk.wait_for_more(rows)
        finally:
            desk.calm.set()
            kill_everything(primary)
    for future in futures:
        problem = future.exception()
        assert problem is None or isinstance(problem, psycopg.OperationalError), problem
    return desk.acknowledged


@pytest.mark.parametrize(
    ("setting", "rows"),
    [
        ("on", 200),
        pytest.param("on", 3000, marks=pytest.mark.long),
        pytest.param("remote_apply", 1000, marks=pytest.mark.long),
    ],
)
def test_a_synchronous_standby_has_every_acknowledged_row(
    durable: Server, standby: Server, session: Connecting, setting: str, rows: int
) -> None:
    """And goes on with the next id, as if it had always been the primary: no fork, no changed guard, no false alarm."""
    before = session()
    for _ in range(3):
        with pytest.raises(psycopg.DatabaseError, match="AUD-0"):
            query(before, "truncate order_events")
    query(before, "select record_guards('with what was counted')")
    acknowledged = kill_under_load(durable, session, setting, rows)
    promote(standby)
    new = session(standby)
    assert lost(new, acknowledged) == []
    assert_whole(new)
    assert changed_guards(new) == [], "no counter went back either"
    assert (
        one(new, "select pg_sequence_last_value('writer_signals'), pg_sequence_last_value('tail_signals')")
        is None
    )
    tails = {table: one(new, f"select max(id) from {table}") for table in AUDIT_TABLES}
    made = list(call_each(new))
    assert {table: min(row for name, row, _ in made if name == table) for table in AUDIT_TABLES} == {
        table: tail + 1 for table, tail in tails.items()
    }
    assert_whole(new)
    assert one(new, "select is_locked from lockdown_status()") is False


@pytest.mark.any_server
def test_a_row_that_the_standby_lacks_is_acknowledged_to_nobody(
    durable: Server, standby: Server, session: Connecting
) -> None:
    """Whoever sends it again, in whatever way, waits as its first sender does, though all of them can see it."""
    observer = session(synchronous_commit="local")
    key = fresh_key()
    standby.stop("fast", keep=True)
    wait_until(observer, "select not exists (select from pg_stat_replication)")
    waits = "select wait_event = 'SyncRep' from pg_stat_activity where pid = %s"
    element = {
        "signal_id": key,
        "symbol": "BTC",
        "side": "BUY",
        "price": 1.5,
        "quantity": 2,
        "raw_payload": {},
    }
    calls: list[tuple[str, list[object]]] = [
        ("call append_signal(%s, 'BTC', 'BUY', 1.5, 2, '{}')", [key]),
        ("call append_signals(%s)", [json.dumps([element])]),
        ("select id from record_signal(%s, 'BTC', 'BUY', 1.5, 2, '{}')", [key]),
        ("select id from record_signals(%s)", [json.dumps([element])]),
    ]
    waiting = []
    for statement, arguments in calls:
        call = Background(session(), statement, arguments)
        wait_until(observer, waits, [call.pid])
        waiting.append(call)
    assert one(observer, "select count(*) from signals where signal_id = %s", [key]) == 1
    plain = (
        "insert into signals (correlation_id, signal_id, symbol, side, price, quantity, raw_payload)"
        " values (gen_random_uuid(), %s, 'BTC', 'BUY', 1.5, 2, '{}') on conflict do nothing returning id"
    )
    assert query(session(), plain, [key]) == [], "which does not wait, as the page says"
    assert not any(call.done for call in waiting)
    kill_everything(durable)
    standby.start()
    promote(standby)
    new = session(standby)
    assert one(new, "select count(*) from signals where signal_id = %s", [key]) == 0
    assert_whole(new)
