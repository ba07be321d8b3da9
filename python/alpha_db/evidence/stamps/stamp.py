"""Time-stamps: asked of an authority, checked by the program openssl. Source: RFC 3161.

A time-stamp says: these bytes existed at this time. It is signed by the authority, whose clock and key are trusted. The
program checks the status, the SHA-256 of the bytes, the nonce, the signature, and that the certificate is one for
time-stamps (`openssl ts -verify`), so that nothing of this is written a second time here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from cryptography import x509

from alpha_db.cli.output import clean
from alpha_db.errors import ExtraMissing, shorten
from alpha_db.evidence.offline_check import MAX_NOTE, NotThere, Refused, Unreadable, read_text
from alpha_db.evidence.stamps.post import NoAnswer, post

MAX_STAMP = 200_000  #: of a response, in bytes; they have some 5,000
_QUERY, _REPLY = "application/timestamp-query", "application/timestamp-reply"
_SECONDS = 30.0  #: that the program may take
_TIME = re.compile(
    r"^Time stamp: ([A-Z][a-z]{2}) +(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.\d+)? (\d{4}) GMT$",
    re.MULTILINE | re.ASCII,
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STATUS = re.compile(r"^(?:Status|Status description|Failure info): (?!unspecified$)(.+)$", re.MULTILINE)


class Stamp(NamedTuple):
    """A response as it is kept, and the time that it states."""

    response: bytes
    time: datetime


def stamp(data: bytes, url: str, *, ca_file: Path | None = None, timeout: float = 30) -> Stamp:
    """Have a time-stamping authority stamp these bytes: only their SHA-256 is sent.

    Takes a file of certificates that are trusted to have issued the authority's; without one, the signature is checked
    against the certificate in the answer, and not whose that is. Raises NoAnswer if no time-stamp can be had, Refused
    if the answer does not hold, Unreadable or NotThere for the certificates, ExtraMissing without the program.
    """
    with TemporaryDirectory() as name:
        work = _Work(Path(name), data, ca_file)
        work.run("-query", "-data", "data", "-sha256", "-cert", "-out", "query")
        query = (work.folder / "query").read_bytes()
        answer = post(url, query, _QUERY, timeout=timeout, limit=MAX_STAMP)
        if answer.status != 200:
            raise NoAnswer(f"{url} answers with the HTTP status {answer.status}")
        try:
            time = work.check(answer.body, "-queryfile", "query")
        except Unreadable as problem:
            raise NoAnswer(
                f"{url}: {problem}; the answer is {shorten(clean(answer.content_type)) or 'of no type'}"
            ) from None
        return Stamp(answer.body, time)


def verify_stamp(data: bytes, response: bytes, ca_file: Path | None = None) -> datetime:
    """Return the time at which an authority says that these bytes existed.

    Certificates must have been valid at that time. Raises as stamp() does, and Unreadable for what is no
    time-stamp.
    """
    if len(response) > MAX_STAMP:
        raise Unreadable(f"it is longer than {MAX_STAMP:,} bytes")
    with TemporaryDirectory() as name:
        return _Work(Path(name), data, ca_file).check(response, "-data", "data")


class _Work:
    """A directory in which the program finds what it is asked about."""

    def __init__(self, folder: Path, data: bytes, ca_file: Path | None) -> None:
        program = shutil.which("openssl")
        if program is None:
            raise ExtraMissing("this needs the program openssl", hint="install it: apt-get install openssl")
        self.folder, self._program, self._is_trusted = folder, program, ca_file is not None
        (folder / "data").write_bytes(data)
        if ca_file is not None:
            (folder / "trusted").write_text(certificates(ca_file), encoding="utf-8")

    def check(self, response: bytes, *subject: str) -> datetime:
        """Return the time of a response that holds for the subject, the query or the data."""
        (self.folder / "response").write_bytes(response)
        if self._say("ts", "-reply", "-in", "response", "-token_out", "-out", "token").returncode:
            raise self._no_token()
        text = self._say("ts", "-reply", "-in", "token", "-token_in", "-text").stdout
        time = _time_in(text)
        if not self._is_trusted:
            self._say("pkcs7", "-inform", "DER", "-in", "token", "-print_certs", "-out", "trusted")
        # at the time of the stamp: a certificate that has expired since says nothing against it
        at = ("-attime", str(int(time.timestamp())), "-CAfile", "trusted", "-partial_chain")
        done = self._say("ts", "-verify", *subject, "-in", "response", *at)
        if done.returncode:
            raise Refused(f"the time-stamp does not hold: {_reason(done.stderr)}")
        return time

    def run(self, *arguments: str) -> None:
        """Have openssl ts do something that cannot fail. Raises Unreadable if it does."""
        done = self._say("ts", *arguments)
        if done.returncode:
            raise Unreadable(f"openssl ts {arguments[0]} fails: {_reason(done.stderr)}")

    def _no_token(self) -> Unreadable:
        """What to say of a response without a time-stamp in it."""
        told = self._say("ts", "-reply", "-in", "response", "-text")
        if told.returncode:
            return Unreadable("it is no time-stamp response")
        said = clean(", ".join(_STATUS.findall(told.stdout)))
        return Unreadable(f"the authority refused the request: {shorten(said, 200)}")

    def _say(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [self._program, *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="backslashreplace",
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise ExtraMissing(f"openssl cannot be run: {clean(problem)}") from None


def certificates(ca_file: Path) -> str:
    """Return the text of a file of certificates. Raises NotThere, Unreadable."""
    try:
        text = read_text(ca_file, MAX_NOTE)
    except (NotThere, Unreadable) as problem:
        raise type(problem)(f"{ca_file}: {problem}") from None
    try:
        x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise Unreadable(f"{ca_file}: there is no certificate in it (PEM), or a broken one") from None
    return text


def _time_in(text: str) -> datetime:
    found = _TIME.search(text)
    try:
        month, day, hour, minute, second, year = found.groups() if found else ("",) * 6
        at = (int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second))
        return datetime(*at, tzinfo=UTC)
    except ValueError:
        raise Unreadable("the time-stamp states no time") from None


def _reason(errors: str) -> str:
    """What openssl says is wrong, without where in its sources that was found."""
    for line in errors.splitlines():
        _, *parts = line.split(":", 8)  # error, code, library, function, reason, file, line, more
        if len(parts) >= 7 and parts[0] == "error":
            return clean(shorten(": ".join(part for part in (parts[4], *parts[7:]) if part), 200))
    return "openssl does not say why"
