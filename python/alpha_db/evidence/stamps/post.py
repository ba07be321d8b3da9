"""One HTTP request to somebody who may be slow, broken or hostile: bounded in time and size, without redirects."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from alpha_db.cli.output import clean
from alpha_db.errors import AlphaDbError, ValueRefused, shorten, squeeze

_CHUNK = 1 << 16


class NoAnswer(AlphaDbError):  # noqa: N818
    """A server could not be asked, or its answer cannot be used."""


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    content_type: str
    body: bytes


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:
        """Follow none: urllib then gives the answer as it is."""


def check_url(url: str) -> str:
    """Return a URL that a request can be sent to. Raises ValueRefused for another one."""
    try:
        parts = urlsplit(url)
        is_fit = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        is_fit = is_fit and parts.port != 0 and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        is_fit = False
    if not is_fit:
        raise ValueRefused(
            "not a URL such as https://tsa.example/tsr", hint="name no user and no password in it"
        )
    return url


def post(url: str, body: bytes, content_type: str, *, timeout: float, limit: int) -> Answer:
    """Send a POST request and return the answer, whatever its status but a redirect.

    Takes for how many seconds to wait for all of the answer, and how many bytes it may have. A proxy that the
    environment names (https_proxy) is used. Raises NoAnswer.
    """
    check_url(url)
    found: list[Answer | Exception] = []

    def ask() -> None:
        try:
            found.append(_ask(url, body, content_type, timeout, limit))
        except Exception as problem:  # told by the caller, in the other thread
            found.append(problem)

    # A thread, because resolving a name cannot be interrupted, and a server may send its headers byte by byte.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    answer = found[0] if found else TimeoutError()
    if isinstance(answer, Answer):
        return answer
    if isinstance(answer, NoAnswer):
        raise answer
    reason = getattr(answer, "reason", answer)
    if isinstance(reason, TimeoutError):
        raise NoAnswer(f"{url} did not answer within {timeout:g} s", hint="--timeout SECONDS")
    said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    raise NoAnswer(f"{url} cannot be asked: {clean(shorten(squeeze(said), 200))}")


def _ask(url: str, body: bytes, content_type: str, timeout: float, limit: int) -> Answer:
    end = time.monotonic() + timeout
    opener = urllib.request.build_opener(_NoRedirects)
    request = urllib.request.Request(url, body, {"Content-Type": content_type}, method="POST")
    try:
        response: http.client.HTTPResponse = opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as problem:
        response = problem  # type: ignore[assignment]  # it is an answer, too
    with response:
        if 300 <= response.status < 400:
            raise NoAnswer(f"{url} answers with a redirect, which is not followed", hint="name the final URL")
        data = bytearray()
        while len(data) <= limit and (more := response.read(min(_CHUNK, limit + 1 - len(data)))):
            data += more
            if time.monotonic() > end:
                raise TimeoutError
        if len(data) > limit:
            raise NoAnswer(f"{url} answers with more than {limit:,} bytes")
        return Answer(response.status, response.headers.get("Content-Type", ""), bytes(data))
