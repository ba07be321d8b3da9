"""Asking witnesses: those that cosign, those that refuse, and those that lie."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from alpha_db.evidence.offline_check import Policy, Witness, parse_policy, witnessed
from alpha_db.evidence.witness.ask import Finding, Result, ask, submit
from alpha_db.evidence.witness.http import MAX_ANSWER
from tests.witness.by_hand import LOG, OTHER, WITNESS, Log, Signer, b64
from tests.witness.running import Running, in_process, until

NOTE, TEXT = LOG.note(42), LOG.text(42)
FORK = Log(fork_at=30)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def policy_of(*urls: str | None, signers: Sequence[Signer] = (WITNESS, OTHER)) -> Policy:
    """A policy of witnesses at these places, all of which must sign."""
    names = [f"w{n}" for n in range(len(urls))]
    lines = [f"witness {name} {signers[n].vkey} {urls[n] or ''}" for n, name in enumerate(names)]
    lines += [f"group all-of-them all {' '.join(names)}", "quorum all-of-them"]
    return parse_policy("".join(f"{line}\n" for line in lines))


def the(url: str, signer: Signer = WITNESS) -> Witness:
    return policy_of(url, signers=[signer]).witnesses[0]


def no_proof(old: int, new: int) -> list[bytes]:
    raise AssertionError(f"nobody needs a proof from {old} to {new}")


class Proofs:
    """Proofs of a log, and which ones were asked for."""

    def __init__(self, log: Log = LOG) -> None:
        self.log, self.asked = log, list[tuple[int, int]]()

    def __call__(self, old: int, new: int) -> list[bytes]:
        self.asked.append((old, new))
        return self.log.proof(old, new)


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Running]:
    with in_process(tmp_path) as running:
        yield running


def holds(finding: Finding) -> None:
    assert finding.result is Result.COSIGNED, finding.detail
    assert finding.line
    policy = Policy((), (finding.witness,), (), finding.witness.name)
    assert witnessed(TEXT, [finding.line.removesuffix("\n")], policy).times == {
        finding.witness.name: finding.seconds
    }


def test_a_first_checkpoint_needs_no_proof(witness: Running) -> None:
    holds(submit(the(witness.url), NOTE, 0, no_proof))
    assert witness.size() == 42


def test_a_known_size_needs_one_request(witness: Running) -> None:
    witness.post(LOG.request(0, 30))
    proofs = Proofs()
    holds(submit(the(f"{witness.url}/"), NOTE, 30, proofs))
    assert proofs.asked == [(30, 42)]
    assert [line.split(" ")[1] for line in witness.told] == ["200", "200"]


@pytest.mark.parametrize("known", [0, 29, 41, 42, 50])
def test_another_size_is_taken_from_the_answer(witness: Running, known: int) -> None:
    witness.post(LOG.request(0, 30))
    proofs = Proofs()
    holds(submit(the(witness.url), NOTE, known, proofs))
    assert proofs.asked[-1] == (30, 42)
    assert [line.split(" ")[1] for line in witness.told] == ["200", "409", "200"]


def test_a_witness_that_was_killed_before_it_answered_is_asked_again(witness: Running) -> None:
    witness.post(LOG.request(0, 42))
    holds(submit(the(witness.url), NOTE, 0, no_proof))


def test_a_witness_that_cosigned_more_rows_is_evidence(witness: Running) -> None:
    witness.post(LOG.request(0, 50))
    finding = submit(the(witness.url), NOTE, 0, no_proof)
    assert (finding.result, finding.line) == (Result.FORK, None)
    assert "it cosigned size 50, and this checkpoint has only 42" in finding.detail


@pytest.mark.parametrize("size", [35, 42])
def test_a_witness_that_cosigned_the_other_branch_is_evidence(witness: Running, size: int) -> None:
    witness.post(FORK.request(0, size))
    for known in (0, size):
        finding = submit(the(witness.url), NOTE, known, LOG.proof)
        assert finding.result is Result.FORK
        assert ("another root of size 42" if size == 42 else "42 follows from size 35") in finding.detail


def test_a_witness_that_does_not_know_the_log_or_the_key(tmp_path: Path) -> None:
    stranger = Log("stranger.example/log")
    with in_process(tmp_path, [stranger]) as witness:
        assert submit(the(witness.url), NOTE, 0, no_proof).result is Result.REFUSED
        text = stranger.text(5)
        finding = submit(
            the(witness.url), f"{text}\n{Signer(stranger.name, 1, bytes(32)).line(text)}", 0, no_proof
        )
        assert (finding.result, finding.detail[:29]) == (Result.REFUSED, "it does not trust the key (40")


def test_a_witness_that_lost_its_memory_is_told(tmp_path: Path) -> None:
    with in_process(tmp_path) as witness:
        witness.post(LOG.request(0, 20))
        finding = submit(the(witness.url), NOTE, 30, LOG.proof)
    holds(finding)
    assert "It lost its memory: it cosigned size 30 before, and says now it was 20" in finding.detail


Script = Callable[[socket.socket, bytes], None]


@contextmanager
def server(script: Script) -> Iterator[tuple[str, list[bytes]]]:
    """A server that does with each connection what the script says; gives its URL, and the requests so far."""
    requests: list[bytes] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                Thread(target=one, args=(connection,), daemon=True).start()

        def one(connection: socket.socket) -> None:
            with connection:
                try:
                    data = connection.recv(65536)
                    while data and not _is_whole(data):
                        data += connection.recv(65536)
                    requests.append(data)
                    script(connection, data)
                except OSError:
                    pass  # nobody listens any more

        thread = Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", requests
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def _is_whole(data: bytes) -> bool:
    head, separator, body = data.partition(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        ),
        0,
    )
    return bool(separator) and len(body) >= length


def answer(status: int, body: str | bytes, *headers: str) -> Script:
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(data)}", "Connection: close", *headers, "", ""]
    return lambda connection, _request: connection.sendall("\r\n".join(lines).encode() + data)


def raw(data: bytes) -> Script:
    return lambda connection, _request: connection.sendall(data)


def endless(connection: socket.socket, _request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 300000000\r\n\r\n")
    for _ in range(300):
        connection.sendall(WITNESS.line(TEXT).encode() * 9000)


def endless_head(connection: socket.socket, _request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X: y\r\n" * 1000)


SIZE = "Content-Type: text/x.tlog.size"
LATER = int(time.time()) + 100_000
LIARS: dict[str, tuple[Script, Result, str]] = {
    "nothing": (answer(200, ""), Result.BAD_ANSWER, "no list of signatures"),
    "a page": (answer(200, "<html>\x1b[2JWelcome</html>"), Result.BAD_ANSWER, "\\u001b[2JWelcome"),
    "not UTF-8": (answer(200, b"\xff\xfe"), Result.BAD_ANSWER, "not UTF-8"),
    "another's signature": (
        answer(200, OTHER.line(TEXT)),
        Result.BAD_ANSWER,
        "is of its key",
    ),
    "the log's signature": (answer(200, LOG.key.line(TEXT)), Result.BAD_ANSWER, "is of its key"),
    "a signature of another text": (
        answer(200, WITNESS.line(LOG.text(41))),
        Result.BAD_ANSWER,
        "of this checkpoint",
    ),
    "a signature by another key": (
        answer(200, WITNESS.raw(Signer("x", 4).private.sign(TEXT.encode()))),
        Result.BAD_ANSWER,
        "of this checkpoint",
    ),
    "good and bad": (
        answer(200, WITNESS.line(TEXT) + WITNESS.line(LOG.text(41))),
        Result.BAD_ANSWER,
        "of this checkpoint",
    ),
    "a whole note": (answer(200, f"{NOTE}{WITNESS.line(TEXT)}"), Result.BAD_ANSWER, "no list of signatures"),
    "half a line": (answer(200, WITNESS.line(TEXT)[:-20]), Result.BAD_ANSWER, ""),
    "the second 0": (answer(200, WITNESS.line(TEXT, 0)), Result.BAD_ANSWER, "a time that cannot be: 1970"),
    "tomorrow": (answer(200, WITNESS.line(TEXT, LATER)), Result.BAD_ANSWER, "a time that cannot be"),
    "300 MB": (endless, Result.NOT_REACHED, f"more than {MAX_ANSWER:,} bytes"),
    "a redirect": (answer(302, "", "Location: http://127.0.0.1:1/"), Result.BAD_ANSWER, "it redirects"),
    "a lasting redirect": (
        answer(308, "", "Location: http://127.0.0.1:1/"),
        Result.BAD_ANSWER,
        "it redirects",
    ),
    "a redirect to a file": (
        answer(301, "", "Location: file:///etc/passwd"),
        Result.BAD_ANSWER,
        "it redirects",
    ),
    "no HTTP": (raw(b"220 mail.example ESMTP\r\n"), Result.NOT_REACHED, "not HTTP"),
    "it hangs up": (raw(b""), Result.NOT_REACHED, ""),
    "a head without an end": (endless_head, Result.NOT_REACHED, "not HTTP"),
    "a size that is none": (answer(409, "-1\n", SIZE), Result.BAD_ANSWER, "in its answer is none"),
    "a size of a million digits": (
        answer(409, "1" * 60_000, SIZE),
        Result.BAD_ANSWER,
        "in its answer is none",
    ),
    "a size with words": (
        answer(409, "42 rows\n", SIZE),
        Result.BAD_ANSWER,
        "in its answer is none",
    ),
    "always another size": (
        answer(409, "41\n", SIZE),
        Result.BAD_ANSWER,
        "it says that it cosigned size 41 last",
    ),
    "a size that is larger": (answer(409, "43\n", SIZE), Result.FORK, "is there a newer one elsewhere"),
    "a size as text": (answer(409, "41\n"), Result.FORK, "another root of size 42"),
    "busy": (answer(503, "later\n"), Result.NOT_REACHED, 'it cannot answer now (503): "later"'),
    "too often": (answer(429, ""), Result.NOT_REACHED, "it cannot answer now (429)"),
    "a password": (answer(401, ""), Result.BAD_ANSWER, "no witness answers 401"),
    "a teapot": (answer(418, ""), Result.BAD_ANSWER, "no witness answers 418"),
    "created": (answer(201, WITNESS.line(TEXT)), Result.BAD_ANSWER, "no witness answers 201"),
    "malformed": (answer(400, "no\n"), Result.REFUSED, 'the request is malformed (400): "no"'),
}


@pytest.mark.parametrize("name", LIARS)
def test_a_witness_that_lies_is_found_out(name: str) -> None:
    script, result, detail = LIARS[name]
    with server(script) as (url, requests):
        finding = submit(the(url), NOTE, 0, LOG.proof)
    assert (finding.result, finding.line, finding.seconds) == (result, None, None), finding.detail
    assert detail in finding.detail
    assert finding.detail.isprintable()
    assert len(finding.detail) < 500
    assert len(requests) <= 2


@pytest.mark.parametrize("known", [0, 42])
def test_another_root_of_the_same_size_may_be_told_with_the_size(known: int) -> None:
    """As some witnesses do, though the standard wants no size there."""
    with server(answer(409, "42\n", SIZE)) as (url, _):
        finding = submit(the(url), NOTE, known, no_proof)
    assert (finding.result, finding.detail) == (Result.FORK, 'it cosigned another root of size 42: "42"')


def test_a_redirect_is_not_followed() -> None:
    with server(answer(200, WITNESS.line(TEXT))) as (target, requests):
        for status in (301, 302, 303, 307, 308):
            with server(answer(status, "", f"Location: {target}/add-checkpoint")) as (url, _):
                assert submit(the(url), NOTE, 0, no_proof).result is Result.BAD_ANSWER
        assert requests == []


def test_signatures_of_others_are_not_kept() -> None:
    with server(answer(200, OTHER.line(TEXT) + WITNESS.line(TEXT) + OTHER.line(TEXT))) as (url, _):
        finding = submit(the(url), NOTE, 0, no_proof)
    assert finding.line == WITNESS.line(TEXT)


def test_what_is_sent_is_what_the_standard_says() -> None:
    with server(answer(200, WITNESS.line(TEXT))) as (url, requests):
        submit(the(f"{url}/prefix/"), NOTE, 30, LOG.proof)
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /prefix/add-checkpoint HTTP/1.1\r\n")
    proof = "".join(f"{b64(node)}\n" for node in LOG.proof(30, 42))
    assert body.decode() == f"old 30\n{proof}\n{NOTE}"


def hang(connection: socket.socket, _request: bytes) -> None:
    connection.recv(1)


def hang_in_the_middle(connection: socket.socket, _request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n\xe2\x80\x94 ")
    connection.recv(1)


def dribble(connection: socket.socket, _request: bytes) -> None:
    over = Event()
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not over.wait(0.02):  # a byte now and then, so that no single wait is long
        connection.sendall(b"x")


@pytest.mark.parametrize("script", [hang, hang_in_the_middle, dribble])
def test_a_witness_that_hangs_holds_nobody_up(script: Script) -> None:
    begin = time.monotonic()
    with server(script) as (url, _):
        finding = submit(the(url), NOTE, 0, no_proof, timeout=0.5)
    assert finding.result is Result.NOT_REACHED
    assert "time" in finding.detail or "within" in finding.detail
    assert time.monotonic() - begin < 10


def test_all_are_asked_at_once(tmp_path: Path) -> None:
    """One that hangs holds up no other; what its own time costs is tested above."""
    arrived, over = Event(), Event()

    def wait(connection: socket.socket, request: bytes) -> None:
        del connection, request
        arrived.set()
        over.wait(60)

    with in_process(tmp_path) as good, server(wait) as (url, _):
        found: list[Finding] = []
        policy = policy_of(url, good.url, signers=[OTHER, WITNESS])
        thread = Thread(target=lambda: found.extend(ask(NOTE, policy, no_proof, timeout=60)))
        thread.start()
        assert arrived.wait(30)
        until(lambda: good.size() == 42, "the other one has cosigned")
        assert thread.is_alive(), "the first is still waited for"
        over.set()
        thread.join()
    assert [finding.result for finding in found] == [Result.NOT_REACHED, Result.COSIGNED]


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "127.0.0.1:80",
        "http://",
        "http://[::1",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:port/",
        "http://x\x85y/",
        f"http://{'x' * 300}.example/",
    ],
)
def test_a_url_that_is_none_reaches_nobody(url: str) -> None:
    finding = submit(the(url), NOTE, 0, no_proof, timeout=10)
    assert finding.result is Result.NOT_REACHED
    assert finding.detail.isprintable()


def test_a_witness_that_is_not_there() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    finding = submit(the(f"http://127.0.0.1:{port}"), NOTE, 0, no_proof)
    assert (finding.result, finding.detail) == (Result.NOT_REACHED, "Connection refused")


def test_a_connection_that_is_reset() -> None:
    def reset(connection: socket.socket, _request: bytes) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with server(reset) as (url, _):
        assert submit(the(url), NOTE, 0, no_proof).result is Result.NOT_REACHED


def test_a_witness_without_a_url_is_not_asked(witness: Running) -> None:
    findings = ask(NOTE, policy_of(None, witness.url, signers=[OTHER, WITNESS]), no_proof)
    assert [finding.witness.name for finding in findings] == ["w1"]


def test_an_error_of_the_database_is_not_swallowed(witness: Running) -> None:
    witness.post(LOG.request(0, 30))

    def broken(_old: int, _new: int) -> list[bytes]:
        raise LookupError("the row is missing")

    with pytest.raises(LookupError):
        submit(the(witness.url), NOTE, 0, broken)


def test_the_note_that_is_sent_may_have_cosignatures_already(witness: Running) -> None:
    holds(submit(the(witness.url), f"{NOTE}{OTHER.line(TEXT)}", 0, no_proof))
    assert json.loads(witness.state.read_text(encoding="utf-8"))["forks"] == {}
