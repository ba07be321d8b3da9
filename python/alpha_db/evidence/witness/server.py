"""The HTTP side of a witness: POST /add-checkpoint, within limits of size, time and number.

Source: c2sp.org/tlog-witness.

Every request that is not well-formed is answered with 400, another path with 404, another method with 405. If the
state cannot be written, the answer is 500, and nothing was cosigned.
"""

from __future__ import annotations

import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

from alpha_db.evidence.witness.judge import Answer, Judge
from alpha_db.evidence.witness.request import MAX_REQUEST, PATH
from alpha_db.evidence.witness.state import StateError
from alpha_db.security.signer import SignerError

#: How many seconds a client has to send one request, or may keep the connection open without one.
PATIENCE = 20.0
#: How many connections there are at once; a further one is answered with 503.
MAX_CONNECTIONS = 64

#: Of a body that is too large, how many bytes are read all the same.
_MAX_DROPPED = 1 << 20
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

Tell = Callable[[str], None]


class WitnessServer(ThreadingHTTPServer):
    """Answers requests; each connection has a thread. Closes a connection whose time is over."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(
        self, address: tuple[str, int], judge: Judge, tell: Tell, patience: float = PATIENCE
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.judge, self.tell, self.patience = judge, tell, patience
        self.answers: Counter[int] = Counter()  #: how many there were of each status
        self._ends: dict[socket.socket, float] = {}
        self._guard = Lock()
        super().__init__(address, _Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self.server_address[:2]
        host = host.decode() if isinstance(host, bytes | bytearray) else str(host)
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def server_bind(self) -> None:
        """Bind, without asking a name server for our own name as HTTPServer does."""
        super(ThreadingHTTPServer, self).server_bind()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def give_time(self, connection: socket.socket) -> None:
        """Give a connection its time, from now on."""
        with self._guard:
            self._ends[connection] = time.monotonic() + self.patience

    def record(self, answer: Answer, client: str) -> None:
        """Count an answer, and tell it."""
        with self._guard:
            self.answers[answer.status] += 1
        self.tell(f"{client} {answer.status} {answer.told}")

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for a connection, unless there are too many."""
        with self._guard:
            is_full = len(self._ends) >= MAX_CONNECTIONS
        if is_full:
            with suppress(OSError):
                request.send(_TOO_MANY, socket.MSG_DONTWAIT)
            self.shutdown_request(request)
            return
        self.give_time(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._guard:
            self._ends.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut off connections whose time is over; called at least twice a second."""
        now = time.monotonic()
        with self._guard:
            for connection in [each for each, end in self._ends.items() if end < now]:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)  # its thread reads or writes no more, and closes it

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Say what went wrong, but nothing of a client that went away."""
        problem = sys.exception()
        if not isinstance(problem, OSError):
            self.tell(f"error: {type(problem).__name__}: {problem}")


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.1"  # not 0.9, whose answers have no head
    server_version, sys_version = "alpha-db", ""
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        self.server.give_time(self.connection)
        super().handle_one_request()

    def do_POST(self) -> None:
        body = self._body()
        if isinstance(body, Answer):
            self.close_connection = True
            self._answer(body)
            self.rfile.read(_MAX_DROPPED)  # otherwise a client that is still sending might not get the answer
        elif self.path != PATH:
            self._answer(Answer(404, f"POST {PATH}\n", f"no such path: {self.path}"))
        else:
            try:
                answer = self.server.judge.add_checkpoint(body)
            except StateError as problem:
                answer = Answer(
                    500, "the witness cannot remember, so it does not cosign\n", f"error: {problem}"
                )
            except SignerError as problem:
                answer = Answer(500, "the key of the witness does not sign\n", f"error: {problem}")
            self._answer(answer)

    def _body(self) -> bytes | Answer:
        lengths = self.headers.get_all("Content-Length", [])
        if (
            self.headers.get("Transfer-Encoding")
            or len(lengths) != 1
            or not re.fullmatch("[0-9]{1,12}", lengths[0])
        ):
            return _bad("the request needs one Content-Length, and no Transfer-Encoding")
        length = int(lengths[0])
        if length > MAX_REQUEST:
            return _bad(f"a request has no more than {MAX_REQUEST:,} bytes")
        body = self.rfile.read(length)
        return body if len(body) == length else _bad("the request is cut short")

    def _answer(self, answer: Answer) -> None:
        data = answer.body.encode(errors="backslashreplace")
        self.server.record(answer, self.client_address[0])
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(data)))
        if answer.status == 405:
            self.send_header("Allow", "POST")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no HTTP, or another method, as everything else: in one line of text."""
        self.close_connection = True
        code = 405 if code == 501 else code
        self._answer(Answer(code, f"{message or explain or 'not possible'}\n", f"{message or explain}"))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: _answer has said it."""


def _bad(reason: str) -> Answer:
    return Answer(400, f"{reason}\n", reason)
