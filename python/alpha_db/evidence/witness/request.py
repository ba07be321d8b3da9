"""What a log sends to a witness: `old SIZE`, the consistency proof, an empty line, the note.

Source: c2sp.org/tlog-witness, add-checkpoint.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import NamedTuple

from alpha_db.evidence.offline_check import Unreadable

#: The path behind a witness's URL.
PATH = "/add-checkpoint"
#: Of a request, in bytes. A note must be able to carry 16 signatures, and those of ML-DSA have 3,300 bytes as text.
MAX_REQUEST = 1 << 17
#: Of a proof, in hashes: no log has more rows than 2 to the 63rd.
MAX_PROOF = 63
#: The content type of an answer that says how large the log was when it was cosigned last.
SIZE_TYPE = "text/x.tlog.size"

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_MAX_SIZE = 1 << 63


class Head(NamedTuple):
    """What a checkpoint says of a log: the first three lines of the note's text."""

    origin: str
    size: int
    root: bytes


class Request(NamedTuple):
    """A checkpoint that a witness is to cosign."""

    old: int  #: the size that it cosigned last
    proof: list[bytes]  #: that this is the beginning of the log now
    note: str


def parse_size(text: str) -> int:
    """Return the size of a log, written as the formats want it. Raises Unreadable."""
    size = int(text) if _SIZE.fullmatch(text) else _MAX_SIZE
    if size >= _MAX_SIZE:
        raise Unreadable("the size of a log is not a decimal number of at most 63 bits")
    return size


def parse_head(text: str) -> Head:
    """Return what a checkpoint says, from the text of its note; other lines below are allowed. Raises Unreadable."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(lines):
        raise Unreadable("the note is not a checkpoint: origin, size, root")
    return Head(lines[0], parse_size(lines[1]), _hash(lines[2]))


def parse_request(body: bytes) -> Request:
    """Read a request. Raises Unreadable."""
    try:
        before, separator, note = body.decode().partition("\n\n")
    except UnicodeDecodeError:
        raise Unreadable("the request is not UTF-8") from None
    first, *proof = before.split("\n")
    if not separator or not first.startswith("old ") or note[:1] in ("", "\n"):
        raise Unreadable("the request is not 'old SIZE', a proof, an empty line, and a checkpoint")
    if len(proof) > MAX_PROOF:
        raise Unreadable(f"a proof has no more than {MAX_PROOF} lines")
    return Request(parse_size(first.removeprefix("old ")), [_hash(line) for line in proof], note)


def compose_request(old: int, proof: Sequence[bytes], note: str) -> bytes:
    """Return the request for a note that follows the log as it was at a size."""
    lines = [f"old {old}\n", *(f"{base64.b64encode(node).decode()}\n" for node in proof), "\n", note]
    return "".join(lines).encode()


def _hash(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    if len(data) != 32 or base64.b64encode(data).decode() != text:
        raise Unreadable("a hash is not the base64 of 32 bytes")
    return data
