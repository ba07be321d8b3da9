"""Time-stamps of an authority of our own: those that hold, and every kind that does not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from alpha_db.errors import ExtraMissing, ValueRefused
from alpha_db.evidence.offline_check import NotThere, Refused, Unreadable
from alpha_db.evidence.stamps.post import NoAnswer, check_url, post
from alpha_db.evidence.stamps.stamp import MAX_STAMP, stamp, verify_stamp
from tests.stamps.authority import QUERY, REPLY, Authority, Handler, answers, openssl, serve

pytestmark = pytest.mark.any_server

NOTE = b"alpha-db/6f1c/checkpoint_runs\n3\nAAAA\n\n\xe2\x80\x94 desk AAAA\n"
OTHER = b"something else"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "another root")


def by(authority: Authority, change: Callable[[bytes], bytes] = lambda query: query) -> Handler:
    """The honest authority; but of another query, if one is made of what it was sent."""
    return lambda request, query: answers(authority.reply(change(query)))(request, query)


@pytest.mark.parametrize("is_trusted", [True, False])
def test_it_holds(authority: Authority, is_trusted: bool) -> None:
    ca = authority.ca if is_trusted else None
    with serve(by(authority)) as served:
        found = stamp(NOTE, served.url, ca_file=ca)
    ((path, kind, query),) = served.requests
    assert (path, kind) == ("/tsr", QUERY)
    assert sha256(NOTE).digest() in query
    assert NOTE not in query
    assert abs(found.time - datetime.now(UTC)) < timedelta(hours=1)
    assert verify_stamp(NOTE, found.response, ca) == found.time


def test_openssl_alone_agrees(authority: Authority, tmp_path: Path) -> None:
    with serve(by(authority)) as served:
        found = stamp(NOTE, served.url)
    (tmp_path / "checkpoint.note").write_bytes(NOTE)
    (tmp_path / "stamp-1.tsr").write_bytes(found.response)
    command = (
        "ts",
        "-verify",
        "-data",
        "checkpoint.note",
        "-in",
        "stamp-1.tsr",
        "-CAfile",
        str(authority.ca),
    )
    assert "Verification: OK" in openssl(tmp_path, *command).stdout
    (tmp_path / "checkpoint.note").write_bytes(OTHER)
    assert openssl(tmp_path, *command).returncode == 1


#: What a dishonest or broken authority does with a query, and what is said of it.
LIES: dict[str, tuple[Callable[[Authority, bytes], bytes], str]] = {
    "another nonce": (lambda tsa, _: tsa.reply(tsa.query(NOTE, "-sha256")), "nonce mismatch"),
    "no nonce": (lambda tsa, _: tsa.reply(tsa.query(NOTE, "-sha256", "-no_nonce")), "nonce"),
    "another imprint": (
        lambda tsa, query: tsa.reply(query.replace(sha256(NOTE).digest(), sha256(OTHER).digest())),
        "message imprint mismatch",
    ),
    "an expired certificate": (
        lambda tsa, query: tsa.signed_again(tsa.reply(query), "expired"),
        "certificate has expired",
    ),
    "a certificate that is not for time-stamps": (
        lambda tsa, query: tsa.signed_again(tsa.reply(query), "unfit"),
        "unsuitable certificate purpose|unsupported certificate purpose",
    ),
}


@pytest.mark.parametrize("is_trusted", [True, False])
@pytest.mark.parametrize("lie", LIES)
def test_it_does_not_hold(authority: Authority, lie: str, is_trusted: bool) -> None:
    make, said = LIES[lie]
    with (
        serve(lambda request, query: answers(make(authority, query))(request, query)) as served,
        pytest.raises(Refused, match=f"the time-stamp does not hold: .*({said})"),
    ):
        stamp(NOTE, served.url, ca_file=authority.ca if is_trusted else None)


def test_a_response_that_is_signed_again_by_the_right_certificate_holds(authority: Authority) -> None:
    """So that the tests above fail for the reason that they name."""
    again = authority.signed_again(authority.reply(authority.query(NOTE, "-sha256")), "good")
    assert verify_stamp(NOTE, again, authority.ca)


def test_a_certificate_counts_at_the_time_of_the_stamp(authority: Authority) -> None:
    """One that has expired since says nothing against it; one that was not valid yet does."""
    response = authority.reply(authority.query(NOTE, "-sha256"))
    time = verify_stamp(NOTE, authority.signed_again(response, "expired", days=-3), authority.ca)
    assert timedelta(days=2) < datetime.now(UTC) - time < timedelta(days=4)
    with pytest.raises(Refused, match="certificate is not yet valid"):
        verify_stamp(NOTE, authority.signed_again(response, "good", days=-7), authority.ca)


def test_an_authority_that_is_not_trusted(authority: Authority, stranger: Authority) -> None:
    with serve(by(stranger)) as served:
        found = stamp(NOTE, served.url)
        with pytest.raises(Refused, match="certificate verify error"):
            stamp(NOTE, served.url, ca_file=authority.ca)
    with pytest.raises(Refused, match="certificate verify error"):
        verify_stamp(NOTE, found.response, authority.ca)


def test_of_other_bytes(authority: Authority) -> None:
    response = authority.reply(authority.query(NOTE, "-sha256"))
    with pytest.raises(Refused, match="message imprint mismatch"):
        verify_stamp(OTHER, response, authority.ca)


def test_every_change_of_a_response_is_found(authority: Authority) -> None:
    """Of the bytes that say anything: a bit of each 40th is turned."""
    response = authority.reply(authority.query(NOTE, "-sha256"))
    held = 0
    for place in range(0, len(response), 40):
        changed = bytearray(response)
        changed[place] ^= 1
        try:
            verify_stamp(NOTE, bytes(changed), authority.ca)
            held += 1
        except (Refused, Unreadable):
            pass
    # the root's own certificate stands in the response too, where nobody needs it
    assert held < len(response) / 40 / 2


def test_a_refused_request(authority: Authority) -> None:
    with (
        serve(
            lambda request, _: answers(authority.reply(authority.query(NOTE, "-sha512")))(request, b"")
        ) as served,
        pytest.raises(
            NoAnswer, match=r"the authority refused the request: Rejected\., Message digest algorithm"
        ),
    ):
        stamp(NOTE, served.url)
    with pytest.raises(Unreadable, match="refused the request"):
        verify_stamp(NOTE, authority.reply(authority.query(NOTE, "-sha512")))


GARBAGE = {
    "nothing": b"",
    "a page": b"<html>no</html>",
    "zeros": bytes(5000),
    "a sequence": b"\x30\x03\x02\x01\x00",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage(name: str) -> None:
    with (
        serve(answers(GARBAGE[name], content_type="text/html")) as served,
        pytest.raises(NoAnswer, match=r"(no time-stamp response|refused).*the answer is text/html"),
    ):
        stamp(NOTE, served.url)
    with pytest.raises(Unreadable):
        verify_stamp(NOTE, GARBAGE[name])


def test_a_response_that_is_cut_short(authority: Authority) -> None:
    response = authority.reply(authority.query(NOTE, "-sha256"))
    for length in range(0, len(response), 100):
        with pytest.raises(Unreadable):
            verify_stamp(NOTE, response[:length], authority.ca)


def test_a_response_that_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(Unreadable, match="longer than"):
        verify_stamp(NOTE, bytes(MAX_STAMP + 1))


def endless(sent: list[int]) -> Handler:
    """300 MB, or as many as the client takes."""

    def handle(request: BaseHTTPRequestHandler, _query: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Type", REPLY)
        request.end_headers()
        for _ in range(300):
            request.wfile.write(bytes(1_000_000))
            sent.append(1)
        request.close_connection = True

    return handle


def test_an_answer_of_300_megabytes() -> None:
    sent: list[int] = []
    with serve(endless(sent)) as served, pytest.raises(NoAnswer, match="more than 200,000 bytes"):
        stamp(NOTE, served.url)
    assert len(sent) < 100


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What a server waits for that hangs."""
    event = threading.Event()
    yield event
    event.set()


def hangs(release: threading.Event) -> Handler:
    def handle(_request: BaseHTTPRequestHandler, _query: bytes) -> None:
        release.wait()

    return handle


def drips(release: threading.Event) -> Handler:
    """A header, a byte at a time, for ever."""

    def handle(request: BaseHTTPRequestHandler, _query: bytes) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not release.wait(0.01):
            request.wfile.write(b"x")

    return handle


@pytest.mark.parametrize("kind", [hangs, drips])
def test_an_answer_that_does_not_come(
    kind: Callable[[threading.Event], Handler], release: threading.Event
) -> None:
    with serve(kind(release)) as served:
        try:
            with pytest.raises(NoAnswer, match=r"did not answer within 0\.2 s"):
                stamp(NOTE, served.url, timeout=0.2)
        finally:
            release.set()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(authority: Authority, status: int) -> None:
    with serve(by(authority)) as target:

        def handle(request: BaseHTTPRequestHandler, _query: bytes) -> None:
            request.send_response(status)
            request.send_header("Location", target.url)
            request.send_header("Content-Length", "0")
            request.end_headers()

        with serve(handle) as served, pytest.raises(NoAnswer, match="a redirect, which is not followed"):
            stamp(NOTE, served.url)
        assert len(served.requests) == 1
        assert target.requests == []


@pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
def test_another_status(authority: Authority, status: int) -> None:
    with (
        serve(lambda request, query: answers(authority.reply(query), status)(request, query)) as served,
        pytest.raises(NoAnswer, match=f"the HTTP status {status}"),
    ):
        stamp(NOTE, served.url)


def test_nobody_is_there() -> None:
    with serve(answers(b"")) as served:
        url = served.url
    with pytest.raises(NoAnswer, match="cannot be asked: Connection refused"):
        stamp(NOTE, url)


def test_what_is_no_http() -> None:
    def handle(request: BaseHTTPRequestHandler, _query: bytes) -> None:
        request.wfile.write(b"\x1b[31mSSH-2.0\r\n")
        request.close_connection = True

    with serve(handle) as served, pytest.raises(NoAnswer, match="cannot be asked") as found:
        post(served.url, b"", QUERY, timeout=5, limit=10)
    assert "\x1b" not in str(found.value)


@pytest.mark.parametrize(
    "url",
    ["", "tsa.example/tsr", "ftp://tsa.example/", "file:///etc/passwd", "http://", "http://user:word@tsa.example/",
     "http://tsa.example:99999/", "http://tsa.example/\r\nX: y", "http://tsa.example/a b", "https://ünï.example/",
     "http://[::1", "data:,x"],
)  # fmt: skip
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueRefused, match="not a URL"):
        check_url(url)


CERTIFICATES: dict[str, tuple[bytes | None, type[Exception]]] = {
    "are not there": (None, NotThere),
    "are none": (b"x", Unreadable),
    "are empty": (b"", Unreadable),
    "are broken": (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", Unreadable),
    "are no text": (b"\xff\xfe\x00", Unreadable),
    "are too many": (b"x" * 2_000_000, Unreadable),
}


@pytest.mark.parametrize("name", CERTIFICATES)
def test_certificates_that(authority: Authority, tmp_path: Path, name: str) -> None:
    text, error = CERTIFICATES[name]
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_bytes(text)
    response = authority.reply(authority.query(NOTE, "-sha256"))
    with pytest.raises(error, match=r"ca\.pem"):
        verify_stamp(NOTE, response, file)


def test_without_openssl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExtraMissing, match="this needs the program openssl"):
        verify_stamp(NOTE, b"")
