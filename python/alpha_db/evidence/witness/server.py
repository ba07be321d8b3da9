"""The HTTP side of a witness: POST /add-checkpoint, within limits of size, time and number.

Source: c2sp.org/tlog-witness.

Every request that is not well-formed is answered with 400, another path with 404, another method with 405. If the
state cannot be written, the answer is 500, and nothing was cosigned.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from alpha_db.evidence.witness.judge import Answer, Judge
from alpha_db.evidence.witness.request import MAX_REQUEST, PATH
from alpha_db.evidence.witness.state import StateError
from alpha_db.security.signer import SignerError
from alpha_db.service.bounded import PATIENCE, BoundedServer

#: Of a body that is too large, how many bytes are read all the same.
_MAX_DROPPED = 1 << 20

Tell = Callable[[str], None]


class WitnessServer(BoundedServer):
    """Answers requests, and counts its answers."""

    def __init__(
        self, address: tuple[str, int], judge: Judge, tell: Tell, patience: float = PATIENCE
    ) -> None:
        self.judge = judge
        self.answers: Counter[int] = Counter()  #: how many there were of each status
        super().__init__(address, _Handler, tell, patience)

    def record(self, answer: Answer, client: str) -> None:
        """Count an answer, and tell it."""
        with self.guard:
            self.answers[answer.status] += 1
        self.tell(f"{client} {answer.status} {answer.told}")


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
