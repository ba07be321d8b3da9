"""A webhook that arrives ten times at once, at ten workers that are killed at any step, is one order and one fill.

The sender sends again until it gets an answer, as senders do; workers that handle it do not know of each other.

any_server: about clients that die; the keys that make them one row are tested on each in tests/concurrency.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.cluster import Server
from tests.durability.webhook_worker import DEATHS, STEPS, Worker
from tests.support import PATIENCE, ROOT, Connection, one, query, verdicts

pytestmark = pytest.mark.any_server

BODY = '{"id": "tv-1", "ticker": "ETHBTC", "price": 0.0873051, "quantity": 2}'
WORKERS = 10
EXCHANGE = """
create schema exchange;
create table exchange.orders (client_order_id text primary key, number bigserial);
create function exchange.place(client_order_id text, out exchange_order_id text, out trade_id text)
language plpgsql as $$
begin
  insert into exchange.orders values (place.client_order_id) on conflict do nothing;
  select 'x-' || o.number, 't-' || o.number into exchange_order_id, trade_id
  from exchange.orders as o where o.client_order_id = place.client_order_id;
end $$;
"""


@pytest.fixture
def venue(db: Connection) -> Connection:
    """A database with alpha-db and a pretended exchange."""
    query(db, EXCHANGE)
    return db


def handle(server: Server, db: Connection, *deaths: list[str] | None) -> None:
    """Have workers handle the webhook, all at once, each of which dies where it is told to."""
    command = [sys.executable, "-m", "tests.durability.webhook_worker"]
    database = one(db, "select current_database()")
    found = subprocess.run(
        [*command, server.dsn(database), BODY, json.dumps(deaths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert found.returncode == 0, found.stderr


def books(db: Connection) -> dict[str, int]:
    """How many rows there are of what there must be one of."""
    return {
        "signals": one(db, "select count(*) from signals"),
        "orders": one(db, "select count(*) from order_execution where status = 'PENDING'"),
        "submitted": one(db, "select count(*) from order_execution where status = 'SUBMITTED'"),
        "fills": one(db, "select count(*) from order_events where event_type = 'FILL'"),
        "at the exchange": one(db, "select count(*) from exchange.orders"),
    }


ONE_OF_EACH = dict.fromkeys(("signals", "orders", "submitted", "fills", "at the exchange"), 1)


def assert_intact(db: Connection) -> None:
    assert query(db, "select * from vw_orders_without_permission") == []
    assert {row.verdict for row in verdicts(db).values()} == {"intact"}


# The statements that were sent and not answered are the hardest; the others die beside workers that live, below.
EVERY_DAY = [[step, "inside"] for step in ("delivery", "signal", "order", "exchange", "fill")]
AT_ONCE = [
    pytest.param(death, marks=() if death in EVERY_DAY else pytest.mark.long, id=" ".join(death))
    for death in DEATHS
]


@pytest.mark.parametrize("death", AT_ONCE)
def test_ten_workers_killed_at_the_same_step(server: Server, venue: Connection, death: list[str]) -> None:
    handle(server, venue, *[death] * WORKERS)
    before = one(venue, "select count(*) from webhook_deliveries")
    if death[0] != "delivery":
        assert before == WORKERS  # each arrival was on record before anything else happened
    assert max(books(venue).values()) <= 1
    handle(server, venue, *[None] * WORKERS)
    assert books(venue) == ONE_OF_EACH
    # A statement that was sent before its worker died may still be answered meanwhile.
    assert before + WORKERS <= one(venue, "select count(*) from webhook_deliveries") <= 2 * WORKERS
    assert_intact(venue)


@pytest.mark.parametrize("offset", range(0, len(DEATHS), 5))
def test_workers_that_die_at_different_steps_while_others_live(
    server: Server, venue: Connection, offset: int
) -> None:
    deaths = [DEATHS[(offset + number) % len(DEATHS)] for number in range(WORKERS - 2)]
    handle(server, venue, *deaths, None, None)
    assert books(venue) == ONE_OF_EACH
    assert_intact(venue)


def test_a_delivery_whose_worker_died_is_found_and_handled(server: Server, venue: Connection) -> None:
    """The sender never comes back: what is on record is enough."""
    handle(server, venue, *[["signal", "before"]] * WORKERS)
    left = query(venue, "select id, raw_body from vw_unprocessed_deliveries order by id")
    assert len(left) == WORKERS
    for row in left:
        with Worker(server.dsn(venue.info.dbname), row["raw_body"], None) as worker:
            worker.run(row["id"])
    assert books(venue) == ONE_OF_EACH
    found = query(venue, "select repeats from vw_unprocessed_deliveries")
    assert [row["repeats"] for row in found] == [left[0]["id"]] * (WORKERS - 1)


def test_every_step_is_killed() -> None:
    assert {step for step, _ in DEATHS} == set(STEPS)
