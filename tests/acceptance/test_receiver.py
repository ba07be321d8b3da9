"""examples/receiver over HTTP: what it answers, and that nothing is lost or doubled, whatever happens meanwhile."""

from __future__ import annotations

import hashlib
import importlib
import json
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn

import alpha_db
from alpha_db.risk import RiskGuardrailService
from tests.cluster import Server
from tests.fix_database import LoginRole, Prepared
from tests.risk.council import Council, limits
from tests.support import (
    PATIENCE,
    ROOT,
    Connection,
    assert_healthy,
    migrate_with_psql,
    one,
    query,
)

sys.path.insert(0, str(ROOT / "examples" / "receiver"))
arrival: Any = importlib.import_module("arrival")
receiver: Any = importlib.import_module("receiver")
Exchange: Any = importlib.import_module("exchange").Exchange

SECRET = "of the sender and the receiver"


def govern(db: Connection) -> None:
    """Put limits in force."""
    Council(db).bootstrap("ada", "ben", "cyd").enact("risk_config", limits(), "ada", "ben", "cyd")


@dataclass
class Desk:
    """A receiver that listens, and the exchange behind it."""

    url: str
    exchange: Any
    guardrail: RiskGuardrailService
    client: httpx.Client

    def deliver(self, body: bytes, headers: Mapping[Any, Any] | None = None) -> httpx.Response:
        """Deliver a body, signed unless other headers are given."""
        return self.client.post(self.url, content=body, headers=signed(body) if headers is None else headers)


@contextmanager
def listening(dsn: str, folder: Path, exchange: Any = None) -> Iterator[Desk]:
    """Run the receiver on a port of its own."""
    exchange = exchange or Exchange()
    guardrail = RiskGuardrailService(dsn, high_water=folder / "high-water.json", poll=0.05, lease=PATIENCE)
    app = receiver.create_app(dsn, SECRET, guardrail, exchange)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            assert guardrail.wait_for(lambda state: state.is_normal, PATIENCE)
            with httpx.Client(timeout=PATIENCE) as client:
                url = f"http://127.0.0.1:{listener.getsockname()[1]}/webhook"
                yield Desk(url, exchange, guardrail, client)
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
    assert not thread.is_alive()


def alert(signal_id: str, **changes: Any) -> bytes:
    """An alert as a sender writes it."""
    fields = {"id": signal_id, "ticker": "ETHBTC", "action": "BUY", "price": "0.0873050", "quantity": "0.25"}
    return json.dumps(fields | changes).encode()


def signed(body: bytes, *, age: int = 0, secret: str = SECRET) -> dict[str, str]:
    """The headers of a signed delivery."""
    stamp = str(int(time.time()) - age)
    return {"X-Timestamp": stamp, "X-Signature": arrival.sign(secret.encode(), stamp, body)}


@pytest.fixture
def origin(prepared: Prepared) -> str:
    """With limits in force."""
    return prepared("receiver", govern)


@pytest.fixture
def dsn(server: Server, database: str, login_role: LoginRole) -> str:
    """The database, for a login that may write."""
    return server.dsn(database, login_role("app_trading"))


@pytest.fixture
def desk(dsn: str, tmp_path: Path) -> Iterator[Desk]:
    with listening(dsn, tmp_path) as running:
        yield running


def counts(db: Connection) -> list[int]:
    """Deliveries, signals, orders, orders sent, fills."""
    return [
        one(db, f"select count(*) from {rows}")
        for rows in (
            "webhook_deliveries",
            "signals",
            "order_execution where status = 'PENDING'",
            "order_execution where status = 'SUBMITTED'",
            "order_events where event_type = 'FILL'",
        )
    ]


def test_an_alert_becomes_a_fill_and_its_bytes_are_kept(desk: Desk, db: Connection) -> None:
    body = b'{"id":"a-1", "ticker":"ETHBTC","action":"BUY","price":0.0873050,"quantity":2, "id":"a-1"}'
    answer = desk.deliver(body)
    assert (answer.status_code, answer.json()["status"]) == (200, "FILLED")
    assert counts(db) == [1, 1, 1, 1, 1]
    (row,) = query(db, "select * from webhook_deliveries")
    assert (row["raw_body"], row["hmac_verified"], str(row["source_ip"])) == (body, True, "127.0.0.1")
    (row,) = query(
        db,
        "select s.delivery_id, s.hmac_verified, raw_payload ->> 'price' as price, client_order_id, exchange_event_id"
        " from signals as s join order_execution as o using (correlation_id)"
        " join order_events as e on e.order_execution_id = o.id",
    )
    key = answer.json()["client_order_id"]
    assert row == {
        "delivery_id": 1,
        "hmac_verified": True,
        "price": "0.0873050",
        "client_order_id": key,
        "exchange_event_id": f"t-{key}",
    }


#: How a delivery of alert("s-1") can come without its signature; each is made when the test runs, because of the clock.
UNSIGNED: dict[str, Callable[[], dict[str, str]]] = {
    "no signature": dict,
    "another secret": lambda: signed(alert("s-1"), secret="another"),
    "an old time-stamp": lambda: signed(alert("s-1"), age=arrival.WINDOW + 60),
    "a time-stamp of the future": lambda: signed(alert("s-1"), age=-arrival.WINDOW - 60),
    "another time-stamp": lambda: signed(alert("s-1")) | {"X-Timestamp": str(int(time.time()) + 1)},
    "another body": lambda: signed(alert("s-2")),
    "a long time-stamp": lambda: resigned("1" * 5000),
    "digits of another script": lambda: resigned("٣"),
    "no time-stamp": lambda: resigned(""),
    "no hexadecimal signature": lambda: signed(alert("s-1")) | {"X-Signature": "é"},
}


def resigned(stamp: str) -> dict[str, str]:
    """A signature that fits a strange time-stamp."""
    return {"X-Timestamp": stamp, "X-Signature": arrival.sign(SECRET.encode(), stamp, alert("s-1"))}


def test_what_is_not_signed_is_recorded_and_refused(desk: Desk, db: Connection) -> None:
    answers = {}
    for lacking, headers in UNSIGNED.items():
        raw = {name.encode(): value.encode() for name, value in headers().items()}
        answers[lacking] = desk.deliver(alert("s-1"), raw).status_code
    assert answers == dict.fromkeys(UNSIGNED, 401)
    assert counts(db) == [len(UNSIGNED), 0, 0, 0, 0]
    found = query(db, "select distinct raw_body, hmac_verified from webhook_deliveries")
    assert found == [{"raw_body": alert("s-1"), "hmac_verified": False}]


NONSENSE = [
    b"",
    b"BUY ETHBTC",
    b"\xff\xfe",
    b'{"id": "n-1"',
    b'{"id": "n-1", "ticker": "\\u0000"}',
    b"[" * 20_000,
    b"[]",
    b"null",
    b"1",
    b'"a-1"',
    b"{}",
    alert("n-1", quantity=None),
    alert("n-1", quantity="many"),
    alert("n-1", quantity="NaN"),
    alert("n-1", quantity=-1),
    alert("n-1", price=[1]),
    alert("n-1", price="1e400"),
    alert("n-1", action="HOLD"),
    alert("n-1", action=1),
    alert("n-1", quantity=True),
    alert("n-1", quantity="1_0"),
    alert("n-1", quantity="١"),
    alert("n-1", quantity=[0, [1], 0]),
    alert("n-1", ticker={}),
    alert("n-1" * 100),
    alert("{{strategy.order.id}}"),
]


def test_nonsense_is_recorded_and_refused(desk: Desk, db: Connection) -> None:
    answers = {body: desk.deliver(body) for body in NONSENSE}
    assert {body: answer.status_code for body, answer in answers.items()} == dict.fromkeys(NONSENSE, 400)
    assert all(answer.json()["detail"] for answer in answers.values())
    assert counts(db) == [len(NONSENSE), 0, 0, 0, 0]
    recorded = query(db, "select raw_body, hmac_verified from webhook_deliveries order by id")
    assert [row["raw_body"] for row in recorded] == NONSENSE
    assert all(row["hmac_verified"] for row in recorded)


@pytest.mark.parametrize("more", [1, 3_000_000])
def test_a_body_over_the_limit_is_recorded_in_part_and_refused(desk: Desk, db: Connection, more: int) -> None:
    body = alert("l-1", text="x" * (arrival.LIMIT + more))
    answer = desk.deliver(body)
    assert answer.status_code == 413
    (row,) = query(db, "select raw_body, body_size, body_sha256 from webhook_deliveries")
    assert (row["raw_body"], row["body_size"]) == (body[:4096], len(body))
    assert row["body_sha256"] == hashlib.sha256(body).hexdigest()


def test_other_content_under_the_same_signal_id_is_a_conflict(desk: Desk, db: Connection) -> None:
    for body, status in ((alert("c-1"), 200), (alert("c-1", quantity="3"), 409), (alert("c-1"), 200)):
        answer = desk.deliver(body)
        assert answer.status_code == status
    assert counts(db) == [3, 1, 1, 1, 1]


def test_an_order_over_the_limits_is_refused_for_good(desk: Desk, db: Connection) -> None:
    body = alert("r-1", quantity="1000000")
    answer = desk.deliver(body)
    assert (answer.status_code, answer.json()["status"]) == (200, "REFUSED")
    assert counts(db) == [1, 1, 0, 0, 0]
    (decision,) = query(db, "select allowed, reason, correlation_id from risk_decisions")
    assert (decision["allowed"], decision["reason"]) == (False, answer.json()["reason"])
    assert decision["correlation_id"] == one(db, "select correlation_id from signals")
    assert desk.exchange.fills == {}


def test_an_order_that_was_sent_is_recorded_to_its_end(desk: Desk, db: Connection) -> None:
    """Its worker died before it recorded the fill, and by now the guardrail would refuse the order."""
    desk.exchange.place = dies_after(desk.exchange.place)
    body = alert("d-1")
    with suppress(httpx.TransportError):  # the worker died: there is an answer, or none
        httpx.post(desk.url, content=body, headers=signed(body), timeout=PATIENCE)
    assert counts(db) == [1, 1, 1, 0, 0]
    desk.exchange.equity = Decimal(0)
    answer = desk.deliver(alert("d-1"))
    assert (answer.status_code, answer.json()["status"]) == (200, "FILLED")
    assert counts(db) == [2, 1, 1, 1, 1]
    assert one(db, "select count(*) from vw_orders_without_permission") == 0


def dies_after(place: Callable[..., Any]) -> Callable[..., Any]:
    """An exchange that takes the first order, and whose answer is lost."""
    lost = iter([RuntimeError("the worker died")])

    def place_and_die(*given: Any) -> Any:
        fill = place(*given)
        for death in lost:
            raise death
        return fill

    return place_and_die


def test_without_limits_the_sender_is_to_come_again(desk: Desk, db: Connection) -> None:
    body = alert("m-1")
    desk.guardrail.stop()
    answer = desk.deliver(body)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert counts(db) == [1, 1, 0, 0, 0]


def test_in_a_lockdown_the_delivery_is_recorded_and_the_sender_is_to_come_again(
    desk: Desk, db: Connection
) -> None:
    query(db, "select _engage_lockdown('test', '[]')")
    body = alert("k-1")
    answer = desk.deliver(body)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert counts(db) == [1, 0, 0, 0, 0]


# --------------------------------------------------------------------------------------------------
# Twenty clients, and a database that goes away


@dataclass
class Crowd:
    """What twenty senders were answered; they come again until they are."""

    url: str
    answered: list[tuple[bytes, int]] = field(default_factory=list)
    disturbed: int = 0
    news: threading.Condition = field(default_factory=threading.Condition)

    def send_all(self, deliveries: list[tuple[bytes, dict[str, str]]]) -> None:
        with httpx.Client(timeout=PATIENCE) as client:
            for body, headers in deliveries:
                status = self.send(client, body, headers)
                with self.news:
                    self.answered.append((body, status))
                    self.news.notify_all()

    def send(self, client: httpx.Client, body: bytes, headers: dict[str, str]) -> int:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                status = client.post(self.url, content=body, headers=headers).status_code
            except httpx.TransportError:
                status = 0
            if status not in (0, 503):
                return status
            with self.news:
                self.disturbed += 1
                self.news.notify_all()
        raise AssertionError("never answered")

    def wait_for(self, number: int) -> None:
        with self.news:
            assert self.news.wait_for(lambda: len(self.answered) >= number, PATIENCE)

    def wait_for_disturbance(self) -> None:
        with self.news:
            before = self.disturbed
            assert self.news.wait_for(lambda: self.disturbed > before, PATIENCE)


CLIENTS, COPIES = 20, 4


def mixture(chance: random.Random, signals: int) -> list[list[tuple[bytes, dict[str, str]]]]:
    """What each client sends: every alert is sent by several, and there is nonsense in between."""
    all_of_them = []
    for number in range(signals):
        body = alert(f"q-{number}", action=("BUY", "SELL")[number % 2])
        all_of_them += [(body, signed(body))] * COPIES
    for number in range(signals // 2):
        nonsense = f"nonsense {number}".encode()
        forged = alert(f"forged-{number}")
        all_of_them += [
            (nonsense, signed(nonsense)),
            (forged, signed(forged, secret="another")),
            (forged, signed(forged, age=3600)),
        ]
    chance.shuffle(all_of_them)
    return [all_of_them[number::CLIENTS] for number in range(CLIENTS)]


class Fatal(Exchange):  # type: ignore[misc]
    """An exchange that takes an order, and while the receiver waits for the answer, the database dies."""

    def __init__(self, die: Callable[[], None], fatal: int) -> None:
        super().__init__()
        self._die = die
        self._fatal = fatal

    def place(self, client_order_id: str, order: Any) -> Any:
        """As ever, and the order of that number is the fatal one."""
        is_new = client_order_id not in self.fills
        fill = super().place(client_order_id, order)
        if is_new and len(self.fills) == self._fatal:
            self._die()
        return fill


@pytest.mark.any_server  # about the receiver; what a crash leaves is tested on each in tests/durability
@pytest.mark.parametrize(
    ("signals", "seconds"),
    [(40, 1), pytest.param(100, 5, marks=pytest.mark.long)],  # 5 is the example's own
)
def test_restarts_in_the_middle_lose_nothing_and_double_nothing(
    binaries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: int, seconds: int
) -> None:
    """The database dies twice: while an order is at the exchange, and at any moment. A delivery waits so many seconds
    for a connection."""
    make_pool = alpha_db.pool
    monkeypatch.setattr(alpha_db, "pool", lambda dsn, **given: make_pool(dsn, **given | {"timeout": seconds}))
    shares = mixture(random.Random(1), signals)
    with Server(binaries, {"fsync": "on", "full_page_writes": "on"}) as server:
        server.psql("postgres", "create database desk")
        migrate_with_psql(server, "desk")
        server.psql("desk", "create role trader login in role app_trading")
        with psycopg.connect(server.dsn("desk"), autocommit=True) as db:
            govern(db)
        dead = threading.Event()

        def die() -> None:
            server.stop("immediate", keep=True)
            dead.set()

        with listening(server.dsn("desk", "trader"), tmp_path, Fatal(die, signals * 3 // 10)) as desk:
            crowd = Crowd(desk.url)
            with ThreadPoolExecutor(CLIENTS) as pool:
                futures = [pool.submit(crowd.send_all, share) for share in shares]
                assert dead.wait(PATIENCE)
                crowd.wait_for_disturbance()
                server.start()
                crowd.wait_for(sum(map(len, shares)) // 2)
                die()
                crowd.wait_for_disturbance()
                server.start()
            for future in futures:
                future.result()
        with psycopg.connect(server.dsn("desk"), autocommit=True) as db:
            assert_nothing_lost_or_doubled(db, crowd, desk.exchange, signals)
            assert_healthy(db)


def assert_nothing_lost_or_doubled(db: Connection, crowd: Crowd, exchange: Any, signals: int) -> None:
    statuses = Counter(status for _, status in crowd.answered)
    assert statuses == {200: signals * COPIES, 400: signals // 2, 401: signals}
    there = {
        row["sha"]: row["n"]
        for row in query(db, "select body_sha256 as sha, count(*) as n from webhook_deliveries group by 1")
    }
    acknowledged = Counter(hashlib.sha256(body).hexdigest() for body, _ in crowd.answered)
    assert {sha: n for sha, n in acknowledged.items() if there.get(sha, 0) < n} == {}
    assert there.keys() == acknowledged.keys()
    assert counts(db)[1:] == [signals] * 4
    steps = query(
        db,
        "select s.signal_id, count(*) filter (where o.status = 'PENDING') as pending,"
        " count(*) filter (where o.status = 'SUBMITTED') as sent, count(e.id) as fills"
        " from signals as s join order_execution as o using (correlation_id)"
        " left join order_events as e on e.order_execution_id = o.id group by 1",
    )
    assert {row["signal_id"] for row in steps} == {f"q-{number}" for number in range(signals)}
    assert {(row["pending"], row["sent"], row["fills"]) for row in steps} == {(1, 1, 1)}
    assert query(db, "select * from vw_orders_without_permission") == []
    assert exchange.fills.keys() == {
        row["correlation_id"].hex for row in query(db, "select correlation_id from signals")
    }
