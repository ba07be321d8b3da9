"""Asking many HTTP servers that nobody trusts: at once, within limits of time and size, following no redirect."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import urlsplit

#: Of an answer, in bytes: a witness may sign with several keys.
MAX_ANSWER = 1 << 16


class Reply(NamedTuple):
    """What a server answered."""

    status: int
    content_type: str
    body: bytes


class NoReply(Exception):  # noqa: N818
    """A server did not answer, or not as one can use it; the message says what happened."""


def post_all(requests: Sequence[tuple[str, bytes]], timeout: float) -> list[Reply | NoReply]:
    """Send each body to its URL, all at once, and return what came of each within so many seconds."""
    replies: list[Reply | NoReply] = [NoReply(f"no whole answer within {timeout:g} s")] * len(requests)
    end = time.monotonic() + timeout

    def ask(number: int, url: str, body: bytes) -> None:
        replies[number] = _post(url, body, timeout, end)

    # A thread can hang in a name server or in a server that sends a byte a minute; then nobody waits for it.
    threads = [Thread(target=ask, args=(n, *request), daemon=True) for n, request in enumerate(requests)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return list(replies)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:
        """Follow nothing: whoever is asked was named by the policy."""


def _post(url: str, body: bytes, timeout: float, end: float) -> Reply | NoReply:
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:  # urllib would read a file: as well
            return NoReply("its URL is not http://HOST or https://HOST")
        _ = parts.port  # raises ValueError for one that is none
        request = urllib.request.Request(url, body, {"Content-Type": "text/plain; charset=utf-8"})
        try:
            response = urllib.request.build_opener(_NoRedirects()).open(request, timeout=timeout)
        except urllib.error.HTTPError as answered:
            response = answered
        with response:
            return Reply(response.status, response.headers.get("Content-Type", ""), _read(response, end))
    except NoReply as problem:
        return problem
    except urllib.error.URLError as problem:
        return NoReply(_reason(problem.reason))
    except OSError as problem:
        return NoReply(_reason(problem))
    except (HTTPException, ValueError) as problem:
        return NoReply(f"what it sends is not HTTP, or its URL is none: {type(problem).__name__}")


def _read(response: Any, end: float) -> bytes:
    data = bytearray()
    while more := response.read1(MAX_ANSWER):
        data += more
        if len(data) > MAX_ANSWER:
            raise NoReply(f"its answer has more than {MAX_ANSWER:,} bytes")
        if time.monotonic() > end:
            raise NoReply("its answer did not end in time")
    return bytes(data)


def _reason(problem: object) -> str:
    if isinstance(problem, TimeoutError | socket.timeout):
        return "no whole answer in time"
    return (problem.strerror if isinstance(problem, OSError) else None) or f"it cannot be reached: {problem}"
