"""Ed25519 as strict as the database's ed25519_verify: OpenSSL's verification, and what it does not look at.

OpenSSL accepts public keys of small order, for which one signature holds for many messages, and encodings
that are not canonical. Source: RFC 8032, docs/risk.md.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_SIGN = 1 << 255

# The canonical encodings of all eight points of small order.
_SMALL_ORDER = frozenset(
    bytes.fromhex(text)
    for text in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)


def is_weak_key(public_key: bytes) -> bool:
    """Return whether a public key must not be enrolled.

    Weak is what is not 32 bytes, not canonical (y >= 2^255-19, or x = 0 with the sign bit), not on the curve,
    or of small order. Raises nothing. The database's _ed25519_key_is_weak says the same.
    """
    return not _is_canonical_point(public_key) or public_key in _SMALL_ORDER


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether the signature is the key's for the message: cofactorless and strict.

    Refused besides what RFC 8032 refuses: S >= L, A or R not canonical or of small order. Malformed input is
    false, never an exception.
    """
    if len(signature) != 64 or is_weak_key(public_key) or signature[:32] in _SMALL_ORDER:
        return False
    if int.from_bytes(signature[32:], "little") >= _L:
        return False
    if int.from_bytes(signature[:32], "little") & ~_SIGN >= _P:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=256)  # the same few agents sign everything
def _is_canonical_point(encoded: bytes) -> bool:
    if len(encoded) != 32:
        return False
    number = int.from_bytes(encoded, "little")
    y = number & ~_SIGN
    if y >= _P:
        return False
    # x^2 = (y^2 - 1) / (d y^2 + 1), and the denominator is never 0
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if square == 0:
        return not number & _SIGN
    return pow(square, (_P - 1) // 2, _P) == 1
