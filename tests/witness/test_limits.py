"""What a witness does with clients that are slow, large, many, or speak no HTTP."""

from __future__ import annotations

import re
import select
import socket
import time
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

import pytest

from alpha_db.evidence.witness.request import MAX_REQUEST
from alpha_db.service.bounded import MAX_CONNECTIONS
from tests.witness.by_hand import LOG, Signer, request
from tests.witness.running import Running, answered, exchange, in_process, received, until

BODY = LOG.request(0, 5)


def status_of(data: bytes) -> int:
    found = re.match(rb"HTTP/1\.1 ([0-9]{3}) ", data)
    assert found, data[:100]
    return int(found[1])


def head(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def test_one_connection_serves_many_requests(tmp_path: Path) -> None:
    with in_process(tmp_path) as witness:
        connection = HTTPConnection("127.0.0.1", witness.port, timeout=30)
        for old, size, status in ((0, 5, 200), (4, 6, 409), (5, 6, 200), (6, 6, 200)):
            connection.request("POST", "/add-checkpoint", LOG.request(old, size))
            assert answered(connection).status == status
        connection.close()


POST = "POST /add-checkpoint HTTP/1.1"
ODD = {
    "no length": (head(POST) + BODY, 400),
    "two lengths": (head(POST, f"Content-Length: {len(BODY)}", "Content-Length: 3") + BODY, 400),
    "a negative length": (head(POST, "Content-Length: -1") + BODY, 400),
    "a length with a sign": (head(POST, f"Content-Length: +{len(BODY)}") + BODY, 400),
    "a length of other digits": (head(POST, "Content-Length: \u0665") + BODY, 400),
    "a length of a thousand digits": (head(POST, f"Content-Length: {'9' * 1000}") + BODY, 400),
    "in chunks": (head(POST, "Transfer-Encoding: chunked") + b"5\r\nold 0\r\n0\r\n\r\n", 400),
    "in chunks and with a length": (
        head(POST, f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked") + BODY,
        400,
    ),
    "larger than a request": (head(POST, f"Content-Length: {MAX_REQUEST + 1}") + bytes(MAX_REQUEST + 1), 400),
    "much larger": (head(POST, "Content-Length: 300000000") + bytes(2_000_000), 400),
    "cut short": (head(POST, f"Content-Length: {len(BODY) + 1}") + BODY, 400),
    "GET": (head("GET /add-checkpoint HTTP/1.1"), 405),
    "HEAD": (head("HEAD / HTTP/1.1"), 405),
    "PUT": (head("PUT /add-checkpoint HTTP/1.1", f"Content-Length: {len(BODY)}") + BODY, 405),
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "a long first line": (b"POST /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", 414),
    "a long header": (head(POST, f"X: {'x' * 100_000}"), 431),
    "many headers": (head(POST, *(f"X{n}: y" for n in range(1000))), 431),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_request_is_answered_and_cosigns_nothing(tmp_path: Path, name: str) -> None:
    data, status = ODD[name]
    with in_process(tmp_path) as witness:
        answer = exchange(witness.port, data)
        assert status_of(answer) == status
        assert answer.count(b"HTTP/1.1") == 1, "what stands behind it is no second request"
        assert witness.size() == 0
        assert witness.post(BODY).status == 200


def test_sixteen_large_signatures_fit_and_a_hundred_do_not(tmp_path: Path) -> None:
    """Those of ML-DSA-44, which a witness passes over; the whole is well-formed and signed."""
    large = Signer("pq.example", 6).raw(bytes(8 + 2420))
    with in_process(tmp_path) as witness:
        refused = witness.post(request(0, [], LOG.note(5) + large * 45))
        assert (refused.status, "no more than" in refused.body) == (400, True)
        assert witness.post(request(0, [], LOG.note(5) + large * 16)).status == 200


def test_each_request_of_a_connection_has_its_own_time(tmp_path: Path) -> None:
    with in_process(tmp_path, patience=0.3) as witness:
        connection = HTTPConnection("127.0.0.1", witness.port, timeout=30)
        connection.auto_open = 0
        connection.connect()
        end = time.monotonic() + 1
        while time.monotonic() < end:
            connection.request("POST", "/add-checkpoint", LOG.request(7, 8))
            assert answered(connection).status == 409
        connection.close()


def test_a_client_that_is_only_told_to_wait_sends_its_body(tmp_path: Path) -> None:
    with in_process(tmp_path) as witness, socket.create_connection(("127.0.0.1", witness.port)) as connection:
        connection.sendall(
            head(POST, f"Content-Length: {len(BODY)}", "Expect: 100-continue", "Connection: close")
        )
        assert status_of(connection.recv(1000)) == 100
        connection.sendall(BODY)
        assert status_of(received(connection)) == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /add-",
        head(POST, "Content-Length: 1000")[:-2],
        head(POST, "Content-Length: 1000") + b"old 0\n",
    ],
    ids=["nothing", "half a line", "half a head", "half a body"],
)
def test_a_client_that_stops_is_cut_off(tmp_path: Path, sent: bytes) -> None:
    with in_process(tmp_path, patience=0.2) as witness:
        with socket.create_connection(("127.0.0.1", witness.port), timeout=30) as connection:
            connection.sendall(sent)
            received(connection)  # ends when the witness closes
        assert witness.post(BODY).status == 200


def test_a_client_that_sends_a_byte_now_and_then_is_cut_off(tmp_path: Path) -> None:
    with in_process(tmp_path, patience=0.5) as witness:
        with socket.create_connection(("127.0.0.1", witness.port), timeout=30) as connection:
            connection.sendall(head(POST, f"Content-Length: {MAX_REQUEST}"))
            sent = 0
            while not select.select([connection], [], [], 0.02)[0]:
                connection.send(b"x")
                sent += 1
                assert sent < 1000, "it has the time of one request, however often it sends"
        assert sent > 1
        assert witness.post(BODY).status == 200


def test_a_client_too_many_is_told_so(tmp_path: Path) -> None:
    with in_process(tmp_path) as witness:
        with ExitStack() as stack:
            for _ in range(MAX_CONNECTIONS):
                stack.enter_context(socket.create_connection(("127.0.0.1", witness.port)))
            with socket.create_connection(("127.0.0.1", witness.port), timeout=30) as one_more:
                assert status_of(received(one_more)) == 503
        until(lambda: _is_answered(witness), "the others have gone")


def _is_answered(witness: Running) -> bool:
    try:
        return witness.post(request(0, [], LOG.note(5))).status in (200, 409)
    except ConnectionError:
        return False
