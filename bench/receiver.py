"""Part receiver: requests a second to examples/receiver, and to the same application without alpha-db."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import itertools
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from alpha_db.errors import AlphaDbError
from bench.host import Host
from bench.hydrator import Council
from bench.measure import Figure, Slice, alternate, figures
from bench.receiver_app import SECRET

NAME = "receiver"
TITLE = "webhooks a second over HTTP, from the signed bytes to the fill, by 1 and 20 clients"

PLAIN, OURS = "plain INSERTs", "alpha-db"
CLIENTS = (1, 20)

_DATABASE = "bench_receiver"
_CONTESTANTS = {PLAIN: "plain", OURS: "alpha-db"}
_numbers = itertools.count(1)


class Client:
    """A sender with a connection of its own."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._patience = time.perf_counter() + 60

    def send(self, *, wait: bool = False) -> float:
        """Deliver a fresh alert; return the milliseconds until it was acknowledged. `wait`: for one that starts."""
        alert = {"id": f"b-{next(_numbers)}", "ticker": "ETHBTC", "action": "BUY", "price": "0.0712340000"}
        body = json.dumps(alert | {"quantity": "0.0001", "text": "x" * 350}).encode()
        stamp = str(int(time.time()))
        signature = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        began = time.perf_counter()
        self._http.request("POST", "/webhook", body, {"X-Timestamp": stamp, "X-Signature": signature})
        answer = self._http.getresponse()
        said = answer.read()
        if answer.status == 503 and wait and began < self._patience:
            time.sleep(0.1)
            return self.send(wait=True)
        if answer.status != 200 or b"FILLED" not in said:
            raise AlphaDbError(f"the receiver answered {answer.status}: {said.decode(errors='replace')}")
        return (time.perf_counter() - began) * 1000

    def send_until(self, end: float) -> list[float]:
        """Deliver one after the other until a moment; return the milliseconds of each."""
        taken = []
        while time.perf_counter() < end:
            taken.append(self.send())
        return taken

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


@contextmanager
def serving(contestant: str, dsn: str) -> Iterator[int]:
    """Run a receiver in a process of its own; give its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        command = [sys.executable, "-P", "-m", "bench.receiver_app", _CONTESTANTS[contestant]]
        process = subprocess.Popen(
            [*command, str(listener.fileno()), dsn],
            pass_fds=[listener.fileno()],
            cwd=Path(__file__).parents[1],
        )
        try:
            yield listener.getsockname()[1]
        finally:
            process.terminate()
            process.wait(30)


def run(host: Host) -> list[Figure]:
    """Measure. Raises AlphaDbError if a receiver does not acknowledge."""
    dsn = host.database(_DATABASE)
    with host.connect(dsn) as conn:
        Council(conn).prepare()()  # puts limits in force
        conn.execute(Path(__file__).with_name("plain_receiver.sql").read_bytes())
    found: list[Figure] = []
    with ExitStack() as stack:
        ports = {name: stack.enter_context(serving(name, dsn)) for name in _CONTESTANTS}
        for clients in CLIENTS:
            found += _scenario(host, ports, clients)
    host.drop(_DATABASE)
    return found


def _scenario(host: Host, ports: dict[str, int], clients: int) -> list[Figure]:
    latencies: dict[str, list[float]] = {name: [] for name in ports}
    seconds = 1.0 if host.quick else 3.0

    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(clients))
        senders = {name: [Client(port) for _ in range(clients)] for name, port in ports.items()}
        for one in itertools.chain(*senders.values()):
            stack.callback(one.close)

        def a_slice(name: str) -> Slice:
            def run() -> list[float]:
                list(pool.map(lambda one: one.send(wait=True), senders[name]))  # connects
                began = time.perf_counter()
                taken = list(
                    itertools.chain(*pool.map(lambda one: one.send_until(began + seconds), senders[name]))
                )
                latencies[name].extend(taken)
                return [len(taken) / (time.perf_counter() - began)]

            return run

        rates = alternate({name: a_slice(name) for name in ports}, 1 if host.quick else 3)
    scenario = f"{clients} client{'s' * (clients > 1)}"
    return [
        *figures(NAME, scenario, "requests/s", rates, baseline=PLAIN, percentiles=()),
        *figures(
            NAME, f"  latency, {scenario}", "ms", latencies, baseline=PLAIN, percentiles=(0.05, 0.95, 0.99)
        ),
    ]
