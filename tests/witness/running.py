"""A witness that runs in this process, or as the command, and what speaks HTTP to it in plain sockets."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alpha_db.evidence.offline_check import parse_vkey
from alpha_db.evidence.witness.judge import Judge
from alpha_db.evidence.witness.keys import WitnessKey
from alpha_db.evidence.witness.server import WitnessServer
from alpha_db.evidence.witness.state import create, opened
from tests.support import ROOT
from tests.witness.by_hand import LOG, WITNESS, Log, seed_of


class Answered(NamedTuple):
    """An answer, as HTTP has it."""

    status: int
    kind: str
    body: str


@dataclass
class Running:
    """A witness, where it listens and what it told."""

    port: int
    state: Path
    told: list[str] = field(default_factory=list)
    server: WitnessServer | None = None
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, body: bytes, path: str = "/add-checkpoint") -> Answered:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", path, body)
            return answered(connection)
        finally:
            connection.close()

    def remembered(self) -> dict[str, str]:
        """The notes in the state file, by origin."""
        notes: dict[str, str] = json.loads(self.state.read_text(encoding="utf-8"))["logs"]
        return notes

    def size(self, log: Log = LOG) -> int:
        """The size of a log in the state file."""
        note = self.remembered().get(log.name)
        return int(note.split("\n")[1]) if note else 0


def answered(connection: HTTPConnection) -> Answered:
    response = connection.getresponse()
    return Answered(response.status, response.headers.get("Content-Type", ""), response.read().decode())


def own_key() -> WitnessKey:
    return WitnessKey(WITNESS.name, Ed25519PrivateKey.from_private_bytes(seed_of(WITNESS.name)))


@contextmanager
def in_process(
    folder: Path,
    logs: Sequence[Log] = (LOG,),
    patience: float = 20.0,
    vkeys: Sequence[str] = (),
    key: WitnessKey | None = None,
) -> Iterator[Running]:
    """A witness in a thread; its memory is a file in the folder, and goes on from there."""
    state = folder / "state.json"
    if not state.exists():
        create(state)
    told: list[str] = []
    key = key or own_key()
    with opened(state, key) as memory:
        judge = Judge(key, [parse_vkey(vkey) for vkey in (*vkeys, *(log.key.vkey for log in logs))], memory)
        server = WitnessServer(("127.0.0.1", 0), judge, told.append, patience)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Running(int(server.server_address[1]), state, told, server)
        finally:
            judge.end()
            server.shutdown()
            thread.join()
            server.server_close()


@contextmanager
def command(folder: Path, *options: str) -> Iterator[Running]:
    """The command alpha-db witness serve; killed at the end, unless it has ended."""
    state, key = folder / "state.json", folder / "witness.key"
    if not state.exists():
        create(state)
    if not key.exists():
        own_key().save(key)
    arguments = [
        "witness",
        "serve",
        "--state",
        str(state),
        "--listen",
        "127.0.0.1:0",
        "--key",
        str(key),
        *options,
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "alpha_db", *arguments, "--trust", LOG.key.vkey],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if "--json" in options else subprocess.DEVNULL,  # which tells each answer
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
    )
    try:
        stream = process.stderr or process.stdout
        assert stream
        while "listens" not in (line := stream.readline()):
            assert line, "it ended"
        yield Running(int(line.rpartition(":")[2].split("/")[0]), state, process=process)
    finally:
        process.kill()
        process.communicate()


def kill(witness: Running) -> None:
    """End the command at once, wherever it is."""
    assert witness.process
    witness.process.send_signal(signal.SIGKILL)
    witness.process.wait()


def exchange(port: int, data: bytes) -> bytes:
    """Send bytes, and return all that comes until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has heard enough, and closed: what it answered is still to be read
        return received(connection)


def received(connection: socket.socket) -> bytes:
    data = b""
    try:
        while more := connection.recv(65536):
            data += more
    except ConnectionError:
        pass
    return data


def until(condition: Callable[[], bool], said: str, timeout: float = 60.0) -> None:
    """Ask again until the condition is true. Fails after the timeout."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"it never came true that {said}"
        time.sleep(0.005)
