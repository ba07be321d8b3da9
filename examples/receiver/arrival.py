"""What arrived, byte for byte, and whether the sender signed it."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

#: bytes of a body; a longer one is recorded by its SHA-256 and its size
LIMIT = 1024 * 1024
#: bytes that are read of a body at most
MOST = 8 * LIMIT
#: seconds that a time-stamp may be away from now
WINDOW = 300


def sign(secret: bytes, stamp: str, body: bytes) -> str:
    """The signature, as the sender puts it into X-Signature: of the time-stamp, a dot, and the raw bytes."""
    return hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def is_signed(secret: bytes, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether the signature is that of these bytes and this time-stamp, and the time-stamp is of now."""
    stamp, signature = headers.get("x-timestamp", ""), headers.get("x-signature", "")
    is_number = stamp.isascii() and stamp.isdecimal() and len(stamp) <= 12
    is_now = is_number and abs(time.time() - int(stamp)) <= WINDOW
    return hmac.compare_digest(sign(secret, stamp, body).encode(), signature.encode()) and is_now


def address(host: str) -> str | None:
    """The sender's address; none, if a proxy says something else: the delivery is recorded all the same."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None


async def read(request: Request, secret: bytes) -> dict[str, Any]:
    """The arguments of append_webhook. Of a body over MOST, one byte more than that is kept."""
    body, headers = bytearray(), request.headers
    async for chunk in request.stream():
        body += chunk[: MOST + 1 - len(body)]
    return {
        "raw_body": bytes(body),
        "source_ip": address(request.client.host if request.client else ""),
        "content_type": headers.get("content-type"),
        "headers": [list(pair) for pair in headers.items()],
        "signature": headers.get("x-signature"),
        "hmac_verified": is_signed(secret, headers, bytes(body)),
    }
